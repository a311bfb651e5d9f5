//! Lines: sums, extremes, softmax, losses and normalisations.

use gradus::graph::{Graph, Init, Var};
use gradus::nn::{BatchNorm, CrossEntropy, GroupNorm, LayerNorm, RMSNorm, Reduction};

use super::{Case, KernelKind, dispatches, gpus};
use crate::common::noises;

/// Lines and elements: few and many lines, on both sides of where lanes share them, and of where these are cut.
const SIZES: [[usize; 2]; 14] = [
    [3, 1],
    [70, 3],
    [5, 32],
    [5, 33],
    [300, 36],
    [2, 255],
    [17, 256],
    [3, 257],
    [9, 1023],
    [4, 1024],
    [3, 1025],
    [2, 4096],
    [1, 32_769],
    [2, 70_000],
];

fn parameter(graph: &Graph, shape: &[usize]) -> Var {
    graph.parameter("x", shape, Init::Constant(0.0))
}

fn values(len: usize) -> Vec<f32> {
    noises(1, len).into_iter().map(|x| 3.0 * x).collect()
}

/// Rows, and columns of the same lengths.
fn each(check: impl Fn(&[usize], isize)) {
    for [lines, len] in SIZES {
        check(&[lines, len], 1);
        check(&[len, lines], 0);
    }
}

#[test]
fn softmax_is_the_same_however_lanes_share_lines() {
    let gpus = gpus();
    each(|shape, dim| {
        for log in [false, true] {
            let build = |graph: &Graph| {
                let x = parameter(graph, shape);
                if log { x.log_softmax(dim) } else { x.softmax(dim) }
            };
            let name = format!("softmax of {shape:?} along {dim}, logarithm {log}");
            let values = vec![("x", values(shape.iter().product()))];
            Case { name, values, labels: None, build: &build }.check(&gpus);
        }
    });
}

#[test]
fn reductions_are_the_same_however_lanes_share_lines() {
    type Build = fn(&Var, isize) -> Var;
    let builds: [(&str, Build); 5] = [
        ("sum", |x, dim| x.sum_dim(&[dim], false)),
        ("var", |x, dim| x.var_dim(&[dim], 0, false)),
        ("max", |x, dim| x.amax(&[dim], true)),
        ("argmax", |x, dim| x.argmax(dim, false).add(&x.sum_dim(&[dim], false))),
        ("mean of all", |x, _| x.mean()),
    ];
    let gpus = gpus();
    each(|shape, dim| {
        for (name, of) in builds {
            let build = |graph: &Graph| of(&parameter(graph, shape), dim);
            let name = format!("{name} of {shape:?} along {dim}");
            let values = vec![("x", crate::common::noises(1, shape.iter().product()))];
            Case { name, values, labels: None, build: &build }.check(&gpus);
        }
    });
}

#[test]
fn losses_are_the_same_however_lanes_share_rows() {
    let gpus = gpus();
    for [rows, classes] in SIZES {
        let weights: Vec<f32> = noises(3, classes).into_iter().map(|w| w + 1.5).collect();
        let labels: Vec<u32> = (0..rows).map(|row| u32::try_from(row * 37 % classes).unwrap()).collect();
        for (name, options) in [
            ("plain", CrossEntropy::new()),
            ("smoothed", CrossEntropy::new().label_smoothing(0.1).weight(&weights)),
            ("ignoring", CrossEntropy::new().ignore_index(u32::MAX)),
        ] {
            let mut labels = labels.clone();
            if name == "ignoring" {
                labels[rows / 2] = u32::MAX;
            }
            let options = options.reduction(Reduction::None);
            let build = |graph: &Graph| {
                let (x, labels) = (parameter(graph, &[rows, classes]), graph.labels("labels", rows));
                x.cross_entropy_with(options.clone(), &labels)
            };
            let name = format!("{name} cross-entropy of [{rows}, {classes}]");
            let values = vec![("x", values(rows * classes))];
            Case { name, values, labels: Some(labels), build: &build }.check(&gpus);
        }
        let build = |graph: &Graph| {
            let (x, labels) = (parameter(graph, &[rows, classes]), graph.labels("labels", rows));
            x.accuracy(&labels).add(&x.mean())
        };
        let name = format!("accuracy of [{rows}, {classes}]");
        let x = values(rows * classes);
        let best = |row: &[f32]| (0..classes).max_by(|a, b| row[*a].total_cmp(&row[*b])).unwrap();
        // Every second row is right.
        let labels =
            x.chunks(classes).enumerate().map(|(at, row)| u32::try_from(best(row) * (at % 2)).unwrap());
        Case { name, labels: Some(labels.collect()), values: vec![("x", x)], build: &build }.check(&gpus);
    }
}

/// The tensors of a normalisation `l` of so many weights.
fn affine(x: usize, weights: usize, has_bias: bool) -> super::Values {
    let mut all = vec![("x", values(x)), ("l.weight", noises(2, weights))];
    all.extend(has_bias.then(|| ("l.bias", noises(3, weights))));
    all
}

#[test]
fn normalisations_are_the_same_however_lanes_share_lines() {
    let gpus = gpus();
    for [lines, len] in SIZES {
        let shape = [lines, len];
        let check = |what: &str, values, build: &dyn Fn(&Graph) -> Var| {
            Case { name: format!("{what} of {shape:?}"), values, labels: None, build }.check(&gpus);
        };
        check("layer_norm", affine(lines * len, len, true), &|graph| {
            parameter(graph, &shape).layer_norm(LayerNorm::new(len).eps(1e-2).name("l"))
        });
        check("rms_norm", affine(lines * len, len, false), &|graph| {
            parameter(graph, &shape).rms_norm(RMSNorm::new(len).eps(1e-2).name("l"))
        });
        check("group_norm", affine(lines * len, lines, true), &|graph| {
            parameter(graph, &[1, lines, len]).group_norm(GroupNorm::new(1).eps(1e-2).name("l"))
        });
        if len > 1 {
            check("batch_norm", affine(lines * len, lines, true), &|graph| {
                let x = parameter(graph, &[len, lines]);
                x.batch_norm1d(BatchNorm::new().eps(1e-2).name("l"))
            });
        }
    }
}

#[test]
fn gradients_of_biases_are_the_same_however_lanes_share_rows() {
    let gpus = gpus();
    for [columns, rows] in SIZES {
        let case = |what: &str, values: super::Values, build: &dyn Fn(&Graph) -> Var| {
            Case { name: format!("{what} of [{rows}, {columns}]"), values, labels: None, build }.check(&gpus);
        };
        let x = ("x", values(rows * columns));
        case("bias", vec![x, ("bias1", noises(2, columns))], &|graph| {
            parameter(graph, &[rows, columns]).bias()
        });
        let (weight, bias) = (("linear1.weight", noises(3, columns)), ("linear1.bias", noises(4, columns)));
        case("linear", vec![("x", noises(5, rows)), weight, bias], &|graph| {
            parameter(graph, &[rows, 1]).linear(columns)
        });
    }
}

#[test]
fn lines_that_a_workgroup_can_walk_take_one_dispatch_and_longer_ones_two() {
    let gpus = gpus();
    let Some(gpu) = gpus.iter().find(|gpu| gpu.kernel_kind() == KernelKind::Gpu) else { return };
    let count = |build: &dyn Fn(&Graph) -> Var, kernels: &[&str]| dispatches(gpu, build, kernels).len();
    // Forward and backward: one each, or the parts, their join and what writes.
    for (shape, each) in [([3, 4096], 1), ([3, 32_768], 1), ([3, 32_772], 3), ([32, 40_000], 1)] {
        let softmax = |graph: &Graph| parameter(graph, &shape).softmax(1);
        assert_eq!(count(&softmax, &["softmax", "sum_join"]), 2 * each, "softmax of {shape:?}");
        let layer_norm = |graph: &Graph| {
            parameter(graph, &shape).layer_norm(LayerNorm::new(shape[1]).elementwise_affine(false).name("l"))
        };
        assert_eq!(count(&layer_norm, &["l: norm"]), 2 * each, "layer_norm of {shape:?}");
    }
    for (len, forward) in [(10, 1), (4 * 8192, 1), (1_000_000, 2), (20_000_000, 2)] {
        let mean = |graph: &Graph| parameter(graph, &[len]).mean();
        assert_eq!(count(&mean, &["sum_chunks", "reduce"]), forward, "mean of {len}");
        let sum = |graph: &Graph| parameter(graph, &[len]).sum_dim(&[0], false);
        assert_eq!(count(&sum, &["reduce[sum]"]), forward, "sum of {len}");
    }
}

#[test]
fn what_is_not_finite_spreads_alike_however_lanes_share_lines() {
    const INF: f32 = f32::INFINITY;
    let gpus = gpus();
    for len in [40, 257, 4097, 33_000] {
        let mut rows: Vec<Vec<f32>> = (0..6).map(|row| noises(row, len)).collect();
        // Hidden numbers, NaN first and last, plus infinity, nothing but minus infinity, and large numbers with ties.
        rows[0].iter_mut().step_by(3).for_each(|x| *x = -INF);
        rows[1][0] = f32::NAN;
        rows[2][len - 1] = f32::NAN;
        rows[3][len / 2] = INF;
        rows[4].fill(-INF);
        rows[5].iter_mut().enumerate().for_each(|(at, x)| *x = if at % 7 == 5 { 3e38 } else { -3e38 });
        let columns: Vec<f32> = (0..6 * len).map(|at| rows[at % 6][at / 6]).collect();
        type Build = fn(&Var, isize) -> Var;
        let builds: [(&str, Build); 5] = [
            ("softmax", |x, dim| x.softmax(dim)),
            ("log_softmax", |x, dim| x.log_softmax(dim)),
            ("amax", |x, dim| x.amax(&[dim], false)),
            ("amin", |x, dim| x.amin(&[dim], false)),
            ("argmax", |x, dim| x.argmax(dim, false).add(&x.amax(&[dim], false))),
        ];
        let lies: [([usize; 2], isize, Vec<f32>); 2] = [([6, len], 1, rows.concat()), ([len, 6], 0, columns)];
        for (shape, dim, x) in &lies {
            for (name, of) in builds {
                let build = |graph: &Graph| of(&parameter(graph, shape), *dim);
                let name = format!("{name} of {shape:?} along {dim} of extreme numbers");
                Case { name, values: vec![("x", x.clone())], labels: None, build: &build }.check(&gpus);
            }
        }
        let build = |graph: &Graph| {
            let (x, labels) = (parameter(graph, &[6, len]), graph.labels("labels", 6));
            x.cross_entropy_with(CrossEntropy::new().reduction(Reduction::None), &labels)
                .add(&x.accuracy(&labels))
        };
        let labels = vec![1, 2, 3, 4, 5, 5];
        let name = format!("cross-entropy of [6, {len}] of extreme numbers");
        Case { name, values: vec![("x", rows.concat())], labels: Some(labels), build: &build }.check(&gpus);
    }
}
