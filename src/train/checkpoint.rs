use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::EarlyStoppingState;
use crate::Error;
use crate::files::{self, record, tensors};
use crate::optim::StateDict;
use crate::params::Tensor;

mod format;
#[cfg(test)]
mod tests;

/// All that a run needs to go on bit for bit, in memory: see [`Trainer::read_checkpoint`](super::Trainer).
///
/// As a file it is in the format safetensors: `params.<tensor>` and `optim.<slot>.<tensor>` (slots under
/// torch's names, as `optim.exp_avg.conv1.weight`, in the tensor's shape if they hold a number an element),
/// `average.<tensor>` where averages of the weights are kept, and `best.<tensor>` for the parameters and buffers that early stopping keeps, all f32, and one metadata key, `gradus`, with a JSON
/// record of everything else. The record begins with a checksum (CRC-32) over the rest of it and all tensors.
/// It holds no time and no path, so that equal runs write equal files.
///
/// Source: <https://github.com/huggingface/safetensors>.
#[derive(Clone, Debug, PartialEq)]
pub struct Checkpoint {
    /// Steps taken.
    pub step: u64,
    /// Seed of the parameters' first values and of the random operations.
    pub seed: u64,
    /// The parameters and buffers by name, as torch's `state_dict` has both.
    pub params: BTreeMap<String, Tensor>,
    /// The parameters that are frozen.
    pub frozen: Vec<String>,
    /// The optimizer's options, counts and slots.
    pub optimizer: StateDict,
    /// The schedule, if there is one, by its [`Schedule::identity`](crate::schedule::Schedule::identity); `null` in files
    /// of version 0.1, for none and for one without a JSON form alike.
    pub schedule: Option<Value>,
    /// What the gate counts, where steps may be skipped.
    pub gate: Option<GateState>,
    /// What metrics have left in the schedule, if it follows one.
    pub schedule_state: Option<Value>,
    /// What metrics have left in an [`EarlyStopping`](super::EarlyStopping), with the best parameters if it keeps them.
    /// The caller puts it here before writing, and takes it after reading.
    pub early_stopping: Option<EarlyStoppingState>,
    /// Whatever the caller wants to find again: the model, the place in the data, the history so far.
    pub run: Map<String, Value>,
    /// The file that it was read from, for messages.
    source: String,
}

/// The part of the gate that steps which may be skipped leave behind.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GateState {
    /// The factor of the loss.
    pub loss_scale: f32,
    /// Steps since it has changed.
    pub growth_tracker: u32,
    /// Steps applied.
    pub applied: u32,
    /// Steps skipped.
    pub skipped: u32,
    /// Steps skipped since the last one that was applied.
    pub skipped_in_a_row: u32,
}

impl Checkpoint {
    pub(super) fn new(step: u64, seed: u64, optimizer: StateDict, schedule: Option<Value>) -> Self {
        Self {
            step,
            seed,
            params: BTreeMap::new(),
            frozen: Vec::new(),
            optimizer,
            schedule,
            gate: None,
            schedule_state: None,
            early_stopping: None,
            run: Map::new(),
            source: "checkpoint".into(),
        }
    }

    /// The averages of the weights by name, as [`Optimizer::read_averages`](crate::optim::Optimizer::read_averages) reads
    /// them, if some are kept: to save a model of them.
    pub fn averages(&self) -> Option<BTreeMap<String, Tensor>> {
        let averages = &self.optimizer.averages.as_ref()?.averages;
        let of = |(name, tensor): (&String, &Tensor)| {
            let values = averages.get(name).unwrap_or(&tensor.values).clone();
            (name.clone(), Tensor { shape: tensor.shape.clone(), values })
        };
        Some(self.params.iter().map(of).collect())
    }

    /// Writes a file, in whose place is the earlier one or the whole new one at any moment.
    ///
    /// What is written can be read: all of it is compared with what a reader makes of it before the earlier file goes.
    ///
    /// # Errors
    /// [`Error::File`] with the path and the place: where the file cannot be written; where a tensor or anything else
    /// holds NaN or an infinity, so that a run that has diverged does not take the place of one that had not; where the
    /// schedule, an option or an entry of [`Checkpoint::run`] is nested deeper than a reader of JSON takes, some 120
    /// levels; where the optimizer's state or the best parameters do not belong to the parameters; where all but the
    /// tensors takes more than 100 MB.
    pub fn write(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        let path = path.as_ref();
        let bytes = self.to_bytes().map_err(|reason| refused(path.display(), reason))?;
        files::write_atomic(path, |file| file.write_all(&bytes))
    }

    /// Reads a file and checks all of it. Of one that is no checkpoint no more than its header is read.
    ///
    /// # Errors
    /// [`Error::File`] with the path and what is wrong: unreadable, cut short, changed since it was written,
    /// not a checkpoint, of a newer format, or with a tensor that holds NaN or an infinity.
    pub fn read(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        let name = path.display().to_string();
        let read = tensors::read(path, record::check_key).and_then(|bytes| Self::from_bytes(&bytes));
        let mut checkpoint = read.map_err(|reason| refused(&name, reason))?;
        checkpoint.source = name;
        Ok(checkpoint)
    }

    /// An error about this checkpoint that names its file.
    pub fn refuse(&self, reason: impl Into<String>) -> Error {
        refused(&self.source, reason.into())
    }
}

fn refused(path: impl ToString, reason: String) -> Error {
    Error::File { path: path.to_string(), reason }
}
