//! What happens to gradients before a rule: norms, what is not finite, accumulation.

use gradus::gpu::Recorder;
use gradus::grad::{Accumulate, ClipGradNorm, GradReduction, NormType, Skip, Transforms};
use gradus::optim::{self, AnyRule, Optimizer, Rule, SGD, Variant};
use gradus::{Error, Gpu, GpuOptions, ParamStore};
use serde_json::json;

use crate::common::{bits, gpu, gpu_with, noise, noises};

/// Zeros, and a rule that makes of them the gradients that reach it, negated.
pub(crate) fn zeros(gpu: &Gpu) -> (ParamStore, Optimizer<Box<dyn AnyRule>>) {
    let data = vec![0.0; 100_000];
    let params = ParamStore::builder()
        .group("a", |g| g.tensor("w", [10_001], &data[..10_001]).tensor("x", [100, 1000], &data))
        .group("b", |g| g.tensor("y", [40_000], &data[..40_000]).tensor("z", [10], &data[..10]))
        .build(gpu)
        .unwrap();
    let optimizer = optim::from_json(&json!({"name": "SGD", "lr": 1})).unwrap().build(&params).unwrap();
    (params, optimizer)
}

pub(crate) const LENS: [usize; 4] = [10_001, 100_000, 40_000, 10];

pub(crate) fn negated(params: &ParamStore) -> Vec<f32> {
    let spans = params.layout().spans().iter();
    spans.flat_map(|span| params.read(&span.name).unwrap()).map(|p| 0.0 - p).collect()
}

fn small_windows() -> GpuOptions {
    GpuOptions { max_binding_bytes: Some(1 << 16), ..GpuOptions::default() }
}

fn norm(order: NormType, grads: &[f32]) -> f64 {
    let sizes = grads.iter().map(|g| f64::from(*g).abs());
    match order {
        NormType::One => sizes.sum(),
        NormType::Two => sizes.map(|g| g * g).sum::<f64>().sqrt(),
        NormType::Infinity => sizes.fold(0.0, f64::max),
    }
}

pub(crate) fn close(got: f64, want: f64, off: f64) {
    assert!((got - want).abs() <= off * want.abs(), "got {got}, expected {want}");
}

#[test]
fn norms_are_clipped_over_all_groups_and_windows() {
    let grads = noises(3, LENS.iter().sum());
    for gpu in [gpu(), gpu_with(small_windows())].into_iter().flatten() {
        for order in [NormType::One, NormType::Two, NormType::Infinity] {
            for (per_group, frozen) in [(false, None), (true, None), (false, Some("x")), (true, Some("z"))] {
                let (mut params, mut optimizer) = zeros(&gpu);
                let max_norm = 0.125;
                let clip = ClipGradNorm { norm_type: order, per_group, ..ClipGradNorm::new(max_norm) };
                let transforms = Transforms { clip_grad_norm: Some(clip), ..Transforms::default() };
                optimizer.set_transforms(transforms, &params).unwrap();
                frozen.iter().for_each(|name| params.freeze(name).unwrap());
                params.write_grads(&grads).unwrap();
                optimizer.step(&mut params).unwrap();
                let mut start = 0;
                let counted: Vec<(usize, Vec<f32>)> = params
                    .layout()
                    .spans()
                    .iter()
                    .map(|span| {
                        let is_frozen = frozen == Some(span.name.as_str());
                        let mut part = grads[start..start + span.len].to_vec();
                        start += span.len;
                        part.iter_mut().for_each(|g| *g *= if is_frozen { 0.0 } else { 1.0 });
                        (span.group, part)
                    })
                    .collect();
                let of_group = |group: usize| {
                    let parts = counted.iter().filter(|(of, _)| !per_group || *of == group);
                    norm(order, &parts.flat_map(|(_, part)| part.clone()).collect::<Vec<f32>>())
                };
                close(optimizer.read_norm(None).unwrap().into(), of_group(0), 1e-6);
                close(optimizer.read_norm(Some("b")).unwrap().into(), of_group(1), 1e-6);
                let want = counted.iter().flat_map(|(group, part)| {
                    let factor = (max_norm / (of_group(*group) + 1e-6)).min(1.0);
                    part.iter().map(move |g| f64::from(*g) * factor)
                });
                for (got, want) in negated(&params).into_iter().zip(want) {
                    close(got.into(), want, 1e-6);
                }
                let outcome = optimizer.read_step_results().unwrap()[0];
                close(outcome.norm.into(), of_group(0), 1e-6);
                assert_eq!((outcome.step, outcome.skipped), (0, false));
            }
        }
    }
}

#[test]
fn small_gradients_keep_their_bits() {
    let Some(gpu) = gpu() else { return };
    let grads: Vec<f32> = noises(4, LENS.iter().sum()).iter().map(|g| g * 1e-3).collect();
    for variant in [Variant::Torch, Variant::Optax] {
        let (mut params, mut optimizer) = zeros(&gpu);
        let clip = ClipGradNorm { variant, ..ClipGradNorm::new(1.0) };
        let clip = Transforms { clip_grad_norm: Some(clip), ..Transforms::default() };
        optimizer.set_transforms(clip, &params).unwrap();
        params.write_grads(&grads).unwrap();
        optimizer.step(&mut params).unwrap();
        assert!(bits(&negated(&params)) == bits(&grads));
    }
}

/// A few gradients through a clip, and the norm.
fn clipped(gpu: &Gpu, clip: ClipGradNorm, grads: &[f32]) -> (Vec<f32>, Result<f32, Error>) {
    let mut params =
        ParamStore::builder().tensor("w", [grads.len()], &vec![0.0; grads.len()]).build(gpu).unwrap();
    let mut optimizer = SGD { lr: 1.0, ..SGD::default() }.build(&params).unwrap();
    optimizer
        .set_transforms(Transforms { clip_grad_norm: Some(clip), ..Transforms::default() }, &params)
        .unwrap();
    params.write_grads(grads).unwrap();
    optimizer.step(&mut params).unwrap();
    let all = params.params().read_all(gpu).unwrap();
    assert!(all[grads.len()..].iter().all(|p| *p == 0.0), "padding");
    (negated(&params), optimizer.read_norm(None))
}

#[test]
fn formulas_differ_near_the_largest_norm() {
    let Some(gpu) = gpu() else { return };
    let grads = [3e-6, -4e-6];
    for (variant, factor) in [(Variant::Torch, 5.0 / 6.0), (Variant::Optax, 1.0)] {
        let (got, _) = clipped(&gpu, ClipGradNorm { variant, ..ClipGradNorm::new(5e-6) }, &grads);
        close(got[0].into(), 3e-6 * factor, 1e-6);
        close(got[1].into(), -4e-6 * factor, 1e-6);
        let (got, _) = clipped(&gpu, ClipGradNorm { variant, ..ClipGradNorm::new(0.0) }, &grads);
        assert_eq!(got, [0.0, 0.0]);
    }
}

#[test]
fn norms_that_are_not_finite_do_what_is_documented() {
    let Some(gpu) = gpu() else { return };
    let (inf, nan) = (f32::INFINITY, f32::NAN);
    for order in [NormType::One, NormType::Two, NormType::Infinity] {
        let clip = ClipGradNorm { norm_type: order, error_if_nonfinite: true, ..ClipGradNorm::new(1.0) };
        for bad in [inf, -inf] {
            let (got, norm) = clipped(&gpu, clip.clone(), &[3.0, bad, 4.0]);
            assert!(got[1].is_nan() && [got[0], got[2]] == [0.0; 2], "{order:?}: {got:?}");
            let message = "the norm of the gradients is inf: lower the learning rate, clip the gradients, or look \
                           for what makes them so";
            assert_eq!(norm.unwrap_err().to_string(), message);
        }
        for (place, many) in [(0, nan), (300, inf), (300, 2.0)] {
            // What comes later in the same lane must not hide it.
            let mut grads = vec![2.0; 1000];
            (grads[place], grads[place + 256], grads[512 + place / 2]) = (nan, many, -inf);
            if many == 2.0 {
                grads[512 + place / 2] = 2.0;
            }
            let (got, norm) =
                clipped(&gpu, ClipGradNorm { error_if_nonfinite: false, ..clip.clone() }, &grads);
            assert!(norm.unwrap().is_nan(), "{order:?}");
            assert!(got[place].is_nan() && got[999] == 2.0, "{order:?}: {}", got[999]);
        }
    }
}

#[test]
fn one_of_ten_million_is_found() {
    const LEN: usize = 10_000_000;
    let Some(gpu) = gpu_with(GpuOptions { max_binding_bytes: Some(20 << 20), ..GpuOptions::default() })
    else {
        return;
    };
    let mut params = ParamStore::builder().tensor("w", [LEN], &vec![0.0; LEN]).build(&gpu).unwrap();
    assert_eq!(params.layout().windows().count(), 2);
    let mut optimizer = SGD { lr: 1.0, ..SGD::default() }.build(&params).unwrap();
    let skip = Transforms { skip: Some(Skip::default()), ..Transforms::default() };
    optimizer.set_transforms(skip, &params).unwrap();
    // The largest and the smallest numbers are finite.
    let mut grads: Vec<f32> = (0..LEN).map(|i| [f32::MAX, -f32::MAX, 1e-45, 0.0, 1.0][i % 5]).collect();
    for (trial, bad) in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY].into_iter().cycle().take(6).enumerate() {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "in [0, LEN / 2]")]
        let place = (f64::from(noise(7, trial) + 1.0) * 0.25 * LEN as f64) as usize + trial / 3 * (LEN / 2);
        let good = std::mem::replace(&mut grads[place], bad);
        params.write_grads(&grads).unwrap();
        optimizer.step(&mut params).unwrap();
        assert!(optimizer.read_step_results().unwrap()[0].skipped, "{bad} at {place}");
        grads[place] = good;
    }
    assert!(params.read("w").unwrap().iter().all(|p| p.to_bits() == 0));
    params.write_grads(&grads).unwrap();
    optimizer.step(&mut params).unwrap();
    assert!(!optimizer.read_step_results().unwrap()[0].skipped);
    assert_eq!((optimizer.applied("w").unwrap(), optimizer.attempted()), (1, 7));
    assert_eq!(params.read("w").unwrap()[..2], [-f32::MAX, f32::MAX]);
}

#[test]
fn several_backward_passes_make_a_step() {
    let Some(gpu) = gpu() else { return };
    for (reduction, factor) in [(GradReduction::Mean, 1.0 / 3.0), (GradReduction::Sum, 1.0)] {
        for clip in [None, Some(ClipGradNorm::new(0.25))] {
            let (mut params, mut optimizer) = zeros(&gpu);
            let transforms = Transforms {
                accumulate: Some(Accumulate { steps: 3, reduction }),
                clip_grad_norm: clip.clone(),
                ..Transforms::default()
            };
            optimizer.set_transforms(transforms, &params).unwrap();
            let passes: Vec<Vec<f32>> = (0..3).map(|pass| noises(pass, LENS.iter().sum())).collect();
            params.write_grads(&passes[0]).unwrap();
            for pass in &passes[1..] {
                let mut encoder = gpu.encoder("add");
                params.record_add_grads(&mut Recorder::new(&gpu, &mut encoder), pass).unwrap();
                gpu.submit(encoder).unwrap();
            }
            optimizer.step(&mut params).unwrap();
            let mut sums: Vec<f32> = vec![0.0; passes[0].len()];
            passes.iter().for_each(|pass| sums.iter_mut().zip(pass).for_each(|(sum, g)| *sum += g));
            let total = norm(NormType::Two, &sums) * factor;
            let clip = clip.map_or(1.0, |clip| (clip.max_norm / (total + 1e-6)).min(1.0));
            for (got, sum) in negated(&params).into_iter().zip(sums) {
                close(got.into(), f64::from(sum) * factor * clip, 1e-6);
            }
            let read = optimizer.read_norm(None);
            assert_eq!(read.is_ok(), clip != 1.0);
            read.into_iter().for_each(|norm| close(norm.into(), total, 1e-6));
        }
    }
}
