//! What an optimizer's state is stored as.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::Error;
use crate::config;
use crate::optim::rule::any::AnyRule;
use crate::optim::rule::fields::used_slots;
use crate::optim::rule::{Family, Granularity, Precisions, Slot, StatePrecision};

/// What an optimizer keeps beside the options of its rule: see [`Rule::build_with_options`](crate::optim::Rule::build_with_options).
///
/// ```
/// use gradus::optim::{OptimizerOptions, StatePrecision};
///
/// let options: OptimizerOptions = serde_json::from_str(r#"{"state": "8bit"}"#)?;
/// assert_eq!(options, OptimizerOptions { state: StatePrecision::Int8, ..Default::default() });
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OptimizerOptions {
    /// What every slot is stored as that allows it; others stay f32, as AMSGrad's maximum. Default f32.
    pub state: StatePrecision,
    /// Slots that differ, by name, as `exp_avg_sq`. Default none.
    pub state_of: BTreeMap<String, StatePrecision>,
    /// Elements from which on a tensor's state is stored in 8 bits; that of smaller ones stays f32. At least 1. Default
    /// 4096, as in bitsandbytes.
    pub least_8bit: usize,
    /// Whether a state dict whose values are stored as something else is taken over, as the nearest values that there are;
    /// otherwise it is refused. Default false.
    pub convert_state: bool,
    /// Whether the parameters are kept in bf16 too, for those who serve what is trained: each step writes the nearest
    /// values beside the f32 ones, in its own dispatch. See [`Optimizer::read_bf16_weights`](crate::optim::Optimizer::read_bf16_weights). Default false.
    pub bf16_params: bool,
}

impl Default for OptimizerOptions {
    fn default() -> Self {
        Self {
            state: StatePrecision::F32,
            state_of: BTreeMap::new(),
            least_8bit: 4096,
            convert_state: false,
            bf16_params: false,
        }
    }
}

impl OptimizerOptions {
    /// Takes what is theirs out of the fields of an optimizer in JSON.
    pub(crate) fn taken(name: &str, fields: &mut Map<String, Value>) -> Result<Self, Error> {
        const FIELDS: [&str; 5] = ["state", "state_of", "least_8bit", "convert_state", "bf16_params"];
        let own = FIELDS.iter().filter_map(|field| Some(((*field).to_owned(), fields.remove(*field)?)));
        config::read("optimizer", name, &own.collect())
    }

    /// What each slot of some groups' rules, which are of one kind, is stored as.
    pub(crate) fn of_slots<'r, R: AnyRule + 'r>(
        &self,
        rules: impl Iterator<Item = &'r R> + Clone,
    ) -> Result<Vec<StatePrecision>, Error> {
        let rule = rules.clone().next().expect("a store has a group");
        let names = rule.slots().iter().map(|slot| &*slot.name);
        if let Some(name) = self.state_of.keys().find(|name| names.clone().all(|known| known != **name)) {
            return Err(Error::unknown(format!("slot of {}", rule.name()), name, names));
        }
        if self.least_8bit == 0 {
            return Err(Error::constant("least_8bit", "at least 1", 0));
        }
        let allow = |slot: usize| rules.clone().all(|rule| allowed(rule, slot).allow(self.state));
        let of_slot = |(slot, name): (usize, &str)| match self.state_of.get(name) {
            Some(own) => *own,
            None if allow(slot) => self.state,
            None => StatePrecision::F32,
        };
        let state: Vec<StatePrecision> = names.enumerate().map(of_slot).collect();
        let used = rules.clone().fold(0, |mask, rule| mask | used_slots(rule));
        // Where it would change nothing it is refused, by a slot for each element if there is one.
        let open = (0..state.len()).filter(|&slot| {
            let Slot { name, late, .. } = &rule.slots()[slot];
            used & (1 << slot) != 0 && !late && !self.state_of.contains_key(&**name)
        });
        let is_element = |slot: &usize| rule.slots()[*slot].granularity == Granularity::Element;
        let first = open.clone().find(is_element).or_else(|| open.clone().next());
        if let Some(first) = first.filter(|_| !open.clone().any(|slot| state[slot] == self.state)) {
            let refusing =
                rules.clone().find(|rule| !allowed(*rule, first).allow(self.state)).unwrap_or(rule);
            return Err(refused(refusing, first, self.state));
        }
        rules.into_iter().try_for_each(|rule| check(rule, &state))?;
        Ok(state)
    }
}

/// Refuses options of a rule with which a slot cannot be stored as it is.
pub(crate) fn check(rule: &impl AnyRule, state: &[StatePrecision]) -> Result<(), Error> {
    let is_refused = |(slot, precision): &(usize, &StatePrecision)| !allowed(rule, *slot).allow(**precision);
    match state.iter().enumerate().find(is_refused) {
        Some((slot, precision)) => Err(refused(rule, slot, *precision)),
        None => Ok(()),
    }
}

fn refused(rule: &impl AnyRule, slot: usize, precision: StatePrecision) -> Error {
    let name = &rule.slots()[slot].name;
    let with = if rule.reset().is_some() { " with reset_state" } else { "" };
    Error::constant(
        format!("state of the slot {name} of {}{with}", rule.name()),
        allowed(rule, slot).to_string(),
        precision,
    )
}

/// The precision for those of a family's slots that allow it, and f32 for the others.
pub(crate) fn allowed_of(family: Family, slots: &[Slot], precision: StatePrecision) -> Vec<StatePrecision> {
    let by_blocks = goes_by_blocks(family);
    let of = |slot: &Slot| {
        let allows = slot.precisions.allow(precision) && (by_blocks || precision != StatePrecision::Int8);
        if allows { precision } else { StatePrecision::F32 }
    };
    slots.iter().map(of).collect()
}

/// Whether its update can go over blocks.
fn goes_by_blocks(family: Family) -> bool {
    matches!(family, Family::Element | Family::Tensor { early_state: false })
}

/// What a slot may be stored as. Codes are written where an update goes over blocks, and not where state begins anew on the
/// device.
fn allowed(rule: &impl AnyRule, slot: usize) -> Precisions {
    let by_blocks = goes_by_blocks(rule.family());
    match rule.precisions(slot) {
        Precisions::Signed | Precisions::Unsigned if !by_blocks || rule.reset().is_some() => Precisions::Bf16,
        own => own,
    }
}
