//! Trips of the kernels that process sequences step by step.

use super::graphs::Subject;
use super::{Row, Trips};
use crate::graph::Init;
use crate::nn::{GRU, LSTM, RNN};

pub(super) const ROWS: &[Row] = &[
    ("recurrent", |sizes| Trips::Exactly(sizes.get("HIDDEN") / 4 + sizes.get("ROWS"))),
    ("recurrent_grad", |sizes| {
        let products = sizes.get("has_after") * sizes.get("GATES") * sizes.get("HIDDEN") / 4;
        Trips::Exactly(products + sizes.get("ROWS"))
    }),
    ("recurrent_grad_plain", |sizes| {
        Trips::Exactly(sizes.get("has_after") * sizes.get("HIDDEN").div_ceil(2 * sizes.get("TEAM")))
    }),
    ("recurrent_plain", |sizes| Trips::Exactly(sizes.get("HIDDEN").div_ceil(2 * sizes.get("TEAM")))),
];

/// All three kinds of recurrent layers, over two steps of sequences with one feature.
fn layers([batch, rnn, lstm, gru]: [usize; 4]) -> [Subject; 3] {
    let name = |kind: &str, hidden: usize| format!("{kind} of {batch} sequences, {hidden} units");
    let shape = [2, batch, 1];
    let state = |hidden: usize| [1, batch, hidden];
    [
        Subject::train(name("rnn", rnn), |graph| {
            let h = graph.parameter("h", state(rnn), Init::Constant(0.0));
            graph.input("x", shape).rnn(RNN::new(rnn), Some(&h)).0
        }),
        Subject::train(name("lstm", lstm), |graph| graph.input("x", shape).lstm(LSTM::new(lstm), None).0),
        Subject::train(name("gru", gru), |graph| graph.input("x", shape).gru(GRU::new(gru), None).0),
    ]
}

pub(super) fn extreme() -> Vec<Subject> {
    // The widest possible weights, with and without whole quads, and the largest batch.
    let sizes = [
        [1, 23_168, 11_584, 13_376],
        [1, 23_170, 11_585, 13_377],
        [1, 23_169, 11_583, 13_375],
        [1 << 26, 4, 1, 1],
        [1 << 24, 1, 4, 4],
    ];
    sizes.into_iter().flat_map(layers).collect()
}

pub(super) fn ordinary() -> Vec<Subject> {
    [[3, 8, 12, 4], [3, 7, 9, 1], [40, 4, 36, 8], [1, 1, 2, 3]].into_iter().flat_map(layers).collect()
}
