//! Trips of the kernels that go along a line of a tensor, or over all of it.

use super::graphs::Subject;
use super::{Row, Trips};

/// Kernels with loops whose rows are still to be written, in the order of the alphabet.
pub(super) const WITHOUT_A_ROW: &[&str] =
    &["accuracy", "cross_entropy", "cross_entropy_grad", "softmax", "softmax_grad"];

pub(super) const ROWS: &[Row] = &[
    ("bias", |_| Trips::Exactly(4)),
    // The rounds of Philox.
    ("dropout", |_| Trips::Exactly(10)),
    ("sum_chunks", |sizes| Trips::Exactly(4 + sizes.get("quads").min(4 * sizes.get("CHUNK")))),
    // The padding behind an image.
    ("to_planes", |sizes| {
        Trips::Exactly(sizes.get("image_pitch") - sizes.get("CHANNELS") * sizes.get("PIXELS"))
    }),
];

/// As many elements as a tensor can have.
const MOST: usize = 1 << 29;

pub(super) fn extreme() -> Vec<Subject> {
    let mut subjects = Vec::new();
    for shape in [vec![MOST], vec![1, MOST], vec![MOST / 4, 4], vec![1, 1 << 14, 1 << 7, 1 << 8]] {
        subjects.push(Subject::train(format!("dropout, bias and mean of {shape:?}"), |graph| {
            let x = graph.input("x", shape.clone()).dropout(0.5);
            if shape.len() == 1 { x.mean() } else { x.bias().mean() }
        }));
    }
    for shape in [[3, 7, 1 << 12, 1 << 12], [1 << 12, 7, 3, 1 << 12], [7, 1 << 24, 1, 3]] {
        subjects.push(Subject::train(format!("flatten of {shape:?}"), |graph| {
            graph.input("x", shape).bias().flatten()
        }));
    }
    subjects
}

pub(super) fn ordinary() -> Vec<Subject> {
    let mut subjects = Vec::new();
    for len in [1, 255, 257, 1024, 1025, 70_001] {
        subjects.push(Subject::train(format!("dropout and mean of {len}"), |graph| {
            graph.input("x", [1, len]).bias().dropout(0.5).mean()
        }));
    }
    for shape in [[2, 3, 3, 5], [3, 5, 1, 1], [1, 1, 2, 3]] {
        subjects.push(Subject::train(format!("flatten of {shape:?}"), |graph| {
            graph.input("x", shape).bias().flatten()
        }));
    }
    subjects
}
