//! Softmax and cross-entropy along lines that are split between invocations, and along the longest that are
//! not. llvmpipe leaves all loops of an invocation after 65,535 iterations, in silence.

use gradus::Gpu;
use gradus::graph::{Graph, HostData, Init, PlanOptions};
use gradus::nn::{CrossEntropy, Reduction};

use crate::common::{noise, noises};
use crate::network::{gpus, run};

/// Elements of the longest line of columns that one invocation walks; other lines have a quarter.
const SHORT: usize = 4096;

/// Shapes and dimensions: both sides of where lines are split, of where parts are joined twice, and of 65,535 trips.
const SHAPES: [(&[usize], usize); 17] = [
    (&[2, SHORT - 1], 1),
    (&[2, SHORT], 1),
    (&[2, SHORT + 1], 1),
    (&[1, 65_535], 1),
    (&[1, 65_537], 1),
    (&[3, 128_256], 1),
    (&[1, 262_144], 1),
    (&[300_000], 0),
    (&[SHORT / 4, 3], 0),
    (&[SHORT / 4 + 1, 5], 0),
    (&[65_535, 1], 0),
    (&[65_537, 2], 0),
    (&[2, 70_001, 3], 1),
    (&[2, 1300, 7], 1),
    (&[1, 5, 2, 70_001], 3),
    (&[1, 2, 70_001, 3], 2),
    (&[2, 70_001, 1, 2], 1),
];

/// Where the lines of a dense tensor along a dimension lie.
fn lines(shape: &[usize], dim: usize) -> impl Iterator<Item = Vec<usize>> {
    let stride: usize = shape[dim + 1..].iter().product();
    let (count, len) = (shape[dim], shape.iter().product::<usize>());
    let firsts = (0..len).filter(move |at| (at / stride).is_multiple_of(count));
    firsts.map(move |first| (0..count).map(|k| first + k * stride).collect())
}

/// The logarithm of the softmax of a line.
fn log_softmax(x: &[f64]) -> Vec<f64> {
    let largest = x.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let log_sum = x.iter().map(|x| (x - largest).exp()).sum::<f64>().ln();
    x.iter().map(|x| x - largest - log_sum).collect()
}

fn picked(values: &[f32], line: &[usize]) -> Vec<f64> {
    line.iter().map(|&at| f64::from(values[at])).collect()
}

/// Panics where a number is further from what it should be than is allowed at its place.
fn hold(what: &str, got: &[f64], want: &[f64], allowed: impl Fn(usize) -> f64) {
    for (at, (got, want)) in got.iter().zip(want).enumerate() {
        let allowed = allowed(at);
        let near = (got - want).abs() <= allowed;
        assert!(near, "{what}: element {at} is {got:e}, expected {want:e} within {allowed:e}");
    }
}

fn check_softmax(gpu: &Gpu, shape: &[usize], dim: usize, log: bool, offset: f32) {
    let what = format!("softmax of {shape:?} along {dim} around {offset}, logarithm {log}");
    let graph = Graph::new();
    let x = graph.parameter("x", shape, Init::Constant(0.0));
    let signed = isize::try_from(dim).unwrap();
    let y = if log { x.log_softmax(signed) } else { x.softmax(signed) };
    // Twice, so that the gradient is written and added to.
    let y = y.add(&if log { x.log_softmax(signed) } else { x.softmax(signed) });
    let len = shape.iter().product();
    let values: Vec<f32> = noises(7, len).into_iter().map(|x| 4.0 * x + offset).collect();
    let dy: Vec<f32> = noises(8, len).into_iter().map(|dy| dy + 0.25).collect();
    let options = PlanOptions::train(&y).upstream("dy");
    let got = run(gpu, &graph, &options, &[("x", &values)], &[("dy", &dy)], &["loss"]);
    let halves = |got: &[f32], line: &[usize]| picked(got, line).iter().map(|x| x / 2.0).collect::<Vec<_>>();
    for (number, line) in lines(shape, dim).enumerate() {
        let (x, dy) = (picked(&values, &line), picked(&dy, &line));
        let logarithms = log_softmax(&x);
        let softmax: Vec<f64> = logarithms.iter().map(|y| y.exp()).collect();
        let what = format!("{what}, line {number}");
        let y = halves(&got.outputs["loss"], &line);
        hold(&what, &y, if log { &logarithms } else { &softmax }, |at| {
            3e-6 * if log { 1.0 } else { softmax[at] }
        });
        let dx = halves(&got.gradients["x"], &line);
        let what = format!("gradient of {what}");
        if log {
            let sum = dy.iter().sum::<f64>();
            let slopes: Vec<f64> = dy.iter().zip(&softmax).map(|(dy, y)| dy - y * sum).collect();
            // The logarithm has the rounding of numbers around 10.
            hold(&what, &dx, &slopes, |at| 3e-7 * dy[at].abs() + 5e-6 * softmax[at] * sum.abs());
        } else {
            let sum: f64 = softmax.iter().zip(&dy).map(|(y, dy)| y * dy).sum();
            let slopes: Vec<f64> = dy.iter().zip(&softmax).map(|(dy, y)| y * (dy - sum)).collect();
            hold(&what, &dx, &slopes, |at| 3e-6 * softmax[at]);
        }
    }
}

#[test]
fn softmax_follows_f64_along_long_lines() {
    for gpu in gpus() {
        for (number, (shape, dim)) in SHAPES.into_iter().enumerate() {
            for log in [false, true] {
                check_softmax(&gpu, shape, dim, log, if number % 3 == 2 { -1000.0 } else { 0.0 });
            }
        }
    }
}

/// The softmax along a dimension, and nothing else.
fn softmax_of(gpu: &Gpu, shape: &[usize], dim: usize, x: &[f32]) -> Vec<f32> {
    let graph = Graph::new();
    let y = graph.parameter("x", shape, Init::Constant(0.0)).softmax(isize::try_from(dim).unwrap());
    let options = PlanOptions::evaluate().output("y", &y);
    run(gpu, &graph, &options, &[("x", x)], &[], &["y"]).outputs["y"].clone()
}

#[test]
fn each_line_of_a_softmax_sums_to_one() {
    for gpu in gpus() {
        for (shape, dim) in
            SHAPES.into_iter().chain([(&[32_000][..], 0), (&[2, 1000][..], 1), (&[32_000, 1][..], 0)])
        {
            let len = shape.iter().product();
            for (name, x) in [("equal", vec![0.7; len]), ("different", noises(5, len))] {
                let got = softmax_of(&gpu, shape, dim, &x);
                for (number, line) in lines(shape, dim).enumerate() {
                    let sum: f64 = picked(&got, &line).iter().sum();
                    let what = format!("line {number} of {shape:?} along {dim}, {name} numbers");
                    assert!((sum - 1.0).abs() < 1e-6, "{what}: it sums to {sum}");
                }
            }
        }
    }
}

#[test]
fn ordinary_lines_take_one_dispatch_and_long_ones_a_few() {
    let Some(gpu) = gpus().into_iter().next() else { return };
    let labels = |build: &dyn Fn(&Graph) -> gradus::graph::Var| {
        let graph = Graph::new();
        let y = build(&graph);
        let params = graph.store(&gpu, 1).unwrap();
        let options = PlanOptions::train(&y).upstream("dy");
        let plan = graph.compile(&params, &options, &mut Default::default()).unwrap();
        plan.labels()
            .filter(|l| ["softmax", "cross_entropy", "sum_join"].iter().any(|k| l.contains(k)))
            .count()
    };
    for (columns, softmax, losses, smoothed) in
        [(10, 2, 2, 2), (SHORT, 2, 2, 2), (SHORT + 1, 6, 4, 6), (262_145, 8, 5, 8)]
    {
        let logits = |graph: &Graph| graph.parameter("x", [1, columns], Init::Constant(0.0));
        let cross_entropy = |graph: &Graph, smoothing: f64| {
            let options = CrossEntropy::new().label_smoothing(smoothing).reduction(Reduction::None);
            logits(graph).cross_entropy_with(options, &graph.labels("labels", 1))
        };
        let counts = [
            labels(&|graph| logits(graph).softmax(1)),
            labels(&|graph| cross_entropy(graph, 0.0)),
            labels(&|graph| cross_entropy(graph, 0.1)),
        ];
        assert_eq!(counts, [softmax, losses, smoothed], "dispatches of {columns} columns");
    }
}

/// Losses of rows of logits and the gradients of the logits, whose losses have the gradients `dy`.
fn cross_entropies(
    logits: &[f32],
    weight: &[f64],
    labels: &[u32],
    smoothing: f64,
    ignored: Option<u32>,
    dy: &[f32],
) -> (Vec<f64>, Vec<f64>) {
    let classes = weight.len();
    let (mut losses, mut slopes) = (Vec::new(), Vec::new());
    for ((row, &label), &dy) in logits.chunks(classes).zip(labels).zip(dy) {
        if Some(label) == ignored {
            losses.push(0.0);
            slopes.extend(std::iter::repeat_n(0.0, classes));
            continue;
        }
        let logarithms = log_softmax(&row.iter().copied().map(f64::from).collect::<Vec<_>>());
        let target = |class: usize| {
            let hot = if class == label as usize { 1.0 - smoothing } else { 0.0 };
            weight[class] * (hot + smoothing / classes as f64)
        };
        losses.push(-(0..classes).map(|class| target(class) * logarithms[class]).sum::<f64>());
        let sum: f64 = (0..classes).map(target).sum();
        slopes.extend(
            (0..classes).map(|class| f64::from(dy) * (logarithms[class].exp() * sum - target(class))),
        );
    }
    (losses, slopes)
}

#[test]
fn cross_entropy_follows_f64_over_many_classes() {
    for gpu in gpus() {
        let rows =
            [(3, SHORT), (3, SHORT + 1), (2, 65_535), (2, 65_537), (3, 128_256), (1, 262_145), (2, 300_000)];
        for (number, (samples, classes)) in rows.into_iter().enumerate() {
            for (smoothing, weighs, ignores) in
                [(0.0, false, false), (0.1, false, true), (0.25, true, false), (0.0, true, true)]
            {
                let last = u32::try_from(classes - 1).unwrap();
                let labels: Vec<u32> = [last, 0, last / 2 + 1].into_iter().take(samples).collect();
                let ignored = (ignores && samples > 2).then_some(0);
                let weight: Vec<f32> =
                    (0..classes).map(|class| if weighs { 0.5 + (class % 5) as f32 } else { 1.0 }).collect();
                let mut options = CrossEntropy::new().label_smoothing(smoothing).reduction(Reduction::None);
                if weighs {
                    options = options.weight(&weight);
                }
                let options = options.ignore_index(ignored);
                let graph = Graph::new();
                let x = graph.parameter("x", [samples, classes], Init::Constant(0.0));
                // Twice, so that gradients are written and added.
                let y = x.cross_entropy_with(options.clone(), &graph.labels("labels", samples));
                let y = y.add(&x.cross_entropy_with(options.clone(), &graph.labels("again", samples)));
                let scale = if number % 2 == 0 { 1.0 } else { 12.0 };
                let logits: Vec<f32> = (0..samples * classes).map(|i| scale * noise(3, i)).collect();
                let dy: Vec<f32> = vec![1.0, -0.5, 0.75][..samples].to_vec();
                let inputs: [(&str, &dyn HostData); 3] =
                    [("labels", &labels), ("again", &labels), ("dy", &dy)];
                let options = PlanOptions::train(&y).upstream("dy");
                let got = run(&gpu, &graph, &options, &[("x", &logits)], &inputs, &["loss"]);
                let wide: Vec<f64> = weight.iter().copied().map(f64::from).collect();
                let (losses, slopes) = cross_entropies(&logits, &wide, &labels, smoothing, ignored, &dy);
                let what = format!(
                    "cross_entropy of [{samples}, {classes}], smoothing {smoothing}, weights {weighs}"
                );
                let halves = |got: &[f32]| got.iter().map(|x| f64::from(*x) / 2.0).collect::<Vec<_>>();
                hold(&what, &halves(&got.outputs["loss"]), &losses, |at| 2e-6 * (1.0 + losses[at]));
                // The softmax and the targets of smoothing may cancel.
                let spread = smoothing / classes as f64 * 5.0;
                let what = format!("gradient of {what}");
                let allowed = |at: usize| 3e-6 * (slopes[at].abs() + spread);
                hold(&what, &halves(&got.gradients["x"]), &slopes, allowed);
                let largest = slopes.iter().fold(0.0_f64, |largest, x| largest.max(x.abs()));
                assert!(largest > 0.4, "{what}: no gradient at a label");
            }
        }
    }
}
