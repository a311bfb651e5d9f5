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

/// Everything that a run needs to resume bit for bit, in memory: see [`Trainer::read_checkpoint`](super::Trainer).
///
/// As a file it has the safetensors format, with the f32 tensors `params.<tensor>`; `optim.<slot>.<tensor>` (slots
/// under torch's names, such as `optim.exp_avg.conv1.weight`, with the tensor's shape if they hold one number per
/// element); `average.<tensor>` if averages of the weights are kept; and `best.<tensor>` for the parameters and buffers
/// that early stopping keeps. One metadata key, `gradus`, holds everything else as a JSON record. The record begins
/// with a checksum (CRC-32) over the rest of the record and all tensors. The file holds no time and no path, so equal
/// runs write equal files.
///
/// Source: <https://github.com/huggingface/safetensors>.
///
/// ```
/// use gradus::optim::AdamW;
/// use gradus::train::{Checkpoint, Trainer};
///
/// fn resume(trainer: &mut Trainer<AdamW>) -> Result<(), gradus::Error> {
///     trainer.read_checkpoint()?.write("run.safetensors")?;
///     trainer.load_checkpoint(&Checkpoint::read("run.safetensors")?)
/// }
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Checkpoint {
    /// Steps taken.
    pub step: u64,
    /// Seed of the parameter initialization and of random operations.
    pub seed: u64,
    /// The parameters and buffers by name, as in torch's `state_dict`.
    pub params: BTreeMap<String, Tensor>,
    /// Names of the frozen parameters.
    pub frozen: Vec<String>,
    /// The optimizer's options, step counters and slots.
    pub optimizer: StateDict,
    /// The [`Schedule::identity`](crate::schedule::Schedule::identity) of the schedule, if there is one. In files of
    /// version 0.1 it is `null` both without a schedule and for a schedule without a JSON form.
    pub schedule: Option<Value>,
    /// Counters of the gate, if steps may be skipped.
    pub gate: Option<GateState>,
    /// State of a schedule that follows a metric.
    pub schedule_state: Option<Value>,
    /// The [`Transforms::identity`](crate::grad::Transforms::identity) of the gradient transforms; `None` in files of
    /// version 0.1, which do not record it. A run resumes only with the same transforms, unless this is set to `None`.
    pub transforms: Option<Value>,
    /// State of an [`EarlyStopping`](super::EarlyStopping), with the best parameters if it keeps them. The caller sets
    /// it before writing and takes it after reading.
    pub early_stopping: Option<EarlyStoppingState>,
    /// Free for the caller: the model, the position in the data, the history so far.
    pub run: Map<String, Value>,
    /// The file that it was read from, for error messages.
    source: String,
}

/// Gate values that must be saved if steps may be skipped.
///
/// ```
/// # fn print(checkpoint: &gradus::train::Checkpoint) {
/// println!("{:?}", checkpoint.gate);
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GateState {
    /// Factor of the loss.
    pub loss_scale: f32,
    /// Steps since the factor last changed.
    pub growth_tracker: u32,
    /// Steps applied.
    pub applied: u32,
    /// Steps skipped.
    pub skipped: u32,
    /// Steps skipped since the last applied step.
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
            transforms: None,
            early_stopping: None,
            run: Map::new(),
            source: "checkpoint".into(),
        }
    }

    /// The averages of the weights by name, as [`Optimizer::read_averages`](crate::optim::Optimizer::read_averages)
    /// returns them, if an average is kept. Use them to save an averaged model.
    pub fn averages(&self) -> Option<BTreeMap<String, Tensor>> {
        let averages = &self.optimizer.averages.as_ref()?.averages;
        let of = |(name, tensor): (&String, &Tensor)| {
            let values = averages.get(name).unwrap_or(&tensor.values).clone();
            (name.clone(), Tensor { shape: tensor.shape.clone(), values })
        };
        Some(self.params.iter().map(of).collect())
    }

    /// Writes a file atomically: at any moment, the path holds either the earlier file or the complete new one.
    ///
    /// Before the earlier file is replaced, the new one is read back and compared with this checkpoint.
    ///
    /// # Errors
    /// [`Error::File`] with the path and the place in the file: if the file cannot be written; if a tensor or any other
    /// number is NaN or infinite, so that a diverged run cannot overwrite a good checkpoint; if the schedule, an option
    /// or an entry of [`Checkpoint::run`] is nested deeper than JSON readers accept, about 120 levels; if the
    /// optimizer's state or the best parameters do not match the parameters; if everything but the tensors takes more
    /// than 100 MB.
    pub fn write(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        let path = path.as_ref();
        let bytes = self.to_bytes().map_err(|reason| refused(path.display(), reason))?;
        files::write_atomic(path, |file| file.write_all(&bytes))
    }

    /// Reads a file and checks all of it. Of a file that is not a checkpoint, only the header is read.
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

    /// An error about this checkpoint, naming its file.
    pub fn refuse(&self, reason: impl Into<String>) -> Error {
        refused(&self.source, reason.into())
    }
}

fn refused(path: impl ToString, reason: String) -> Error {
    Error::File { path: path.to_string(), reason }
}
