//! Trips of the embedding kernels.

use super::graphs::Subject;
use super::sizes::Sizes;
use super::{Row, Trips};
use crate::nn::Embedding;

pub(super) const ROWS: &[Row] = &[
    // The busiest invocation depends on the order of the indices.
    ("embedding_grad", |sizes| {
        Trips::AtMost(match sizes.get("PIECES") {
            0 => in_runs(sizes.get("PLACES"), sizes),
            pieces => 2 * in_runs(sizes.get("PIECE"), sizes) + pieces,
        })
    }),
    ("embedding_merge", |sizes| {
        let (places, run) = (sizes.get("places"), sizes.get("RUN"));
        Trips::AtMost(places.div_ceil(run).min(sizes.get("WAYS")) * (1 + halvings(run)))
    }),
    ("embedding_pieces", |sizes| Trips::AtMost(in_runs(sizes.get("PIECE"), sizes))),
    ("embedding_scan", |sizes| Trips::Exactly(sizes.get("PLACES").div_ceil(4))),
    ("embedding_sort", |sizes| Trips::Exactly(sizes.get("places").min(sizes.get("BLOCK")))),
    ("embedding_starts", |sizes| Trips::AtMost(halvings(sizes.get("places")))),
];

fn in_runs(count: usize, sizes: &Sizes<'_>) -> usize {
    count + count.div_ceil(sizes.get("RUN"))
}

/// Steps of a binary search among `count` entries.
fn halvings(count: usize) -> usize {
    count.ilog2() as usize + 1
}

fn embedding((places, rows, columns): (usize, usize, usize)) -> Subject {
    Subject::train(format!("embedding of {places} places in [{rows}, {columns}]"), |graph| {
        graph.labels("indices", [1, places]).embedding(Embedding::new(rows, columns))
    })
}

pub(super) fn extreme() -> Vec<Subject> {
    let sizes =
        [(1 << 24, 5, 4), (1 << 24, 1 << 20, 32), (1 << 22, 3, 1), (1, 1 << 29, 1), (2_048, 1 << 12, 1)];
    let places = (8..24).flat_map(|power| [(1 << power, 70_000, 3), ((1 << power) + 1, 70_000, 3)]);
    sizes.into_iter().chain(places).map(embedding).collect()
}

pub(super) fn ordinary() -> Vec<Subject> {
    let sizes = [
        (1, 3, 5),
        (70, 9, 8),
        (2_048, 7, 4),
        (2_049, 7, 4),
        (100, 70_000, 128),
        (4_097, 3, 5),
        (16_384, 40, 4),
        (70_001, 2, 1),
    ];
    sizes.into_iter().map(embedding).collect()
}
