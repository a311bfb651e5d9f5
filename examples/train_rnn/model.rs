//! The network in training.

use anyhow::{Context, Result};
use gradus::Gpu;
use gradus::graph::Graph;

use crate::args::Config;
use crate::network::Network;
use crate::options::Length;
use crate::run::Trainer;

pub(crate) fn trainer(gpu: &Gpu, config: &Config, length: Length) -> Result<Trainer> {
    let Config { cell, seq_len, hidden, ref training, .. } = *config;
    let (optimizer, schedule) = (training.optimizer()?, training.schedule(length)?);
    let graph = Graph::new();
    let x = graph.input("x", [training.batch_size, seq_len, 2]);
    let y = graph.input("y", [training.batch_size, 1]);
    let loss = x.apply("", &Network { cell, hidden }).mse_loss(&y);
    let trainer = training
        .average(training.cast(graph.trainer(&loss, optimizer)))?
        .schedule(schedule)
        .steps_per_epoch(length.steps_per_epoch)
        .clip_grad_norm(1.0)
        .seed(training.seed)
        .build(gpu);
    trainer.with_context(|| format!("--cell {cell}, --hidden {hidden}, --seq-len {seq_len}"))
}
