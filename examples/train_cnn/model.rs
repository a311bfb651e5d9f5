//! The networks, for images of any size and any number of classes.

use anyhow::{Context, Result};
use gradus::Gpu;
use gradus::graph::{Graph, Var};
use gradus::nn::Conv2d;
use gradus::optim::{self, AdamW, AnyRule};
use gradus::schedule::{self, Interval, OneCycleLR, Schedule};
use gradus::train::Trainer;

use crate::args::{Config, Model};
use crate::data::Images;

/// A trainer, and the logits of its network.
pub(crate) struct Network {
    pub(crate) trainer: Trainer<Box<dyn AnyRule>>,
    pub(crate) logits: Var,
}

impl Network {
    pub(crate) fn new(gpu: &Gpu, config: &Config, images: &Images) -> Result<Self> {
        let Config { model, epochs, batch_size, .. } = config;
        let optimizer = match &config.optimizer {
            Some(json) => optim::from_json(json).context("--optimizer")?,
            None => AdamW { lr: config.lr, ..AdamW::default() }.into(),
        };
        let steps_per_epoch = images.train_samples.div_ceil(*batch_size);
        let steps = epochs.checked_mul(steps_per_epoch);
        let steps =
            steps.with_context(|| format!("--epochs {epochs} are more steps than can be counted"))? as u64;
        let schedule: Box<dyn Schedule> = match &config.schedule {
            Some(json) => schedule::from_json(json).context("--schedule")?,
            None => Box::new(OneCycleLR::new(config.lr, steps)),
        };
        let last = match schedule.interval() {
            Interval::Step => steps - 1,
            Interval::Epoch => *epochs as u64 - 1,
        };
        schedule.at(last, config.lr).with_context(|| format!("--schedule for {steps} steps"))?;
        let graph = Graph::new();
        let x = graph.input("x", [&[*batch_size], &images.shape[..]].concat());
        let y = graph.labels("y", *batch_size);
        let logits = logits(*model, &x, images.classes as usize);
        let trainer = graph
            .trainer(&logits.cross_entropy(&y), optimizer)
            .schedule(schedule)
            .steps_per_epoch(steps_per_epoch as u64)
            .metric("accuracy", &logits.accuracy(&y))
            .seed(config.seed)
            .build(gpu)
            .with_context(|| {
                format!("--model {model} on images of {:?}, --batch-size {batch_size}", images.shape)
            })?;
        Ok(Self { trainer, logits })
    }
}

fn logits(model: Model, x: &Var, classes: usize) -> Var {
    match model {
        Model::Cnn => {
            let h = x.conv2d(Conv2d::new(16, 3).padding(1)).relu().max_pool2d(2);
            let h = h.conv2d(Conv2d::new(32, 3).padding(1)).relu().max_pool2d(2);
            h.flatten().linear(64).relu().linear(classes)
        }
        Model::Mlp => x.flatten().linear(128).relu().linear(classes),
    }
}
