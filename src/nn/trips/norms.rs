//! Trips of the normalisation kernels.

use super::graphs::Subject;
use super::lines::{in_runs, shared};
use super::sizes::Sizes;
use super::{Row, Trips};
use crate::graph::{Graph, Var};
use crate::nn::{BatchNorm, GroupNorm, LayerNorm, RMSNorm};

pub(super) const ROWS: &[Row] = &[
    ("norm", |sizes| Trips::Exactly(moments(sizes) + shared(sizes.get("count"), sizes))),
    ("norm_affine", |sizes| Trips::Exactly(in_runs(shared(sizes.get("length"), sizes), sizes))),
    ("norm_grad", |sizes| {
        let count = shared(sizes.get("count"), sizes);
        Trips::Exactly(count + in_runs(count, sizes))
    }),
    ("norm_moments", |sizes| Trips::Exactly(moments(sizes))),
    ("norm_sums", |sizes| Trips::Exactly(in_runs(shared(sizes.get("length"), sizes), sizes))),
    ("norm_sums_join", |sizes| Trips::Exactly(shared(sizes.get("length"), sizes))),
];

/// One pass, or two if the mean is subtracted.
fn moments(sizes: &Sizes<'_>) -> usize {
    (1 + sizes.get("CENTRED")) * in_runs(shared(sizes.get("length"), sizes), sizes)
}

/// The maximum number of elements of a tensor.
const MOST: usize = 1 << 29;

/// Over the last `axes` axes, with and without subtracting the mean.
fn last(shape: &[usize], axes: usize) -> [Subject; 2] {
    let extents = &shape[shape.len() - axes..];
    [
        subject(format!("layer_norm over {extents:?}"), shape, |x| x.layer_norm(LayerNorm::new(extents))),
        subject(format!("rms_norm over {extents:?}"), shape, |x| x.rms_norm(RMSNorm::new(extents))),
    ]
}

/// A normalisation of a value with a gradient.
fn subject(name: String, shape: &[usize], build: impl FnOnce(&Var) -> Var) -> Subject {
    Subject::train(format!("{name} of {shape:?}"), |graph: &Graph| {
        // A bias with one element for each element of a batch of one.
        let x = graph.input("x", shape);
        build(&if shape.len() == 1 { x.layer_norm(shape) } else { x.bias() })
    })
}

fn groups(shape: &[usize], groups: usize) -> Subject {
    subject(format!("group_norm of {groups}"), shape, |x| x.group_norm(GroupNorm::new(groups)))
}

fn batch(shape: &[usize]) -> [Subject; 2] {
    [true, false].map(|training| {
        subject(format!("batch_norm, training {training}"), shape, |x| {
            let layer = BatchNorm::new().training(training);
            if shape.len() == 4 { x.batch_norm2d(layer) } else { x.batch_norm1d(layer) }
        })
    })
}

pub(super) fn extreme() -> Vec<Subject> {
    let lines: [(&[usize], usize); 9] = [
        (&[1, MOST], 1),
        (&[1, MOST - 1], 1),
        (&[MOST / 4, 1], 1),
        (&[MOST / 4, 4], 1),
        (&[1, MOST / 4, 3], 2),
        (&[MOST / 64, 4, 16], 2),
        (&[1 << 17, 4096], 1),
        (&[1 << 16, 4097], 1),
        (&[1 << 14, 1 << 7, 1 << 8], 3),
    ];
    let grouped: [(&[usize], usize); 9] = [
        (&[1, 4, 1 << 13, 1 << 14], 1),
        (&[1, 3, 1 << 13, 1 << 14], 3),
        (&[1, 1, 1 << 14, 1 << 13], 1),
        (&[1, MOST / 2, 1, 2], 1),
        (&[1, 3 << 26, 1, 1], 1 << 26),
        (&[1, 1 << 26, 1, 3], 1 << 25),
        (&[1, 6 << 16, 1, 900], 2),
        (&[1 << 20, 6, 8, 8], 2),
        (&[1 << 12, 1 << 17], 1),
    ];
    let batches: [&[usize]; 6] = [
        &[MOST / 4, 4],
        &[MOST / 4, 1],
        &[2, MOST / 2],
        &[1 << 8, 33, 1 << 8, 1 << 7],
        &[1, 4, 1 << 13, 1 << 14],
        &[1 << 12, 1 << 10, 1 << 7],
    ];
    let mut subjects: Vec<Subject> = lines.into_iter().flat_map(|(shape, axes)| last(shape, axes)).collect();
    subjects.extend(grouped.into_iter().map(|(shape, n)| groups(shape, n)));
    subjects.extend(batches.into_iter().flat_map(batch));
    // Every order of magnitude, to cover algorithms used only between the sizes above.
    for count in (6..=26).flat_map(|power| [1 << power, 3 << (power - 1)]) {
        subjects.extend(last(&[1, 4 * count], 1));
        subjects.push(groups(&[1, 4, count, 1], 1));
        subjects.push(groups(&[1, 3, count, 1], 3));
        subjects.extend(batch(&[count, 3]));
    }
    subjects
}

pub(super) fn ordinary() -> Vec<Subject> {
    let lines: [(&[usize], usize); 9] = [
        (&[5, 9], 1),
        (&[2, 3, 5], 2),
        (&[2, 3, 5], 3),
        (&[1025, 4], 1),
        (&[2, 513], 1),
        (&[1, 4096], 1),
        (&[3, 4097], 1),
        (&[70_001, 1], 1),
        (&[1, 1_000_001], 1),
    ];
    let grouped: [(&[usize], usize); 7] = [
        (&[3, 8], 2),
        (&[2, 9, 3, 5], 3),
        (&[2, 8, 3, 5], 2),
        (&[2, 3, 40, 40], 3),
        (&[1, 8, 40, 40], 2),
        (&[1, 6, 600, 500], 1),
        (&[1, 6, 1100, 1000], 2),
    ];
    let batches: [&[usize]; 6] =
        [&[2, 3], &[256, 5], &[257, 5], &[2, 3, 7], &[3, 33, 10, 9], &[1, 4, 1100, 1000]];
    let mut subjects: Vec<Subject> = lines.into_iter().flat_map(|(shape, axes)| last(shape, axes)).collect();
    subjects.extend(grouped.into_iter().map(|(shape, n)| groups(shape, n)));
    subjects.extend(batches.into_iter().flat_map(batch));
    subjects
}
