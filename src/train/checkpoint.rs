use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;

use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::files;
use crate::Error;
use crate::optim::{GroupState, StateDict, TensorState};

/// All that a run needs to go on bit for bit, in memory: see [`Trainer::read_checkpoint`](super::Trainer).
///
/// As a file it is in the format safetensors: `params.<tensor>` and `optim.<slot>.<tensor>` (slots under
/// torch's names, as `optim.exp_avg.conv1.weight`, in the tensor's shape if they hold a number an element), all
/// f32, and one metadata key, `gradus`, with a JSON record of everything else. The record begins with a checksum
/// (CRC-32) over the rest of it and all tensors.
/// It holds no time and no path, so that equal runs write equal files.
///
/// Source: <https://github.com/huggingface/safetensors>.
#[derive(Clone, Debug, PartialEq)]
pub struct Checkpoint {
    /// Steps taken.
    pub step: u64,
    /// Seed of the parameters' first values and of the random operations.
    pub seed: u64,
    /// The parameters by name.
    pub params: BTreeMap<String, Tensor>,
    /// The parameters that are frozen.
    pub frozen: Vec<String>,
    /// The optimizer's options, counts and slots.
    pub optimizer: StateDict,
    /// The schedule, if it has a JSON form.
    pub schedule: Option<Value>,
    /// What the gate counts, where steps may be skipped.
    pub gate: Option<GateState>,
    /// What metrics have left in the schedule, if it follows one.
    pub schedule_state: Option<Value>,
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

/// A tensor on the host.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// Its shape, as torch has it.
    pub shape: Vec<usize>,
    /// Its elements in order.
    pub values: Vec<f32>,
}

/// What stands under the metadata key; [`PREFIX`] and its checksum come before it.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    format: u32,
    frozen: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    gate: Option<GateState>,
    optimizer: OptimizerRecord,
    run: Map<String, Value>,
    schedule: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    schedule_state: Option<Value>,
    seed: u64,
    step: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct OptimizerRecord {
    attempted: u64,
    name: String,
    param_groups: Vec<GroupState>,
    state: BTreeMap<String, StateRecord>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StateRecord {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    inner_step: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mu_product: Option<f64>,
    /// Slots by name, and whether the file holds them: a slot may be one that no step has used yet.
    slots: BTreeMap<String, bool>,
    step: u64,
}

const KEY: &str = "gradus";
const FORMAT: u32 = 1;
const PREFIX: &str = r#"{"checksum":""#;

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
            run: Map::new(),
            source: "checkpoint".into(),
        }
    }

    /// Writes a file, in whose place is the earlier one or the whole new one at any moment.
    ///
    /// # Errors
    /// [`Error::File`]: where the file cannot be written, or a tensor holds NaN or an infinity, so that a run
    /// that has diverged does not take the place of one that had not.
    pub fn write(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        let path = path.as_ref();
        let bytes = self.to_bytes().map_err(|reason| refused(path.display(), reason))?;
        files::write_atomic(path, |file| file.write_all(&bytes))
    }

    /// Reads a file and checks all of it.
    ///
    /// # Errors
    /// [`Error::File`] with the path and what is wrong: unreadable, cut short, changed since it was written,
    /// not a checkpoint, of a newer format, or with a tensor that holds NaN or an infinity.
    pub fn read(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        let source = path.display().to_string();
        let bytes = fs::read(path).map_err(|reason| refused(&source, reason.to_string()))?;
        let mut checkpoint = Self::from_bytes(&bytes).map_err(|reason| refused(&source, reason))?;
        checkpoint.source = source;
        Ok(checkpoint)
    }

    /// An error about this checkpoint that names its file.
    pub fn refuse(&self, reason: impl Into<String>) -> Error {
        refused(&self.source, reason.into())
    }

    fn to_bytes(&self) -> Result<Vec<u8>, String> {
        let mut tensors: BTreeMap<String, (Vec<usize>, &[f32])> = BTreeMap::new();
        for (name, tensor) in &self.params {
            tensors.insert(format!("params.{name}"), (tensor.shape.clone(), &tensor.values));
        }
        let mut state = BTreeMap::new();
        for (name, tensor) in &self.optimizer.state {
            for (slot, values) in &tensor.slots {
                if let Some(values) = values {
                    let shape = slot_shape(&tensor.shape, values.len());
                    tensors.insert(format!("optim.{slot}.{name}"), (shape, values));
                }
            }
            let slots = tensor.slots.iter().map(|(slot, values)| (slot.clone(), values.is_some()));
            let TensorState { step, mu_product, inner_step, .. } = *tensor;
            state.insert(name.clone(), StateRecord { inner_step, mu_product, slots: slots.collect(), step });
        }
        for (name, (_, values)) in &tensors {
            check_finite(name, values)?;
        }
        let record = Record {
            format: FORMAT,
            frozen: self.frozen.clone(),
            gate: self.gate,
            optimizer: OptimizerRecord {
                attempted: self.optimizer.attempted,
                name: self.optimizer.optimizer.clone(),
                param_groups: self.optimizer.param_groups.clone(),
                state,
            },
            run: self.run.clone(),
            schedule: self.schedule.clone(),
            schedule_state: self.schedule_state.clone(),
            seed: self.seed,
            step: self.step,
        };
        let record = serde_json::to_string(&record).map_err(|e| e.to_string())?;
        let record = record.strip_prefix('{').expect("a record is an object");
        let views: Result<BTreeMap<&String, TensorView<'_>>, _> = tensors
            .iter()
            .map(|(name, (shape, values))| {
                let bytes = bytemuck::cast_slice(values);
                TensorView::new(Dtype::F32, shape.clone(), bytes).map(|view| (name, view))
            })
            .collect();
        let views = views.map_err(|e| e.to_string())?;
        let sum = checksum(record, views.iter().map(|(name, view)| (name.as_str(), view)));
        let metadata = HashMap::from([(KEY.to_owned(), format!("{PREFIX}{sum:08x}\",{record}"))]);
        safetensors::serialize(views, Some(metadata)).map_err(|e| e.to_string())
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self, String> {
        let broken = |e: safetensors::SafeTensorError| format!("it is not a whole safetensors file: {e}");
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(broken)?;
        let file = SafeTensors::deserialize(bytes).map_err(broken)?;
        let metadata = header.metadata().as_ref().and_then(|metadata| metadata.get(KEY));
        let text = metadata.ok_or(format!("it is not a checkpoint: there is no metadata key {KEY:?}"))?;
        let changed = || "it was changed since it was written: its checksum does not fit".to_owned();
        let (sum, record) =
            text.strip_prefix(PREFIX).and_then(|rest| rest.split_once("\",")).ok_or_else(changed)?;
        let tensors: BTreeMap<String, TensorView<'_>> = file.tensors().into_iter().collect();
        let found = checksum(record, tensors.iter().map(|(name, view)| (name.as_str(), view)));
        if sum != format!("{found:08x}") {
            return Err(changed());
        }
        let json: Value = serde_json::from_str(&format!("{{{record}")).map_err(|e| format!("record: {e}"))?;
        let format = json.get("format").and_then(Value::as_u64);
        if format != Some(u64::from(FORMAT)) {
            let found = format.map_or("no format".into(), |format| format!("format {format}"));
            return Err(format!("it has {found}, this version reads format {FORMAT}"));
        }
        let record: Record = serde_json::from_value(json).map_err(|e| format!("record: {e}"))?;
        let mut tensors: BTreeMap<String, Tensor> = tensors
            .into_iter()
            .map(|(name, view)| Ok((name.clone(), tensor(&name, &view)?)))
            .collect::<Result<_, String>>()?;
        let mut state = BTreeMap::new();
        let OptimizerRecord { attempted, name: optimizer, param_groups, state: entries } = record.optimizer;
        for (name, entry) in entries {
            let key = format!("params.{name}");
            let shape = &tensors.get(&key).ok_or(format!("{key} is missing"))?.shape.clone();
            let mut slots = BTreeMap::new();
            for (slot, held) in entry.slots {
                let key = format!("optim.{slot}.{name}");
                let values = match held {
                    false => None,
                    true => Some(tensors.remove(&key).ok_or(format!("{key} is missing"))?),
                };
                if let Some(values) = &values
                    && values.shape != slot_shape(shape, values.values.len())
                {
                    return Err(format!("{key} has the shape {:?}, expected {shape:?}", values.shape));
                }
                slots.insert(slot, values.map(|tensor| tensor.values));
            }
            let StateRecord { step, mu_product, inner_step, .. } = entry;
            let shape = shape.clone();
            state.insert(name, TensorState { step, shape, mu_product, inner_step, slots });
        }
        let mut params = BTreeMap::new();
        for (name, tensor) in tensors {
            let name = name.strip_prefix("params.").ok_or(format!("{name} belongs to nothing"))?;
            params.insert(name.to_owned(), tensor);
        }
        Ok(Self {
            step: record.step,
            seed: record.seed,
            params,
            frozen: record.frozen,
            optimizer: StateDict { optimizer, attempted, state, param_groups },
            schedule: record.schedule,
            gate: record.gate,
            schedule_state: record.schedule_state,
            run: record.run,
            source: "checkpoint".into(),
        })
    }
}

/// The tensor's own where a slot holds a number an element; other slots lie flat.
fn slot_shape(tensor: &[usize], len: usize) -> Vec<usize> {
    if tensor.iter().product::<usize>() == len { tensor.to_vec() } else { vec![len] }
}

fn refused(path: impl ToString, reason: String) -> Error {
    Error::File { path: path.to_string(), reason }
}

fn tensor(name: &str, view: &TensorView<'_>) -> Result<Tensor, String> {
    if view.dtype() != Dtype::F32 {
        return Err(format!("{name} has the type {:?}, expected F32", view.dtype()));
    }
    let values: Vec<f32> = bytemuck::pod_collect_to_vec(view.data());
    check_finite(name, &values)?;
    Ok(Tensor { shape: view.shape().to_vec(), values })
}

fn check_finite(name: &str, values: &[f32]) -> Result<(), String> {
    match values.iter().position(|value| !value.is_finite()) {
        None => Ok(()),
        Some(at) => Err(format!("{name} holds {} at element {at}", values[at])),
    }
}

/// CRC-32 over the record behind its checksum, and over the tensors in order of their names.
fn checksum<'a>(record: &str, tensors: impl Iterator<Item = (&'a str, &'a TensorView<'a>)>) -> u32 {
    let mut sum = crc32fast::Hasher::new();
    sum.update(record.as_bytes());
    for (name, view) in tensors {
        sum.update(format!("\n{name} {:?} {:?}\n", view.dtype(), view.shape()).as_bytes());
        sum.update(view.data());
    }
    sum.finalize()
}
