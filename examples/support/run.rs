//! A run: epochs, their results, and the files that store it.

use std::path::Path;

use anyhow::{Result, ensure};
use gradus::optim::AnyRule;
use gradus::train::{Checkpoint, Evaluation, History, report};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::folder::{Folder, HISTORY, MODEL, REPORT};
use crate::options::{Length, Options};
use crate::progress::{Means, Progress, reported};
use crate::terminal::say;

/// A trainer with any optimizer.
pub(crate) type Trainer = gradus::train::Trainer<Box<dyn AnyRule>>;

/// The steps of an epoch: each call takes the next one.
pub(crate) type Steps<'a> = Box<dyn FnMut(&mut Trainer) -> Result<()> + 'a>;

/// What an example trains on, and what it measures.
pub(crate) trait Task {
    /// The settings that determine the results of a run: a map whose entries are stored in the model's file.
    type Settings: Serialize + DeserializeOwned;

    /// The trainer's metrics besides the loss, in order. The last one is printed after each epoch.
    const METRICS: &'static [&'static str];

    /// Number of samples in step `step` of an epoch (from 0): the weight of its loss in the epoch's mean.
    fn samples(&self, step: usize) -> usize;

    /// The steps of an epoch, from number `from` on. They depend only on these numbers and the settings, so a resumed
    /// run takes the same steps.
    fn steps(&self, trainer: &mut Trainer, epoch: u64, from: u64) -> Result<Steps<'_>>;

    /// The loss and the metrics on held-out data.
    fn evaluate(&self, trainer: &mut Trainer) -> Result<Evaluation>;

    /// The title of the report.
    fn title(&self, trainer: &Trainer, test: &Evaluation) -> String;
}

/// What the model's file stores besides the model.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Saved<S> {
    #[serde(flatten)]
    pub(crate) settings: S,
    epoch_so_far: Means,
    pub(crate) history: History,
}

fn columns(metrics: &[&'static str]) -> Vec<String> {
    let of = |set: &str| reported(metrics).into_iter().map(|name| format!("{set}_{name}")).collect();
    let (train, test): (Vec<String>, Vec<String>) = (of("train"), of("test"));
    [train, test, vec!["lr".into()]].concat()
}

impl<S: Serialize + DeserializeOwned> Saved<S> {
    pub(crate) fn of<T: Task<Settings = S>>(checkpoint: &Checkpoint) -> Result<Self> {
        Self::of_program::<T>(checkpoint, env!("CARGO_CRATE_NAME"))
    }

    /// Reads it from a checkpoint of the example `program`.
    pub(crate) fn of_program<T: Task<Settings = S>>(checkpoint: &Checkpoint, program: &str) -> Result<Self> {
        let refuse = |reason: &dyn std::fmt::Display| {
            checkpoint.refuse(format!("it is not a run of {program}: {reason}"))
        };
        let run = serde_json::Value::from(checkpoint.run.clone());
        let saved: Self = serde_json::from_value(run.clone()).map_err(|e| refuse(&e))?;
        let known = saved.epoch_so_far.is_of(T::METRICS) && saved.history.columns() == columns(T::METRICS);
        // serde cannot refuse unknown fields in flattened maps.
        if !known || serde_json::to_value(&saved)? != run {
            return Err(refuse(&"it has other fields").into());
        }
        Ok(saved)
    }
}

/// The run that `--resume` names, if it exists.
pub(crate) fn resumed<T: Task>(options: &Options) -> Result<Option<(Checkpoint, Saved<T::Settings>)>> {
    let Some(path) = options.resume.as_deref() else { return Ok(None) };
    if path.exists() {
        let checkpoint = Checkpoint::read(path)?;
        let saved = Saved::of::<T>(&checkpoint)?;
        return Ok(Some((checkpoint, saved)));
    }
    // A mistyped name would overwrite the existing run.
    let (name, out) = (path.display(), options.out.as_deref().unwrap_or(Path::new("")));
    let taken = options.out.is_some() && out.join(MODEL).exists();
    ensure!(!taken, "--resume {name}: there is no such file, but a {MODEL} in --out {}", out.display());
    say(format_args!("{name} does not exist yet: starting afresh"))?;
    Ok(None)
}

/// A network in training.
pub(crate) struct Run<'a, T: Task> {
    pub(crate) trainer: Trainer,
    task: &'a T,
    length: Length,
    folder: Option<Folder>,
    save_every: u64,
    pub(crate) saved: Saved<T::Settings>,
}

impl<'a, T: Task> Run<'a, T> {
    pub(crate) fn new(trainer: Trainer, task: &'a T, length: Length, settings: T::Settings) -> Result<Self> {
        let history = History::new(columns(T::METRICS))?;
        Ok(Self {
            trainer,
            task,
            length,
            folder: None,
            save_every: length.steps_per_epoch,
            saved: Saved { settings, epoch_so_far: Means::new(T::METRICS), history },
        })
    }

    /// Continues from a checkpoint with the same data and options.
    pub(crate) fn resume(&mut self, checkpoint: &Checkpoint, saved: Saved<T::Settings>) -> Result<()> {
        self.trainer.load_checkpoint(checkpoint)?;
        self.saved = saved;
        say(format_args!("going on after step {}", checkpoint.step))
    }

    /// Stores the run in the folder of `--out`, if given.
    pub(crate) fn keep(&mut self, options: &Options) -> Result<()> {
        self.folder = options.out.as_deref().map(Folder::open).transpose()?;
        self.save_every = options.save_every.map_or(self.save_every, |steps| steps as u64);
        Ok(())
    }

    /// Trains to the last epoch, and returns the final evaluation on the test set.
    pub(crate) fn train(&mut self) -> Result<Evaluation> {
        let Length { steps, steps_per_epoch } = self.length;
        let done = self.trainer.steps();
        let progress = Progress::new(done, steps, T::METRICS);
        let first = if done < steps { done / steps_per_epoch } else { self.length.epochs() };
        for epoch in first..self.length.epochs() {
            let skipped = done.saturating_sub(epoch * steps_per_epoch);
            let task = self.task;
            let mut next = task.steps(&mut self.trainer, epoch, skipped)?;
            let steps_of_epoch = self.length.steps_of(epoch);
            for number in skipped + 1..=steps_of_epoch {
                next(&mut self.trainer)?;
                self.poll(&progress, false)?;
                if number < steps_of_epoch && self.trainer.steps().is_multiple_of(self.save_every) {
                    self.poll(&progress, true)?;
                    self.save()?;
                }
            }
            self.poll(&progress, true)?;
            self.end_epoch(&progress)?;
        }
        progress.finish();
        self.finish()
    }

    /// Processes the reports that have arrived; with `wait`, all of them.
    fn poll(&mut self, progress: &Progress, wait: bool) -> Result<()> {
        while let Some(report) = if wait { self.trainer.read_report()? } else { self.trainer.poll()? } {
            let (step, loss) = (report.step + 1, report.loss);
            ensure!(
                loss.is_finite(),
                "the run diverged, try a lower rate: the loss of step {step} is {loss}"
            );
            let samples = self.task.samples(usize::try_from(report.step % self.length.steps_per_epoch)?);
            self.saved.epoch_so_far.add(T::METRICS, &report, samples);
            progress.step(step, &self.saved.epoch_so_far, self.rate());
        }
        Ok(())
    }

    /// The largest learning rate of all groups.
    fn rate(&self) -> f64 {
        self.trainer.optimizer().rules().map(|rule| rule.lr()).fold(0.0, f64::max)
    }

    fn end_epoch(&mut self, progress: &Progress) -> Result<()> {
        let test = self.task.evaluate(&mut self.trainer)?;
        let means = std::mem::replace(&mut self.saved.epoch_so_far, Means::new(T::METRICS));
        let (steps, epochs, rate) = (self.trainer.steps(), self.length.epochs(), self.rate());
        let epoch = self.saved.history.rows().len() + 1;
        let trained: Vec<f64> = reported(T::METRICS).into_iter().map(|name| means.mean(name)).collect();
        let tested = [&[test.loss], &test.metrics[..]].concat();
        self.saved.history.push(epoch as u64, steps, &[&trained[..], &tested, &[rate]].concat())?;
        self.trainer.observe(test.loss)?;
        let held_out = tested[tested.len() - 1];
        progress.epoch((epoch, epochs), steps, &means, rate, held_out)?;
        if steps.is_multiple_of(self.save_every) && (epoch as u64) < epochs {
            self.save()?;
        }
        Ok(())
    }

    fn save(&mut self) -> Result<()> {
        let Some(folder) = &self.folder else { return Ok(()) };
        let mut checkpoint = self.trainer.read_checkpoint()?;
        if let serde_json::Value::Object(run) = serde_json::to_value(&self.saved)? {
            checkpoint.run = run;
        }
        folder.write_model(&checkpoint)?;
        folder.write(HISTORY, &self.saved.history.to_csv())
    }

    fn finish(&mut self) -> Result<Evaluation> {
        self.save()?;
        let test = self.task.evaluate(&mut self.trainer)?;
        if let Some(folder) = &self.folder {
            let title = self.task.title(&self.trainer, &test);
            folder.write(REPORT, &report::svg(&self.saved.history, &title)?)?;
        }
        Ok(test)
    }
}
