//! State dicts that torch saved.

use std::collections::{BTreeMap, HashSet};

use safetensors::tensor::{Dtype, TensorView};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::dict::refuse;
use super::dict::{GroupState, StateDict, TensorState};
use crate::Error;
use crate::error::short;
use crate::files::tensors::{TensorFile, Views};
use crate::layout::{Layout, Span};
use crate::optim::rule::recurrence::SCALARS;

/// Fields of torch's groups that say how it computes, and what its schedules keep there: nothing that a state
/// needs.
const NOT_OURS: &[&str] = &[
    "foreach",
    "fused",
    "capturable",
    "differentiable",
    "max_lr",
    "min_lr",
    "max_momentum",
    "base_momentum",
];

/// A group of torch's.
#[derive(Deserialize)]
struct Group {
    params: Vec<usize>,
    param_names: Option<Vec<String>>,
    initial_lr: Option<f64>,
    #[serde(flatten)]
    options: Map<String, Value>,
}

impl StateDict {
    /// What `optimizer.state_dict()` of `torch.optim` says, from the bytes of a safetensors file that a few lines of
    /// Python (in docs/torch.md) have written: tensors `state.<index>.<key>`, and in the metadata the name of the
    /// optimizer's class as `optimizer` and torch's `param_groups` as JSON.
    ///
    /// Groups are those of the layout in order. Their parameters go by `param_names`, in any order; without, they are
    /// the layout's in order. Of the groups' fields, torch's ways to compute (`foreach`, `fused`, `capturable`,
    /// `differentiable`) and what its schedules note there (`max_lr`, `min_lr`, `max_momentum`, `base_momentum`) are
    /// left out; any other that is no option of ours is refused by [`Optimizer::load_state_dict`](crate::optim::Optimizer).
    ///
    /// [`StateDict::attempted`] becomes the largest count of a tensor. Of `SGD` and `Muon`, which count nothing in torch, a
    /// tensor with a buffer has one step: its rule asks for no more than whether there was one.
    ///
    /// Source: <https://docs.pytorch.org/docs/2.15/generated/torch.optim.Optimizer.state_dict.html>.
    ///
    /// # Errors
    /// [`Error::StateDict`] if it is no such file, or is not of the layout's groups, parameters and shapes.
    pub fn from_torch(bytes: &[u8], layout: &Layout) -> Result<Self, Error> {
        let file = TensorFile::parse(bytes).map_err(Error::StateDict)?;
        let said = |key: &str| {
            file.metadata
                .get(key)
                .ok_or_else(|| Error::StateDict(format!("there is no {key:?} in the file's metadata")))
        };
        let groups: Vec<Group> = serde_json::from_str(said("param_groups")?)
            .map_err(|error| Error::StateDict(format!("param_groups: {error}")))?;
        if groups.len() != layout.groups().len() {
            let (got, expected) = (groups.len(), layout.groups());
            return refuse(format!("it has {got} groups, expected {}: {expected:?}", expected.len()));
        }
        let mut dict = Self {
            optimizer: said("optimizer")?.clone(),
            attempted: 0,
            state: BTreeMap::new(),
            param_groups: Vec::new(),
            averages: None,
        };
        let mut tensors = by_index(file.tensors)?;
        for (number, (group, name)) in groups.into_iter().zip(layout.groups()).enumerate() {
            let ours: Vec<&Span> = layout.spans().iter().filter(|span| span.group == number).collect();
            for (index, span) in group.params.iter().zip(spans(&group, name, &ours)?) {
                let Some(tensors) = tensors.remove(index) else { continue };
                if let Some(state) = tensor_state(span, tensors)? {
                    dict.attempted = dict.attempted.max(state.step);
                    dict.state.insert(span.name.clone(), state);
                }
            }
            dict.param_groups.push(GroupState {
                name: name.clone(),
                params: ours.iter().map(|span| span.name.clone()).collect(),
                initial_lr: group.initial_lr,
                options: options(&dict.optimizer, name, group.options)?,
            });
        }
        match tensors.keys().next() {
            None => Ok(dict),
            Some(index) => refuse(format!("it has state of a parameter {index}, which is in no group")),
        }
    }
}

/// The tensors of each parameter, by torch's keys.
fn by_index(tensors: Views<'_>) -> Result<BTreeMap<usize, Views<'_>>, Error> {
    let mut all = BTreeMap::<usize, Views<'_>>::new();
    for (name, view) in tensors {
        let place = name.strip_prefix("state.").and_then(|rest| rest.split_once('.'));
        match place.and_then(|(index, key)| Some((index.parse().ok()?, key))) {
            Some((index, key)) => all.entry(index).or_default().insert(key.into(), view),
            None => return refuse(format!("there is a tensor {name:?}, expected state.<index>.<key>")),
        };
    }
    Ok(all)
}

/// Our tensors in the order of a group's parameters.
fn spans<'s>(group: &Group, name: &str, ours: &[&'s Span]) -> Result<Vec<&'s Span>, Error> {
    let (got, expected) = (group.params.len(), ours.len());
    if got != expected {
        return refuse(format!("group {name:?} has {got} parameters, expected {expected}"));
    }
    let Some(names) = &group.param_names else { return Ok(ours.to_vec()) };
    let named: Vec<&Span> =
        names.iter().filter_map(|name| ours.iter().find(|span| span.name == *name).copied()).collect();
    let different: HashSet<&String> = names.iter().collect();
    if (named.len(), names.len(), different.len()) != (expected, expected, expected) {
        let ours: Vec<&String> = ours.iter().map(|span| &span.name).collect();
        return refuse(format!("group {name:?} has the parameters {names:?}, expected {ours:?}"));
    }
    Ok(named)
}

/// The options of a group that are ours too.
fn options(
    optimizer: &str,
    group: &str,
    mut options: Map<String, Value>,
) -> Result<Map<String, Value>, Error> {
    options.retain(|field, _| !NOT_OURS.contains(&field.as_str()));
    // torch's AdamW is an Adam in which this is set.
    if optimizer == "AdamW"
        && let Some(value) =
            options.remove("decoupled_weight_decay").filter(|value| *value != Value::Bool(true))
    {
        return refuse(format!("group {group:?}: decoupled_weight_decay of AdamW must be true, got {value}"));
    }
    Ok(options)
}

/// The state of one tensor; none before its first step, in which some of torch's optimizers begin anyway.
fn tensor_state(span: &Span, mut tensors: Views<'_>) -> Result<Option<TensorState>, Error> {
    let mut take = |key: &str| tensors.remove(key).map(|view| number(span, key, &view)).transpose();
    let (step, mu_product) = (take("step")?, take("mu_product")?);
    let scalars = SCALARS.iter().filter_map(|name| Some((*name, take(name).transpose()?)));
    let scalars = scalars.map(|(name, scalar)| Ok((name.to_owned(), scalar?)));
    let scalars = scalars.collect::<Result<_, Error>>()?;
    let step = match step {
        None => 1,
        Some(step) => whole(step).ok_or_else(|| {
            Error::StateDict(format!("step of {} must be a count of steps, got {}", span.name, short(step)))
        })?,
    };
    if step == 0 {
        return Ok(None);
    }
    let slots = tensors.into_iter().map(|(key, view)| {
        if view.dtype() != Dtype::F32 {
            return refuse(format!("{key} of {} has the type {:?}, expected F32", span.name, view.dtype()));
        }
        if !is_of(&span.shape, view.shape()) {
            let (got, expected) = (view.shape(), &span.shape);
            return refuse(format!("{key} of {} has the shape {got:?}, expected {expected:?}", span.name));
        }
        Ok((key, Some(bytemuck::pod_collect_to_vec(view.data()))))
    });
    let slots = slots.collect::<Result<_, Error>>()?;
    Ok(Some(TensorState {
        step,
        shape: span.shape.clone(),
        mu_product,
        inner_step: None,
        stored: BTreeMap::new(),
        scalars,
        slots,
    }))
}

/// The shape of a tensor, or one in which an axis that means were taken over has shrunk to 1.
fn is_of(tensor: &[usize], shape: &[usize]) -> bool {
    tensor.len() == shape.len() && tensor.iter().zip(shape).all(|(whole, got)| got == whole || *got == 1)
}

/// A scalar, in any type that torch keeps one in.
#[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
fn number(span: &Span, key: &str, view: &TensorView<'_>) -> Result<f64, Error> {
    let data = view.data();
    let value = match (view.dtype(), data.len()) {
        (Dtype::F32, 4) => f64::from(bytemuck::pod_read_unaligned::<f32>(data)),
        (Dtype::F64, 8) => bytemuck::pod_read_unaligned(data),
        (Dtype::I64, 8) => bytemuck::pod_read_unaligned::<i64>(data) as f64,
        (dtype, _) => {
            let shape = view.shape();
            return refuse(format!("{key} of {} is {dtype:?} {shape:?}, expected one number", span.name));
        }
    };
    Ok(value)
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked")]
fn whole(step: f64) -> Option<u64> {
    const MOST: f64 = 9_007_199_254_740_992.0; // 2^53
    (step.fract() == 0.0 && (0.0..=MOST).contains(&step)).then_some(step as u64)
}
