//! The gate where steps come in no good order, are all frozen, are skipped too often, or are another optimizer's.

use gradus::grad::{ClipGradNorm, Skip, Transforms};
use gradus::optim;
use serde_json::json;

use crate::common::{gpu, gradients};
use crate::grad_skip::{ALL, NAMES, all_bits, build, rules, skip, start};

#[test]
fn steps_submitted_in_another_order_are_told_apart() {
    let Some(gpu) = gpu() else { return };
    let (mut params, mut optimizer) = build(&gpu, &rules()[3], skip());
    for round in 0..12 {
        let mut record = || {
            let mut encoder = gpu.encoder("a step");
            let ticket = optimizer.record(&mut encoder, &mut params).unwrap();
            (encoder, ticket)
        };
        let (first, second) = (record(), record());
        for ((encoder, ticket), bad) in [(second, false), (first, true)] {
            let mut grads = gradients(1, ALL);
            grads[0] = if bad { f32::NAN } else { 1.0 };
            params.write_grads(&grads).unwrap();
            gpu.submit(encoder).unwrap();
            optimizer.submitted(ticket).unwrap();
        }
        let seen: Vec<_> = optimizer.read_step_results().unwrap();
        let seen: Vec<_> = seen.iter().map(|outcome| (outcome.step, outcome.skipped)).collect();
        assert_eq!(seen, [(2 * round + 1, false), (2 * round, true)]);
        assert_eq!(optimizer.applied("w").unwrap(), round + 1);
    }
}

#[test]
fn a_step_that_is_never_submitted_holds_no_place_for_long() {
    let Some(gpu) = gpu() else { return };
    let (mut params, mut optimizer) = build(&gpu, &rules()[0], skip());
    let mut encoder = gpu.encoder("kept");
    let kept = optimizer.record(&mut encoder, &mut params).unwrap();
    for _ in 0..7 {
        optimizer.step(&mut params).unwrap();
        optimizer.read_step_results().unwrap();
    }
    let error = optimizer.step(&mut params).unwrap_err().to_string();
    let message = "all 8 slots of the step result ring are in use: submit the recorded steps, and read_step_results of those on their way";
    assert_eq!(error, message);
    gpu.submit(encoder).unwrap();
    optimizer.submitted(kept).unwrap();
    optimizer.step(&mut params).unwrap();
    optimizer.read_step_results().unwrap();
    assert_eq!((optimizer.applied("w").unwrap(), optimizer.attempted()), (9, 9));
}

#[test]
fn everything_frozen_is_a_step_too() {
    let Some(gpu) = gpu() else { return };
    let clip = Some(ClipGradNorm { per_group: true, ..ClipGradNorm::new(1.0) });
    let (mut params, mut optimizer) = build(&gpu, &rules()[2], Transforms { clip_grad_norm: clip, ..skip() });
    NAMES.iter().for_each(|name| params.freeze(name).unwrap());
    let before = all_bits(&params);
    params.write_grads(&[f32::NAN; ALL]).unwrap();
    optimizer.step(&mut params).unwrap();
    let outcome = optimizer.read_step_results().unwrap()[0];
    assert_eq!((outcome.skipped, outcome.norm, optimizer.applied("w").unwrap()), (false, 0.0, 0));
    assert_eq!(all_bits(&params), before);
}

#[test]
fn too_many_skipped_steps_in_a_row_are_an_error() {
    let Some(gpu) = gpu() else { return };
    let transforms = || Transforms { skip: Some(Skip { error_after: Some(3) }), ..Transforms::default() };
    let (mut params, mut optimizer) = build(&gpu, &rules()[3], transforms());
    let bad: Vec<bool> = vec![true, true, false, true, true, true];
    for (step, bad) in bad.into_iter().enumerate() {
        params.write_grads(&[if bad { f32::NAN } else { 0.5 }; ALL]).unwrap();
        optimizer.step(&mut params).unwrap();
        let outcome = optimizer.read_step_results().unwrap()[0];
        assert_eq!(outcome.skipped_in_a_row, [1, 2, 0, 1, 2, 3][step]);
    }
    let before = (all_bits(&params), optimizer.read_state_dict().unwrap());
    params.write_grads(&[0.5; ALL]).unwrap();
    let error = optimizer.step(&mut params).unwrap_err().to_string();
    let message = "the gradients of 3 steps in a row were not finite: lower the learning rate, clip the gradients, \
                   or look for what makes them so";
    assert_eq!(error, message);
    assert!((all_bits(&params), optimizer.read_state_dict().unwrap()) == before);
    optimizer.set_transforms(transforms(), &params).unwrap();
    optimizer.step(&mut params).unwrap();
    assert_eq!(optimizer.attempted(), 7);
}

#[test]
fn another_optimizer_finds_the_gate_open() {
    let Some(gpu) = gpu() else { return };
    let clip = Transforms { clip_grad_norm: Some(ClipGradNorm::new(1e-3)), ..skip() };
    let (mut params, mut optimizer) = build(&gpu, &rules()[0], clip);
    params.write_grads(&[f32::NAN; ALL]).unwrap();
    optimizer.step(&mut params).unwrap();
    drop(optimizer);
    let mut other = optim::from_json(&json!({"name": "SGD", "lr": 1})).unwrap().build(&params).unwrap();
    params.write_grads(&[0.5; ALL]).unwrap();
    other.step(&mut params).unwrap();
    assert_eq!(params.read("s").unwrap()[0], start()[370] - 0.5);
}
