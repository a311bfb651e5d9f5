//! Trips of the attention kernels.

use super::graphs::Subject;
use super::sizes::Sizes;
use super::{Row, Trips};
use crate::nn::ScaledDotProductAttention;

pub(super) const ROWS: &[Row] = &[
    ("attention", blocks),
    ("attention_grad", blocks),
    ("attention_grad_tiled", blocks),
    ("attention_rows", |sizes| Trips::Exactly(sizes.get("VALUE_QUADS"))),
    ("attention_tiled", blocks),
];

/// The blocks of a run, and the products of each.
fn blocks(sizes: &Sizes<'_>) -> Trips {
    let blocks = (sizes.get("end") - sizes.get("first")).div_ceil(sizes.get("BLOCK"));
    let trips = blocks * sizes.get("TRIPS");
    if sizes.get("CAUSAL") == 1 { Trips::AtMost(trips) } else { Trips::Exactly(trips) }
}

/// Planes, queries, keys, elements of queries, elements of values.
type Shape = [usize; 5];

/// Which of query, key and value are trained; whether there is dropout; whether it is causal.
type Kind = ([bool; 3], bool, bool);

/// With dropout, key or value is not trained, because the counter takes up one of the kernel's bindings.
const KINDS: [Kind; 4] = [
    ([true; 3], false, false),
    ([true; 3], false, true),
    ([true, true, false], true, true),
    ([false, false, true], true, false),
];

fn attention([planes, queries, keys, features, values]: Shape, (trained, drops, is_causal): Kind) -> Subject {
    let sizes = format!("{planes} times {queries} x {keys}, {features}, {values}");
    Subject::train(format!("attention of {sizes}, {trained:?}, {drops}"), |graph| {
        let tensor = |name: &str, shape: [usize; 3], trained: bool| {
            let x = graph.input(name, shape);
            if trained { x.bias() } else { x }
        };
        let query = tensor("query", [planes, queries, features], trained[0]);
        let key = tensor("key", [planes, keys, features], trained[1]);
        let value = tensor("value", [planes, keys, values], trained[2]);
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
        [1, 32, 1 << 20, 128, 128],
        [1, 1 << 20, 32, 1, 128],
    ];
    shapes.into_iter().flat_map(|shape| KINDS.map(|kind| attention(shape, kind))).collect()
}

pub(super) fn ordinary() -> Vec<Subject> {
    let shapes = [
        [1, 1, 1, 1, 1],
        [3, 5, 7, 6, 9],
        [2, 9, 8, 64, 32],
        [1, 3, 17, 130, 200],
        [1, 2, 70_001, 3, 5],
        [1, 33_000, 3, 3, 5],
        [1, 33, 65, 9, 128],
        [2, 70, 40, 100, 6],
    ];
    shapes.into_iter().flat_map(|shape| KINDS.map(|kind| attention(shape, kind))).collect()
}
