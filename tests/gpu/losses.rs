//! The losses against plain f64 loops.

use gradus::Gpu;
use gradus::graph::{Graph, HostData, Init, PlanOptions, Var};
use gradus::nn::{
    BCEWithLogitsLoss, CosineEmbeddingLoss, CrossEntropy, HuberLoss, KLDivLoss, NllLoss, Reduction,
    SmoothL1Loss,
};

use crate::common::noises;
use crate::network::{gpus, run};
use crate::ops::{Case, check_all};
use crate::reference::{self, assert_close};

const REDUCTIONS: [Reduction; 3] = [Reduction::Mean, Reduction::Sum, Reduction::None];

/// What a reduction makes of parts that count for `weights` in their mean.
fn reduced(reduction: Reduction, parts: &[f64], weights: &[f64]) -> Vec<f64> {
    let sum: f64 = parts.iter().sum();
    match reduction {
        Reduction::Mean => vec![sum / weights.iter().sum::<f64>()],
        Reduction::Sum => vec![sum],
        Reduction::None => parts.to_vec(),
        Reduction::BatchMean => unreachable!("it is not among these"),
    }
}

#[test]
fn cross_entropy_is_minus_the_logarithm_of_the_softmax() {
    let gpus = gpus();
    // Classes, rows, scale and offset of the logits.
    let rows = [
        (10, 7, 3.0, 0.0),
        (2, 1, 1.0, 0.0),
        (1, 3, 1.0, 0.0),
        (5, 65, 30.0, 0.0),
        (33, 4, 1.0, -50.0),
        (4, 6, 8.0, 65_536.0),
    ];
    for (classes, samples, scale, offset) in rows {
        let logits = noises(9, samples * classes).into_iter().map(|x| x * scale + offset).collect();
        let labels: Vec<u32> = (0..samples).map(|i| u32::try_from(i * 7 % classes).unwrap()).collect();
        let case = Case {
            name: format!("cross_entropy of [{samples}, {classes}] around {offset}"),
            parameters: vec![("x", logits)],
            labels: Some(labels.clone()),
            build: &|graph| {
                let labels = graph.labels("labels", samples);
                graph.parameter("x", [samples, classes], Init::Constant(0.0)).cross_entropy(&labels)
            },
            value: &|t| vec![reference::cross_entropy(&t[0], classes, &labels)],
            half: 1e-4,
        };
        check_all(&gpus, &case, samples * classes);
    }
}

#[test]
fn cross_entropy_smooths_weighs_ignores_and_reduces() {
    let gpus = gpus();
    for (samples, classes) in [(7, 5), (65, 3), (1, 1), (9, 8), (300, 2)] {
        // Every third is ignored where that is asked for, by a number that names a class or none.
        let labels = |ignored: Option<u32>| -> Vec<u32> {
            let label = |i| u32::try_from(i * 7 % classes).unwrap();
            (0..samples).map(|i| ignored.filter(|_| i % 3 == 1).unwrap_or(label(i))).collect()
        };
        let weight: Vec<f32> = (0..classes).map(|c| if c == 1 { 0.0 } else { 0.5 + c as f32 }).collect();
        for (number, reduction) in REDUCTIONS.into_iter().cycle().take(12).enumerate() {
            let smoothing = [0.0, 0.1, 1.0][number / 4];
            let weight = [None, Some(&weight)][number / 2 % 2];
            let ignored = [None, Some(255), Some(0), None, Some(u32::MAX)][(number + samples) % 5];
            let ignored = ignored.filter(|_| samples > 1 && (classes > 1 || number % 2 == 0));
            let labels = labels(ignored);
            let wide: Vec<f64> = match weight {
                Some(weight) => weight.iter().copied().map(f64::from).collect(),
                None => vec![1.0; classes],
            };
            let mut options = CrossEntropy::new().reduction(reduction).label_smoothing(smoothing);
            if let Some(weight) = weight {
                options = options.weight(weight);
            }
            let options = options.ignore_index(ignored);
            let case = Case {
                name: format!("cross_entropy of [{samples}, {classes}], {options:?}"),
                parameters: vec![("x", noises(9, samples * classes))],
                labels: Some(labels.clone()),
                build: &|graph| {
                    let labels = graph.labels("labels", samples);
                    let x = graph.parameter("x", [samples, classes], Init::Constant(0.0));
                    x.cross_entropy_with(options.clone(), &labels)
                },
                value: &|t| {
                    let (losses, weights) =
                        reference::cross_entropies(&t[0], &wide, &labels, smoothing, ignored);
                    reduced(reduction, &losses, &weights)
                },
                half: 1e-4,
            };
            check_all(&gpus, &case, samples * classes);
        }
    }
}

#[test]
fn a_mean_over_no_weight_is_nan_as_in_torch() {
    for gpu in gpus() {
        for options in [CrossEntropy::new().weight(&[1.0, 0.0, 1.0]), CrossEntropy::new().ignore_index(1)] {
            let graph = Graph::new();
            let labels = graph.labels("labels", 2);
            let loss = graph
                .parameter("x", [2, 3], Init::Constant(0.0))
                .cross_entropy_with(options.clone(), &labels);
            let inputs: [(&str, &dyn HostData); 1] = [("labels", &vec![1_u32, 1])];
            let options = PlanOptions::evaluate().output("loss", &loss);
            let got = run(&gpu, &graph, &options, &[], &inputs, &["loss"]).outputs;
            assert!(got["loss"][0].is_nan(), "{got:?}");
        }
    }
}

#[test]
fn an_infinite_logit_off_the_label_costs_nothing_without_smoothing() {
    for gpu in gpus() {
        let graph = Graph::new();
        let labels = graph.labels("labels", 1);
        let loss = graph.parameter("x", [1, 3], Init::Constant(0.0)).cross_entropy(&labels);
        let x = [0.0, f32::NEG_INFINITY, 0.0];
        let inputs: [(&str, &dyn HostData); 1] = [("labels", &vec![2_u32])];
        let got = run(&gpu, &graph, &PlanOptions::train(&loss), &[("x", &x)], &inputs, &["loss"]);
        assert_close("loss", &got.outputs["loss"], &[2f64.ln()]);
        assert_close("gradient", &got.gradients["x"], &[0.5, 0.0, -0.5]);
    }
}

#[test]
fn labels_beyond_the_classes_are_taken_only_where_every_loss_ignores_them() {
    let Some(gpu) = gpus().into_iter().next() else { return };
    let refusal = |build: &dyn Fn(&Var, &Var) -> Var| {
        let graph = Graph::new();
        let (x, labels) = (graph.parameter("x", [2, 3], Init::Constant(0.0)), graph.labels("labels", 2));
        let loss = build(&x, &labels);
        let params = graph.store(&gpu, 0).unwrap();
        let plan = graph.compile(&params, &PlanOptions::train(&loss), &mut Default::default()).unwrap();
        plan.write("labels", &vec![2_u32, 9]).err().map(|error| error.to_string())
    };
    let ignoring = |label: u32| CrossEntropy::new().ignore_index(label);
    let refused = Some("label 1 of input labels must be below 3, got 9".to_owned());
    assert_eq!(refusal(&|x, y| x.cross_entropy(y)), refused);
    assert_eq!(refusal(&|x, y| x.cross_entropy_with(ignoring(8), y)), refused);
    assert_eq!(refusal(&|x, y| x.cross_entropy_with(ignoring(9), y)), None);
    assert_eq!(refusal(&|x, y| x.cross_entropy_with(ignoring(9), y).add(&x.cross_entropy(y))), refused);
    assert_eq!(refusal(&|x, y| x.cross_entropy_with(ignoring(9), y).add(&x.accuracy(y))), None);
}

#[test]
fn mse_loss_squares_differences_and_both_sides_have_gradients() {
    let gpus = gpus();
    for shape in [&[1][..], &[6], &[3, 5], &[300, 4], &[2, 3, 7], &[2, 3, 4, 5]] {
        for reduction in REDUCTIONS {
            let len: usize = shape.iter().product();
            let case = Case {
                name: format!("mse_loss of {shape:?}, {reduction:?}"),
                parameters: vec![("x", noises(1, len)), ("target", noises(2, len))],
                labels: None,
                build: &|graph| {
                    let target = graph.parameter("target", shape, Init::Constant(0.0));
                    graph.parameter("x", shape, Init::Constant(0.0)).mse_loss_with(reduction, &target)
                },
                value: &|t| {
                    let parts: Vec<f64> = t[0].iter().zip(&t[1]).map(|(x, t)| (x - t) * (x - t)).collect();
                    reduced(reduction, &parts, &vec![1.0; len])
                },
                half: 0.5,
            };
            check_all(&gpus, &case, len);
        }
    }
}

#[test]
fn a_target_of_the_host_is_written_with_each_step() {
    for gpu in gpus() {
        let graph = Graph::new();
        let target = graph.input("target", [2, 3]);
        let x = graph.parameter("x", [2, 3], Init::Constant(1.0));
        // Twice, and against itself, so that gradients add up.
        let loss = x.mse_loss(&target).add(&x.mse_loss_with(Reduction::Sum, &target)).add(&x.mse_loss(&x));
        let data = vec![0.0_f32, 1.0, 2.0, 3.0, -1.0, 1.0];
        let inputs: [(&str, &dyn HostData); 1] = [("target", &data)];
        let got = run(&gpu, &graph, &PlanOptions::train(&loss), &[], &inputs, &["loss"]);
        assert_close("loss", &got.outputs["loss"], &[10.0 * 7.0 / 6.0]);
        let want: Vec<f64> = data.iter().map(|t| 2.0 * (1.0 - f64::from(*t)) * 7.0 / 6.0).collect();
        assert_close("gradient", &got.gradients["x"], &want);
    }
}

#[test]
fn what_is_beside_a_value_is_zero() {
    // A sum reads whole rows, so anything left in their padding would count.
    for gpu in gpus() {
        let graph = Graph::new();
        let labels = graph.labels("labels", 3);
        let x = graph.parameter("x", [3, 5], Init::Constant(0.0));
        let image = graph.parameter("image", [1, 3, 4, 5], Init::Constant(0.0));
        let options = CrossEntropy::new().label_smoothing(0.2).weight(&[1.0, 2.0, 0.5, 1.0, 3.0]);
        let values = [
            x.mse_loss_with(Reduction::None, &x.relu()),
            x.cross_entropy_with(options.clone().reduction(Reduction::None), &labels),
            x.cross_entropy_with(options, &labels),
            image.avg_pool2d([2, 3]),
            x.sum(),
        ];
        let sums = values.clone().map(|value| value.sum());
        let mut plan = PlanOptions::evaluate();
        let names: Vec<String> = (0..values.len()).flat_map(|i| [format!("v{i}"), format!("s{i}")]).collect();
        for (name, var) in names.iter().zip(values.iter().zip(&sums).flat_map(|(v, s)| [v, s])) {
            plan = plan.output(name, var);
        }
        let (x, image) = (noises(1, 15), noises(2, 60));
        let inputs: [(&str, &dyn HostData); 1] = [("labels", &vec![1_u32, 4, 0])];
        let names: Vec<&str> = names.iter().map(|name| &name[..]).collect();
        let got = run(&gpu, &graph, &plan, &[("x", &x), ("image", &image)], &inputs, &names).outputs;
        for i in 0..values.len() {
            let want = got[&format!("v{i}")].iter().copied().map(f64::from).sum();
            assert_close(&format!("sum of value {i}"), &got[&format!("s{i}")], &[want]);
        }
    }
}

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

/// The rows of `[N, classes, ..]`, the classes of each place side by side.
fn rows(x: &[f64], shape: &[usize]) -> Vec<f64> {
    let (classes, places) = (shape[1], shape[2..].iter().product::<usize>());
    let rows = shape[0] * places;
    let at = |row: usize, class: usize| (row / places * classes + class) * places + row % places;
    (0..rows * classes).map(|i| x[at(i / classes, i % classes)]).collect()
}

const PLACES: [&[usize]; 7] =
    [&[5, 3], &[1, 1], &[2, 5, 7], &[3, 4, 1], &[2, 6, 8], &[2, 5, 3, 3], &[65, 9, 4]];

#[test]
fn losses_of_labels_have_the_classes_on_axis_1() {
    let gpus = gpus();
    for (number, shape) in PLACES.into_iter().enumerate() {
        let labelled = [&shape[..1], &shape[2..]].concat();
        let (classes, samples) = (shape[1], labelled.iter().product::<usize>());
        let weight: Vec<f32> = (0..classes).map(|c| 0.5 + c as f32).collect();
        for (turn, reduction) in REDUCTIONS.into_iter().cycle().take(6).enumerate() {
            let (weighs, nll) = (turn >= 3, (turn + number) % 2 == 0);
            let ignored =
                [None, Some(77), Some(0)][(turn + number) % 3].filter(|_| samples > 1 && classes > 1);
            let label = |i| u32::try_from((i * 7 + i / 5) % classes).unwrap();
            let labels: Vec<u32> =
                (0..samples).map(|i| ignored.filter(|_| i % 3 == 1).unwrap_or(label(i))).collect();
            let wide = if weighs { reference::wide(&weight) } else { vec![1.0; classes] };
            let smoothing = [0.0, 0.2][usize::from(turn % 2 == 0 && !nll)];
            let case = Case {
                name: format!("losses of {shape:?}, {reduction:?}, {weighs}, {ignored:?}, nll {nll}"),
                parameters: vec![("x", noises(3, samples * classes))],
                labels: Some(labels.clone()),
                build: &|graph| {
                    let labels = graph.labels("labels", &labelled[..]);
                    let x = graph.parameter("x", shape, Init::Constant(0.0));
                    if nll {
                        let options = NllLoss::new().reduction(reduction).ignore_index(ignored);
                        let options = if weighs { options.weight(&weight) } else { options };
                        return x.nll_loss_with(options, &labels);
                    }
                    let options = CrossEntropy::new().reduction(reduction).ignore_index(ignored);
                    let options = if weighs { options.weight(&weight) } else { options };
                    x.cross_entropy_with(options.label_smoothing(smoothing), &labels)
                },
                value: &|t| {
                    let rows = rows(&t[0], shape);
                    let (losses, weights): (Vec<f64>, Vec<f64>) = if nll {
                        let row = |(row, label): (&[f64], &u32)| match Some(*label) == ignored {
                            true => (0.0, 0.0),
                            false => (-wide[*label as usize] * row[*label as usize], wide[*label as usize]),
                        };
                        rows.chunks(classes).zip(&labels).map(row).unzip()
                    } else {
                        reference::cross_entropies(&rows, &wide, &labels, smoothing, ignored)
                    };
                    reduced(reduction, &losses, &weights)
                },
                half: 1e-4,
            };
            check_all(&gpus, &case, samples * classes);
        }
    }
}

#[test]
fn cross_entropy_takes_probabilities_of_the_classes() {
    let gpus = gpus();
    for shape in PLACES {
        let (classes, len) = (shape[1], shape.iter().product::<usize>());
        let weight: Vec<f32> = (0..classes).map(|c| 0.5 + c as f32).collect();
        for (turn, reduction) in REDUCTIONS.into_iter().cycle().take(6).enumerate() {
            let (weighs, smoothing) = (turn >= 3, [0.0, 0.3][turn % 2]);
            let case = Case {
                name: format!(
                    "cross_entropy of probabilities {shape:?}, {reduction:?}, {weighs}, {smoothing}"
                ),
                // Any numbers will do: torch does not ask for sums of 1.
                parameters: vec![("x", noises(3, len)), ("target", noises(4, len))],
                labels: None,
                build: &|graph| {
                    let value = |name| graph.parameter(name, shape, Init::Constant(0.0));
                    let options = CrossEntropy::new().reduction(reduction).label_smoothing(smoothing);
                    let options = if weighs { options.weight(&weight) } else { options };
                    value("x").cross_entropy_with(options, &value("target"))
                },
                value: &|t| {
                    let (x, t) = (rows(&t[0], shape), rows(&t[1], shape));
                    let row = |(x, t): (&[f64], &[f64])| {
                        let sum = x.iter().map(|x| x.exp()).sum::<f64>().ln();
                        let part = |class: usize| {
                            let weight = if weighs { f64::from(weight[class]) } else { 1.0 };
                            let t = t[class] * (1.0 - smoothing) + smoothing / classes as f64;
                            weight * t * (sum - x[class])
                        };
                        (0..classes).map(part).sum()
                    };
                    let losses: Vec<f64> = x.chunks(classes).zip(t.chunks(classes)).map(row).collect();
                    reduced(reduction, &losses, &vec![1.0; losses.len()])
                },
                half: 1e-4,
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

#[test]
fn losses_of_labels_in_places_take_no_dispatch_more() {
    let Some(gpu) = gpus().into_iter().next() else { return };
    let dispatches = |shape: &[usize], nll: bool| {
        let graph = Graph::new();
        let labels = graph.labels("labels", [&shape[..1], &shape[2..]].concat());
        let x = graph.parameter("x", shape, Init::Constant(0.0));
        let loss = if nll { x.nll_loss(&labels) } else { x.cross_entropy(&labels) };
        let params = graph.store(&gpu, 0).unwrap();
        let plan = graph.compile(&params, &PlanOptions::train(&loss), &mut Default::default()).unwrap();
        plan.labels().map(str::to_owned).collect::<Vec<_>>()
    };
    // Beside the way of the tensor to rows and back, which a convolution's result does not need.
    for nll in [false, true] {
        let (rows, places) = (dispatches(&[6, 8], nll), dispatches(&[6, 8, 3], nll));
        assert_eq!(rows.len() + 2, places.len(), "{rows:?}, {places:?}");
    }
}

#[test]
fn losses_refuse_shapes_and_options_with_their_names() {
    let x = |graph: &Graph| graph.input("x", [4, 3]);
    let rows: [(&dyn Fn(&Graph) -> Var, &str); 17] = [
        (&|g| x(g).l1_loss(&g.input("t", [4, 1])), "l1_loss1: expected [4, 3] for both inputs, got [4, 1]"),
        (
            &|g| x(g).binary_cross_entropy(&g.input("t", [3])),
            "binary_cross_entropy1: expected [4, 3] for both inputs, got [3]",
        ),
        (
            &|g| {
                let options = BCEWithLogitsLoss::new().pos_weight(&g.input("w", [4]));
                x(g).binary_cross_entropy_with_logits_with(options, &g.input("t", [4, 3]))
            },
            "binary_cross_entropy_with_logits1: expected a shape that broadcasts with [4, 3], got [4]",
        ),
        (
            &|g| {
                let options = BCEWithLogitsLoss::new().pos_weight(&g.input("w", [2, 4, 3]));
                x(g).binary_cross_entropy_with_logits_with(options, &g.input("t", [4, 3]))
            },
            "binary_cross_entropy_with_logits1: expected a weight that broadcasts to [4, 3], got [2, 4, 3]",
        ),
        (
            &|g| x(g).smooth_l1_loss_with(SmoothL1Loss::new().beta(-0.1), &g.input("t", [4, 3])),
            "smooth_l1_loss1: beta must be finite and at least 0, got -0.1",
        ),
        (
            &|g| x(g).smooth_l1_loss_with(SmoothL1Loss::new().beta(1e39), &g.input("t", [4, 3])),
            "smooth_l1_loss1: beta must be finite in 32 bits, got 1e39",
        ),
        (
            &|g| x(g).huber_loss_with(HuberLoss::new().delta(0.0), &g.input("t", [4, 3])),
            "huber_loss1: delta must be finite and above 0, got 0",
        ),
        (
            &|g| x(g).huber_loss_with(HuberLoss::new().delta(f64::NAN), &g.input("t", [4, 3])),
            "huber_loss1: delta must be finite and above 0, got NaN",
        ),
        (
            &|g| {
                let options = CosineEmbeddingLoss::new().margin(1.1);
                x(g).cosine_embedding_loss_with(options, &g.input("o", [4, 3]), &g.input("t", [4]))
            },
            "cosine_embedding_loss2: margin must be in [-1, 1], got 1.1",
        ),
        (
            &|g| x(g).cosine_embedding_loss(&g.input("o", [1, 3]), &g.input("t", [4])),
            "cosine_embedding_loss1: expected [4, 3] for both inputs, got [1, 3]",
        ),
        (
            &|g| x(g).cosine_embedding_loss(&g.input("o", [4, 3]), &g.input("t", [3])),
            "cosine_embedding_loss2: expected [4] for both inputs, got [3]",
        ),
        (
            &|g| g.input("a", [4]).cosine_embedding_loss(&g.input("o", [4]), &g.input("t", [1])),
            "cosine_embedding_loss1: expected rows [N, D], got [4]",
        ),
        (
            &|g| x(g).nll_loss(&g.labels("y", [4, 3])),
            "nll_loss1: expected labels [4] for logarithms of probabilities [4, 3], got [4, 3]",
        ),
        (
            &|g| x(g).nll_loss_with(NllLoss::new().weight(&[1.0; 4]), &g.labels("y", 4)),
            "nll_loss1: weight: expected 3 elements, got 4",
        ),
        (
            &|g| g.input("a", [2, 3, 5]).cross_entropy(&g.labels("y", [2, 4])),
            "cross_entropy1: expected labels [2, 5] for logits [2, 3, 5], got [2, 4]",
        ),
        (
            &|g| x(g).cross_entropy(&g.input("t", [4, 2])),
            "cross_entropy1: expected [4, 3] for both inputs, got [4, 2]",
        ),
        (
            &|g| x(g).cross_entropy_with(CrossEntropy::new().ignore_index(1), &g.input("t", [4, 3])),
            "cross_entropy1: ignore_index must be none where the target holds probabilities, got 1",
        ),
    ];
    for (build, message) in rows {
        let graph = Graph::new();
        let _ = build(&graph);
        assert_eq!(graph.check().map_err(|error| error.to_string()), Err(message.to_owned()));
    }
}
