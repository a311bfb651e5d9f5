use super::*;
use crate::optim::{NormReport, Norms, TensorNorms};

/// A number in [-1, 1) that looks random.
fn noise(index: u64) -> f64 {
    let mut x = index.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((x >> 44) as f64) / f64::from(1 << 19) - 1.0
}

fn found(observed: &Observed) -> Vec<Problem> {
    of(observed, &RunInfo::default(), 9).into_iter().map(|diagnosis| diagnosis.problem).collect()
}

#[expect(clippy::cast_possible_truncation, reason = "rounds to the nearest f32")]
fn after(batches: u64, samples: usize, loss: impl Fn(f64, u64) -> f64) -> Vec<Problem> {
    let mut observed = Observed::default();
    (0..batches).for_each(|step| observed.loss(step, loss(step as f64, step) as f32, samples));
    found(&observed)
}

#[test]
fn curves_have_the_problem_that_they_show() {
    let healthy = |t: f64, step: u64| 2.3 / (1.0 + 0.05 * t) + 0.15 * noise(step);
    let none: &[Problem] = &[];
    for batches in [10, 64, 100, 128, 129, 1000] {
        assert_eq!(after(batches, 32, healthy), none, "{batches}");
        // Fast and slow, nearly without noise, and with as much of it as single samples have.
        assert_eq!(after(batches, 32, |t, _| 2.3 * (-0.3 * t).exp()), none, "{batches}");
        assert_eq!(after(batches, 32, |t, _| 2.3 * (-0.003 * t - 0.05).exp()), none, "{batches}");
        let alone = |t: f64, step: u64| 2.3 * (1.0 + 0.9 * noise(step)) / (1.0 + 0.05 * t);
        assert_eq!(after(batches, 1, alone), none, "{batches}");
    }
    // A sudden drop, and a spike, are no swings.
    assert_eq!(after(100, 32, |t, _| if t < 50.0 { 2.3 } else { 0.3 }), none);
    assert_eq!(after(100, 32, |t, step| if step == 70 { 20.0 } else { healthy(t, step) }), none);
    // The tutorials' curves.
    let oscillating = |t: f64, _| 1.0 / (1.0 + 0.02 * t) + 0.2 * (0.5 * t).sin();
    assert_eq!(after(100, 32, oscillating), [Problem::Oscillation]);
    assert_eq!(
        after(100, 32, |_, step| 2.3 + if step % 2 == 0 { 0.5 } else { -0.5 }),
        [Problem::Oscillation]
    );
    assert_eq!(after(100, 32, |_, step| 2.3 + 0.02 * noise(step)), [Problem::Plateau]);
    assert_eq!(after(95, 32, |_, step| 2.3 + 0.02 * noise(step)), none);
    assert_eq!(after(100, 32, |t, _| 2.3 * (1.0 - 0.0003 * t)), [Problem::Plateau]);
    assert_eq!(after(100, 32, |t, _| 2.3 * (1.0 - 0.001 * t)), none);
    assert_eq!(after(20, 32, |t, _| 2.3 * (0.2 * t).exp()), [Problem::ExplodingGradients]);
    assert_eq!(after(20, 32, |t, _| 2.3 * (0.1 * t).exp()), none);
    assert_eq!(after(1, 32, |_, _| f64::NAN), [Problem::ExplodingGradients]);
    // What is below zero has no relation to the first loss.
    assert_eq!(after(200, 32, |t, _| -1.0 - t), none);
}

/// Reports of `weights` weights of four elements, whose gradients grow by `factor` from each to the next, with a bias each.
fn reports(count: u64, weights: usize, factor: f64, update: f64) -> Observed {
    let mut run = RunInfo::default();
    let mut tensors = Vec::new();
    for weight in 0..weights {
        let norms = |gradient| Norms { gradient, parameter: 1.0, update };
        for (name, shape) in [("weight", vec![2, 2]), ("bias", vec![2])] {
            let name = format!("{weight}.{name}");
            run.tensors.push((name.clone(), shape.clone()));
            let gradient = if shape.len() > 1 { factor.powi(i32::try_from(weight).unwrap()) } else { 0.0 };
            tensors.push(TensorNorms { name, norms: norms(gradient) });
        }
    }
    let squares = tensors.iter().map(|tensor| tensor.norms.gradient.powi(2)).sum::<f64>();
    let total = Norms { gradient: squares.sqrt(), parameter: 1.0, update };
    let mut observed = Observed::default();
    for step in 0..count {
        observed.norms(&NormReport { step, skipped: false, tensors: tensors.clone(), total }, &run);
    }
    observed
}

#[test]
fn gradients_of_layers_tell_by_their_ends() {
    let none: &[Problem] = &[];
    for (weights, factor, problem) in [
        (20, 5.0, &[Problem::VanishingGradients][..]),
        (20, 0.2, &[Problem::ExplodingGradients]),
        (20, 1.3, none),
        (3, 101.0, &[Problem::VanishingGradients]),
        (3, 99.0, none),
        // Two weights have no ends.
        (2, 1e9, none),
    ] {
        assert_eq!(found(&reports(2, weights, factor, 1e-3)), problem, "{weights} {factor}");
        assert_eq!(found(&reports(1, weights, factor, 1e-3)), none, "one report");
    }
    let mut zero = reports(1, 2, 1.0, 1e-3);
    let report = |gradient, skipped| NormReport {
        step: 7,
        skipped,
        tensors: vec![TensorNorms {
            name: "0.weight".into(),
            norms: Norms { gradient, parameter: 1.0, update: 0.0 },
        }],
        total: Norms { gradient, parameter: 1.0, update: 0.0 },
    };
    zero.norms(&report(0.0, false), &RunInfo::default());
    assert_eq!(found(&zero), [Problem::VanishingGradients]);
    let mut scaled = reports(2, 2, 1.0, 1e-3);
    scaled.norms(&report(f64::INFINITY, true), &RunInfo::default());
    assert_eq!(found(&scaled), none, "a scaler looks for its factor");
    scaled.norms(&report(f64::NAN, false), &RunInfo::default());
    assert_eq!(found(&scaled), [Problem::ExplodingGradients]);
    let mut longer = reports(1, 1, 1.0, 1e-3);
    longer.norms(&report(999.0, false), &RunInfo::default());
    assert_eq!(found(&longer), none);
    longer.norms(&report(1001.0, false), &RunInfo::default());
    assert_eq!(found(&longer), [Problem::ExplodingGradients]);
}

#[test]
fn words_have_the_figures_and_the_advice_of_the_rate() {
    let say = |update: f64| {
        let mut observed = reports(3, 2, 1.0, update);
        (0..100).for_each(|step| observed.loss(step, 2.0, 32));
        of(&observed, &RunInfo::default(), 100).remove(0).to_string()
    };
    assert_eq!(
        say(2e-6),
        "plateau: after 100 batches the loss is 2.0000, 0.0 % below that of the beginning, and updates are 2.0e-6 of the \
         parameters, where about 1e-3 is usual; the learning rate is too small: raise it, or let a warm-up find the \
         largest that works"
    );
    assert!(say(1e-3).contains("the learning rate moves the weights"), "{}", say(1e-3));
    let earlier = RunInfo { first_step: 5, ..RunInfo::default() };
    let mut observed = Observed::default();
    (0..100).for_each(|step| observed.loss(step, 2.0, 32));
    assert!(
        of(&observed, &earlier, 100).is_empty(),
        "a run that goes on from trained weights may begin flat"
    );
}

#[test]
fn what_was_observed_goes_through_json() {
    let mut observed = reports(3, 4, 1.7, 1e-3);
    (0..200).for_each(|step| observed.loss(step, 1.0 / (step as f32 + 3.0), 7));
    observed.loss(200, f32::NAN, 7);
    observed.diagnoses = of(&observed, &RunInfo::default(), 201);
    let text = serde_json::to_string(&observed).unwrap();
    assert_eq!(serde_json::from_str::<Observed>(&text).unwrap(), observed);
}
