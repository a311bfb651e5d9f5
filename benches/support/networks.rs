//! The reference network, and blocks of the networks that people train.

use gradus::graph::{Graph, Var};
use gradus::nn::{BatchNorm, Conv2d, LSTM, MultiheadAttention};

/// Images of the reference network, where their number is not what is measured.
pub(crate) const BATCH: usize = 64;

/// The reference network and its loss.
pub(crate) fn reference(graph: &Graph, batch: usize) -> Var {
    let (x, y) = (graph.input("x", [batch, 1, 28, 28]), graph.labels("y", batch));
    let h = x.conv2d(Conv2d::new(16, 3).padding(1)).relu().max_pool2d(2);
    let h = h.conv2d(Conv2d::new(32, 3).padding(1)).relu().max_pool2d(2);
    h.flatten().linear(128).relu().linear(10).cross_entropy(&y)
}

/// A batch of it.
pub(crate) fn reference_batch(batch: usize) -> (Vec<f32>, Vec<u32>) {
    let x = (0..batch * 784).map(|i| (i % 97) as f32 / 97.0).collect();
    (x, (0..10).cycle().take(batch).collect())
}

pub(crate) type Build = fn(&Var) -> Var;

/// The name of each, the shape of its input, and how it is built; its output has the input's shape.
pub(crate) const BLOCKS: [(&str, &[usize], Build); 3] = [
    ("transformer block", &[8, 64, 128], transformer),
    ("lstm", &[32, 50, 128], lstm),
    ("residual block", &[32, 32, 14, 14], residual),
];

/// Before the norm, with four heads and a perceptron four times as wide.
fn transformer(x: &Var) -> Var {
    let h = x.layer_norm(128);
    let attention = MultiheadAttention::new(128, 4).batch_first(true).is_causal(true);
    let x = x.add(&h.multihead_attention(&h, &h, attention));
    x.add(&x.layer_norm(128).linear(512).gelu().linear(128))
}

fn lstm(x: &Var) -> Var {
    x.lstm(LSTM::new(128).batch_first(true), None).0
}

fn residual(x: &Var) -> Var {
    let conv =
        |x: &Var| x.conv2d(Conv2d::new(32, 3).padding(1).without_bias()).batch_norm2d(BatchNorm::new());
    conv(&conv(x).relu()).add(x).relu()
}
