//! An optimizer's state, taken over from a dict.

use super::dict::{StateDict, TensorState, refuse};
use crate::Error;
use crate::error::{at_least, countable, short};
use crate::layout::Span;
use crate::optim::optimizer::{Group, Optimizer};
use crate::optim::rule::any::AnyRule;
use crate::optim::rule::fields::entries;
use crate::optim::rule::momenta::Momenta;
use crate::optim::rule::recurrence::{Carried, Recurrence};
use crate::optim::rule::{SlotBits, StatePrecision};
use crate::optim::step::counters::StepCounter;

impl<R: AnyRule + Clone> Optimizer<R> {
    /// Takes over a state: options, counts and slots. Steps that follow are the same, bit for bit, as those
    /// of the optimizer that it was read from.
    ///
    /// # Errors
    /// [`Error::StateDict`] if it is of another optimizer, or of other groups, tensors or shapes, or lacks a
    /// slot that the options use, or has a count above 2^63 - 1, or values that are stored as something else than here, unless
    /// [`OptimizerOptions::convert_state`](crate::optim::OptimizerOptions) takes the nearest ones; if it has averages and this optimizer keeps none, or the
    /// other way round, or they are of another kind; then nothing was changed. [`Error::Config`] in
    /// [`Optimizer::with_averages`].
    pub fn load_state_dict(&mut self, dict: &StateDict) -> Result<(), Error> {
        self.gpu.check()?;
        self.check_places()?;
        self.steps.abandon_dropped(&mut self.device)?;
        check_counts(dict)?;
        self.check_averages(dict)?;
        let groups = self.groups_of(dict)?;
        let counters = self.counters_of(dict, &groups)?;
        let initialized = counters.iter().fold(0, |mask, tensor| mask | tensor.initialized);
        self.device.add_slots(&self.gpu, &groups[0].rule, &self.layout, initialized)?;
        self.check_stored(dict, &groups[0].rule)?;
        self.write_slots(dict, &groups[0].rule)?;
        self.groups = groups;
        self.steps.replace(counters, dict.attempted);
        dict.averages.as_ref().map_or(Ok(()), |averages| self.load_averages_state(averages))
    }

    fn write_slots(&self, dict: &StateDict, rule: &R) -> Result<(), Error> {
        let convert = self.options.convert_state;
        let spans = self.layout.spans();
        for (slot, kept) in rule.slots().iter().zip(&self.device.slots) {
            let Some(kept) = kept else { continue };
            let state = |index: usize| dict.state.get(&spans[index].name);
            // What is converted may have been cut into other blocks.
            let exact = |index: usize, name: &str| {
                let bits = state(index)?.stored.get(name)?;
                let values = state(index)?.slots.get(name)?.as_deref()?;
                let fits = bits.precision() == kept.precision(index);
                (fits && (!convert || kept.check_bits(index, values, bits).is_ok())).then_some(bits)
            };
            let values = |index: usize, name: &str| state(index)?.slots.get(name)?.as_deref();
            kept.write_all(&self.gpu, slot, values, exact)?;
        }
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
            let carried = carried(name, tensor, inner_step, rule)?;
            counter[index] = StepCounter::new(tensor.step, initialized, carried);
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

fn carried(name: &str, tensor: &TensorState, inner_step: u64, rule: &impl AnyRule) -> Result<Carried, Error> {
    let recurrence = rule.recurrence();
    let mu = if let Some(Recurrence::Momentum(mu)) = recurrence { Some(mu) } else { None };
    let mut scalars = tensor.scalars.clone();
    let read = Carried::read(recurrence, inner_step, |scalar| scalars.remove(scalar));
    let read = read.map_err(|reason| Error::StateDict(format!("{name} {reason}")))?;
    if let Some(scalar) = scalars.keys().next() {
        return refuse(format!("{name} has a number {scalar}, which {} has not", rule.name()));
    }
    match (tensor.mu_product, mu) {
        (Some(_), None) => refuse(format!("{name} has a mu_product, which {} has not", rule.name())),
        (Some(product), _) if !(0.0..=1.0).contains(&product) => {
            refuse(format!("mu_product of {name} must be in [0, 1], got {}", short(product)))
        }
        (Some(product), Some(mu)) if mu.product(inner_step) != product => {
            Ok(Carried::Momenta(Momenta::Product(product)))
        }
        (_, Some(mu)) => Ok(Carried::Momenta(Momenta::Same(mu))),
        (None, None) => Ok(read),
    }
}

/// Refuses counts that steps could not count on from.
fn check_counts(dict: &StateDict) -> Result<(), Error> {
    let refuse = |error: Error| Error::StateDict(error.to_string());
    countable("attempted", dict.attempted).map_err(refuse)?;
    let mut tensors = dict.state.iter();
    tensors.try_for_each(|(name, tensor)| countable(&format!("step of {name}"), tensor.step).map_err(refuse))
}
