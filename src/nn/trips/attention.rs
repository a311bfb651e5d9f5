//! Trips of the kernels of attention.

use super::graphs::Subject;
use super::sizes::Sizes;
use super::{Row, Trips};
use crate::nn::ScaledDotProductAttention;

pub(super) const ROWS: &[Row] = &[
    ("attention", blocks),
    ("attention_grad", blocks),
    ("attention_rows", |sizes| Trips::Exactly(sizes.get("VALUE_QUADS"))),
];

/// The blocks of a run, and the products and draws of each.
fn blocks(sizes: &Sizes<'_>) -> Trips {
    let blocks = (sizes.get("end") - sizes.get("first")).div_ceil(sizes.get("BLOCK"));
    let trips = blocks * sizes.get("TRIPS");
    if sizes.get("CAUSAL") == 1 { Trips::AtMost(trips) } else { Trips::Exactly(trips) }
}

/// Planes, queries, keys, elements of queries, elements of values.
type Shape = [usize; 5];

fn attention([planes, queries, keys, features, values]: Shape, drops: bool, is_causal: bool) -> Subject {
    let name = format!("attention of {planes} times {queries} x {keys}, {features}, {values}, {drops}");
    Subject::train(name, |graph| {
        let bias = |name, shape| graph.input(name, shape).bias();
        let query = bias("query", [planes, queries, features]);
        let key = bias("key", [planes, keys, features]);
        let value = bias("value", [planes, keys, values]);
        let options = ScaledDotProductAttention::new().is_causal(is_causal);
        let options = options.dropout_p(if drops { 0.5 } else { 0.0 });
        query.scaled_dot_product_attention(&key, &value, options)
    })
}

pub(super) fn extreme() -> Vec<Subject> {
    let shapes = [
        [1, 16_384, 16_384, 64, 64],
        [1, 1, 1 << 20, 3, 5],
        [1, 1 << 20, 1, 3, 5],
        [1, 3, 5, 16_384, 16_384],
        [2, 3, 1 << 14, 16_384, 4],
        [1 << 12, 1 << 10, 1 << 9, 128, 64],
        [1 << 20, 2, 3, 1, 1],
        [3, 5_001, 7_003, 36, 44],
    ];
    let shapes = shapes.into_iter();
    shapes.flat_map(|shape| [attention(shape, false, false), attention(shape, true, true)]).collect()
}

pub(super) fn ordinary() -> Vec<Subject> {
    let shapes = [
        [1, 1, 1, 1, 1],
        [3, 5, 7, 6, 9],
        [2, 9, 8, 64, 32],
        [1, 3, 17, 130, 200],
        [1, 2, 70_001, 3, 5],
        [1, 33_000, 3, 3, 5],
    ];
    let shapes = shapes.into_iter();
    shapes.flat_map(|shape| [attention(shape, false, false), attention(shape, true, true)]).collect()
}
