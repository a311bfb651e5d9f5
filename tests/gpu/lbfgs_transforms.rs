//! Gradient transforms on the closures of L-BFGS, against what the closure would compute itself.

use gradus::gpu::Recorder;
use gradus::grad::{
    Accumulate, Centralize, ClipGradNorm, GradScaler, Noise, NormType, Penalty, Skip, Transform, Transforms,
};
use gradus::optim::{LBFGS, LbfgsOptimizer, LineSearch};
use gradus::{Error, Gpu, GpuOptions, ParamStore};

use crate::common::{bits, gpu, gpu_with, noises, padding, read_all};
use crate::network::gpus;

const LENS: [usize; 3] = [60, 20_011, 5];

/// A bowl whose curvature is another one for each parameter.
#[expect(clippy::cast_possible_truncation, reason = "the library computes in f32")]
fn bowl(params: &mut ParamStore) -> Result<f64, Error> {
    let mut value = 0.0;
    let grads = read_all(params).into_iter().enumerate().map(|(i, x)| {
        let (curvature, apart) = (1.0 + (i % 7) as f64, f64::from(x) - (i % 5) as f64);
        value += 0.5 * curvature * apart * apart;
        (curvature * apart) as f32
    });
    let grads: Vec<f32> = grads.collect();
    params.write_grads(&grads)?;
    Ok(value)
}

fn store(gpu: &Gpu) -> ParamStore {
    let data = noises(3, LENS.iter().sum());
    ParamStore::builder()
        .group("a", |g| g.tensor("w", [6, 10], &data[..60]).tensor("long", [20_011], &data[60..20_071]))
        .group("b", |g| g.tensor("s", [5], &data[20_071..]))
        .build(gpu)
        .unwrap()
}

fn penalties() -> Vec<Penalty> {
    vec![
        Penalty { l1: 0.25, l2: 0.0, tensors: vec!["w".into()], ..Penalty::default() },
        Penalty { l1: 0.01, l2: 0.5, groups: vec!["b".into()], ..Penalty::default() },
        Penalty { l2: 1.5, ..Penalty::default() },
    ]
}

/// l1 and l2 of each element.
fn factors() -> Vec<[f64; 2]> {
    let of = [[0.25, 1.5], [0.0, 1.5], [0.01, 2.0]];
    of.into_iter().zip(LENS).flat_map(|(of, len)| vec![of; len]).collect()
}

/// What [`penalties`] add to the loss, and to the gradients.
fn penalty_of(params: &ParamStore) -> (f64, Vec<f64>) {
    let terms = read_all(params).into_iter().zip(factors()).map(|(p, [l1, l2])| {
        let p = f64::from(p);
        let sign = if p == 0.0 { 0.0 } else { p.signum() };
        (l1 * p.abs() + l2 * p * p, l1 * sign + 2.0 * l2 * p)
    });
    let (values, slopes): (Vec<f64>, Vec<f64>) = terms.unzip();
    (values.iter().sum(), slopes)
}

/// The bowl with the penalties, as a closure of its own.
#[expect(clippy::cast_possible_truncation, reason = "the library computes in f32")]
fn penalised(params: &mut ParamStore) -> Result<f64, Error> {
    let value = bowl(params)?;
    let names = ["w", "long", "s"];
    let grads: Vec<f32> = names.iter().flat_map(|name| params.read_grad(name).unwrap()).collect();
    let (penalty, slopes) = penalty_of(params);
    let grads: Vec<f32> = grads.iter().zip(slopes).map(|(g, slope)| (f64::from(*g) + slope) as f32).collect();
    params.write_grads(&grads)?;
    Ok(value + penalty)
}

fn wolfe() -> LBFGS {
    LBFGS { line_search_fn: Some(LineSearch::StrongWolfe), max_iter: 6, ..LBFGS::default() }
}

fn with(transforms: Transforms, options: LBFGS, params: &ParamStore) -> LbfgsOptimizer {
    let mut optimizer = options.build(params).unwrap();
    optimizer.set_transforms(transforms, params).unwrap();
    optimizer
}

fn near(got: f64, want: f64, off: f64, what: &str) {
    assert!((got - want).abs() <= off * want.abs().max(1e-3), "{what}: got {got}, expected {want}");
}

#[test]
fn penalties_act_on_gradients_and_loss_as_if_the_closure_had_them() {
    let small = GpuOptions { max_binding_bytes: Some(65_536), ..GpuOptions::default() };
    for gpu in [gpu(), gpu_with(small)].into_iter().flatten() {
        for (options, frozen) in [
            (wolfe(), None),
            (wolfe(), Some("long")),
            // Its first step is so short that the change of the gradient is half rounding, and nothing searches.
            (LBFGS { max_iter: 1, ..LBFGS::default() }, Some("w")),
            (LBFGS { line_search_fn: Some(LineSearch::Zoom), ..LBFGS::optax() }, None),
            (LBFGS { line_search_fn: Some(LineSearch::Backtracking), ..LBFGS::optax() }, None),
        ] {
            let what = format!("{options:?}, {frozen:?}");
            let [mut ours, mut theirs] = [store(&gpu), store(&gpu)];
            for params in [&mut ours, &mut theirs] {
                frozen.iter().for_each(|name| params.freeze(name).unwrap());
            }
            let transforms = Transforms { penalties: penalties(), ..Transforms::default() };
            let mut optimizer = with(transforms, options.clone(), &ours);
            let mut other = options.build(&theirs).unwrap();
            // What is frozen adds nothing.
            let constant = frozen.map_or(0.0, |name| {
                let span = ours.layout().spans().iter().position(|span| span.name == name).unwrap();
                let first: usize = LENS[..span].iter().sum();
                let part = read_all(&ours)[first..first + LENS[span]].to_vec();
                let terms = part.into_iter().zip(factors().into_iter().skip(first));
                terms.map(|(p, [l1, l2])| l1 * f64::from(p).abs() + l2 * f64::from(p).powi(2)).sum()
            });
            for step in 0..3 {
                let got = optimizer.step(&mut ours, bowl).unwrap();
                let want = other.step(&mut theirs, penalised).unwrap();
                let what = format!("{what}, step {step}");
                // The points of later ones are apart by rounding, and steps make more of that.
                near(got.loss, want.loss - constant, if step == 0 { 2e-6 } else { 1e-4 }, &what);
                near(got.last_loss, want.last_loss - constant, 1e-4, &what);
                // What a search finds hangs on differences of losses, which rounding moves.
                if step == 0 && optimizer.options().max_iter == 1 {
                    for (got, want) in read_all(&ours).into_iter().zip(read_all(&theirs)) {
                        let off = (got - want).abs();
                        assert!(off <= 1e-6 * want.abs().max(1.0), "{what}: got {got}, expected {want}");
                    }
                }
            }
            assert!(padding(&ours).iter().all(|x| *x == 0.0));
        }
    }
}

#[test]
fn a_ridge_is_found_where_it_is() {
    let Some(gpu) = gpu() else { return };
    let mut params = store(&gpu);
    let ridge = Penalty { l2: 0.5, ..Penalty::default() };
    let transforms = Transforms { penalties: vec![ridge], ..Transforms::default() };
    let mut optimizer = with(transforms, LBFGS { max_iter: 50, ..wolfe() }, &params);
    optimizer.step(&mut params, bowl).unwrap();
    for (i, x) in read_all(&params).into_iter().enumerate() {
        let curvature = 1.0 + (i % 7) as f64;
        let want = curvature * (i % 5) as f64 / (curvature + 1.0);
        assert!((f64::from(x) - want).abs() < 1e-4, "{i}: got {x}, expected {want}");
    }
}

/// Gradients by group as they came, and what they should become.
fn clipped(transforms: &Transforms, grads: &[f32]) -> Vec<f64> {
    let mut grads: Vec<f64> = grads.iter().map(|g| f64::from(*g)).collect();
    if !transforms.custom.is_empty() {
        for row in grads[..60].chunks_mut(10) {
            let mean = row.iter().sum::<f64>() / 10.0;
            row.iter_mut().for_each(|g| *g -= mean);
        }
    }
    if let Some(clip) = &transforms.clip_grad_norm {
        let (a, b) = grads.split_at_mut(20_071);
        let norm = |part: &[f64]| match clip.norm_type {
            NormType::Two => part.iter().map(|g| g * g).sum::<f64>().sqrt(),
            NormType::One => part.iter().map(|g| g.abs()).sum(),
            NormType::Infinity => part.iter().fold(0.0, |most: f64, g| most.max(g.abs())),
        };
        let whole = norm(&[&*a, &*b].concat());
        for part in [a, b] {
            let of = if clip.per_group { norm(part) } else { whole };
            let factor = (clip.max_norm / (of + 1e-6)).min(1.0);
            part.iter_mut().for_each(|g| *g *= factor);
        }
    }
    let most = transforms.clip_grad_value.unwrap_or(f64::INFINITY);
    grads.iter().map(|g| g.clamp(-most, most)).collect()
}

#[test]
fn clips_and_centralisation_act_before_anything_is_made_of_gradients() {
    let clip =
        |norm_type, max_norm, per_group| ClipGradNorm { norm_type, per_group, ..ClipGradNorm::new(max_norm) };
    let none = Transforms::default;
    for gpu in gpus() {
        for transforms in [
            Transforms { clip_grad_norm: Some(clip(NormType::Two, 3.0, false)), ..none() },
            Transforms { clip_grad_norm: Some(clip(NormType::One, 5.0, true)), ..none() },
            Transforms { clip_grad_norm: Some(clip(NormType::Infinity, 1e9, false)), ..none() },
            Transforms { clip_grad_value: Some(2.5), ..none() },
            Transforms { custom: vec![Box::new(Centralize::default())], ..none() },
            Transforms {
                custom: vec![Box::new(Centralize::default())],
                clip_grad_norm: Some(clip(NormType::Two, 100.0, true)),
                clip_grad_value: Some(0.5),
                ..none()
            },
        ] {
            let what = format!("{transforms:?}");
            let mut params = store(&gpu);
            let before = read_all(&params);
            bowl(&mut params).unwrap();
            let given: Vec<f32> =
                ["w", "long", "s"].iter().flat_map(|name| params.read_grad(name).unwrap()).collect();
            let want = clipped(&transforms, &given);
            // The first iteration goes 1 / |g|_1 along -g.
            let mut optimizer = with(transforms, LBFGS { max_iter: 1, ..LBFGS::default() }, &params);
            optimizer.step(&mut params, bowl).unwrap();
            let t = (1.0 / want.iter().map(|g| g.abs()).sum::<f64>()).min(1.0);
            let reached = ["w", "long", "s"].iter().flat_map(|name| params.read_grad(name).unwrap());
            for ((got, want), (p, start)) in reached.zip(&want).zip(read_all(&params).iter().zip(&before)) {
                assert!(
                    (f64::from(got) - want).abs() <= 1e-5 * want.abs() + 1e-6,
                    "{what}: {got} and {want}"
                );
                let moved = f64::from(*start) - t * want;
                assert!(
                    (f64::from(*p) - moved).abs() <= 1e-6 * moved.abs().max(0.1),
                    "{what}: {p} and {moved}"
                );
            }
            assert!(padding(&params).iter().all(|x| *x == 0.0), "{what}");
        }
    }
}

#[test]
fn no_transforms_change_no_bit_and_cost_nothing() {
    let Some(gpu) = gpu() else { return };
    let [plain, without] = [false, true].map(|sets| {
        let mut params = store(&gpu);
        let mut optimizer = wolfe().build(&params).unwrap();
        if sets {
            optimizer
                .set_transforms(Transforms { penalties: penalties(), ..Transforms::default() }, &params)
                .unwrap();
            optimizer.set_transforms(Transforms::default(), &params).unwrap();
        }
        let before = gpu.counters();
        optimizer.step(&mut params, bowl).unwrap();
        (bits(&read_all(&params)), gpu.counters().since(&before).dispatches)
    });
    assert_eq!(plain, without);
}

#[test]
fn a_state_dict_goes_on_under_the_transforms_that_are_set() {
    let Some(gpu) = gpu() else { return };
    let transforms = || Transforms {
        clip_grad_norm: Some(ClipGradNorm::new(50.0)),
        penalties: penalties(),
        ..Transforms::default()
    };
    let options = LBFGS { max_iter: 3, ..wolfe() };
    let mut params = store(&gpu);
    let mut optimizer = with(transforms(), options.clone(), &params);
    optimizer.step(&mut params, bowl).unwrap();
    let (dict, values) = (optimizer.read_state_dict(&params).unwrap(), read_all(&params));
    optimizer.step(&mut params, bowl).unwrap();
    let want = bits(&read_all(&params));
    let mut second = store(&gpu);
    let mut optimizer = with(transforms(), options, &second);
    optimizer.load_state_dict(&second, &dict).unwrap();
    let mut rest = &values[..];
    for span in second.layout().clone().spans() {
        let (part, after) = rest.split_at(span.len);
        second.write(&span.name, part).unwrap();
        rest = after;
    }
    optimizer.step(&mut second, bowl).unwrap();
    assert!(bits(&read_all(&second)) == want);
}

#[derive(Debug)]
struct Refuses;

impl Transform for Refuses {
    fn prepare(&mut self, _: &ParamStore) -> Result<(), Error> {
        Err(Error::Mismatch("no".into()))
    }

    fn record(&mut self, _: &mut Recorder<'_>, _: &ParamStore) -> Result<(), Error> {
        unreachable!("it was never prepared")
    }
}

#[test]
fn what_cannot_act_on_a_closure_is_refused_and_changes_nothing() {
    let Some(gpu) = gpu() else { return };
    let mut params = store(&gpu);
    let mut optimizer =
        with(Transforms { clip_grad_value: Some(1e3), ..Transforms::default() }, wolfe(), &params);
    optimizer.step(&mut params, bowl).unwrap();
    let remembered = optimizer.remembered();
    assert!(remembered > 0);
    let none = Transforms::default;
    let strict = ClipGradNorm { error_if_nonfinite: true, ..ClipGradNorm::new(1.0) };
    let rows = [
        (Transforms { accumulate: Some(Accumulate::new(2)), ..none() }, "accumulate"),
        (Transforms { grad_scaler: Some(GradScaler::default()), ..none() }, "grad_scaler"),
        (Transforms { skip: Some(Skip::default()), ..none() }, "skip"),
        (Transforms { noise: Some(Noise::default()), ..none() }, "noise"),
        (Transforms { clip_grad_norm: Some(strict), ..none() }, "error_if_nonfinite"),
    ];
    for (transforms, name) in rows {
        let error = optimizer.set_transforms(transforms, &params).unwrap_err();
        assert!(matches!(error, Error::Config { .. }), "{error:?}");
        assert!(
            error.to_string().starts_with("optimizer LBFGS: ") && error.to_string().contains(name),
            "{error}"
        );
    }
    let unknown = vec![Penalty { tensors: vec!["v".into()], ..Penalty::default() }];
    let error = optimizer.set_transforms(Transforms { penalties: unknown, ..none() }, &params).unwrap_err();
    assert!(matches!(error, Error::UnknownName { .. }), "{error:?}");
    let error =
        optimizer.set_transforms(Transforms { clip_grad_value: Some(-1.0), ..none() }, &params).unwrap_err();
    assert!(matches!(error, Error::Constant { .. }), "{error:?}");
    let own = Transforms { custom: vec![Box::new(Refuses)], ..none() };
    assert!(matches!(optimizer.set_transforms(own, &params), Err(Error::Mismatch(_))));
    let other = store(&gpu);
    assert!(matches!(optimizer.set_transforms(none(), &other), Err(Error::Mismatch(_))));
    assert_eq!(optimizer.remembered(), remembered);
    assert_eq!(optimizer.transforms().clip_grad_value, Some(1e3));
    // A penalty that is above the largest f32 is told as a loss that is not finite.
    let huge = vec![Penalty { l2: 1e30, ..Penalty::default() }];
    optimizer.set_transforms(Transforms { penalties: huge, ..none() }, &params).unwrap();
    params.write("s", &[1e15; 5]).unwrap();
    assert!(matches!(optimizer.step(&mut params, bowl), Err(Error::NonFinite(_))));
}
