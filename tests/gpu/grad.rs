//! What happens to gradients before a rule: norms, what is not finite, accumulation, transforms of one's own, and what
//! all of it costs.

use std::sync::Arc;

use gradus::gpu::{Binding, Kernel, KernelSource, Recorder};
use gradus::grad::{
    Accumulate, Centralize, ClipGradNorm, ClipVariant, GradScaler, Noise, NormType, Penalty, Reduction, Skip,
    Transform, Transforms,
};
use gradus::optim::{self, AnyRule, Optimizer, Rule, SGD};
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

fn close(got: f64, want: f64, off: f64) {
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
                let outcome = optimizer.read_outcomes().unwrap()[0];
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
    for variant in [ClipVariant::Torch, ClipVariant::Optax] {
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
    for (variant, factor) in [(ClipVariant::Torch, 5.0 / 6.0), (ClipVariant::Optax, 1.0)] {
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
        assert!(optimizer.read_outcomes().unwrap()[0].skipped, "{bad} at {place}");
        grads[place] = good;
    }
    assert!(params.read("w").unwrap().iter().all(|p| p.to_bits() == 0));
    params.write_grads(&grads).unwrap();
    optimizer.step(&mut params).unwrap();
    assert!(!optimizer.read_outcomes().unwrap()[0].skipped);
    assert_eq!((optimizer.applied("w").unwrap(), optimizer.attempted()), (1, 7));
    assert_eq!(params.read("w").unwrap()[..2], [-f32::MAX, f32::MAX]);
}

#[test]
fn what_it_costs() {
    let Some(gpu) = gpu() else { return };
    let none = Transforms::default;
    let clip = || Some(ClipGradNorm::new(0.5));
    let penalties = || vec![Penalty { l1: 0.1, ..Penalty::default() }];
    let rows = [
        ("nothing", none(), 1),
        ("clip_grad_norm", Transforms { clip_grad_norm: clip(), ..none() }, 4),
        ("clip_grad_value", Transforms { clip_grad_value: Some(0.1), ..none() }, 1),
        ("noise", Transforms { noise: Some(Noise::default()), ..none() }, 1),
        ("penalty", Transforms { penalties: penalties(), ..none() }, 1),
        ("accumulate", Transforms { accumulate: Some(Accumulate::new(4)), ..none() }, 1),
        ("skip", Transforms { skip: Some(Skip::default()), ..none() }, 5),
        ("both", Transforms { skip: Some(Skip::default()), clip_grad_norm: clip(), ..none() }, 5),
        ("grad_scaler", Transforms { grad_scaler: Some(GradScaler::default()), ..none() }, 5),
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
            5,
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
            optimizer.read_outcomes().unwrap();
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
    optimizer.read_outcomes().unwrap();
    let skip = Transforms { skip: Some(Skip::default()), ..Transforms::default() };
    optimizer.set_transforms(skip, &params).unwrap();
    for _ in 0..40 {
        optimizer.step(&mut params).unwrap();
    }
    let seen = optimizer.read_outcomes().unwrap();
    assert!(seen.iter().map(|outcome| outcome.step).eq(40..80), "{seen:?}");
    assert_eq!(optimizer.applied("z").unwrap(), 80);
    let mut encoder = gpu.encoder("on its way");
    let ticket = optimizer.record(&mut encoder, &mut params).unwrap();
    let error = optimizer.set_transforms(Transforms::default(), &params).unwrap_err().to_string();
    let message =
        "transforms: the outcomes of some steps are on their way: submit these, and read_outcomes first";
    assert_eq!((error.as_str(), optimizer.transforms().may_skip()), (message, true));
    gpu.submit(encoder).unwrap();
    optimizer.submitted(ticket).unwrap();
    optimizer.read_outcomes().unwrap();
    optimizer.set_transforms(Transforms::default(), &params).unwrap();
    assert_eq!(optimizer.poll_outcome().unwrap(), None);
}

#[test]
fn several_backward_passes_make_a_step() {
    let Some(gpu) = gpu() else { return };
    for (reduction, factor) in [(Reduction::Mean, 1.0 / 3.0), (Reduction::Sum, 1.0)] {
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

#[test]
fn centralised_gradients_have_no_mean() {
    let Some(gpu) = gpu() else { return };
    let (mut params, mut optimizer) = zeros(&gpu);
    let transforms = Transforms { custom: vec![Box::new(Centralize::default())], ..Transforms::default() };
    optimizer.set_transforms(transforms, &params).unwrap();
    let mut want = noises(9, LENS.iter().sum());
    params.write_grads(&want).unwrap();
    optimizer.step(&mut params).unwrap();
    for row in want[LENS[0]..LENS[0] + LENS[1]].chunks_mut(1000) {
        let mean = row.iter().map(|g| f64::from(*g)).sum::<f64>() / 1000.0;
        #[expect(clippy::cast_possible_truncation, reason = "rounding is the purpose")]
        row.iter_mut().for_each(|g| *g = (f64::from(*g) - mean) as f32);
    }
    for (index, (got, want)) in negated(&params).into_iter().zip(&want).enumerate() {
        assert!((got - want).abs() < 1e-6, "{index}: got {got}, expected {want}");
    }
    assert_eq!(negated(&params)[..LENS[0]], want[..LENS[0]]);
}

/// A transform of one's own, whole: the gradients of one tensor become their signs.
#[derive(Debug, Default)]
struct Signs {
    made: Option<(Arc<Kernel>, wgpu::BindGroup, u32)>,
}

impl Transform for Signs {
    fn prepare(&mut self, params: &ParamStore) -> Result<(), Error> {
        let kernel = params.gpu().kernel(&KernelSource {
            name: "signs".into(),
            wgsl: "@group(0) @binding(0) var<storage, read_write> grad: array<f32>;
                @compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) {
                    if id.x < arrayLength(&grad) { grad[id.x] = sign(grad[id.x]); }
                }"
            .into(),
            bindings: vec![Binding::ReadWrite],
        })?;
        let span = params.layout().span("y")?;
        let group = params.gpu().bind_group(&kernel, &[params.grads().region_of(span)?])?;
        self.made = Some((kernel, group, u32::try_from(span.len.div_ceil(64)).expect("small")));
        Ok(())
    }

    fn record(&mut self, recorder: &mut Recorder<'_>, _: &ParamStore) -> Result<(), Error> {
        if let Some((kernel, group, workgroups)) = &self.made {
            recorder.dispatch(kernel, group, &[], [*workgroups, 1, 1]);
        }
        Ok(())
    }
}

#[test]
fn a_transform_of_ones_own_comes_first() {
    let Some(gpu) = gpu() else { return };
    let (mut params, mut optimizer) = zeros(&gpu);
    let transforms = Transforms {
        custom: vec![Box::new(Signs::default())],
        clip_grad_norm: Some(ClipGradNorm::new(20.0)),
        ..Transforms::default()
    };
    optimizer.set_transforms(transforms, &params).unwrap();
    params.write_grad("y", &noises(2, 40_000)).unwrap();
    optimizer.step(&mut params).unwrap();
    // The norm of 40,000 signs is 200.
    for (p, g) in params.read("y").unwrap().into_iter().zip(noises(2, 40_000)) {
        close(p.into(), -0.1 * f64::from(g.signum()), 1e-6);
    }
}
