//! The factor of the loss against a plain model of torch's `GradScaler`.

use gradus::grad::{ClipGradNorm, GradScaler, Transforms};
use serde_json::json;

use crate::common::{gpu, gradients};
use crate::grad_skip::{ALL, build};

/// torch's `GradScaler.update`.
#[expect(clippy::cast_possible_truncation, reason = "factors are exact in f32")]
fn updated(scale: &mut f32, tracker: &mut u32, scaler: &GradScaler, found_inf: bool) {
    if found_inf {
        *scale *= scaler.backoff_factor as f32;
        *tracker = 0;
        return;
    }
    *tracker += 1;
    if *tracker == scaler.growth_interval {
        let grown = *scale * scaler.growth_factor as f32;
        if grown.is_finite() {
            *scale = grown;
        }
        *tracker = 0;
    }
}

#[test]
#[expect(clippy::cast_possible_truncation, reason = "factors are exact in f32")]
fn the_loss_scale_is_torchs() {
    let Some(gpu) = gpu() else { return };
    let defaults = GradScaler { growth_interval: 3, ..GradScaler::default() };
    assert_eq!((defaults.init_scale, defaults.growth_factor, defaults.backoff_factor), (65536.0, 2.0, 0.5));
    assert_eq!(GradScaler::default().growth_interval, 2000);
    let other =
        GradScaler { init_scale: 1024.0, growth_factor: 4.0, backoff_factor: 0.25, growth_interval: 2 };
    let largest = GradScaler { init_scale: 2f64.powi(126), growth_interval: 1, ..GradScaler::default() };
    for (scaler, clip) in [(defaults.clone(), None), (other, None), (largest, None), (defaults, Some(2.0))] {
        let transforms = Transforms {
            grad_scaler: Some(scaler.clone()),
            clip_grad_norm: clip.map(ClipGradNorm::new),
            ..Transforms::default()
        };
        let sgd = json!({"name": "SGD", "lr": 1});
        let (mut params, mut optimizer) = build(&gpu, &sgd, transforms);
        let (mut scale, mut tracker) = (scaler.init_scale as f32, 0);
        for step in 0..30 {
            assert_eq!(params.gate().read(&gpu, 0).unwrap().loss_scale, scale);
            let bad = [2, 7, 8, 20].contains(&step);
            let before = params.read("s").unwrap();
            // Small enough to survive the largest scale.
            let mut grads: Vec<f32> = gradients(step, ALL).iter().map(|g| g * 0.125 * scale).collect();
            grads[0] = if bad { f32::INFINITY } else { 0.0 };
            params.write_grads(&grads).unwrap();
            optimizer.step(&mut params).unwrap();
            updated(&mut scale, &mut tracker, &scaler, bad);
            let outcome = optimizer.read_step_results().unwrap()[0];
            assert_eq!((outcome.skipped, outcome.loss_scale), (bad, scale), "step {step}");
            assert_eq!(params.gate().read(&gpu, 0).unwrap().growth_tracker, tracker);
            if scale < 1e30 && clip.is_none() {
                let unscaled: Vec<f32> = gradients(step, ALL).iter().map(|g| g * 0.125).collect();
                let want = before.iter().zip(&unscaled[370..]).map(|(p, g)| if bad { *p } else { p - g });
                assert_eq!(params.read("s").unwrap(), want.collect::<Vec<_>>(), "step {step}");
            }
            if let (Some(max_norm), false) = (clip, bad) {
                // The norm is that of unscaled gradients.
                let squares = gradients(step, ALL).into_iter().skip(1).map(|g| f64::from(g * 0.125).powi(2));
                let norm = squares.sum::<f64>().sqrt();
                assert!((f64::from(outcome.norm) - norm).abs() < 1e-5 * norm && norm > max_norm);
            }
        }
    }
}
