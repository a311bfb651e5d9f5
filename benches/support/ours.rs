//! A model in training here.

use std::time::Instant;

use anyhow::{Result, ensure};
use gradus::Gpu;
use gradus::graph::Graph;
use gradus::optim::AdamW;
use gradus::params::Weights;
use gradus::train::Trainer;

use crate::models::{Batch, Model};

pub(crate) struct Ours {
    trainer: Trainer<AdamW>,
    pub(crate) weights: Weights,
    pub(crate) batch: Batch,
    pub(crate) counters: String,
}

impl Ours {
    pub(crate) fn new(gpu: &Gpu, model: &Model, clips: bool) -> Result<Self> {
        let before = gpu.counters().live_bytes;
        let graph = Graph::new();
        let (loss, batch) = (model.build)(&graph);
        let mut builder = graph.trainer(&loss, AdamW::default()).seed(1);
        if clips {
            builder = builder.clip_grad_norm(1.0);
        }
        let trainer = builder.build(gpu)?;
        let weights = trainer.params().read_weights()?;
        let mut ours = Self { trainer, weights, batch, counters: String::new() };
        // Its weights come back: this step only shows what a step is made of.
        let start = ours.trainer.read_checkpoint()?;
        ours.step()?;
        ours.trainer.read_loss()?;
        let (live, dispatched) = (gpu.counters().live_bytes - before, gpu.counters());
        ours.step()?;
        let dispatches = gpu.counters().since(&dispatched).dispatches;
        ours.trainer.read_loss()?;
        ours.trainer.load_checkpoint(&start)?;
        ours.counters = format!("{dispatches} dispatches, {live} live bytes");
        Ok(ours)
    }

    fn step(&mut self) -> Result<()> {
        Ok(self.trainer.step(&self.batch.data())?)
    }

    pub(crate) fn first_losses(&mut self, count: usize) -> Result<Vec<f64>> {
        let mut losses = Vec::new();
        for _ in 0..count {
            self.step()?;
            losses.push(self.trainer.read_loss()?.into());
        }
        Ok(losses)
    }

    /// Seconds of so many steps.
    pub(crate) fn time(&mut self, steps: usize) -> Result<f64> {
        let start = Instant::now();
        for _ in 0..steps {
            self.step()?;
        }
        let loss = self.trainer.read_loss()?;
        let time = start.elapsed().as_secs_f64();
        ensure!(loss.is_finite(), "the loss is {loss}");
        Ok(time)
    }
}
