//! Properties computed from the options of any rule.

use serde_json::Value;

use super::any::AnyRule;
use super::{Granularity, Slot};
use crate::error::Error;

/// The slots that a rule's options use, one bit each.
pub(crate) fn used_slots(rule: &impl AnyRule) -> u32 {
    (0..rule.slots().len()).filter(|&slot| rule.uses(slot)).fold(0, |mask, slot| mask | 1 << slot)
}

/// The names and lengths of a slot's entries for a tensor in state dicts.
pub(crate) fn entries(rule: &impl AnyRule, slot: usize, shape: &[usize]) -> Vec<(String, usize)> {
    let Slot { name, granularity, .. } = &rule.slots()[slot];
    match granularity {
        Granularity::Element => vec![(name.to_string(), shape.iter().product())],
        Granularity::Tensor => vec![(name.to_string(), 1)],
        Granularity::Statistics => rule
            .statistics(shape)
            .iter()
            .map(|statistic| (statistic.key.to_string(), statistic.len(shape)))
            .collect(),
    }
}

/// A copy of a rule with some fields overridden. `name` and `variant` cannot be.
pub(crate) fn overridden<R: AnyRule>(rule: &R, group: &str, fields: &Value) -> Result<R, Error> {
    let what = || format!("group {group:?} of {}", rule.name());
    let refuse = |reason: String| Err(Error::Config { what: what(), reason });
    let Some(fields) = fields.as_object() else {
        return refuse(format!("expected an object of fields, got {fields}"));
    };
    if let Some(field) = ["name", "variant"].into_iter().find(|field| fields.contains_key(*field)) {
        return refuse(format!("`{field}` is the same in all groups"));
    }
    let rule = rule.with_fields(&rule.merged(fields)).map_err(|error| error.in_group(group))?;
    rule.check().map_err(|error| error.in_group(group))?;
    Ok(rule)
}
