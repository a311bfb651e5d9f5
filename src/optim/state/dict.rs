use std::collections::BTreeMap;

use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Map, Value};

use crate::error::{at_least, countable, short};
use crate::layout::Span;
use crate::optim::device::slots::Values;
use crate::optim::optimizer::Group;
use crate::optim::optimizer::Optimizer;
use crate::optim::rule::any::{AnyRule, entries, options, used_slots};
use crate::optim::rule::momenta::Momenta;
use crate::optim::rule::{SlotBits, StatePrecision};
use crate::optim::step::counters::StepCounter;
use crate::params::GateValues;
use crate::{Error, config};

/// All that an optimizer remembers, in the shape of torch's `state_dict`, with names in place of indices.
///
/// As text, JSON for one, it holds finite numbers alone: its `Serialize` refuses others, and names their place.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct StateDict {
    /// Name of the optimizer.
    pub optimizer: String,
    /// Steps recorded.
    pub attempted: u64,
    /// State by the tensor's name; tensors that no step has changed have none.
    pub state: BTreeMap<String, TensorState>,
    /// The groups in order.
    pub param_groups: Vec<GroupState>,
}

impl Serialize for StateDict {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        #[serde(rename = "StateDict")]
        struct Form<'a> {
            optimizer: &'a str,
            attempted: u64,
            state: &'a BTreeMap<String, TensorState>,
            param_groups: &'a [GroupState],
        }
        let Self { optimizer, attempted, state, param_groups } = self;
        config::serialize_finite(&Form { optimizer, attempted: *attempted, state, param_groups }, serializer)
    }
}

/// The state of one tensor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TensorState {
    /// Steps that have changed the tensor.
    pub step: u64,
    /// The tensor's shape.
    pub shape: Vec<usize>,
    /// Of NAdam, the product of the momenta of these steps. Where it is left out, that with today's options.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mu_product: Option<f64>,
    /// Of a [`Lookahead`](crate::optim::Lookahead) with `reset_state`, those of these steps that followed its latest look ahead. Where it is left
    /// out, what follows from today's options.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inner_step: Option<u64>,
    /// The exact bits of values that are not stored as f32, by the slot's name: of other slots there is none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub stored: BTreeMap<String, SlotBits>,
    /// Values by the slot's name (`exp_avg`, `momentum_buffer`, …); `None` for a slot that the options use
    /// and no step has used yet.
    #[serde(flatten)]
    pub slots: BTreeMap<String, Option<Vec<f32>>>,
}

/// One group.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GroupState {
    /// Its name.
    pub name: String,
    /// Its tensors.
    pub params: Vec<String>,
    /// The rate that schedules start from; that of the options where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub initial_lr: Option<f64>,
    /// The rule's options.
    #[serde(flatten)]
    pub options: Map<String, Value>,
}

type Slots = Vec<Option<Values>>;

impl<R: AnyRule + Clone> Optimizer<R> {
    /// Waits for the device and reads all state.
    ///
    /// # Errors
    /// [`Error::StateDict`] for an option that is not finite, which no state dict can hold; [`Error::DeviceLost`].
    pub fn read_state_dict(&self) -> Result<StateDict, Error> {
        self.check_options()?;
        self.gpu.probe()?;
        let slots = self.device.slots.iter();
        let slots: Result<Slots, Error> =
            slots.map(|slot| slot.as_ref().map(|kept| kept.read(&self.gpu)).transpose()).collect();
        let gate = self.steps.unresolved_gate().map(|gate| gate.read(&self.gpu, 0)).transpose()?;
        Ok(self.state_dict(&slots?, gate))
    }

    /// As [`Optimizer::read_state_dict`], without blocking.
    ///
    /// # Errors
    /// As [`Optimizer::read_state_dict`].
    pub async fn read_state_dict_async(&self) -> Result<StateDict, Error> {
        self.check_options()?;
        self.gpu.probe()?;
        let mut slots = Slots::new();
        for slot in &self.device.slots {
            slots.push(match slot {
                Some(kept) => Some(kept.read_async(&self.gpu).await?),
                None => None,
            });
        }
        let gate = match self.steps.unresolved_gate() {
            Some(gate) => Some(gate.read_async(&self.gpu, 0).await?),
            None => None,
        };
        Ok(self.state_dict(&slots, gate))
    }

    fn check_options(&self) -> Result<(), Error> {
        for (group, name) in self.groups.iter().zip(self.layout.groups()) {
            if let Some(found) = group.rule.not_in_json() {
                return refuse(format!("group {name:?}: {found}, and options must be finite"));
            }
        }
        Ok(())
    }

    fn state_dict(&self, slots: &Slots, gate: Option<GateValues>) -> StateDict {
        let counter = self.steps.counters_after(&self.layout, gate);
        let spans = self.layout.spans();
        let state = spans
            .iter()
            .zip(&counter)
            .enumerate()
            .filter(|(_, (_, counter))| counter.applied > 0)
            .map(|(tensor, (span, counter))| (span.name.clone(), self.tensor_state(tensor, *counter, slots)))
            .collect();
        let groups = self.groups.iter().zip(self.layout.groups()).enumerate();
        let param_groups = groups
            .map(|(index, (group, name))| GroupState {
                name: name.clone(),
                params: self.tensors_of(index).map(|span| span.name.clone()).collect(),
                initial_lr: Some(group.base_lr_now()),
                options: options(&group.rule),
            })
            .collect();
        let optimizer = self.name.clone();
        StateDict { optimizer, attempted: self.attempted(), state, param_groups }
    }

    fn tensor_state(&self, tensor: usize, counter: StepCounter, slots: &Slots) -> TensorState {
        let span = &self.layout.spans()[tensor];
        let rule = &self.groups[span.group].rule;
        let held = counter.initialized & !counter.dropped;
        let known = held | used_slots(rule);
        let mut stored = BTreeMap::new();
        for (bit, (slot, (kept, all))) in
            rule.slots().iter().zip(self.device.slots.iter().zip(slots)).enumerate()
        {
            if let (Some(kept), Some(all), true) = (kept, all, held & (1 << bit) != 0) {
                stored.extend(kept.bits(all, tensor).map(|bits| (slot.name.to_string(), bits)));
            }
        }
        let slots = rule
            .slots()
            .iter()
            .zip(self.device.slots.iter().zip(slots))
            .enumerate()
            .filter(|(bit, _)| known & (1 << bit) != 0)
            .flat_map(|(bit, (slot, (kept, all)))| {
                let initialized = kept.as_ref().zip(all.as_ref()).filter(|_| held & (1 << bit) != 0);
                match initialized {
                    Some((kept, all)) => kept
                        .places(slot, &self.layout, tensor)
                        .into_iter()
                        .map(|(name, place)| (name, Some(all.all[place].to_vec())))
                        .collect(),
                    None => entries(rule, bit, &span.shape)
                        .into_iter()
                        .map(|(name, _)| (name, None))
                        .collect::<Vec<_>>(),
                }
            })
            .collect();
        let step = counter.applied;
        let inner_step = step - counter.reset_at;
        let mu_product = rule.mu().map(|_| counter.momenta.product(inner_step));
        let has_reset = rule.reset().is_some() || counter.reset_at != 0;
        let inner_step = has_reset.then_some(inner_step);
        TensorState { step, shape: span.shape.clone(), mu_product, inner_step, stored, slots }
    }

    fn tensors_of(&self, group: usize) -> impl Iterator<Item = &Span> {
        self.layout.spans().iter().filter(move |span| span.group == group)
    }

    /// Takes over a state: options, counts and slots. Steps that follow are the same, bit for bit, as those
    /// of the optimizer that it was read from.
    ///
    /// # Errors
    /// [`Error::StateDict`] if it is of another optimizer, or of other groups, tensors or shapes, or lacks a
    /// slot that the options use, or has a count above 2^63 - 1, or values that are stored as something else than here, unless
    /// [`OptimizerOptions::convert_state`](crate::optim::OptimizerOptions) takes the nearest ones; then nothing was changed.
    pub fn load_state_dict(&mut self, dict: &StateDict) -> Result<(), Error> {
        self.gpu.check()?;
        self.steps.abandon_dropped(&mut self.device)?;
        check_counts(dict)?;
        let groups = self.groups_of(dict)?;
        let counters = self.counters_of(dict, &groups)?;
        let initialized = counters.iter().fold(0, |mask, tensor| mask | tensor.initialized);
        self.device.add_slots(&self.gpu, &groups[0].rule, &self.layout, initialized)?;
        self.check_stored(dict, &groups[0].rule)?;
        let convert = self.options.convert_state;
        let spans = self.layout.spans();
        for (slot, kept) in groups[0].rule.slots().iter().zip(&self.device.slots) {
            if let Some(kept) = kept {
                let state = |index: usize| dict.state.get(&spans[index].name);
                // What is converted may have been cut into other blocks.
                let exact = |index: usize, name: &str| {
                    let bits = state(index)?.stored.get(name)?;
                    let values = state(index)?.slots.get(name)?.as_deref()?;
                    let fits = bits.precision() == kept.precision(index);
                    (fits && (!convert || kept.check_bits(index, values, bits).is_ok())).then_some(bits)
                };
                kept.write_all(
                    &self.gpu,
                    slot,
                    |index, name| state(index)?.slots.get(name)?.as_deref(),
                    exact,
                )?;
            }
        }
        self.groups = groups;
        self.steps.replace(counters, dict.attempted);
        Ok(())
    }

    /// Refuses values that are stored as something else here, and bits that are not those of the values.
    fn check_stored(&self, dict: &StateDict, rule: &R) -> Result<(), Error> {
        for (name, tensor) in &dict.state {
            let index = self.layout.index(name).map_err(|error| Error::StateDict(error.to_string()))?;
            if let Some(slot) =
                tensor.stored.keys().find(|slot| !matches!(tensor.slots.get(*slot), Some(Some(_))))
            {
                return refuse(format!("{slot} of {name} has exact bits and no values"));
            }
            for (slot, kept) in rule.slots().iter().zip(&self.device.slots) {
                let Some((kept, Some(values))) = kept.as_ref().zip(tensor.slots.get(&*slot.name)) else {
                    continue;
                };
                let bits = tensor.stored.get(&*slot.name);
                let ours = kept.precision(index);
                let theirs = bits.map_or(StatePrecision::F32, SlotBits::precision);
                let what = format!("{} of {name}", slot.name);
                if self.options.convert_state {
                    continue;
                }
                if ours != theirs {
                    return refuse(format!(
                        "{what} is stored as {theirs}, here as {ours}: build the optimizer with convert_state, \
                         which takes the nearest values"
                    ));
                }
                if let Some(bits) = bits {
                    kept.check_bits(index, values, bits)
                        .or_else(|reason| refuse(format!("{what} {reason}")))?;
                }
            }
        }
        Ok(())
    }

    fn groups_of(&self, dict: &StateDict) -> Result<Vec<Group<R>>, Error> {
        let name = &self.name;
        if dict.optimizer != *name {
            return refuse(format!("it is of {}, this optimizer is {name}", dict.optimizer));
        }
        let names: Vec<&str> = dict.param_groups.iter().map(|group| group.name.as_str()).collect();
        if names != self.layout.groups() {
            return refuse(format!("it has the groups {names:?}, expected {:?}", self.layout.groups()));
        }
        let mut groups = Vec::new();
        for (index, (ours, theirs)) in self.groups.iter().zip(&dict.param_groups).enumerate() {
            if !self.tensors_of(index).map(|span| &span.name).eq(&theirs.params) {
                let expected: Vec<&String> = self.tensors_of(index).map(|span| &span.name).collect();
                return refuse(format!(
                    "group {:?} has the tensors {:?}, expected {expected:?}",
                    theirs.name, theirs.params
                ));
            }
            let said = |error: Error| Error::StateDict(format!("group {:?}: {error}", theirs.name));
            let rule = ours.rule.with_fields(&theirs.options).map_err(said)?;
            rule.check().map_err(said)?;
            self.device.check(index, &rule).map_err(said)?;
            let mut group = Group::new(rule);
            group.base_lr = theirs.initial_lr.unwrap_or(group.base_lr);
            at_least("initial_lr", group.base_lr, 0.0).map_err(said)?;
            groups.push(group);
        }
        Ok(groups)
    }

    fn counters_of(&self, dict: &StateDict, groups: &[Group<R>]) -> Result<Vec<StepCounter>, Error> {
        let mut counter = vec![StepCounter::default(); self.steps.counters.len()];
        for (name, tensor) in &dict.state {
            let index = self.layout.index(name).map_err(|error| Error::StateDict(error.to_string()))?;
            let span = &self.layout.spans()[index];
            if tensor.shape != span.shape {
                return refuse(format!("{name} has the shape {:?}, expected {:?}", tensor.shape, span.shape));
            }
            if tensor.step > MOST_STEPS {
                return refuse(format!("{name} has {} steps, expected at most {MOST_STEPS}", tensor.step));
            }
            let rule = &groups[span.group].rule;
            let initialized = initialized_slots(span, tensor, rule)?;
            let inner_step = inner_step(name, tensor, rule)?;
            let begins = rule.reset().filter(|_| inner_step == 0 && tensor.step != 0);
            let momenta = momenta(name, tensor, inner_step, rule)?;
            counter[index] = StepCounter::new(tensor.step, initialized, momenta);
            counter[index].reset_at = tensor.step - inner_step;
            counter[index].dropped = begins.map_or(0, |reset| initialized & reset.slots);
        }
        Ok(counter)
    }
}

/// Steps that f64 still counts exactly.
const MOST_STEPS: u64 = 1 << 53;

fn initialized_slots(span: &Span, tensor: &TensorState, rule: &impl AnyRule) -> Result<u32, Error> {
    let name = &span.name;
    let known: Vec<(usize, String, usize)> = (0..rule.slots().len())
        .flat_map(|bit| {
            entries(rule, bit, &span.shape).into_iter().map(move |(entry, len)| (bit, entry, len))
        })
        .collect();
    if let Some(unknown) = tensor.slots.keys().find(|slot| known.iter().all(|(_, entry, _)| entry != *slot)) {
        let known = known.iter().map(|(_, entry, _)| entry.as_str());
        let unknown = Error::unknown(format!("slot of {}", rule.name()), unknown, known);
        return refuse(format!("{name}: {unknown}"));
    }
    let mut initialized = 0;
    for (bit, slot, expected) in &known {
        match tensor.slots.get(slot) {
            Some(Some(values)) if values.len() == *expected => initialized |= 1 << bit,
            Some(Some(values)) => {
                let got = values.len();
                return refuse(format!("{slot} of {name} has {got} elements, expected {expected}"));
            }
            None if rule.uses(*bit) => return refuse(format!("{name} lacks the slot {slot:?}")),
            Some(None) | None => {}
        }
    }
    // Entries of one slot begin together.
    let half = known.iter().find(|(bit, slot, _)| {
        initialized & (1 << bit) != 0 && tensor.slots.get(slot).is_none_or(Option::is_none)
    });
    match half {
        Some((_, slot, _)) => refuse(format!("{name} lacks values of the slot {slot:?}")),
        None => Ok(initialized),
    }
}

/// Steps of a tensor since the rule's state began anew.
fn inner_step(name: &str, tensor: &TensorState, rule: &impl AnyRule) -> Result<u64, Error> {
    match tensor.inner_step {
        None => Ok(rule.reset().map_or(tensor.step, |reset| tensor.step % reset.every)),
        Some(_) if !rule.looks_ahead() => {
            refuse(format!("{name} has an inner_step, which {} has not", rule.name()))
        }
        Some(step) if step > tensor.step => {
            refuse(format!("inner_step of {name} must be at most its step, {}, got {step}", tensor.step))
        }
        Some(step) => Ok(step),
    }
}

fn momenta(name: &str, tensor: &TensorState, inner_step: u64, rule: &impl AnyRule) -> Result<Momenta, Error> {
    match (tensor.mu_product, rule.mu()) {
        (Some(_), None) => refuse(format!("{name} has a mu_product, which {} has not", rule.name())),
        (Some(product), _) if !(0.0..=1.0).contains(&product) => {
            refuse(format!("mu_product of {name} must be in [0, 1], got {}", short(product)))
        }
        (Some(product), Some(mu)) if mu.product(inner_step) != product => Ok(Momenta::Product(product)),
        (_, mu) => Ok(Momenta::Same(mu.unwrap_or_default())),
    }
}

pub(crate) fn refuse<T>(reason: String) -> Result<T, Error> {
    Err(Error::StateDict(reason))
}

/// Refuses counts that steps could not count on from.
fn check_counts(dict: &StateDict) -> Result<(), Error> {
    let refuse = |error: Error| Error::StateDict(error.to_string());
    countable("attempted", dict.attempted).map_err(refuse)?;
    let mut tensors = dict.state.iter();
    tensors.try_for_each(|(name, tensor)| countable(&format!("step of {name}"), tensor.step).map_err(refuse))
}
