//! What transforms cost, by the counters.

use gradus::grad::{Accumulate, ClipGradNorm, GradScaler, Noise, Penalty, Skip, Transforms};
use gradus::{ParamStore, optim};
use serde_json::json;

use crate::common::{gpu, noises};
use crate::grad::zeros;

#[test]
fn what_it_costs() {
    let Some(gpu) = gpu() else { return };
    let none = Transforms::default;
    let clip = || Some(ClipGradNorm::new(0.5));
    let penalties = || vec![Penalty { l1: 0.1, ..Penalty::default() }];
    let rows = [
        ("nothing", none(), 1),
        ("clip_grad_norm", Transforms { clip_grad_norm: clip(), ..none() }, 3),
        ("clip_grad_value", Transforms { clip_grad_value: Some(0.1), ..none() }, 1),
        ("noise", Transforms { noise: Some(Noise::default()), ..none() }, 1),
        ("penalty", Transforms { penalties: penalties(), ..none() }, 1),
        ("accumulate", Transforms { accumulate: Some(Accumulate::new(4)), ..none() }, 1),
        ("skip", Transforms { skip: Some(Skip::default()), ..none() }, 4),
        ("both", Transforms { skip: Some(Skip::default()), clip_grad_norm: clip(), ..none() }, 4),
        ("grad_scaler", Transforms { grad_scaler: Some(GradScaler::default()), ..none() }, 4),
        (
            "all",
            Transforms {
                accumulate: Some(Accumulate::new(2)),
                grad_scaler: Some(GradScaler::default()),
                clip_grad_norm: clip(),
                clip_grad_value: Some(0.1),
                noise: Some(Noise::default()),
                penalties: penalties(),
                ..none()
            },
            4,
        ),
    ];
    for (name, transforms, dispatches) in rows {
        let data = noises(1, 5000);
        let store =
            ParamStore::builder().tensor("w", [50, 80], &data[..4000]).tensor("b", [1000], &data[4000..]);
        let mut params = store.build(&gpu).unwrap();
        let rule = json!({"name": "AdamW", "lr": 1e-3});
        let mut optimizer = optim::from_json(&rule).unwrap().build(&params).unwrap();
        optimizer.set_transforms(transforms, &params).unwrap();
        let mut run = |steps: usize| {
            for step in 0..steps {
                params.write_grads(&noises(step as u64, 5000)).unwrap();
                optimizer.step(&mut params).unwrap();
            }
            let counters = gpu.counters();
            optimizer.read_step_results().unwrap();
            counters
        };
        run(8);
        let before = gpu.counters();
        let after = run(8).since(&before);
        assert_eq!((after.dispatches, after.submits, after.uploads), (8 * dispatches, 8, 16), "{name}");
        let new = (after.allocations, after.live_bytes, after.pipelines, after.bind_groups, after.read_backs);
        assert_eq!(new, (0, 0, 0, 0, 0), "{name}");
    }
}

#[test]
fn a_norm_alone_never_waits_and_transforms_wait_for_outcomes() {
    let Some(gpu) = gpu() else { return };
    let (mut params, mut optimizer) = zeros(&gpu);
    let clip = Transforms { clip_grad_norm: Some(ClipGradNorm::new(1.0)), ..Transforms::default() };
    optimizer.set_transforms(clip, &params).unwrap();
    let before = gpu.counters();
    for _ in 0..40 {
        optimizer.step(&mut params).unwrap();
    }
    assert_eq!(gpu.counters().since(&before).read_backs, 0);
    optimizer.read_step_results().unwrap();
    let skip = Transforms { skip: Some(Skip::default()), ..Transforms::default() };
    optimizer.set_transforms(skip, &params).unwrap();
    for _ in 0..40 {
        optimizer.step(&mut params).unwrap();
    }
    let seen = optimizer.read_step_results().unwrap();
    assert!(seen.iter().map(|outcome| outcome.step).eq(40..80), "{seen:?}");
    assert_eq!(optimizer.applied("z").unwrap(), 80);
    let mut encoder = gpu.encoder("on its way");
    let ticket = optimizer.record(&mut encoder, &mut params).unwrap();
    let error = optimizer.set_transforms(Transforms::default(), &params).unwrap_err().to_string();
    let message =
        "transforms: the results of some steps are on their way: submit these, and read_step_results first";
    assert_eq!((error.as_str(), optimizer.transforms().may_skip()), (message, true));
    gpu.submit(encoder).unwrap();
    optimizer.submitted(ticket).unwrap();
    optimizer.read_step_results().unwrap();
    optimizer.set_transforms(Transforms::default(), &params).unwrap();
    assert_eq!(optimizer.poll_step_result().unwrap(), None);
}
