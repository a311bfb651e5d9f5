//! A checkpoint as the bytes of a safetensors file, and back.

mod stored;

use std::collections::{BTreeMap, HashMap};

use safetensors::SafeTensorError;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use stored::{Numbers, StoredRecord, Views, tensor};

use super::{Checkpoint, GateState, Tensor};
use crate::config;
use crate::files::record::{self, FORMAT, KEY};
use crate::files::tensors::{self, MOST_HEADER, TensorFile};
use crate::optim::{Averages, AveragesState, GroupState, StateDict, TensorState};
use crate::schedule::Best;
use crate::train::EarlyStoppingState;

/// What stands under the metadata key, behind its checksum.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    early_stopping: Option<StoppingRecord>,
    format: u32,
    frozen: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    gate: Option<GateState>,
    optimizer: OptimizerRecord,
    run: Map<String, Value>,
    /// Left out for none. Version 0.1 wrote `null` for none and for one without a JSON form, so that is kept apart.
    #[serde(default, deserialize_with = "config::present", skip_serializing_if = "Option::is_none")]
    schedule: Option<Value>,
    #[serde(default, deserialize_with = "config::present", skip_serializing_if = "Option::is_none")]
    schedule_state: Option<Value>,
    seed: u64,
    step: u64,
    #[serde(default, deserialize_with = "config::present", skip_serializing_if = "Option::is_none")]
    transforms: Option<Value>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct OptimizerRecord {
    attempted: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    averages: Option<AveragesRecord>,
    name: String,
    param_groups: Vec<GroupState>,
    state: BTreeMap<String, StateRecord>,
}

/// An [`AveragesState`], whose averages are tensors of the file.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct AveragesRecord {
    /// Names of parameters and buffers that have one.
    averages: Vec<String>,
    options: Averages,
    updates: BTreeMap<String, u64>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StateRecord {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    inner_step: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mu_product: Option<f64>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    scalars: BTreeMap<String, f64>,
    /// Slots by name, and whether the file holds them: a slot may be one that no step has used yet.
    slots: BTreeMap<String, bool>,
    step: u64,
    /// What slots are stored as that are not f32.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    stored: BTreeMap<String, StoredRecord>,
}

/// An [`EarlyStoppingState`], whose parameters are tensors of the file.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoppingRecord {
    best: Best,
    best_epoch: Option<u64>,
    /// Whether the file holds them.
    best_weights: bool,
    epochs: u64,
    stopped_epoch: Option<u64>,
    wait: u64,
}

/// What the name of an average begins with.
const AVERAGE: &str = "average.";

/// Arrays and objects within each other that serde_json reads.
const LEVELS: usize = 127;

impl Checkpoint {
    pub(super) fn to_bytes(&self) -> Result<Vec<u8>, String> {
        // Before anything recurses into what is nested.
        self.check_json()?;
        let tensors = self.tensors()?;
        let record = self.record();
        if let Some(found) = config::not_finite(&record) {
            return Err(format!("{found}, and numbers of a checkpoint must be finite"));
        }
        let text = serde_json::to_string(&record).map_err(|e| format!("record: {e}"))?;
        match read_record(&text) {
            Ok(read) if read == record => {}
            Ok(_) => return Err("record: what is read of it would be something else".into()),
            Err(reason) => return Err(format!("it could not be read again: {reason}")),
        }
        let views: Result<tensors::Views<'_>, _> = tensors
            .iter()
            .map(|(name, (shape, values))| {
                let (dtype, bytes) = values.bytes();
                TensorView::new(dtype, shape.clone(), bytes).map(|view| (name.clone(), view))
            })
            .collect();
        let views = views.map_err(|e| e.to_string())?;
        let metadata = HashMap::from([(KEY.to_owned(), record::seal(&text, &views))]);
        let bytes = safetensors::serialize(views, Some(metadata)).map_err(|error| match error {
            SafeTensorError::HeaderTooLarge => {
                let run = serde_json::to_string(&self.run).map_or(0, |run| run.len());
                format!(
                    "its header would be larger than the {MOST_HEADER} bytes that safetensors allows: of the \
                     record's {} bytes `run` has {run}",
                    text.len()
                )
            }
            other => other.to_string(),
        })?;
        SafeTensors::read_metadata(&bytes).map_err(|e| format!("it could not be read again: {e}"))?;
        Ok(bytes)
    }

    /// Refuses JSON that a reader would refuse for its depth, or could not tell apart.
    fn check_json(&self) -> Result<(), String> {
        let check = |value: &Value, above: usize, place: &dyn Fn() -> String| {
            let most = LEVELS - above;
            if is_deeper(value, most) {
                return Err(format!("{} is nested deeper than {most} arrays and objects", place()));
            }
            Ok(())
        };
        for (name, value) in [
            ("schedule", &self.schedule),
            ("schedule_state", &self.schedule_state),
            ("transforms", &self.transforms),
        ] {
            value.iter().try_for_each(|value| check(value, 1, &|| name.into()))?;
        }
        for (name, value) in &self.run {
            check(value, 2, &|| format!("run.{name}"))?;
        }
        for group in &self.optimizer.param_groups {
            for (name, value) in &group.options {
                if ["name", "params", "initial_lr"].contains(&&**name) {
                    return Err(format!(
                        "option {name} of group {:?} is called as one of its fields",
                        group.name
                    ));
                }
                check(value, 4, &|| format!("option {name} of group {:?}", group.name))?;
            }
        }
        Ok(())
    }

    /// All tensors by their names in the file, checked.
    fn tensors<'a>(&'a self) -> Result<Views<'a>, String> {
        let mut tensors = Views::<'a>::new();
        let mut add = |name: String, shape: Vec<usize>, values: Numbers<'a>| {
            if let Numbers::F32(values) = &values {
                check_finite(&name, values)?;
            }
            let count = shape.iter().try_fold(1, |count: usize, extent| count.checked_mul(*extent));
            if count != Some(values.len()) {
                return Err(format!("{name} has {} elements and the shape {shape:?}", values.len()));
            }
            match tensors.insert(name.clone(), (shape, values)) {
                None => Ok(()),
                Some(_) => Err(format!("two tensors would be called {name}")),
            }
        };
        for (name, tensor) in &self.params {
            add(format!("params.{name}"), tensor.shape.clone(), Numbers::F32(&tensor.values))?;
        }
        for (name, tensor) in &self.optimizer.state {
            let param = self.params.get(name);
            let shape = &param.ok_or_else(|| format!("optimizer: params.{name} is missing"))?.shape;
            if tensor.shape != *shape {
                let got = &tensor.shape;
                return Err(format!("optimizer: {name} has the shape {got:?}, params.{name} has {shape:?}"));
            }
            for (slot, values) in &tensor.slots {
                let Some(values) = values else { continue };
                let key = format!("optim.{slot}.{name}");
                // Of all of them: codes say as little of NaN as 16 bits that are cut off.
                check_finite(&key, values)?;
                let (numbers, scales) = Numbers::of_slot(values, tensor.stored.get(slot));
                add(key, slot_shape(shape, values.len()), numbers)?;
                if let Some(scales) = scales {
                    add(format!("scales.{slot}.{name}"), vec![scales.len()], Numbers::F32(scales))?;
                }
            }
        }
        for (name, values) in self.optimizer.averages.iter().flat_map(|averages| &averages.averages) {
            let param = self.params.get(name);
            let shape = &param.ok_or_else(|| format!("averages: params.{name} is missing"))?.shape;
            add(format!("{AVERAGE}{name}"), shape.clone(), Numbers::F32(values))?;
        }
        if let Some(best) = self.early_stopping.as_ref().and_then(|state| state.best_weights.as_ref()) {
            if !best.keys().eq(self.params.keys()) {
                return Err("early_stopping: the best parameters are those of another model".into());
            }
            for ((name, values), param) in best.iter().zip(self.params.values()) {
                add(format!("best.{name}"), param.shape.clone(), Numbers::F32(values))?;
            }
        }
        Ok(tensors)
    }

    /// Everything else.
    fn record(&self) -> Record {
        let state = self.optimizer.state.iter().map(|(name, tensor)| {
            let slots = tensor.slots.iter().map(|(slot, values)| (slot.clone(), values.is_some()));
            let TensorState { step, mu_product, inner_step, .. } = *tensor;
            let stored = tensor.stored.iter().map(|(slot, bits)| (slot.clone(), bits.into())).collect();
            let (scalars, slots) = (tensor.scalars.clone(), slots.collect());
            (name.clone(), StateRecord { inner_step, mu_product, scalars, slots, step, stored })
        });
        Record {
            early_stopping: self.early_stopping.as_ref().map(|state| StoppingRecord {
                best: state.best,
                best_epoch: state.best_epoch,
                best_weights: state.best_weights.is_some(),
                epochs: state.epochs,
                stopped_epoch: state.stopped_epoch,
                wait: state.wait,
            }),
            format: FORMAT,
            frozen: self.frozen.clone(),
            gate: self.gate,
            optimizer: OptimizerRecord {
                attempted: self.optimizer.attempted,
                averages: self.optimizer.averages.as_ref().map(|state| AveragesRecord {
                    averages: state.averages.keys().cloned().collect(),
                    options: state.options.clone(),
                    updates: state.updates.clone(),
                }),
                name: self.optimizer.optimizer.clone(),
                param_groups: self.optimizer.param_groups.clone(),
                state: state.collect(),
            },
            run: self.run.clone(),
            schedule: self.schedule.clone(),
            schedule_state: self.schedule_state.clone(),
            seed: self.seed,
            step: self.step,
            transforms: self.transforms.clone(),
        }
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Result<Self, String> {
        let file = TensorFile::parse(bytes)?;
        let record = read_record(&record::unseal(&file)?)?;
        let (codes, others): (tensors::Views<'_>, tensors::Views<'_>) = file
            .tensors
            .into_iter()
            .partition(|(name, view)| name.starts_with("optim.") && view.dtype() == Dtype::U8);
        let mut tensors: BTreeMap<String, Tensor> = others
            .into_iter()
            .map(|(name, view)| Ok((name.clone(), tensor(&name, &view)?)))
            .collect::<Result<_, String>>()?;
        let optimizer = state_dict(record.optimizer, &mut tensors, codes)?;
        let early_stopping =
            record.early_stopping.map(|state| stopping_state(state, &mut tensors)).transpose()?;
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
            optimizer,
            schedule: record.schedule,
            gate: record.gate,
            schedule_state: record.schedule_state,
            transforms: record.transforms,
            early_stopping,
            run: record.run,
            source: "checkpoint".into(),
        })
    }
}

fn read_record(text: &str) -> Result<Record, String> {
    serde_json::from_value(record::parse(text)?).map_err(|e| format!("record: {e}"))
}

/// The optimizer's part, with its tensors taken out of those of the file.
fn state_dict(
    record: OptimizerRecord,
    tensors: &mut BTreeMap<String, Tensor>,
    mut codes: tensors::Views<'_>,
) -> Result<StateDict, String> {
    let mut state = BTreeMap::new();
    let OptimizerRecord { attempted, averages, name: optimizer, param_groups, state: entries } = record;
    let averages = averages.map(|averages| averages_state(averages, tensors)).transpose()?;
    for (name, entry) in entries {
        let key = format!("params.{name}");
        let shape = &tensors.get(&key).ok_or(format!("{key} is missing"))?.shape.clone();
        let (mut slots, mut stored) = (BTreeMap::new(), BTreeMap::new());
        for (slot, held) in entry.slots {
            let key = format!("optim.{slot}.{name}");
            let values = match held {
                false => None,
                true => Some(match entry.stored.get(&slot) {
                    Some(kind) => {
                        let scales = format!("scales.{slot}.{name}");
                        let (tensor, bits) = kind.take((&key, &scales), tensors, &mut codes)?;
                        stored.insert(slot.clone(), bits);
                        tensor
                    }
                    None => tensors.remove(&key).ok_or_else(|| format!("{key} is missing"))?,
                }),
            };
            if let Some(values) = &values
                && values.shape != slot_shape(shape, values.values.len())
            {
                return Err(format!("{key} has the shape {:?}, expected {shape:?}", values.shape));
            }
            slots.insert(slot, values.map(|tensor| tensor.values));
        }
        let StateRecord { step, mu_product, inner_step, scalars, .. } = entry;
        let shape = shape.clone();
        state.insert(name, TensorState { step, shape, mu_product, inner_step, stored, scalars, slots });
    }
    match codes.keys().next() {
        Some(name) => Err(format!("{name} belongs to nothing")),
        None => Ok(StateDict { optimizer, attempted, state, param_groups, averages }),
    }
}

/// The averages, with their tensors taken out of those of the file.
fn averages_state(
    record: AveragesRecord,
    tensors: &mut BTreeMap<String, Tensor>,
) -> Result<AveragesState, String> {
    let AveragesRecord { averages: names, options, updates } = record;
    let mut averages = BTreeMap::new();
    for name in names {
        let (key, of) = (format!("{AVERAGE}{name}"), format!("params.{name}"));
        let shape = &tensors.get(&of).ok_or(format!("{of} is missing"))?.shape.clone();
        let tensor = tensors.remove(&key).ok_or(format!("{key} is missing"))?;
        if tensor.shape != *shape {
            return Err(format!("{key} has the shape {:?}, expected {shape:?}", tensor.shape));
        }
        averages.insert(name, tensor.values);
    }
    Ok(AveragesState { options, updates, averages })
}

/// What early stopping keeps, with its tensors taken out of those of the file.
fn stopping_state(
    record: StoppingRecord,
    tensors: &mut BTreeMap<String, Tensor>,
) -> Result<EarlyStoppingState, String> {
    let StoppingRecord { best, best_epoch, best_weights, epochs, stopped_epoch, wait } = record;
    let mut weights = BTreeMap::new();
    if best_weights {
        let params =
            tensors.iter().filter_map(|(name, tensor)| Some((name.strip_prefix("params.")?, tensor)));
        let params: Vec<(String, Vec<usize>)> =
            params.map(|(name, tensor)| (name.to_owned(), tensor.shape.clone())).collect();
        for (name, shape) in params {
            let key = format!("best.{name}");
            let tensor = tensors.remove(&key).ok_or(format!("{key} is missing"))?;
            if tensor.shape != shape {
                return Err(format!("{key} has the shape {:?}, expected {shape:?}", tensor.shape));
            }
            weights.insert(name, tensor.values);
        }
    }
    let best_weights = best_weights.then_some(weights);
    Ok(EarlyStoppingState { epochs, wait, best, best_epoch, stopped_epoch, best_weights })
}

/// The tensor's own where a slot holds a number an element; other slots lie flat.
fn slot_shape(tensor: &[usize], len: usize) -> Vec<usize> {
    if tensor.iter().product::<usize>() == len { tensor.to_vec() } else { vec![len] }
}

/// Whether more than `most` arrays and objects lie within each other. It looks no deeper than that.
fn is_deeper(value: &Value, most: usize) -> bool {
    let inner = |value: &Value| is_deeper(value, most - 1);
    match value {
        Value::Array(list) => most == 0 || list.iter().any(inner),
        Value::Object(fields) => most == 0 || fields.values().any(inner),
        _ => false,
    }
}

fn check_finite(name: &str, values: &[f32]) -> Result<(), String> {
    match values.iter().position(|value| !value.is_finite()) {
        None => Ok(()),
        Some(at) => Err(format!("{name} holds {} at element {at}", values[at])),
    }
}
