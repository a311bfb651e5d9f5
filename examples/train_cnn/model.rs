//! The networks, for images of any size and any number of classes.

use anyhow::{Context, Result};
use gradus::Gpu;
use gradus::graph::{Graph, Var};
use gradus::nn::Conv2d;

use crate::args::{Config, Model};
use crate::data::Images;
use crate::options::Length;
use crate::run::Trainer;

/// A trainer, the logits of its network, and how long it trains.
pub(crate) struct Network {
    pub(crate) trainer: Trainer,
    pub(crate) logits: Var,
    pub(crate) length: Length,
}

impl Network {
    pub(crate) fn new(gpu: &Gpu, config: &Config, images: &Images) -> Result<Self> {
        let Config { model, epochs, training, .. } = config;
        let batch_size = training.batch_size;
        let optimizer = training.optimizer()?;
        let steps_per_epoch = images.train_samples.div_ceil(batch_size);
        let length = Length::of_epochs(*epochs, steps_per_epoch)?;
        let schedule = training.schedule(length)?;
        let graph = Graph::new();
        let x = graph.input("x", [&[batch_size], &images.shape[..]].concat());
        let y = graph.labels("y", batch_size);
        let logits = logits(*model, &x, images.classes as usize);
        let trainer = graph
            .trainer(&logits.cross_entropy(&y), optimizer)
            .schedule(schedule)
            .steps_per_epoch(steps_per_epoch as u64)
            .metric("accuracy", &logits.accuracy(&y))
            .seed(training.seed)
            .build(gpu)
            .with_context(|| {
                format!("--model {model} on images of {:?}, --batch-size {batch_size}", images.shape)
            })?;
        Ok(Self { trainer, logits, length })
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
