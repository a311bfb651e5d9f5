//! What the optimizer promises about dispatches, groups, frozen tensors and the gate.

use gradus::gpu::Recorder;
use gradus::optim::{self, Adam, AdamW, RMSprop, Rule, SGD};
use gradus::schedule::{ConstantLR, OneCycleLR};
use gradus::{Error, Gpu, GpuOptions, ParamStore};
use serde_json::{Value, json};

use crate::common::{LENS, bits, gpu, gpu_with, gradients, noises, padding, read_all, run, store};

fn small_windows() -> GpuOptions {
    GpuOptions { max_binding_bytes: Some(65_536), max_buffer_bytes: Some(3 * 65_536), ..Default::default() }
}

#[test]
fn windows_and_buffers_change_no_bit() {
    let results: Vec<_> = [GpuOptions::default(), small_windows()]
        .into_iter()
        .filter_map(gpu_with)
        .map(|gpu| {
            let data = [noises(1, 10_000), noises(2, 100_000), noises(3, 40_000), noises(4, 10)];
            let mut params = ParamStore::builder()
                .group("a", |g| g.tensor("w", [10_000], &data[0]).tensor("x", [100, 1000], &data[1]))
                .group("b", |g| g.tensor("y", [40_000], &data[2]).tensor("z", [10], &data[3]))
                .build(&gpu)
                .unwrap();
            let mut optimizer = AdamW::default().build(&params).unwrap();
            optimizer.group_mut("b").unwrap().lr = 0.1;
            run(&mut optimizer, &mut params, 0..3);
            assert!(padding(&params).iter().all(|x| *x == 0.0));
            let layout = params.layout();
            (bits(&read_all(&params)), layout.windows().count(), layout.buffers())
        })
        .collect();
    let [whole, cut] = &results[..] else { return };
    assert_eq!((whole.1, whole.2, cut.1, cut.2), (1, 1, 10, 4));
    assert!(whole.0 == cut.0);
}

#[test]
fn a_tensor_crosses_the_largest_binding() {
    let Some(gpu) = gpu() else { return };
    let limits = gpu.device().limits();
    let binding = limits.max_storage_buffer_binding_size;
    // Where a binding holds more, the window is made as small as the default.
    let Some(gpu) =
        gpu_with(GpuOptions { max_binding_bytes: Some(binding.min(128 << 20)), ..Default::default() })
    else {
        return;
    };
    let window = 33_554_432;
    let (head, tail) = (vec![1.0; 5_000_000], vec![1.0; window - 5_000_000 + 1000]);
    let mut params = ParamStore::builder()
        .tensor("a", [head.len()], &head)
        .tensor("b", [tail.len()], &tail)
        .build(&gpu)
        .unwrap();
    let windows: Vec<_> = params.layout().windows().collect();
    assert_eq!((windows.len(), windows[0].len), (2, window));
    let mut optimizer = SGD { lr: 0.5, ..Default::default() }.build(&params).unwrap();
    let mut grads = vec![0.25; head.len() + tail.len()];
    grads[window] = 4.0;
    params.write_grads(&grads).unwrap();
    let before = gpu.counters();
    optimizer.step(&mut params).unwrap();
    assert_eq!(gpu.counters().since(&before).dispatches, 2);
    // 5,000,000 is a multiple of 64, so that the flat space has no gap and b starts there.
    let around = params.read("b").unwrap();
    let at = window - head.len();
    assert_eq!(around[at - 2..at + 3], [0.875, 0.875, -1.0, 0.875, 0.875]);
    assert_eq!(around.last(), Some(&0.875));
}

#[test]
fn a_hundred_steps_make_nothing_new() {
    let Some(gpu) = gpu() else { return };
    let mut params = store(&gpu);
    let mut optimizer = AdamW::default().build(&params).unwrap();
    run(&mut optimizer, &mut params, 0..2);
    let before = gpu.counters();
    run(&mut optimizer, &mut params, 2..102);
    let after = gpu.counters().since(&before);
    assert_eq!((after.submits, after.dispatches, after.passes), (100, 100, 100));
    assert_eq!((after.allocations, after.live_bytes, after.pipelines, after.bind_groups), (0, 0, 0, 0));
    // The gradients and the step's uniforms.
    assert_eq!((after.uploads, after.read_backs), (200, 0));
}

#[test]
fn two_runs_agree_bit_for_bit() {
    let Some(gpu) = gpu() else { return };
    let once = || {
        let mut params = store(&gpu);
        let mut optimizer =
            RMSprop { centered: true, momentum: 0.9, ..Default::default() }.build(&params).unwrap();
        run(&mut optimizer, &mut params, 0..30);
        bits(&read_all(&params))
    };
    assert_eq!(once(), once());
}

fn two_groups(gpu: &Gpu) -> ParamStore {
    ParamStore::builder()
        .group("decay", |g| g.tensor("w", [2, 3], &[1.0; 6]))
        .group("rest", |g| g.tensor("b", [3], &[1.0; 3]).tensor("s", [], &[1.0]))
        .build(gpu)
        .unwrap()
}

#[test]
fn groups_differ_in_every_option() {
    let Some(gpu) = gpu() else { return };
    let mut params = two_groups(&gpu);
    let overrides = json!({"lr": 0.1, "maximize": true, "weight_decay": 0.5, "momentum": 0.5});
    let base = SGD { lr: 1.0, ..Default::default() };
    let mut optimizer = base.clone().build_with(&params, &[("rest", overrides)]).unwrap();
    assert_eq!(optimizer.group("decay").unwrap(), &base);
    params.write_grads(&[0.25; 10]).unwrap();
    let before = gpu.counters();
    optimizer.step(&mut params).unwrap();
    assert_eq!(gpu.counters().since(&before).dispatches, 2);
    assert_eq!(params.read("w").unwrap(), [0.75; 6]);
    // -0.25 + 0.5 * 1 = 0.25 goes into the buffer.
    assert_eq!(params.read("s").unwrap(), [1.0 - 0.1 * 0.25]);
    // A group that turns its momentum off leaves its buffer alone, and finds it again later.
    optimizer.group_mut("rest").unwrap().momentum = 0.0;
    optimizer.step(&mut params).unwrap();
    let dict = optimizer.read_state_dict().unwrap();
    assert_eq!(dict.state["s"].slots["momentum_buffer"], Some(vec![0.25]));
    assert!(dict.state["w"].slots.is_empty());
}

#[test]
fn momentum_turned_on_later_starts_as_the_gradient() {
    let Some(gpu) = gpu() else { return };
    let mut params = two_groups(&gpu);
    let mut optimizer = SGD { lr: 1.0, ..Default::default() }.build(&params).unwrap();
    params.write_grads(&[0.25; 10]).unwrap();
    optimizer.step(&mut params).unwrap();
    let decay = optimizer.group_mut("decay").unwrap();
    (decay.momentum, decay.dampening) = (0.5, 0.5);
    optimizer.step(&mut params).unwrap();
    assert_eq!(params.read("w").unwrap(), [0.5; 6]);
    optimizer.step(&mut params).unwrap();
    // 0.5 * 0.25 + (1 - 0.5) * 0.25.
    assert_eq!(params.read("w").unwrap(), [0.25; 6]);
    assert_eq!(params.read("b").unwrap(), [0.25; 3]);
}

#[test]
fn a_frozen_tensor_is_untouched_and_counts_no_step() {
    let Some(gpu) = gpu() else { return };
    let mut params = two_groups(&gpu);
    let mut reference = two_groups(&gpu);
    let rule = Adam { lr: 0.1, weight_decay: 0.1, ..Default::default() };
    let mut optimizer = rule.clone().build(&params).unwrap();
    let mut other = rule.build(&reference).unwrap();
    params.freeze("b").unwrap();
    run(&mut optimizer, &mut params, 0..3);
    run(&mut other, &mut reference, 0..3);
    assert_eq!(params.read("b").unwrap(), [1.0; 3]);
    assert_eq!(bits(&params.read("s").unwrap()), bits(&reference.read("s").unwrap()));
    assert_eq!((optimizer.applied("b").unwrap(), optimizer.applied("s").unwrap()), (0, 3));
    assert!(!optimizer.read_state_dict().unwrap().state.contains_key("b"));
    // Thawed, it starts at its own first step, and no longer shares a dispatch with its neighbour.
    params.thaw("b").unwrap();
    let before = gpu.counters();
    params.write_grads(&[0.5; 10]).unwrap();
    optimizer.step(&mut params).unwrap();
    assert_eq!(gpu.counters().since(&before).dispatches, 3);
    let b = params.read("b").unwrap()[0];
    assert!((b - 0.9).abs() < 1e-6, "a first step of Adam moves by lr, got {b}");
    // A gradient of zero is a gradient.
    params.write_grads(&[0.0; 10]).unwrap();
    optimizer.step(&mut params).unwrap();
    assert_eq!(optimizer.applied("b").unwrap(), 2);
    assert_eq!(optimizer.attempted(), 5);
}

#[test]
fn nan_is_data() {
    let Some(gpu) = gpu() else { return };
    let mut params = two_groups(&gpu);
    params.write("b", &[f32::NAN, 1.0, f32::INFINITY]).unwrap();
    let mut optimizer = SGD { lr: 1.0, ..Default::default() }.build(&params).unwrap();
    params.write_grads(&[0.5; 10]).unwrap();
    optimizer.step(&mut params).unwrap();
    let b = params.read("b").unwrap();
    assert!(b[0].is_nan() && b[1] == 0.5, "{b:?}");
    assert!(padding(&params).iter().all(|x| *x == 0.0));
}

#[test]
fn schedules_start_from_each_groups_own_rate() {
    let Some(gpu) = gpu() else { return };
    let params = two_groups(&gpu);
    let mut optimizer =
        SGD { lr: 1.0, ..Default::default() }.build_with(&params, &[("rest", json!({"lr": 0.5}))]).unwrap();
    let half = ConstantLR { factor: 0.5, total_iters: 2 };
    let rates = |optimizer: &optim::Optimizer<SGD>| optimizer.rules().map(|rule| rule.lr).collect::<Vec<_>>();
    optimizer.schedule(&half, 0).unwrap();
    optimizer.schedule(&half, 1).unwrap();
    assert_eq!(rates(&optimizer), [0.5, 0.25]);
    optimizer.schedule(&half, 2).unwrap();
    assert_eq!(rates(&optimizer), [1.0, 0.5]);
    // What is set by hand is a new base.
    optimizer.group_mut("rest").unwrap().lr = 0.125;
    optimizer.schedule(&half, 1).unwrap();
    assert_eq!(rates(&optimizer), [0.5, 0.0625]);
    let cycle = OneCycleLR::new(0.1, 10);
    optimizer.schedule(&cycle, 0).unwrap();
    assert_eq!(optimizer.group("rest").unwrap().momentum, 0.95);
    let before = rates(&optimizer);
    assert!(optimizer.schedule(&cycle, 11).is_err());
    assert_eq!(rates(&optimizer), before);
    let mut adam = Adam::default().build(&params).unwrap();
    adam.schedule(&cycle, 0).unwrap();
    assert_eq!(adam.group("decay").unwrap().betas, (0.95, 0.999));
}

#[test]
fn refusals_change_nothing() {
    let Some(gpu) = gpu() else { return };
    let mut params = two_groups(&gpu);
    let mut other = two_groups(&gpu);
    let build =
        |rule: Adam, groups: &[(&str, Value)]| rule.build_with(&params, groups).unwrap_err().to_string();
    let rows = [
        (build(Adam { betas: (1.0, 0.999), ..Default::default() }, &[]), "betas[0] must be in [0, 1), got 1"),
        (
            build(Adam { lr: f64::NAN, ..Default::default() }, &[]),
            "lr must be finite and at least 0, got NaN",
        ),
        (
            build(Adam { lr: 1e39, ..Default::default() }, &[]),
            "group \"decay\": lr must be finite in 32 bits, got 1e39",
        ),
        (
            build(Adam::default(), &[("rst", json!({}))]),
            "unknown group \"rst\", did you mean \"rest\"?; known: decay, rest",
        ),
        (
            build(Adam::default(), &[("rest", json!({"variant": "optax"}))]),
            "group \"rest\" of Adam: `variant` is the same in all groups",
        ),
        (
            build(Adam::default(), &[("rest", json!({"name": "Adam"}))]),
            "group \"rest\" of Adam: `name` is the same in all groups",
        ),
        (
            build(Adam::default(), &[("rest", json!({"beta": 1}))]),
            "unknown field of Adam (group \"rest\") \"beta\", did you mean \"betas\"?; known: lr, betas, eps, eps_root, weight_decay, \
             nesterov, amsgrad, maximize, decoupled_weight_decay, variant",
        ),
        (
            build(Adam::default(), &[("rest", json!({"lr": null}))]),
            "group \"rest\": optimizer Adam: lr: invalid type: null, expected f64",
        ),
        (
            build(Adam::default(), &[("rest", json!({"eps": -1}))]),
            "group \"rest\": eps must be finite and at least 0, got -1",
        ),
        (
            build(Adam::default(), &[("rest", json!(3))]),
            "group \"rest\" of Adam: expected an object of fields, got 3",
        ),
    ];
    for (got, want) in rows {
        assert_eq!(got, want);
    }
    let mut optimizer = Adam::default().build(&params).unwrap();
    let mut stranger = Adam::default().build(&other).unwrap();
    params.write_grads(&[0.5; 10]).unwrap();
    optimizer.step(&mut params).unwrap();
    let (values, dict) = (read_all(&params), optimizer.read_state_dict().unwrap());
    let check = |error: Error, message: &str, optimizer: &optim::Optimizer<Adam>| {
        assert_eq!(error.to_string(), message);
        assert_eq!((read_all(&params), optimizer.read_state_dict().unwrap()), (values.clone(), dict.clone()));
    };
    let error = optimizer.step(&mut other).unwrap_err();
    check(error, "this optimizer was built for another parameter store", &optimizer);
    let mut encoder = gpu.encoder("a");
    let ticket = stranger.record(&mut encoder, &mut other).unwrap();
    gpu.submit(encoder).unwrap();
    let error = optimizer.submitted(ticket).unwrap_err();
    check(error, "this ticket was given out by another optimizer", &optimizer);
    let error = optimizer.group_mut("rst").map(|_| ()).unwrap_err();
    check(error, "unknown group \"rst\", did you mean \"rest\"?; known: decay, rest", &optimizer);
    optimizer.group_mut("rest").unwrap().betas.1 = 1.0;
    let error = optimizer.step(&mut params).unwrap_err();
    optimizer.group_mut("rest").unwrap().betas.1 = 0.999;
    assert_eq!(error.to_string(), "group \"rest\": betas[1] must be in [0, 1), got 1");
    assert_eq!((optimizer.attempted(), read_all(&params)), (1, values));
}

#[test]
fn a_group_keeps_the_kind_of_its_rule() {
    let Some(gpu) = gpu() else { return };
    let mut params = two_groups(&gpu);
    let mut optimizer = optim::from_json(&json!({"name": "Adam"})).unwrap().build(&params).unwrap();
    *optimizer.group_mut("rest").unwrap() = SGD::default().into();
    let error = optimizer.step(&mut params).unwrap_err().to_string();
    assert_eq!(error, "group \"rest\": its rule is SGD, the optimizer was built as Adam");
    assert_eq!(optimizer.attempted(), 0);
}

#[test]
fn a_full_ring_is_refused_until_tickets_come_back() {
    let Some(gpu) = gpu() else { return };
    let mut params = two_groups(&gpu);
    let mut optimizer = SGD { lr: 1.0, ..Default::default() }.build(&params).unwrap();
    params.write_grads(&[0.0625; 10]).unwrap();
    let mut encoder = gpu.encoder("many steps");
    let mut recorder = Recorder::new(&gpu, &mut encoder);
    // Eight steps into one submit, each with a rate of its own.
    let tickets: Vec<_> = (1..=8)
        .map(|step| {
            optimizer.group_mut("decay").unwrap().lr = f64::from(step);
            optimizer.record_into(&mut recorder, &mut params).unwrap()
        })
        .collect();
    let error = optimizer.record_into(&mut recorder, &mut params).unwrap_err();
    assert_eq!(
        error.to_string(),
        "all 8 slots of the uniform ring are in use: submit the recorded steps and give their tickets back"
    );
    assert_eq!(optimizer.attempted(), 8);
    drop(recorder);
    gpu.submit(encoder).unwrap();
    for ticket in tickets {
        optimizer.submitted(ticket).unwrap();
    }
    assert_eq!(params.read("w").unwrap(), [1.0 - 36.0 / 16.0; 6]);
    optimizer.step(&mut params).unwrap();
    assert_eq!(params.read("b").unwrap(), [1.0 - 9.0 / 16.0; 3]);
}

#[test]
fn many_runs_get_a_larger_ring_and_old_tickets_stay_good() {
    let Some(gpu) = gpu() else { return };
    let mut params = store(&gpu);
    let mut optimizer = Adam::default().build(&params).unwrap();
    params.write_grads(&gradients(0, LENS.iter().sum())).unwrap();
    let mut encoder = gpu.encoder("a");
    let old = optimizer.record(&mut encoder, &mut params).unwrap();
    let mut tickets = Vec::new();
    // One tensor after the other stands at another step.
    for index in 0..LENS.len() {
        params.freeze(&format!("t{index}")).unwrap();
        tickets.push(optimizer.record(&mut encoder, &mut params).unwrap());
    }
    for index in 0..LENS.len() {
        params.thaw(&format!("t{index}")).unwrap();
    }
    assert!(tickets.len() == LENS.len());
    gpu.submit(encoder).unwrap();
    for ticket in tickets {
        optimizer.submitted(ticket).unwrap();
    }
    optimizer.submitted(old).unwrap();
    let before = gpu.counters();
    optimizer.step(&mut params).unwrap();
    assert_eq!(gpu.counters().since(&before).dispatches, LENS.len() as u64);
    gpu.check().unwrap();
}
