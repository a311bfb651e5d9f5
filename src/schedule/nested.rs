//! Schedules inside a schedule: read from JSON, checked, and with errors that say where they stand.

use serde_json::Value;

use super::{Interval, Schedule, unchecked};
use crate::config;
use crate::error::Error;

pub(super) type Members = Vec<Box<dyn Schedule>>;

/// Reads the list `schedulers` of the schedule called `outer`.
pub(super) fn read(outer: &str, list: &[Value]) -> Result<Members, Error> {
    let one = |json| -> Result<_, Error> {
        let (name, fields) = config::named("schedule", json)?;
        if fields.contains_key("interval") {
            let (what, reason) = (format!("schedule {name}"), format!("interval belongs to {outer}"));
            return Err(Error::Config { what, reason });
        }
        unchecked(&name, &fields)
    };
    list.iter().enumerate().map(|(index, json)| one(json).map_err(|error| within(error, index))).collect()
}

/// What [`read`] makes the members of; `None` if one of them has no JSON form.
pub(super) fn write(members: &Members) -> Option<Vec<Value>> {
    members.iter().map(|member| member.to_json()).collect()
}

/// What a checkpoint knows the members by.
pub(super) fn identities(members: &Members) -> Vec<Value> {
    members.iter().map(|member| member.identity()).collect()
}

/// Refuses an empty list, what its members refuse, and those that only the outermost schedule can be.
pub(super) fn check(outer: &str, members: &Members) -> Result<(), Error> {
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

/// The same error, with the place of the member that it is about.
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
