//! What the optimizers are compared on.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use gradus::graph::Graph;
use gradus::optim::AnyRule;
use gradus::schedule::{self, Interval};
use gradus::train::callbacks::Callbacks;
use gradus::train::data::{DataLoader, Dataset};
use gradus::train::{FitOptions, Trainer, Validation};
use gradus::{Error, Gpu};
use serde_json::Value;

use super::contender::Contender;
use super::progress::Progress;
use super::record::{Epochs, Record, Recorder, Steps, Times};
use super::settings::Settings;
use crate::data::{Sets, Source};
use crate::models::Model;

/// Samples in a batch of an evaluation.
const EVALUATED: usize = 360;

/// A model, data, and how long it is trained.
pub(crate) struct Problem {
    model: Model,
    pub(crate) model_json: Value,
    pub(crate) data_json: Value,
    pub(crate) checksum: u32,
    train: Dataset,
    test: Dataset,
    /// Inputs of the test samples.
    tested: Vec<f32>,
    outputs: usize,
    schedule: Option<Value>,
    pub(crate) batch: usize,
    pub(crate) epochs: u64,
    pub(crate) seeds: u64,
}

impl Problem {
    pub(crate) fn new(settings: &Settings) -> Result<Self> {
        let (model, model_json) = Model::from_json(&settings.model).context("--model")?;
        let (source, data_json) = Source::from_json(&settings.data, Path::new("")).context("--data")?;
        let sets = source.read().context("--data")?;
        let (checksum, outputs) = (sets.checksum(), sets.outputs());
        let Sets::Labels { train, test } = sets else {
            bail!("--data {data_json}: it has numbers to predict; an accuracy needs class labels");
        };
        let problem = Self {
            model,
            model_json,
            data_json,
            checksum,
            tested: test.numbers(),
            train,
            test,
            outputs,
            schedule: settings.schedule.clone(),
            batch: settings.batch_size,
            epochs: settings.epochs,
            seeds: settings.seeds,
        };
        if let Some(json) = &problem.schedule {
            problem.check_schedule(json).with_context(|| format!("--schedule {json}"))?;
        }
        Ok(problem)
    }

    /// Steps of an epoch; the last one can have fewer samples.
    pub(crate) fn steps_per_epoch(&self) -> u64 {
        self.train.len().div_ceil(self.batch) as u64
    }

    /// It must have a rate for every step.
    fn check_schedule(&self, json: &Value) -> Result<()> {
        let schedule = schedule::from_json(json)?;
        let last = match schedule.interval() {
            Interval::Step => self.epochs * self.steps_per_epoch() - 1,
            Interval::Epoch => self.epochs - 1,
        };
        schedule.at(last, 0.1)?;
        Ok(())
    }

    /// Refuses an optimizer that the model or the schedule does not suit.
    pub(crate) fn check(&self, gpu: &Gpu, contender: &Contender) -> Result<()> {
        let mut trainer = self.trainer(gpu, contender, 1)?;
        if let Some(json) = &self.schedule {
            trainer.optimizer_mut().schedule(&*schedule::from_json(json)?, 0)?;
        }
        Ok(())
    }

    /// A trainer with fresh weights of this seed.
    pub(crate) fn trainer(
        &self,
        gpu: &Gpu,
        contender: &Contender,
        seed: u64,
    ) -> Result<Trainer<Box<dyn AnyRule>>> {
        let graph = Graph::new();
        let x = graph.input("x", [&[self.batch], self.train.shape()].concat());
        let y = graph.labels("y", self.batch);
        let logits = self.model.outputs(&x, self.outputs);
        let mut builder = graph
            .trainer(&logits.cross_entropy(&y), contender.rule.clone())
            .metric("accuracy", &logits.accuracy(&y))
            .optimizer_options(contender.options.clone())
            .steps_per_epoch(self.steps_per_epoch())
            .seed(seed);
        if let Some(json) = &self.schedule {
            builder = builder.schedule(schedule::from_json(json)?);
        }
        Ok(builder.build(gpu)?)
    }

    /// Trains and evaluates to the last epoch, or until the loss is not a number.
    pub(crate) fn run(
        &self,
        gpu: &Gpu,
        contender: &Contender,
        seed: u64,
        progress: &mut Progress,
    ) -> Result<(Record, Times)> {
        let mut trainer = self.trainer(gpu, contender, seed)?;
        let labels = self.test.y();
        let data: [(&str, &dyn gradus::graph::HostData); 2] = [("x", &self.tested), ("y", &labels)];
        let start = trainer.evaluate(&data, EVALUATED)?;
        let start = (start.loss, start.metrics[0]);
        let record = Record {
            optimizer: contender.json.clone(),
            seed,
            parameters: trainer.params().layout().parameters(),
            state_bytes: 0,
            start: Some(start).filter(|(loss, accuracy)| loss.is_finite() && accuracy.is_finite()),
            steps: Steps::default(),
            epochs: Epochs::default(),
            diverged: None,
        };
        progress.run(contender, seed);
        let steps_per_epoch = self.steps_per_epoch();
        let (times, began) = (Times::default(), Instant::now());
        let mut recorder = Recorder { record, times, progress, began, steps_per_epoch };
        let options = FitOptions {
            epochs: self.epochs,
            validation: Some(Validation { data: &data, batch: EVALUATED }),
            ..FitOptions::default()
        };
        let mut source = DataLoader::new(&self.train, self.batch)?.shuffle(seed);
        let mut callbacks = Callbacks::new().with(&mut recorder);
        let fitted = trainer.fit(&mut source, &options, &mut callbacks);
        drop(callbacks);
        let Recorder { mut record, times, .. } = recorder;
        match fitted {
            // A schedule that follows the validation loss refuses one that is not a number.
            Err(Error::Constant { .. }) if record.diverged.is_some() => (),
            fitted => drop(fitted?),
        }
        record.state_bytes = trainer.optimizer().state_bytes();
        Ok((record, times))
    }
}
