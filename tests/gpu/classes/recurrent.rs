//! Recurrent layers whose lanes share the sums over units.

use gradus::graph::{Graph, Init, Var};
use gradus::nn::{GRU, LSTM, RNN};

use super::{Case, gpus};
use crate::common::noises;

/// Sequences and units: on both sides of where lanes share sums, and of the most that do.
const SIZES: [[usize; 2]; 9] =
    [[1, 8], [3, 9], [17, 16], [2, 31], [9, 33], [3, 64], [1, 65], [2, 257], [33, 20]];

#[test]
fn recurrent_layers_are_the_same_however_lanes_share_sums() {
    let gpus = gpus();
    type Build = fn(&Graph, &Var, usize) -> Var;
    let layers: [(&str, usize, Build); 3] = [
        ("rnn", 1, |_, x, hidden| x.rnn(RNN::new(hidden).name("l"), None).0),
        ("lstm", 4, |_, x, hidden| x.lstm(LSTM::new(hidden).name("l"), None).0),
        ("gru", 3, |graph, x, hidden| {
            let state = [1, x.shape()[1], hidden];
            x.gru(GRU::new(hidden).name("l"), Some(&graph.parameter("h", state, Init::Constant(0.0)))).0
        }),
    ];
    for ([batch, hidden], (name, gates, layer)) in
        SIZES.into_iter().flat_map(|sizes| layers.map(|layer| (sizes, layer)))
    {
        let build = |graph: &Graph| {
            let x = graph.parameter("x", [3, batch, 2], Init::Constant(0.0));
            layer(graph, &x, hidden)
        };
        let small = |stream, len: usize| -> Vec<f32> {
            noises(stream, len).into_iter().map(|x| x / (hidden as f32).sqrt()).collect()
        };
        let mut values = vec![
            ("x", noises(1, 6 * batch)),
            ("l.weight_ih_l0", small(2, 2 * gates * hidden)),
            ("l.weight_hh_l0", small(3, gates * hidden * hidden)),
            ("l.bias_ih_l0", small(4, gates * hidden)),
            ("l.bias_hh_l0", small(5, gates * hidden)),
        ];
        values.extend((name == "gru").then(|| ("h", noises(6, batch * hidden))));
        let name = format!("{name} of {batch} sequences, {hidden} units");
        Case { name, values, labels: None, build: &build }.check(&gpus);
    }
}
