//! The losses of elements and their targets, and of pairs of rows.

use gradus::Gpu;
use gradus::graph::{Graph, Init, PlanOptions, Var};
use gradus::nn::{BCEWithLogitsLoss, CosineEmbeddingLoss, HuberLoss, KLDivLoss, Reduction, SmoothL1Loss};

use super::{REDUCTIONS, reduced};
use crate::common::noises;
use crate::network::{gpus, run};
use crate::ops::{Case, check_all};
use crate::reference::assert_close;

/// A loss of elements of one shape and its target's, in f64.
struct OfElements<'a> {
    name: &'static str,
    /// Where the values lie, of noise in `[-1, 1]`: plus, times.
    x: [f64; 2],
    target: [f64; 2],
    build: &'a dyn Fn(&Var, &Var, Reduction) -> Var,
    value: &'a dyn Fn(f64, f64) -> f64,
}

impl OfElements<'_> {
    #[expect(clippy::cast_possible_truncation, reason = "the library computes in f32")]
    fn check(&self, gpus: &[Gpu]) {
        let noise = |stream, len, [shift, scale]: [f64; 2]| -> Vec<f32> {
            noises(stream, len).into_iter().map(|x| (shift + scale * f64::from(x)) as f32).collect()
        };
        for shape in [&[1][..], &[7], &[3, 5], &[65, 4], &[2, 3, 1, 5]] {
            for reduction in [REDUCTIONS[0], REDUCTIONS[1], REDUCTIONS[2], Reduction::BatchMean] {
                let len: usize = shape.iter().product();
                let case = Case {
                    name: format!("{} of {shape:?}, {reduction:?}", self.name),
                    parameters: vec![("x", noise(1, len, self.x)), ("target", noise(2, len, self.target))],
                    labels: None,
                    build: &|graph| {
                        let value = |name| graph.parameter(name, shape, Init::Constant(0.0));
                        (self.build)(&value("x"), &value("target"), reduction)
                    },
                    value: &|t| {
                        let parts: Vec<f64> =
                            t[0].iter().zip(&t[1]).map(|(x, t)| (self.value)(*x, *t)).collect();
                        match reduction {
                            Reduction::BatchMean => vec![parts.iter().sum::<f64>() / shape[0] as f64],
                            _ => reduced(reduction, &parts, &vec![1.0; len]),
                        }
                    },
                    half: 1e-5,
                };
                check_all(gpus, &case, len);
            }
        }
    }
}

fn smooth(x: f64, t: f64, beta: f64) -> f64 {
    let size = (x - t).abs();
    if size < beta { size * size / (2.0 * beta) } else { size - beta / 2.0 }
}

fn huber(x: f64, t: f64, delta: f64) -> f64 {
    let size = (x - t).abs();
    if size < delta { size * size / 2.0 } else { delta * (size - delta / 2.0) }
}

#[test]
fn losses_of_differences_are_squares_up_to_a_bound_and_sizes_beyond() {
    let gpus = gpus();
    let (x, target) = ([0.0, 2.0], [0.1, 1.0]);
    let l1: &dyn Fn(f64, f64) -> f64 = &|x, t| (x - t).abs();
    OfElements { name: "l1_loss", x, target, build: &|x, t, r| x.l1_loss_with(r, t), value: l1 }.check(&gpus);
    for beta in [0.0, 0.3, 1.0, 50.0] {
        let build =
            |x: &Var, t: &Var, r| x.smooth_l1_loss_with(SmoothL1Loss::new().beta(beta).reduction(r), t);
        let value = |x, t| smooth(x, t, beta);
        OfElements { name: "smooth_l1_loss", x, target, build: &build, value: &value }.check(&gpus);
    }
    for delta in [0.2, 1.0, 50.0] {
        let build = |x: &Var, t: &Var, r| x.huber_loss_with(HuberLoss::new().delta(delta).reduction(r), t);
        let value = |x, t| huber(x, t, delta);
        OfElements { name: "huber_loss", x, target, build: &build, value: &value }.check(&gpus);
    }
}

#[test]
fn losses_of_probabilities_are_divergences() {
    let gpus = gpus();
    let half = [0.5, 0.45];
    let bce = |x: f64, t: f64| -(t * x.ln() + (1.0 - t) * (1.0 - x).ln());
    let plain = OfElements {
        name: "binary_cross_entropy",
        x: half,
        target: half,
        build: &|x, t, r| x.binary_cross_entropy_with(r, t),
        value: &bce,
    };
    plain.check(&gpus);
    let of_logits = OfElements {
        name: "binary_cross_entropy_with_logits",
        x: [0.0, 6.0],
        target: half,
        build: &|x, t, r| x.binary_cross_entropy_with_logits_with(BCEWithLogitsLoss::new().reduction(r), t),
        value: &|x, t| bce(1.0 / (1.0 + (-x).exp()), t),
    };
    of_logits.check(&gpus);
    let divergence = OfElements {
        name: "kl_div",
        x: [-2.0, 1.0],
        target: half,
        build: &|x, t, r| x.kl_div_with(KLDivLoss::new().reduction(r), t),
        value: &|x, t| t * (t.ln() - x),
    };
    divergence.check(&gpus);
    let of_logarithms = OfElements {
        name: "kl_div of logarithms",
        x: [-2.0, 1.0],
        target: [-1.0, 0.9],
        build: &|x, t, r| x.kl_div_with(KLDivLoss::new().log_target(true).reduction(r), t),
        value: &|x, t| t.exp() * (t - x),
    };
    of_logarithms.check(&gpus);
}

#[test]
fn positive_targets_are_weighed_along_the_last_axes() {
    let gpus = gpus();
    for (shape, weights) in
        [(&[3, 5][..], &[5][..]), (&[2, 3, 7], &[3, 1]), (&[4, 6], &[1]), (&[2, 4], &[2, 4])]
    {
        let len: usize = shape.iter().product();
        let weight: Vec<f32> = noises(5, weights.iter().product()).iter().map(|x| 1.5 + x).collect();
        // The place of an element's weight, by its indices from the last on.
        let place = |at: usize| {
            let (mut rest, mut place, mut stride) = (at, 0, 1);
            for back in 1..=shape.len() {
                let index = rest % shape[shape.len() - back];
                rest /= shape[shape.len() - back];
                if let Some(&extent) = weights.len().checked_sub(back).map(|axis| &weights[axis]) {
                    place += stride * (index % extent);
                    stride *= extent;
                }
            }
            place
        };
        for reduction in REDUCTIONS {
            let case = Case {
                name: format!("binary_cross_entropy_with_logits of {shape:?}, weights {weights:?}"),
                parameters: vec![
                    ("x", noises(1, len).iter().map(|x| 5.0 * x).collect()),
                    ("target", noises(2, len).iter().map(|x| 0.5 + 0.5 * x).collect()),
                ],
                labels: None,
                build: &|graph| {
                    let value = |name| graph.parameter(name, shape, Init::Constant(0.0));
                    let constants = weight.iter().map(|w| f64::from(*w));
                    let ones = constants.enumerate().map(|(at, w)| {
                        let one = graph.parameter(&format!("one{at}"), [1], Init::Constant(1.0)).detach();
                        one * w
                    });
                    let ones: Vec<Var> = ones.collect();
                    let joined = ones[0].concat(&ones[1..].iter().collect::<Vec<_>>(), 0);
                    let extents: Vec<isize> = weights.iter().map(|e| isize::try_from(*e).unwrap()).collect();
                    let options =
                        BCEWithLogitsLoss::new().reduction(reduction).pos_weight(&joined.reshape(&extents));
                    value("x").binary_cross_entropy_with_logits_with(options, &value("target"))
                },
                value: &|t| {
                    let part = |(at, (x, t)): (usize, (&f64, &f64))| {
                        let weight = f64::from(weight[place(at)]);
                        (1.0 - t) * x.exp().ln_1p() + weight * t * (-x).exp().ln_1p()
                    };
                    let parts: Vec<f64> = t[0].iter().zip(&t[1]).enumerate().map(part).collect();
                    reduced(reduction, &parts, &vec![1.0; len])
                },
                half: 1e-5,
            };
            check_all(&gpus, &case, len);
        }
    }
}

#[test]
fn cosine_embedding_loss_brings_rows_together_and_apart() {
    let gpus = gpus();
    for (samples, features) in [(1, 1), (5, 7), (66, 4), (3, 1), (2, 130)] {
        for (turn, reduction) in REDUCTIONS.into_iter().cycle().take(6).enumerate() {
            let margin = [0.2, -0.5, 0.0][turn / 2];
            // 1, -1, and something else, which counts for nothing.
            let target = |i: usize| [1.0, -1.0, -1.0, 0.5][i % 4];
            let case = Case {
                name: format!("cosine_embedding_loss of [{samples}, {features}], {reduction:?}, {margin}"),
                parameters: vec![
                    ("x", noises(1, samples * features).iter().map(|x| x + 0.3).collect()),
                    ("other", noises(2, samples * features).iter().map(|x| x + 0.2).collect()),
                ],
                labels: None,
                build: &|graph| {
                    let value = |name| graph.parameter(name, [samples, features], Init::Constant(0.0));
                    let one = |i: usize| {
                        graph.parameter(&format!("one{i}"), [1], Init::Constant(1.0)).detach() * target(i)
                    };
                    let ones: Vec<Var> = (0..samples).map(one).collect();
                    let target = ones[0].concat(&ones[1..].iter().collect::<Vec<_>>(), 0);
                    let options = CosineEmbeddingLoss::new().margin(margin).reduction(reduction);
                    value("x").cosine_embedding_loss_with(options, &value("other"), &target)
                },
                value: &|t| {
                    let row = |(i, (x, y)): (usize, (&[f64], &[f64]))| {
                        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
                        let cosine = dot(x, y) / ((dot(x, x) + 1e-12) * (dot(y, y) + 1e-12)).sqrt();
                        match target(i) {
                            1.0 => 1.0 - cosine,
                            -1.0 => (cosine - margin).max(0.0),
                            _ => 0.0,
                        }
                    };
                    let pairs = t[0].chunks(features).zip(t[1].chunks(features));
                    let losses: Vec<f64> = pairs.enumerate().map(row).collect();
                    reduced(reduction, &losses, &vec![1.0; samples])
                },
                half: 1e-5,
            };
            check_all(&gpus, &case, samples * features);
        }
    }
}

#[test]
fn losses_at_their_bounds_are_as_in_torch() {
    for gpu in gpus() {
        let graph = Graph::new();
        let value = |name| graph.parameter(name, [4], Init::Constant(0.0));
        let (x, t) = (value("x"), value("t"));
        let losses = [
            // Equal, at the bound, beyond it.
            (x.l1_loss_with(Reduction::Sum, &t), 7.0, [0.0, 1.0, 1.0, -1.0]),
            (
                x.smooth_l1_loss_with(SmoothL1Loss::new().reduction(Reduction::Sum), &t),
                5.5,
                [0.0, 1.0, 1.0, -1.0],
            ),
            (
                x.huber_loss_with(HuberLoss::new().delta(2.0).reduction(Reduction::Sum), &t),
                8.5,
                [0.0, 1.0, 2.0, -2.0],
            ),
        ];
        let (data, target) = ([3.0, 1.0, 4.0, -3.0_f32], [3.0, 0.0, 1.0, 0.0_f32]);
        for (loss, want, gradient) in losses {
            let got = run(
                &gpu,
                &graph,
                &PlanOptions::train(&loss),
                &[("x", &data), ("t", &target)],
                &[],
                &["loss"],
            );
            assert_close(&loss.name(), &got.outputs["loss"], &[want]);
            assert_close(&loss.name(), &got.gradients["x"], &gradient);
        }
        // Logarithms end at -100, and large logits stay exact.
        let bce = x.binary_cross_entropy_with(Reduction::None, &t);
        let of_logits =
            x.binary_cross_entropy_with_logits_with(BCEWithLogitsLoss::new().reduction(Reduction::None), &t);
        let divergence = x.kl_div_with(KLDivLoss::new().reduction(Reduction::None), &t);
        let outputs = PlanOptions::evaluate()
            .output("bce", &bce)
            .output("logits", &of_logits)
            .output("kl", &divergence);
        let target = [1.0, 0.0, 0.0, 1.0_f32];
        let got = run(&gpu, &graph, &outputs, &[("x", &[0.0, 1.0, 0.0, 1.0]), ("t", &target)], &[], &["bce"]);
        assert_close("bce", &got.outputs["bce"], &[100.0, 100.0, 0.0, 0.0]);
        let x = [-500.0, 500.0, -500.0, 500.0];
        let got = run(&gpu, &graph, &outputs, &[("x", &x), ("t", &target)], &[], &["logits", "kl"]).outputs;
        assert_close("logits", &got["logits"], &[500.0, 500.0, 0.0, 0.0]);
        assert_close("kl", &got["kl"], &[500.0, 0.0, 0.0, -500.0]);
    }
}
