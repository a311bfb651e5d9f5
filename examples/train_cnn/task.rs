//! The images as a task: their batches, and the accuracy on the test set.

use anyhow::{Context, Result};
use gradus::Gpu;
use gradus::train::Evaluation;
use gradus::train::data::ResidentDataset;
use serde::{Deserialize, Serialize};

use crate::args::Config;
use crate::data::{Images, Sets};
use crate::options::Training;
use crate::run::{Steps, Task, Trainer};

/// Samples of a step that only evaluates.
pub(crate) const EVALUATION_BATCH: usize = 120;

/// What decides the numbers of a run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Settings {
    pub(crate) config: Config,
    pub(crate) images: Images,
}

pub(crate) struct Classify {
    sets: Sets,
    config: Config,
    resident: Option<(ResidentDataset, ResidentDataset)>,
}

impl Classify {
    /// The sets stay on the host, or are uploaded once if they are `resident`.
    pub(crate) fn new(gpu: &Gpu, config: Config, sets: Sets, resident: bool) -> Result<Self> {
        let on_device = || anyhow::Ok((sets.train.to_device(gpu)?, sets.test.to_device(gpu)?));
        let resident = resident.then(on_device).transpose()?;
        Ok(Self { sets, config, resident })
    }
}

impl Task for Classify {
    type Settings = Settings;
    const METRICS: &'static [&'static str] = &["accuracy"];

    fn samples(&self, step: usize) -> usize {
        let batch_size = self.config.training.batch_size;
        let place = step * batch_size;
        batch_size.min(self.sets.train.len() - place)
    }

    fn steps(&self, _: &mut Trainer, epoch: u64, from: u64) -> Result<Steps<'_>> {
        const EVERY: &str = "there are as many batches as steps";
        let Training { seed, batch_size, .. } = self.config.training;
        let mut from = usize::try_from(from).context("too many steps")?;
        let shuffled = self.sets.train.shuffled(seed, epoch);
        let order = shuffled.order().to_vec();
        let mut batches = shuffled.batches(batch_size)?.skip_to(from)?;
        Ok(match &self.resident {
            Some((train, _)) => Box::new(move |trainer| {
                let rows = order.chunks(batch_size).nth(from).context(EVERY)?;
                from += 1;
                Ok(trainer.step(&[("x", &train.x.rows(rows)), ("y", &train.y.rows(rows))])?)
            }),
            None => Box::new(move |trainer| {
                let batch = batches.next().context(EVERY)?;
                Ok(trainer.step(&[("x", &batch.x), ("y", &batch.y)])?)
            }),
        })
    }

    fn evaluate(&self, trainer: &mut Trainer) -> Result<Evaluation> {
        let test = &self.sets.test;
        Ok(match &self.resident {
            Some((_, on_device)) => {
                let all: Vec<u32> = (0..u32::try_from(test.len())?).collect();
                let data = (on_device.x.rows(&all), on_device.y.rows(&all));
                trainer.evaluate(&[("x", &data.0), ("y", &data.1)], EVALUATION_BATCH)?
            }
            None => trainer.evaluate(&[("x", &test.numbers()), ("y", &test.y())], EVALUATION_BATCH)?,
        })
    }

    fn title(&self, trainer: &Trainer, test: &Evaluation) -> String {
        let Config { model, training, .. } = &self.config;
        let (optimizer, schedule) = (trainer.optimizer().name(), training.schedule_name());
        let size = self.sets.images.shape.iter().map(usize::to_string).collect::<Vec<_>>().join("x");
        let data = format!("{} images of {size}", self.sets.train.len());
        let accuracy = test.metrics[0] * 100.0;
        let seed = training.seed;
        format!("{model} on {data}, {optimizer}, {schedule}, seed {seed}: test accuracy {accuracy:.2} %")
    }
}
