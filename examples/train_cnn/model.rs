//! The networks, for images of any size and any number of classes.

use anyhow::Result;
use gradus::Gpu;
use gradus::graph::{Graph, Var};
use gradus::nn::Conv2d;
use gradus::optim::{self, AdamW, AnyRule};
use gradus::schedule::{self, OneCycleLR, Schedule};
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
        let optimizer = match &config.optimizer {
            Some(json) => optim::from_json(json)?,
            None => AdamW { lr: config.lr, ..AdamW::default() }.into(),
        };
        let steps_per_epoch = images.train_samples.div_ceil(config.batch_size) as u64;
        let steps = config.epochs as u64 * steps_per_epoch;
        let schedule: Box<dyn Schedule> = match &config.schedule {
            Some(json) => schedule::from_json(json)?,
            None => Box::new(OneCycleLR::new(config.lr, steps)),
        };
        let graph = Graph::new();
        let x = graph.input("x", [&[config.batch_size], &images.shape[..]].concat());
        let y = graph.labels("y", config.batch_size);
        let logits = logits(config.model, &x, images.classes as usize);
        let trainer = graph
            .trainer(&logits.cross_entropy(&y), optimizer)
            .schedule(schedule)
            .steps_per_epoch(steps_per_epoch)
            .metric("accuracy", &logits.accuracy(&y))
            .seed(config.seed)
            .build(gpu)?;
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
