//! The losses against plain f64 loops.

mod elements;
mod labels;
mod refusals;

use gradus::graph::{Graph, HostData, Init, PlanOptions, Var};
use gradus::nn::{CrossEntropy, Reduction};

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
