//! Nested schedules: reading from JSON, checks, and errors that name the position.

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Map, Value};

use super::{Interval, MOST_LEVELS, Schedule, unchecked};
use crate::config;
use crate::error::Error;

pub(super) type Members = Vec<Box<dyn Schedule>>;

/// Placeholder for a list of schedules, which [`read`] reads separately. Copying the list at each level would take
/// quadratic time.
#[derive(Debug, Deserialize)]
pub(super) struct Listed(#[expect(dead_code, reason = "only that it is a list")] Vec<IgnoredAny>);

/// Reads the list `schedulers` of the schedule called `outer`. It must be a list.
pub(super) fn read(outer: &str, fields: &Map<String, Value>) -> Result<Members, Error> {
    let one = |json| -> Result<_, Error> {
        let (name, fields) = config::parts("schedule", json)?;
        if fields.contains_key("interval") {
            let (what, reason) = (format!("schedule {name}"), format!("interval belongs to {outer}"));
            return Err(Error::Config { what, reason });
        }
        unchecked(name, fields)
    };
    let list = fields.get("schedulers").and_then(Value::as_array).into_iter().flatten();
    list.enumerate().map(|(index, json)| one(json).map_err(|error| within(error, index))).collect()
}

/// The inverse of [`read`], for the object of the schedule called `outer`; `None` if a member has no JSON form.
pub(super) fn write(outer: &str, members: &Members) -> Option<Map<String, Value>> {
    let schedulers = members.iter().map(|member| member.to_json()).collect::<Option<Vec<_>>>()?;
    Some(Map::from_iter([("name".into(), outer.into()), ("schedulers".into(), schedulers.into())]))
}

/// Nesting depth of schedules in a JSON object.
pub(super) fn levels_of(json: &Value) -> usize {
    let (mut deepest, mut open) = (1, vec![(json, 1)]);
    while let Some((json, level)) = open.pop() {
        deepest = deepest.max(level);
        let members = json.get("schedulers").and_then(Value::as_array).into_iter().flatten();
        open.extend(members.map(|member| (member, level + 1)));
    }
    deepest
}

/// One more than the depth of the deepest member.
pub(super) fn levels(members: &Members) -> usize {
    members.iter().map(|member| member.levels()).max().unwrap_or(0).saturating_add(1)
}

pub(super) fn check_levels(levels: usize) -> Result<(), Error> {
    if levels <= MOST_LEVELS {
        return Ok(());
    }
    Err(Error::constant("schedulers", format!("at most {MOST_LEVELS} deep in each other"), levels))
}

/// The identities of the members for a checkpoint, in the object of the schedule called `outer`.
pub(super) fn identity(outer: &str, members: &Members) -> Map<String, Value> {
    let schedulers: Vec<Value> = members.iter().map(|member| member.identity()).collect();
    Map::from_iter([("name".into(), outer.into()), ("schedulers".into(), schedulers.into())])
}

/// Refuses an empty list, members that are invalid, and members that can only be the outermost schedule.
pub(super) fn check(outer: &str, members: &Members) -> Result<(), Error> {
    check_levels(levels(members))?;
    if members.is_empty() {
        return Err(Error::constant("schedulers", "a list of at least one schedule", "[]"));
    }
    for (index, member) in members.iter().enumerate() {
        member.check().map_err(|error| within(error, index))?;
        let refuse = |reason: &str| {
            let name = member.to_json().and_then(|json| Some(json.get("name")?.as_str()?.to_owned()));
            let name = name.unwrap_or_else(|| format!("{member:?}"));
            let reason = format!("schedulers[{index}] is {name}, which {reason}");
            Err(Error::Config { what: format!("schedule {outer}"), reason })
        };
        if member.takes_metric() {
            return refuse("follows a metric: only the outermost schedule hears one");
        }
        if member.interval() == Interval::Epoch {
            return refuse("counts epochs: only the outermost schedule has an interval");
        }
    }
    Ok(())
}

/// Adds the position of the member to its error.
pub(super) fn within(error: Error, index: usize) -> Error {
    let place = format!("of schedulers[{index}]");
    match error {
        Error::Constant { name, allowed, value } => {
            Error::Constant { name: format!("{name} {place}"), allowed, value }
        }
        Error::UnknownName { kind, name, nearest, known } => {
            Error::UnknownName { kind: format!("{kind} {place}"), name, nearest, known }
        }
        Error::Config { what, reason } => Error::Config { what: format!("{what} {place}"), reason },
        other => other,
    }
}
