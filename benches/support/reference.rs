//! The reference network: two convolutions with pooling, then two linear layers, for images of 28x28.

use anyhow::Result;
use gradus::Gpu;
use gradus::graph::{Graph, Var};
use gradus::nn::Conv2d;
use gradus::optim::AdamW;
use gradus::train::Trainer;

/// Its loss.
pub(crate) fn network(graph: &Graph, batch: usize) -> Var {
    let (x, y) = (graph.input("x", [batch, 1, 28, 28]), graph.labels("y", batch));
    let h = x.conv2d(Conv2d::new(16, 3).padding(1)).relu().max_pool2d(2);
    let h = h.conv2d(Conv2d::new(32, 3).padding(1)).relu().max_pool2d(2);
    h.flatten().linear(128).relu().linear(10).cross_entropy(&y)
}

pub(crate) fn trainer(gpu: &Gpu, batch: usize) -> Result<Trainer<AdamW>> {
    let graph = Graph::new();
    let loss = network(&graph, batch);
    Ok(graph.trainer(&loss, AdamW::default()).build(gpu)?)
}

/// Images and labels.
pub(crate) fn batch(batch: usize) -> (Vec<f32>, Vec<u32>) {
    let x = (0..batch * 784).map(|i| (i % 97) as f32 / 97.0).collect();
    (x, (0..10).cycle().take(batch).collect())
}
