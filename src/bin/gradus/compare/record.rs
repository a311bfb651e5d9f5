//! What is kept of a run.

use std::time::Instant;

use gradus::Error;
use gradus::train::callbacks::{BatchEnd, Callback, Control, EpochEnd};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::progress::Progress;

/// A run, step by step. The same bytes however often the comparison was interrupted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Record {
    pub(crate) optimizer: Value,
    pub(crate) seed: u64,
    pub(crate) parameters: usize,
    /// Device memory of the optimizer's state after the run.
    pub(crate) state_bytes: u64,
    /// Loss and accuracy on the validation data before the first step, unless they are not numbers.
    pub(crate) start: Option<(f64, f64)>,
    pub(crate) steps: Steps,
    pub(crate) epochs: Epochs,
    /// The step, from 1, whose loss was not a number; nothing after the step before is kept. Or the last step of an epoch
    /// after which the validation loss was none.
    pub(crate) diverged: Option<u64>,
}

/// A value for each step.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Steps {
    pub(crate) lr: Vec<f64>,
    pub(crate) loss: Vec<f32>,
    pub(crate) accuracy: Vec<f32>,
}

/// A value for each epoch. Those of training are means over its steps.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Epochs {
    pub(crate) train_loss: Vec<f64>,
    pub(crate) train_accuracy: Vec<f64>,
    pub(crate) val_loss: Vec<f64>,
    pub(crate) val_accuracy: Vec<f64>,
}

/// Seconds of the steps of each epoch, without its evaluation.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Times {
    pub(crate) epochs: Vec<f64>,
}

impl Record {
    /// Whether it has all values of so many epochs.
    pub(crate) fn is_whole(&self, epochs: u64, steps_per_epoch: u64) -> bool {
        let Self { steps, epochs: of, diverged, .. } = self;
        let steps = [steps.lr.len(), steps.loss.len(), steps.accuracy.len()].map(|len| len as u64);
        let of =
            [&of.train_loss, &of.train_accuracy, &of.val_loss, &of.val_accuracy].map(|of| of.len() as u64);
        let same = steps.iter().all(|len| *len == steps[0]) && of.iter().all(|len| *len == of[0]);
        same && if diverged.is_some() {
            steps[0] <= epochs * steps_per_epoch && of[0] <= epochs
        } else {
            (steps[0], of[0]) == (epochs * steps_per_epoch, epochs)
        }
    }
}

/// Writes a run down.
pub(crate) struct Recorder<'p> {
    pub(crate) record: Record,
    pub(crate) times: Times,
    pub(crate) progress: &'p mut Progress,
    pub(crate) began: Instant,
    pub(crate) steps_per_epoch: u64,
}

impl Callback for Recorder<'_> {
    fn name(&self) -> &str {
        "compare"
    }

    fn on_epoch_begin(&mut self, _: u64, _: &mut Control) -> Result<(), Error> {
        self.began = Instant::now();
        Ok(())
    }

    fn on_train_batch_end(&mut self, batch: &BatchEnd<'_>, control: &mut Control) -> Result<(), Error> {
        // Some steps follow before the run stops; how many depends on the device.
        if self.record.diverged.is_some() {
            return Ok(());
        }
        let (step, loss) = (batch.report.step + 1, batch.report.loss);
        if !loss.is_finite() {
            self.record.diverged = Some(step);
            control.stop(format!("the loss of step {step} is {loss}"));
            return Ok(());
        }
        let steps = &mut self.record.steps;
        steps.lr.push(batch.lrs.iter().copied().fold(0.0, f64::max));
        steps.loss.push(loss);
        steps.accuracy.push(batch.report.metrics.first().copied().unwrap_or(0.0));
        if step.is_multiple_of(self.steps_per_epoch) {
            self.times.epochs.push(self.began.elapsed().as_secs_f64());
        }
        Ok(())
    }

    fn on_epoch_end(&mut self, epoch: &EpochEnd<'_>, control: &mut Control) -> Result<(), Error> {
        if self.record.diverged.is_some() {
            return Ok(());
        }
        let names = ["train_loss", "train_accuracy", "val_loss", "val_accuracy"];
        let values = names.map(|name| control.logged(name).unwrap_or(f64::NAN));
        if values.iter().all(|value| value.is_finite()) {
            let of = &mut self.record.epochs;
            let columns =
                [&mut of.train_loss, &mut of.train_accuracy, &mut of.val_loss, &mut of.val_accuracy];
            columns.into_iter().zip(values).for_each(|(column, value)| column.push(value));
            self.progress.epoch(epoch.epoch);
        } else {
            self.record.diverged = Some(epoch.step);
            control.stop(format!("the losses after step {} are not all numbers", epoch.step));
        }
        Ok(())
    }
}
