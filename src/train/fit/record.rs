//! What a checkpoint keeps of a run.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::error::Error;
use crate::train::history::any_number;
use crate::train::{Checkpoint, History};

/// The entry of [`Checkpoint::run`].
const KEY: &str = "fit";

/// The entry of callbacks there.
const CALLBACKS: &str = "callbacks";

/// A run so far.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Record {
    pub(super) batches_per_epoch: u64,
    /// Steps that the trainer had taken before.
    pub(super) first_step: u64,
    pub(super) history: History,
    pub(super) sums: Sums,
}

/// Sums of loss and metrics over the samples of an epoch so far.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Sums {
    samples: u64,
    #[serde(with = "any_number")]
    values: Vec<f64>,
}

impl Sums {
    pub(super) fn add(&mut self, loss: f32, metrics: &[f32], samples: usize) {
        self.values.resize(1 + metrics.len(), 0.0);
        self.samples += samples as u64;
        for (sum, value) in self.values.iter_mut().zip([&[loss], metrics].concat()) {
            *sum += f64::from(value) * samples as f64;
        }
    }

    /// The mean of each; NaN before the first sample.
    pub(super) fn means(&self, of: usize) -> Vec<f64> {
        (0..of).map(|at| self.values.get(at).map_or(f64::NAN, |sum| sum / self.samples as f64)).collect()
    }
}

impl Record {
    pub(super) fn new(first_step: u64, batches_per_epoch: u64, columns: Vec<String>) -> Result<Self, Error> {
        Ok(Self { batches_per_epoch, first_step, history: History::new(columns)?, sums: Sums::default() })
    }

    /// Puts it into a checkpoint, beside the `run` of the user.
    pub(super) fn save(&self, checkpoint: &mut Checkpoint, run: &Map<String, Value>) {
        checkpoint.run = run.clone();
        checkpoint.run.insert(KEY.into(), serde_json::to_value(self).expect("names and numbers"));
    }

    /// What a checkpoint holds of the run that `self` begins. Refuses another run.
    pub(super) fn load(&self, checkpoint: &Checkpoint, run: &Map<String, Value>) -> Result<Self, Error> {
        let entry = checkpoint.run.get(KEY).ok_or_else(|| {
            checkpoint.refuse(format!("it was not saved by fit: its run has no entry {KEY}"))
        })?;
        let theirs =
            Self::deserialize(entry).map_err(|error| checkpoint.refuse(format!("{KEY}: {error}")))?;
        let (ours, known) = (self.history.columns(), theirs.history.columns());
        if known != ours {
            let (known, ours) = (known.join(", "), ours.join(", "));
            return Err(checkpoint.refuse(format!("its history has {known}, this run's has {ours}")));
        }
        let (batches, expected) = (theirs.batches_per_epoch, self.batches_per_epoch);
        if batches != expected {
            let reason = format!("its epochs have {batches} batches, those of this source have {expected}");
            return Err(checkpoint.refuse(reason));
        }
        let own = |key: &&String| *key != KEY && *key != CALLBACKS;
        let keys = run.keys().chain(checkpoint.run.keys()).filter(own);
        for key in keys {
            if run.get(key) != checkpoint.run.get(key) {
                let shown = |value: Option<&Value>| value.map_or("missing".into(), Value::to_string);
                let (theirs, ours) = (shown(checkpoint.run.get(key)), shown(run.get(key)));
                return Err(checkpoint.refuse(format!("its {key} is {theirs}, this run's is {ours}")));
            }
        }
        Ok(theirs)
    }
}
