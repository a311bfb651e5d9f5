//! Tickets that are dropped rather than given back: no slot is lost, and the step never was.

use gradus::gpu::UniformRing;
use gradus::grad::{ClipGradNorm, GradScaler, Skip, Transforms};
use gradus::optim::{self, AnyRule, Optimizer};
use gradus::{Error, Gpu, ParamStore};
use serde_json::{Value, json};

use crate::common::{bits, gpu, gradients, read_all, run, store};

type Boxed = Optimizer<Box<dyn AnyRule>>;

fn plain() -> Transforms {
    Transforms::default()
}

fn clipped() -> Transforms {
    Transforms { clip_grad_norm: Some(ClipGradNorm::new(1.0)), ..Default::default() }
}

fn skipping() -> Transforms {
    Transforms { skip: Some(Skip::default()), ..clipped() }
}

fn scaled() -> Transforms {
    Transforms { grad_scaler: Some(GradScaler::default()), ..Default::default() }
}

type Named = (&'static str, fn() -> Transforms);

const TRANSFORMS: [Named; 4] =
    [("plain", plain), ("clipped", clipped), ("skipping", skipping), ("scaled", scaled)];

fn rules() -> [Value; 4] {
    [
        json!({"name": "SGD", "lr": 0.1, "momentum": 0.9}),
        json!({"name": "AdamW", "lr": 0.01}),
        json!({"name": "NAdam", "lr": 0.01}),
        json!({"name": "Adafactor", "lr": 0.01}),
    ]
}

fn built(gpu: &Gpu, rule: &Value, transforms: Transforms) -> (ParamStore, Boxed) {
    let params = store(gpu);
    let mut optimizer = optim::from_json(rule).unwrap().build(&params).unwrap();
    optimizer.set_transforms(transforms, &params).unwrap();
    (params, optimizer)
}

/// Records a step and fails before it is submitted.
fn record_and_fail(params: &mut ParamStore, optimizer: &mut Boxed) -> Result<(), Error> {
    let mut encoder = params.gpu().encoder("never submitted");
    let _ticket = optimizer.record(&mut encoder, params)?;
    Err(Error::Mismatch("something else".into()))
}

#[test]
fn steps_whose_tickets_are_dropped_never_were() {
    let Some(gpu) = gpu() else { return };
    for (rule, (name, transforms)) in rules().iter().flat_map(|rule| TRANSFORMS.map(|with| (rule, with))) {
        let (mut want, mut plainly) = built(&gpu, rule, transforms());
        let (mut got, mut dropping) = built(&gpu, rule, transforms());
        for step in 0..4 {
            got.write_grads(&gradients(step, got.layout().parameters())).unwrap();
            // More than the ring has, at the first step and between steps.
            for attempt in 0..20 {
                let said = record_and_fail(&mut got, &mut dropping).unwrap_err();
                assert_eq!(said.to_string(), "something else", "{rule} {name}: attempt {attempt}");
                assert_eq!(dropping.attempted(), step as u64, "{rule} {name}");
            }
            // Before anything else is recorded.
            let [want_now, got_now] = [&plainly, &dropping].map(|o| o.read_state_dict().unwrap());
            assert_eq!(got_now, want_now, "{rule} {name}: before step {step}");
            dropping.step(&mut got).unwrap();
            run(&mut plainly, &mut want, step..step + 1);
        }
        assert_eq!(dropping.read_state_dict().unwrap(), plainly.read_state_dict().unwrap(), "{rule} {name}");
        assert_eq!(bits(&read_all(&got)), bits(&read_all(&want)), "{rule} {name}");
        assert_eq!(
            dropping.read_step_results().unwrap(),
            plainly.read_step_results().unwrap(),
            "{rule} {name}"
        );
        assert_eq!(dropping.applied("t0").unwrap(), 4, "{rule} {name}");
    }
}

#[test]
fn counts_are_right_before_the_optimizer_is_used_again() {
    let Some(gpu) = gpu() else { return };
    for (name, transforms) in TRANSFORMS {
        let (mut params, mut optimizer) = built(&gpu, &rules()[1], transforms());
        run(&mut optimizer, &mut params, 0..2);
        optimizer.read_step_results().unwrap();
        let want = optimizer.read_state_dict().unwrap();
        record_and_fail(&mut params, &mut optimizer).unwrap_err();
        assert_eq!((optimizer.attempted(), optimizer.applied("t3").unwrap()), (2, 2), "{name}");
        assert_eq!(optimizer.read_state_dict().unwrap(), want, "{name}");
        optimizer.set_transforms(plain(), &params).unwrap();
        record_and_fail(&mut params, &mut optimizer).unwrap_err();
        optimizer.load_state_dict(&want).unwrap();
        record_and_fail(&mut params, &mut optimizer).unwrap_err();
        let more = |g: gradus::params::GroupBuilder<'static>| g.tensor("more", [2], &[1.0; 2]);
        optimizer.add_param_group(&mut params, "more", &json!({}), more).unwrap();
        assert_eq!((optimizer.attempted(), optimizer.applied("t3").unwrap()), (2, 2), "{name}");
        optimizer.step(&mut params).unwrap();
        assert_eq!((optimizer.attempted(), optimizer.applied("more").unwrap()), (3, 1), "{name}");
    }
}

#[test]
fn of_several_dropped_tickets_the_latest_step_is_undone() {
    let Some(gpu) = gpu() else { return };
    let (mut params, mut optimizer) = built(&gpu, &rules()[1], plain());
    let mut encoder = gpu.encoder("two steps");
    let tickets = [(); 2].map(|()| optimizer.record(&mut encoder, &mut params).unwrap());
    drop(tickets);
    drop(encoder);
    // As when both are given back as abandoned, the latest first.
    assert_eq!((optimizer.attempted(), optimizer.applied("t0").unwrap()), (1, 1));
    optimizer.step(&mut params).unwrap();
    assert_eq!((optimizer.attempted(), optimizer.applied("t0").unwrap()), (2, 2));
}

#[test]
fn a_ticket_that_is_dropped_after_its_submit_spoils_no_later_step() {
    let Some(gpu) = gpu() else { return };
    let rule = json!({"name": "SGD", "lr": 0.5});
    for (name, transforms) in TRANSFORMS {
        let (mut want, mut plainly) = built(&gpu, &rule, transforms());
        let (mut got, mut dropping) = built(&gpu, &rule, transforms());
        run(&mut plainly, &mut want, 0..12);
        for step in 0..12 {
            got.write_grads(&gradients(step, got.layout().parameters())).unwrap();
            let mut encoder = gpu.encoder("step");
            let ticket = dropping.record(&mut encoder, &mut got).unwrap();
            gpu.submit(encoder).unwrap();
            drop(ticket);
        }
        // The parameters have the steps; of a rule without state nothing else matters. The counts have not.
        assert_eq!(bits(&read_all(&got)), bits(&read_all(&want)), "{name}");
        assert_eq!(dropping.attempted(), 0, "{name}");
    }
}

#[test]
fn tickets_may_outlive_their_optimizer_and_go_to_other_threads() {
    let Some(gpu) = gpu() else { return };
    let (mut params, mut optimizer) = built(&gpu, &rules()[1], plain());
    let mut other = optim::from_json(&rules()[1]).unwrap().build(&params).unwrap();
    let mut encoder = gpu.encoder("step");
    let ticket = optimizer.record(&mut encoder, &mut params).unwrap();
    let refused = other.submitted(ticket).unwrap_err();
    assert_eq!(refused.to_string(), "this ticket was given out by another optimizer");
    // Its own optimizer has it back.
    assert_eq!(optimizer.attempted(), 0);
    let tickets: Vec<_> = (0..8).map(|_| optimizer.record(&mut encoder, &mut params).unwrap()).collect();
    assert!(matches!(optimizer.record(&mut encoder, &mut params), Err(Error::RingFull { slots: 8, .. })));
    std::thread::spawn(move || drop(tickets)).join().unwrap();
    let ticket = optimizer.record(&mut encoder, &mut params).unwrap();
    drop(optimizer);
    drop(ticket);
}

#[test]
fn a_ring_of_ones_own_takes_a_dropped_slot_again() {
    let Some(gpu) = gpu() else { return };
    let mut ring = UniformRing::new(&gpu, "ring", 16, 2).unwrap();
    for _ in 0..5 {
        let (first, at) = ring.write(&gpu, &[1; 16]).unwrap();
        let (second, behind) = ring.write(&gpu, &[2; 16]).unwrap();
        assert_ne!(at, behind);
        assert!(!ring.is_idle() && ring.check().is_err());
        drop(first);
        ring.check().unwrap();
        ring.submitted(second).unwrap();
        assert!(ring.is_idle());
    }
}
