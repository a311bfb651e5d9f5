//! Reports of the norms of gradients, parameters and updates, against f64 on the host.

mod runs;

use gradus::grad::{Accumulate, ClipGradNorm, GradScaler, Penalty, Skip, Transforms};
use gradus::optim::{self, AnyRule, CustomRule, Ema, Lookahead, NormReport, Norms, Optimizer, RULES, SGD};
use gradus::{Gpu, GpuOptions, ParamStore};
use serde_json::json;

use crate::common::{bits, default_of, gpu, gpu_with, gradients, noises, read_all};
use crate::network::gpus;

fn norm(values: impl Iterator<Item = f64>) -> f64 {
    values.map(|x| x * x).sum::<f64>().sqrt()
}

/// Parameters or gradients by tensor.
fn by_tensor(params: &ParamStore, all: &[f32]) -> Vec<Vec<f64>> {
    let mut rest = all;
    let part = |len: usize| {
        let (part, after) = rest.split_at(len);
        rest = after;
        part.iter().map(|x| f64::from(*x)).collect()
    };
    params.layout().spans().iter().map(|span| span.len).map(part).collect()
}

/// The norms of one tensor, where gradients are multiplied by `scale`.
fn norms_of(grads: &[f64], before: &[f64], after: &[f64], scale: f64) -> Norms {
    Norms {
        gradient: norm(grads.iter().map(|g| g * scale)),
        parameter: norm(before.iter().copied()),
        update: norm(before.iter().zip(after).map(|(before, after)| after - before)),
    }
}

/// Compares a report with what was read before and after its step.
fn check(
    params: &ParamStore,
    report: &NormReport,
    [grads, before, after]: [&[f32]; 3],
    scale: f64,
    what: &str,
) {
    let [grads, before, after] = [grads, before, after].map(|all| by_tensor(params, all));
    let spans = params.layout().spans().iter().enumerate();
    let trained: Vec<_> = spans.filter(|(_, span)| !params.is_frozen(&span.name).unwrap()).collect();
    let names: Vec<&str> = report.tensors.iter().map(|tensor| &tensor.name[..]).collect();
    assert_eq!(names, trained.iter().map(|(_, span)| &span.name[..]).collect::<Vec<_>>(), "{what}");
    let near = |got: f64, want: f64, of: &str| {
        let same = got == want || (got.is_nan() && want.is_nan());
        assert!(same || (got - want).abs() <= 1e-6 * want, "{what}, {of}: got {got:e}, expected {want:e}");
    };
    let compare = |got: &Norms, want: &Norms, of: &str| {
        near(got.gradient, want.gradient, &format!("gradient of {of}"));
        near(got.parameter, want.parameter, &format!("parameter {of}"));
        near(got.update, want.update, &format!("update of {of}"));
    };
    for ((tensor, span), got) in trained.iter().zip(&report.tensors) {
        let want = norms_of(&grads[*tensor], &before[*tensor], &after[*tensor], scale);
        compare(&got.norms, &want, &span.name);
    }
    let all =
        |of: &[Vec<f64>]| trained.iter().flat_map(|(tensor, _)| of[*tensor].clone()).collect::<Vec<_>>();
    let want = norms_of(&all(&grads), &all(&before), &all(&after), scale);
    compare(&report.total, &want, "all");
}

/// Tensors below a vector, above a tile, and matrices.
fn odd_store(gpu: &Gpu) -> ParamStore {
    let data = noises(8, 20_100);
    ParamStore::builder()
        .group("a", |g| g.tensor("w", [33, 20], &data[..660]).tensor("b", [7], &data[..7]))
        .group("b", |g| {
            g.tensor("long", [20_011], &data[..20_011]).tensor("e", [0], &[]).tensor("one", [1], &[3.0])
        })
        .build(gpu)
        .unwrap()
}

/// Takes a step that reports and checks it.
fn step_and_check<R: AnyRule + Clone>(
    params: &mut ParamStore,
    optimizer: &mut Optimizer<R>,
    (grads, scale): (&[f32], f64),
    what: &str,
) -> NormReport {
    let (before, step) = (read_all(params), optimizer.attempted());
    params.write_grads(grads).unwrap();
    optimizer.step(params).unwrap();
    let after = read_all(params);
    let mut reports = optimizer.read_norm_reports().unwrap();
    assert_eq!((reports.len(), reports[0].step), (1, step), "{what}");
    check(params, &reports[0], [grads, &before, &after], scale, what);
    reports.remove(0)
}

fn custom() -> CustomRule {
    let text =
        "fn rule(p: vec4f, g: vec4f, s: ptr<function, State>) -> vec4f { return p - call.lr * sign_of(g); }";
    CustomRule::builder("Signs", text).lr(0.01).build().unwrap()
}

/// Every rule, a rule of one's own, and rules within Lookahead.
fn rules() -> Vec<Box<dyn AnyRule>> {
    let mut rules: Vec<Box<dyn AnyRule>> =
        RULES.iter().map(|entry| optim::from_json(&default_of(entry)).unwrap()).collect();
    rules.push(custom().into());
    let ahead = |inner: Box<dyn AnyRule>| Lookahead::new(inner).into();
    rules.push(ahead(SGD { lr: 0.1, ..SGD::default() }.into()));
    rules.push(ahead(optim::from_json(&json!({"name": "Lamb"})).unwrap()));
    rules
}

#[test]
fn reports_of_every_rule_are_right_and_change_no_bit() {
    let Some(gpu) = gpu() else { return };
    for rule in rules() {
        let what = rule.name().to_owned();
        let [plain, reported] = [false, true].map(|reports| {
            let mut params = odd_store(&gpu);
            let mut optimizer = rule.clone().build(&params).unwrap();
            // Rules with many slots have no room for them on some devices.
            let _ = optimizer.set_averages(Ema::new(0.9), &params);
            if reports {
                optimizer.report_norms(1, &params).unwrap();
            }
            for step in 0..3 {
                let grads = gradients(step, params.layout().parameters());
                if reports {
                    step_and_check(&mut params, &mut optimizer, (&grads, 1.0), &what);
                } else {
                    params.write_grads(&grads).unwrap();
                    optimizer.step(&mut params).unwrap();
                }
            }
            bits(&read_all(&params))
        });
        assert!(plain == reported, "{what}");
    }
}

/// Parameters and gradients of very different sizes, and what is not finite.
fn sizes() -> Vec<(String, Vec<f32>, Vec<f32>)> {
    let len = 21_000;
    let around = |stream: u64, size: f32| noises(stream, len).iter().map(|x| x * size).collect::<Vec<f32>>();
    let mut rows = Vec::new();
    for (p, g) in [
        (1.0, 1e-30),
        (1.0, 1e-12),
        (1e-30, 1e-31),
        (1e-38, 1e-39),
        (1e-42, 1e-43),
        (1e30, 1e25),
        (3e38, 3e38),
        (1e-20, 1e30),
        (1e18, 1e18),
        (0.0, 0.0),
    ] {
        rows.push((format!("{p:e} and {g:e}"), around(1, p), around(2, g)));
    }
    let mixed = |stream: u64, sizes: &[f32]| -> Vec<f32> {
        around(stream, 1.0).iter().enumerate().map(|(i, x)| x * sizes[i % sizes.len()]).collect()
    };
    // What changes is tiny, beside what is huge and does not.
    rows.push(("mixed".into(), mixed(3, &[1e-35, 1e35]), mixed(4, &[1e-36, 0.0])));
    rows.push(("mixed more".into(), mixed(3, &[1e-35, 1e35, 1.0]), mixed(4, &[1e-36, 1e30, 1e-3, 0.0])));
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        for (at_p, at_g) in
            [(None, Some(5)), (Some(5), None), (Some(19_000), Some(19_000)), (Some(3), Some(700))]
        {
            let (mut p, mut g) = (around(1, 1.0), around(2, 1.0));
            at_p.iter().for_each(|at: &usize| p[*at] = bad);
            at_g.iter().for_each(|at: &usize| g[*at] = bad);
            rows.push((format!("{bad} at {at_p:?} and {at_g:?}"), p, g));
        }
    }
    rows
}

#[test]
fn norms_of_numbers_of_any_size_are_right() {
    for gpu in gpus() {
        for (what, data, grads) in sizes() {
            let mut params = odd_store(&gpu);
            let mut rest = &data[..];
            for span in params.layout().clone().spans() {
                let (part, after) = rest.split_at(span.len);
                params.write(&span.name, part).unwrap();
                rest = after;
            }
            let grads = &grads[..params.layout().parameters()];
            let mut optimizer =
                optim::from_json(&json!({"name": "SGD", "lr": 1})).unwrap().build(&params).unwrap();
            optimizer.report_norms(1, &params).unwrap();
            step_and_check(&mut params, &mut optimizer, (grads, 1.0), &what);
        }
    }
}

#[test]
fn windows_buffers_and_frozen_tensors_are_told_apart() {
    let small = GpuOptions {
        max_binding_bytes: Some(65_536),
        max_buffer_bytes: Some(3 * 65_536),
        ..Default::default()
    };
    for gpu in [gpu(), gpu_with(small)].into_iter().flatten() {
        let data = [noises(1, 10_000), noises(2, 100_000), noises(3, 40_000), noises(4, 10)];
        let mut params = ParamStore::builder()
            .group("a", |g| g.tensor("w", [10_000], &data[0]).tensor("x", [100, 1000], &data[1]))
            .group("b", |g| g.tensor("y", [40_000], &data[2]).tensor("z", [10], &data[3]))
            .build(&gpu)
            .unwrap();
        let windows = params.layout().windows().count() as u64;
        let mut optimizer = optim::from_json(&json!({"name": "AdamW"})).unwrap().build(&params).unwrap();
        optimizer.report_norms(1, &params).unwrap();
        let frozen: [&[&str]; 4] = [&[], &["x"], &["w", "z"], &["w", "x", "y", "z"]];
        for (step, names) in frozen.into_iter().enumerate() {
            for name in ["w", "x", "y", "z"] {
                if names.contains(&name) { params.freeze(name) } else { params.thaw(name) }.unwrap();
            }
            // Of what is frozen nobody looks at the gradient.
            let mut grads = noises(5 + step as u64, 150_010);
            if names.contains(&"x") {
                grads[10_500] = f32::NAN;
            }
            let before = gpu.counters();
            step_and_check(&mut params, &mut optimizer, (&grads, 1.0), &format!("{names:?}"));
            if names.is_empty() {
                // Two groups share a window.
                assert_eq!(gpu.counters().since(&before).dispatches, 2 * windows + 1);
                assert_eq!(optimizer.dispatches().len() as u64, 2 * windows + 1);
            }
        }
    }
}

#[test]
fn gradients_are_those_before_the_clip_and_after_unscaling() {
    let Some(gpu) = gpu() else { return };
    let transforms = Transforms {
        accumulate: Some(Accumulate::new(4)),
        grad_scaler: Some(GradScaler { growth_interval: 2, init_scale: 1024.0, ..GradScaler::default() }),
        skip: Some(Skip::default()),
        clip_grad_norm: Some(ClipGradNorm::new(0.5)),
        clip_grad_value: Some(0.01),
        penalties: vec![Penalty { l2: 0.1, ..Penalty::default() }],
        ..Transforms::default()
    };
    let mut params = odd_store(&gpu);
    let mut optimizer = optim::from_json(&json!({"name": "SGD", "lr": 0.1})).unwrap().build(&params).unwrap();
    optimizer.set_transforms(transforms, &params).unwrap();
    optimizer.report_norms(1, &params).unwrap();
    let mut loss_scale = 1024.0;
    for step in 0..8 {
        let mut grads = gradients(step, params.layout().parameters());
        let skipped = [2, 5].contains(&step);
        if skipped {
            grads[step] = f32::INFINITY;
        }
        let what = format!("step {step}");
        let report = step_and_check(&mut params, &mut optimizer, (&grads, 0.25 / loss_scale), &what);
        assert_eq!(report.skipped, skipped, "{what}");
        assert_eq!((report.total.update == 0.0, report.total.gradient.is_infinite()), (skipped, skipped));
        let result = optimizer.read_step_results().unwrap()[0];
        assert_eq!((result.skipped, result.step), (skipped, step as u64));
        if !skipped {
            let (got, want) = (f64::from(result.norm), report.total.gradient);
            assert!((got - want).abs() <= 1e-6 * want, "{what}: {got} and {want}");
        }
        loss_scale = f64::from(result.loss_scale);
    }
    assert_ne!(loss_scale, 1024.0);
}
