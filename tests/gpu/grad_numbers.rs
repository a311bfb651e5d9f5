//! Norms of gradients that are as large and as small as f32 has them, under every factor of the loss.

use gradus::gpu::KernelKind;
use gradus::grad::{
    Accumulate, Centralize, ClipGradNorm, GradReduction, GradScaler, NormType, Skip, Transforms,
};
use gradus::optim::{Rule, SGD, Variant};
use gradus::{Gpu, ParamStore};
use serde_json::json;

use crate::common::{gpu, noises};
use crate::grad::close;
use crate::network::gpus;

/// The gradient that reaches the rule, of two groups of tensors, and the norms that are read.
fn reached(gpu: &Gpu, transforms: Transforms, grads: &[f32]) -> (Vec<f32>, [f32; 2]) {
    let (first, second) = (grads.len() / 3, grads.len() - grads.len() / 3);
    let zeros = vec![0.0; second];
    let mut params = ParamStore::builder()
        .group("a", |group| group.tensor("x", [first], &zeros[..first]))
        .group("b", |group| group.tensor("y", [second], &zeros))
        .build(gpu)
        .unwrap();
    let mut optimizer = SGD { lr: 1.0, ..SGD::default() }.build(&params).unwrap();
    optimizer.set_transforms(transforms, &params).unwrap();
    params.write_grads(grads).unwrap();
    optimizer.step(&mut params).unwrap();
    let moved = ["x", "y"].into_iter().flat_map(|name| params.read(name).unwrap());
    let norms = [None, Some("b")].map(|group| optimizer.read_norm(group).unwrap_or(0.0));
    (moved.map(|p| 0.0 - p).collect(), norms)
}

fn norm(order: NormType, grads: &[f64]) -> f64 {
    let sizes = grads.iter().map(|g| g.abs());
    match order {
        NormType::One => sizes.sum(),
        NormType::Two => sizes.map(|g| g * g).sum::<f64>().sqrt(),
        NormType::Infinity => sizes.fold(0.0, f64::max),
    }
}

/// Within rounding, or within a few of the numbers that a device may take for zero.
fn near(got: f32, want: f64, what: &str) {
    let off = (f64::from(got) - want).abs();
    assert!(off <= 2e-6 * want.abs() + 2e-38, "{what}: got {got}, expected {want}");
}

const ORDERS: [NormType; 3] = [NormType::One, NormType::Two, NormType::Infinity];

/// Gradients around a magnitude, and mixtures.
fn rows() -> Vec<(String, Vec<f32>)> {
    let around = |size: f32| (format!("{size:e}"), noises(5, 20_000).iter().map(|g| g * size).collect());
    let mut rows: Vec<(String, Vec<f32>)> =
        [1.0, 1e-12, 3e-13, 1e-20, 1e-30, 1e-36, 6e16, 9e16, 1e18, 1e20, 1e30, 1e34].map(around).to_vec();
    let mixed = |sizes: &[f32]| {
        noises(6, 20_000).iter().enumerate().map(|(i, g)| g * sizes[i % sizes.len()]).collect::<Vec<f32>>()
    };
    rows.push(("1e30 and 1e-30".into(), mixed(&[1e30, 1e-30, 1.0])));
    rows.push(("1e-25 and 1e-13".into(), mixed(&[1e-25, 1e-13, 0.0])));
    let mut alone = vec![1e-30; 20_000];
    alone[12_345] = 1e25;
    rows.push(("one large".into(), alone));
    let mut steps = noises(6, 20_000);
    // Each workgroup in other units than the one before.
    steps
        .iter_mut()
        .enumerate()
        .for_each(|(i, g)| *g *= 10f32.powi(i32::try_from(i / 4096).unwrap() * 12 - 30));
    rows.push(("steps".into(), steps));
    rows.push(("few".into(), vec![3e38, 1e38, -1e38]));
    rows.push(("least".into(), vec![1e-45, -3e-45, 1e-42, 1e-39]));
    rows
}

#[test]
fn norms_are_right_for_all_finite_gradients() {
    for gpu in gpus() {
        for (name, grads) in rows() {
            for order in ORDERS {
                for per_group in [false, true] {
                    let clip = ClipGradNorm { norm_type: order, per_group, ..ClipGradNorm::report_only() };
                    let transforms = Transforms { clip_grad_norm: Some(clip), ..Transforms::default() };
                    let (moved, norms) = reached(&gpu, transforms, &grads);
                    let exact: Vec<f64> = grads.iter().map(|g| f64::from(*g)).collect();
                    let part = grads.len() / 3;
                    let want = if per_group {
                        [norm(order, &exact[..part]), norm(order, &exact[part..])]
                    } else {
                        [norm(order, &exact); 2]
                    };
                    for (got, want) in norms.into_iter().zip(want) {
                        let what = format!("{name}, {order:?}");
                        if want > f64::from(f32::MAX) {
                            assert_eq!(got, f32::INFINITY, "{what}");
                        } else {
                            let off = (f64::from(got) - want).abs();
                            assert!(off <= 1e-6 * want + 1e-45, "{what}: got {got}, expected {want}");
                        }
                    }
                    // Nothing is clipped, whatever the norm.
                    for (got, want) in moved.into_iter().zip(&grads) {
                        near(got, f64::from(*want), &name);
                    }
                }
            }
        }
    }
}

#[test]
fn clips_are_right_for_all_finite_gradients() {
    for gpu in gpus() {
        for (name, grads) in rows() {
            for (order, variant, max_norm) in [
                (NormType::One, Variant::Torch, 1.0),
                (NormType::Two, Variant::Torch, 1.0),
                (NormType::Two, Variant::Torch, 1e20),
                (NormType::Two, Variant::Optax, 1e-20),
                (NormType::Infinity, Variant::Optax, 1e-3),
            ] {
                let clip = ClipGradNorm { norm_type: order, variant, ..ClipGradNorm::new(max_norm) };
                let transforms = Transforms { clip_grad_norm: Some(clip), ..Transforms::default() };
                let (moved, _) = reached(&gpu, transforms, &grads);
                let exact: Vec<f64> = grads.iter().map(|g| f64::from(*g)).collect();
                let norm = norm(order, &exact);
                let eps = if variant == Variant::Torch { 1e-6 } else { 0.0 };
                let factor = (max_norm / (norm + eps)).min(1.0);
                for (got, want) in moved.into_iter().zip(exact) {
                    near(got, want * factor, &format!("{name}, {order:?}, {max_norm}"));
                }
            }
        }
    }
}

#[test]
fn gradients_are_unscaled_before_their_norm_is_taken() {
    let Some(gpu) = gpu() else { return };
    let grads = noises(7, 3000);
    let exact: Vec<f64> = grads.iter().map(|g| f64::from(*g)).collect();
    for exponent in [-126, -120, -80, -64, -1, 0, 16, 63, 64, 80, 120, 126] {
        let scale = 2f64.powi(exponent);
        for order in ORDERS {
            for (variant, max_norm) in
                [(Variant::Torch, 0.5), (Variant::Optax, 1e-3), (Variant::Torch, f64::INFINITY)]
            {
                let transforms = Transforms {
                    grad_scaler: Some(GradScaler { init_scale: scale, ..GradScaler::default() }),
                    clip_grad_norm: Some(ClipGradNorm {
                        norm_type: order,
                        variant,
                        ..ClipGradNorm::new(max_norm)
                    }),
                    ..Transforms::default()
                };
                #[expect(clippy::cast_possible_truncation, reason = "a product with a power of two")]
                let scaled: Vec<f32> = exact.iter().map(|g| (g * scale) as f32).collect();
                // Below the normal numbers the scaled gradients have fewer digits.
                let exact: Vec<f64> = scaled.iter().map(|g| f64::from(*g) / scale).collect();
                let (moved, norms) = reached(&gpu, transforms, &scaled);
                let norm = norm(order, &exact);
                close(norms[0].into(), norm, 1e-6);
                let eps = if variant == Variant::Torch { 1e-6 } else { 0.0 };
                let factor = (max_norm / (norm + eps)).min(1.0);
                for (got, want) in moved.into_iter().zip(exact) {
                    let off = (f64::from(got) - want * factor).abs();
                    // What a device takes for zero.
                    let lost = if exponent < -110 { 1.2e-38 / scale * factor } else { 0.0 };
                    let bound = 1e-6 * factor.max(1e-30) + lost;
                    assert!(off <= bound, "2^{exponent}, {order:?}: got {got}, expected {}", want * factor);
                }
            }
        }
    }
}

#[test]
fn the_examples_of_overflow_and_underflow() {
    let Some(gpu) = gpu() else { return };
    for exponent in [64, -80] {
        let transforms = Transforms {
            grad_scaler: Some(GradScaler { init_scale: 2f64.powi(exponent), ..GradScaler::default() }),
            clip_grad_norm: Some(ClipGradNorm::new(0.5)),
            ..Transforms::default()
        };
        let (moved, norms) = reached(&gpu, transforms, &[2f32.powi(exponent), 0.0, 0.0]);
        assert_eq!(norms[0], 1.0);
        close(moved[0].into(), 0.5, 1e-5);
    }
    let transforms = Transforms {
        accumulate: Some(Accumulate { steps: 8, reduction: GradReduction::Mean }),
        clip_grad_norm: Some(ClipGradNorm::new(1.0)),
        ..Transforms::default()
    };
    let (moved, norms) = reached(&gpu, transforms, &[8.0 * 4e18, 0.0, 0.0]);
    close(norms[0].into(), 4e18, 1e-6);
    close(moved[0].into(), 1.0, 1e-6);
}

/// The factor grows beyond 2^126, whose reciprocal is no normal number; and gradients that are finite as long as they are
/// scaled are not.
#[test]
fn the_largest_and_the_smallest_factor_of_the_loss_divide() {
    let Some(gpu) = gpu() else { return };
    let scaler = GradScaler { init_scale: 2f64.powi(126), growth_interval: 1, ..GradScaler::default() };
    let mut params = ParamStore::builder().tensor("x", [2], &[0.0; 2]).build(&gpu).unwrap();
    let mut optimizer = SGD { lr: 1.0, ..SGD::default() }.build(&params).unwrap();
    let clip = ClipGradNorm { norm_type: NormType::One, ..ClipGradNorm::new(1e-3) };
    let transforms =
        Transforms { grad_scaler: Some(scaler), clip_grad_norm: Some(clip), ..Transforms::default() };
    optimizer.set_transforms(transforms, &params).unwrap();
    for (scale, grad) in [(126, 1.0), (127, 1.0), (127, 0.5)] {
        let before = params.read("x").unwrap()[0];
        assert_eq!(params.gate().read(&gpu, 0).unwrap().loss_scale, 2f32.powi(scale));
        params.write_grads(&[grad * 2f32.powi(scale), 0.0]).unwrap();
        optimizer.step(&mut params).unwrap();
        assert_eq!(optimizer.read_norm(None).unwrap(), grad);
        close((before - params.read("x").unwrap()[0]).into(), 1e-3, 1e-4);
    }
    let small = GradScaler { init_scale: 2f64.powi(-80), ..GradScaler::default() };
    for clip in [None, Some(ClipGradNorm::new(1.0))] {
        for (grad, skips) in [(1e10, false), (1e30, true)] {
            let transforms = Transforms {
                grad_scaler: Some(small.clone()),
                clip_grad_norm: clip.clone(),
                ..Transforms::default()
            };
            optimizer.set_transforms(transforms, &params).unwrap();
            params.write_grads(&[grad, 0.0]).unwrap();
            optimizer.step(&mut params).unwrap();
            assert_eq!(optimizer.read_step_results().unwrap().last().unwrap().skipped, skips, "{grad}");
        }
    }
}

#[test]
fn a_norm_is_reported_without_a_clip() {
    let Some(gpu) = gpu() else { return };
    let json = json!([{"name": "clip_grad_norm", "max_norm": "inf", "norm_type": 1}]);
    let typed = ClipGradNorm { norm_type: NormType::One, ..ClipGradNorm::report_only() };
    assert_eq!(serde_json::to_value(&typed).unwrap()["max_norm"], "inf");
    for variant in [Variant::Torch, Variant::Optax] {
        let mut transforms = Transforms::from_json(&json).unwrap();
        assert_eq!(transforms.clip_grad_norm.as_ref(), Some(&typed));
        transforms.clip_grad_norm.as_mut().unwrap().variant = variant;
        let (moved, norms) = reached(&gpu, transforms, &[3.0, -4.0, 5e30]);
        assert_eq!((moved, norms), (vec![3.0, -4.0, 5e30], [5e30; 2]));
    }
    for (bad, got) in [(json!("nan"), "got \"nan\""), (json!(true), "got something else")] {
        let json = json!([{"name": "clip_grad_norm", "max_norm": bad}]);
        let error = Transforms::from_json(&json).unwrap_err().to_string();
        assert!(error.contains("max_norm must be a number or \"inf\"") && error.contains(got), "{error}");
    }
    // Nothing is skipped or scaled where something is not finite, unless that is asked for.
    let skip = Transforms { skip: Some(Skip::default()), ..Transforms::default() };
    assert!(skip.clip_grad_norm.is_none());
    let typed = Transforms { clip_grad_norm: Some(ClipGradNorm::report_only()), ..Transforms::default() };
    let (moved, norms) = reached(&gpu, typed, &[3.0, f32::INFINITY, 4.0]);
    assert_eq!((moved[0], moved[2], norms[0]), (3.0, 4.0, f32::INFINITY));
}

#[test]
fn rows_of_any_length_are_centralised() {
    for gpu in gpus() {
        for (rows, columns) in [
            (700, 1),
            (300, 256),
            (3, 257),
            (2, 16_384),
            (2, 33_000),
            (3, 70_001),
            (2, 200_000),
            (2, 262_144),
            (2, 262_145),
            (3, 600_001),
        ] {
            let len = rows * columns;
            let mut grads = noises(8, len);
            grads.iter_mut().enumerate().for_each(|(i, g)| *g += (i / columns % 3) as f32 + 0.5);
            let mut params =
                ParamStore::builder().tensor("w", [rows, columns], &vec![0.0; len]).build(&gpu).unwrap();
            let mut optimizer = SGD { lr: 1.0, ..SGD::default() }.build(&params).unwrap();
            let custom: Vec<Box<dyn gradus::grad::Transform>> = vec![Box::new(Centralize::default())];
            optimizer.set_transforms(Transforms { custom, ..Transforms::default() }, &params).unwrap();
            params.write_grads(&grads).unwrap();
            let before = gpu.counters();
            optimizer.step(&mut params).unwrap();
            let dispatches = gpu.counters().since(&before).dispatches;
            assert_eq!(dispatches, if columns > 262_144 { 3 } else { 2 });
            let mut worst = 0f64;
            for (row, moved) in grads.chunks(columns).zip(params.read("w").unwrap().chunks(columns)) {
                let mean = row.iter().map(|g| f64::from(*g)).sum::<f64>() / columns as f64;
                for (g, p) in row.iter().zip(moved) {
                    worst = worst.max((f64::from(*g) - mean + f64::from(*p)).abs());
                }
            }
            assert!(worst < 2e-6, "[{rows}, {columns}]: off by {worst}");
        }
    }
}

/// More parts than are finished at once: each range between frozen tensors leaves some.
#[test]
fn parts_of_many_ranges_are_joined_in_shares() {
    const TENSORS: usize = 65_700;
    let Some(gpu) = gpu() else { return };
    let data = [0.0; 3];
    let builder = ParamStore::builder().group("all", |group| {
        (0..TENSORS).fold(group, |group, number| group.tensor(number.to_string(), [3], &data))
    });
    let mut params = builder.build(&gpu).unwrap();
    let mut optimizer = SGD { lr: 1.0, ..SGD::default() }.build(&params).unwrap();
    let clip = Transforms { clip_grad_norm: Some(ClipGradNorm::report_only()), ..Transforms::default() };
    optimizer.set_transforms(clip, &params).unwrap();
    (0..TENSORS).step_by(2).for_each(|number| params.freeze(&number.to_string()).unwrap());
    let grads = noises(9, 3 * TENSORS);
    params.write_grads(&grads).unwrap();
    let before = gpu.counters();
    optimizer.step(&mut params).unwrap();
    // A norm and an update for each range, and the decision; and shares of as many parts as CPU adapters leave.
    let shares = u64::from(gpu.kernel_kind() == KernelKind::CpuSubgroup);
    assert_eq!(gpu.counters().since(&before).dispatches, TENSORS as u64 + 1 + shares);
    let counted = grads.chunks(3).skip(1).step_by(2).flatten();
    let norm = counted.map(|g| f64::from(*g).powi(2)).sum::<f64>().sqrt();
    close(optimizer.read_norm(None).unwrap().into(), norm, 1e-6);
}
