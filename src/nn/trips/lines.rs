//! Trips of the kernels that process lines of a tensor, or all of it.

use super::graphs::Subject;
use super::sizes::Sizes;
use super::{Row, Trips};
use crate::graph::{Graph, Init, PlanOptions, Var};
use crate::nn::CrossEntropy;

pub(super) const ROWS: &[Row] = &[
    ("accuracy", |sizes| Trips::Exactly(shared(sizes.get("row_quads"), sizes))),
    ("accuracy_join", |sizes| Trips::Exactly(part(sizes))),
    ("accuracy_parts", |sizes| Trips::Exactly(part(sizes))),
    // The maximum, the sum of exponentials and, with label smoothing, a sum over all classes.
    ("cross_entropy", |sizes| {
        let row = shared(sizes.get("row_quads"), sizes);
        let slopes = if sizes.get("SLOPES") == 1 { row } else { 0 };
        Trips::Exactly(row + in_runs(row, sizes) * if sizes.is_set("at_all") { 2 } else { 1 } + slopes)
    }),
    ("cross_entropy_grad", |sizes| {
        let row = sizes.get("row_quads");
        Trips::Exactly(2 * row + in_runs(row, sizes))
    }),
    ("cross_entropy_parts", |sizes| Trips::Exactly(part(sizes))),
    // Nested runs of steps, for the first part.
    ("reduce", |sizes| {
        let steps = part(sizes);
        let runs = steps.div_ceil(sizes.get("RUN")) + steps.div_ceil(sizes.get("RUNS"));
        Trips::Exactly(steps + runs)
    }),
    ("softmax", |sizes| {
        let count = shared(sizes.get("COUNT"), sizes);
        Trips::Exactly(2 * count + in_runs(count, sizes))
    }),
    ("softmax_grad", |sizes| {
        let count = shared(sizes.get("COUNT"), sizes);
        Trips::Exactly(count + in_runs(count, sizes))
    }),
    ("softmax_grad_parts", |sizes| Trips::Exactly(part(sizes))),
    // The search for the maximum starts with the second element.
    ("softmax_join", |sizes| Trips::Exactly(2 * part(sizes) - 1)),
    ("softmax_parts", |sizes| Trips::Exactly(2 * part(sizes))),
    ("sum_chunks", |sizes| Trips::Exactly(4 + sizes.get("quads").min(4 * sizes.get("CHUNK")))),
    ("sum_join", |sizes| Trips::Exactly(part(sizes))),
    // The padding after an image.
    ("to_planes", |sizes| {
        Trips::Exactly(sizes.get("image_pitch") - sizes.get("CHANNELS") * sizes.get("PIXELS"))
    }),
];

/// Quads per lane, for the longest part of a line.
fn part(sizes: &Sizes<'_>) -> usize {
    sizes.get("COUNT").div_ceil(sizes.get("PARTS") * sizes.get("TEAM"))
}

/// The maximum share of each lane in `count` items.
pub(super) fn shared(count: usize, sizes: &Sizes<'_>) -> usize {
    count.div_ceil(sizes.get("TEAM"))
}

/// A sum of `count` quads in runs.
pub(super) fn in_runs(count: usize, sizes: &Sizes<'_>) -> usize {
    count + count.div_ceil(sizes.get("RUN"))
}

/// The maximum number of elements of a tensor.
const MOST: usize = 1 << 29;

/// Softmax and log-softmax along a dimension, or the loss and accuracy of rows of logits.
fn softmax(shape: &[usize], dim: isize, log: bool) -> Subject {
    Subject::train(format!("softmax of {shape:?} along {dim}, logarithm {log}"), |graph| {
        let x = graph.input("x", shape).bias();
        if log { x.log_softmax(dim) } else { x.softmax(dim) }
    })
}

fn rows_and_labels(graph: &Graph, rows: usize, classes: usize) -> [Var; 2] {
    [graph.input("x", [rows, classes]), graph.labels("labels", rows)]
}

/// The loss and accuracy of rows of logits.
fn classification(rows: usize, classes: usize) -> Vec<Subject> {
    let loss = |smoothing| {
        let name = format!("cross_entropy of [{rows}, {classes}], smoothing {smoothing}");
        Subject::train(name, |graph| {
            let [x, labels] = rows_and_labels(graph, rows, classes);
            x.bias().cross_entropy_with(CrossEntropy::new().label_smoothing(smoothing), &labels)
        })
    };
    let accuracy = Subject::evaluate(format!("accuracy of [{rows}, {classes}]"), |graph| {
        let [x, labels] = rows_and_labels(graph, rows, classes);
        x.accuracy(&labels)
    });
    let graph = Graph::new();
    let [x, labels] = rows_and_labels(&graph, rows, classes);
    let root = x.bias().cross_entropy(&labels);
    let name = format!("cross_entropy of [{rows}, {classes}] with its gradient");
    let slopes = Subject { name, options: PlanOptions::train(&root), graph };
    vec![loss(0.0), loss(0.1), accuracy, slopes]
}

fn mean(shape: &[usize]) -> Subject {
    Subject::train(format!("dropout, bias and mean of {shape:?}"), |graph| {
        let x = graph.input("x", shape).dropout(0.5);
        if shape.len() == 1 { x.mean() } else { x.bias().dropout(0.5).mean() }
    })
}

/// Sum and variance over axes, and the argmax indices if f32 can represent them.
fn reductions(shape: &[usize], dims: &[isize]) -> Vec<Subject> {
    let what = |kind: &str| format!("{kind} of {shape:?} over {dims:?}");
    let train = |kind: &str, of: fn(&Var, &[isize]) -> Var| {
        Subject::train(what(kind), |graph| of(&graph.parameter("x", shape, Init::Constant(0.0)), dims))
    };
    let mut subjects = vec![
        train("sum", |x, dims| x.sum_dim(dims, false)),
        train("var", |x, dims| x.var_dim(dims, 0, true)),
        train("max", |x, dims| x.amax(dims, false)),
    ];
    if let (true, &[dim]) = (shape.iter().product::<usize>() <= 1 << 24, dims) {
        let places = |graph: &Graph| graph.input("x", shape).argmax(dim, false);
        subjects.push(Subject::evaluate(what("argmax"), places));
    }
    subjects
}

fn flatten(shape: [usize; 4]) -> Subject {
    Subject::train(format!("flatten of {shape:?}"), |graph| graph.input("x", shape).bias().flatten())
}

pub(super) fn extreme() -> Vec<Subject> {
    let shapes: [&[usize]; 4] = [&[MOST], &[1, MOST], &[MOST / 4, 4], &[1, 1 << 14, 1 << 7, 1 << 8]];
    let mut subjects: Vec<Subject> = shapes.into_iter().map(mean).collect();
    let over: [(&[usize], &[isize]); 8] = [
        (&[MOST], &[0]),
        (&[1, MOST], &[1]),
        (&[MOST / 4, 1], &[0]),
        (&[1 << 17, 4096], &[1]),
        (&[1 << 16, 4097], &[1]),
        (&[1024, 1 << 19], &[0]),
        (&[1025, 1 << 18], &[0]),
        (&[1, 1 << 14, 1 << 7, 1 << 8], &[0, 1, 3]),
    ];
    subjects.extend(over.into_iter().flat_map(|(shape, dims)| reductions(shape, dims)));
    let images = [[3, 7, 1 << 12, 1 << 12], [1 << 12, 7, 3, 1 << 12], [7, 1 << 24, 1, 3]];
    subjects.extend(images.into_iter().map(flatten));
    // For each dimension: the longest lines, the longest lines that are processed whole, and the next longer ones.
    let along: [(&[usize], isize); 10] = [
        (&[1, MOST], 1),
        (&[1, MOST - 1], 1),
        (&[MOST / 4, 1], 0),
        (&[1, MOST / 64, 4, 16], 2),
        (&[1, MOST], 0),
        (&[1, 4, MOST / 4, 1], 2),
        (&[1 << 17, 4096], 1),
        (&[1 << 17, 4095], 1),
        (&[1 << 16, 4097], 1),
        (&[1024, 1 << 19], 0),
    ];
    for (shape, dim) in along.into_iter().chain([(&[1025, 1 << 18][..], 0)]) {
        subjects.extend([softmax(shape, dim, false), softmax(shape, dim, true)]);
    }
    // Lines of every order of magnitude, to cover algorithms used only between the sizes above.
    for count in (8..=26).flat_map(|power| [1 << power, 3 << (power - 1)]) {
        subjects.extend([softmax(&[1, 4 * count], 1, false), softmax(&[count, 3], 0, false)]);
        subjects.extend(reductions(&[1, 4 * count], &[1]));
        subjects.extend(reductions(&[count, 3], &[0]));
        if count <= 1 << 18 {
            subjects.extend(classification(1, 4 * count));
        }
    }
    // Class weights are created on the host, so there are fewer of them.
    for (rows, classes) in [(1, 1 << 24), (1 << 17, 4096), (1 << 16, 4097), (MOST / 4, 1), (1 << 12, 1 << 17)]
    {
        subjects.extend(classification(rows, classes));
    }
    subjects
}

pub(super) fn ordinary() -> Vec<Subject> {
    let mut subjects: Vec<Subject> =
        [1, 255, 257, 1024, 1025, 70_001].into_iter().map(|len| mean(&[1, len])).collect();
    let over: [(&[usize], &[isize]); 11] = [
        (&[5, 9], &[0]),
        (&[5, 9], &[1]),
        (&[2, 6, 3, 5], &[0, 3]),
        (&[2, 513], &[1]),
        (&[1, 4096], &[1]),
        (&[3, 4097], &[1]),
        (&[1024, 2], &[0]),
        (&[1025, 2], &[0]),
        (&[129, 3], &[0]),
        (&[70_001, 1], &[0]),
        (&[2, 262_145], &[1]),
    ];
    subjects.extend(over.into_iter().flat_map(|(shape, dims)| reductions(shape, dims)));
    subjects.extend([[2, 3, 3, 5], [3, 5, 1, 1], [1, 1, 2, 3]].into_iter().map(flatten));
    let along: [(&[usize], isize); 10] = [
        (&[5, 9], 0),
        (&[5, 9], 1),
        (&[2, 3, 4, 5], 2),
        (&[2, 513], 1),
        (&[1, 4096], 1),
        (&[3, 4097], 1),
        (&[1025, 2], 0),
        (&[1, 2, 3, 1300], 3),
        (&[70_001, 1], 0),
        (&[1, 262_145], 1),
    ];
    for (shape, dim) in along {
        subjects.extend([softmax(shape, dim, false), softmax(shape, dim, true)]);
    }
    for (rows, classes) in [(5, 9), (1, 512), (2, 513), (1, 4096), (3, 4097), (2, 262_145)] {
        subjects.extend(classification(rows, classes));
    }
    subjects
}
