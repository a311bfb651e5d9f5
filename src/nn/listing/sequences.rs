use super::super::{GRU, Init, LSTM, RNN, RnnNonlinearity};
use crate::graph::{Graph, Var};

/// A graph of recurrent layers: with and without whole quads, with few and many units, with and without initial
/// states and biases.
pub(super) fn sequences() -> (Graph, Var, Var) {
    let graph = Graph::new();
    let (x, labels) = (graph.input("x", [3, 2, 5]), graph.labels("y", 2));
    let mut losses = Vec::new();
    for hidden in [8, 7, 13] {
        let state = |name: &str| {
            graph.parameter(&format!("{name}{hidden}"), [1, 2, hidden], Init::Normal { std: 1.0 })
        };
        let (h, c) = (state("h"), state("c"));
        let relu = RNN::new(hidden).nonlinearity(RnnNonlinearity::Relu).without_bias();
        losses.extend([RNN::new(hidden), relu].map(|layer| x.rnn(layer, Some(&h)).0));
        let (lstm, (_, cell)) = x.lstm(LSTM::new(hidden).num_layers(2).dropout(0.5), None);
        losses.extend([lstm, cell, x.lstm(LSTM::new(hidden).without_bias(), Some((&h, &c))).0]);
        losses.extend([x.gru(hidden, Some(&h)).0, x.gru(GRU::new(hidden).without_bias(), None).1]);
    }
    let mean = losses.iter().map(Var::mean).reduce(|sum, mean| sum.add(&mean)).expect("there are some");
    let logits = graph.parameter("logits", [2, 3], Init::Constant(0.0));
    (graph.clone(), mean, logits.accuracy(&labels))
}
