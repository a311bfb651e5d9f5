//! Tables of a run file: known fields, their types and their defaults.

use gradus::Error;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// The fields of one table. Collects the table with all defaults.
pub(crate) struct Fields<'j> {
    /// What the table describes, such as `data csv`.
    what: String,
    given: &'j Map<String, Value>,
    complete: Map<String, Value>,
}

impl<'j> Fields<'j> {
    /// A table that has no other fields than the `known` ones.
    pub(crate) fn new(what: &str, json: &'j Value, known: &[&str]) -> Result<Self, Error> {
        let refuse = || config(what, format!("expected a table, got {json}"));
        let given = json.as_object().ok_or_else(refuse)?;
        match given.keys().find(|key| !known.contains(&&key[..])) {
            Some(key) => Err(unknown(&format!("field of {what}"), key, known)),
            None => Ok(Self { what: what.into(), given, complete: Map::new() }),
        }
    }

    /// A field, if it is given.
    pub(crate) fn optional<T: DeserializeOwned>(&mut self, key: &str) -> Result<Option<T>, Error> {
        let Some(value) = self.given.get(key) else { return Ok(None) };
        let read = T::deserialize(value).map_err(|error| config(&self.what, format!("{key}: {error}")))?;
        self.complete.insert(key.into(), value.clone());
        Ok(Some(read))
    }

    /// A field that must be given.
    pub(crate) fn required<T: DeserializeOwned>(&mut self, key: &str) -> Result<T, Error> {
        self.optional(key)?.ok_or_else(|| config(&self.what, format!("missing field `{key}`")))
    }

    /// A field with a default.
    pub(crate) fn or<T: DeserializeOwned + Serialize>(&mut self, key: &str, default: T) -> Result<T, Error> {
        let value = self.optional(key)?.unwrap_or(default);
        self.complete.insert(key.into(), serde_json::to_value(&value).expect("a plain value"));
        Ok(value)
    }

    /// The value of a field, as given.
    pub(crate) fn json(&self, key: &str) -> Option<&'j Value> {
        self.given.get(key)
    }

    /// The table with the defaults of what was left out.
    pub(crate) fn end(self) -> Value {
        self.complete.into()
    }
}

/// An [`Error::Config`].
pub(crate) fn config(what: &str, reason: impl Into<String>) -> Error {
    Error::Config { what: what.into(), reason: reason.into() }
}

/// An [`Error::Constant`].
pub(crate) fn constant(name: &str, allowed: &str, value: impl ToString) -> Error {
    Error::Constant { name: name.into(), allowed: allowed.into(), value: value.to_string() }
}

/// An [`Error::UnknownName`] with the most similar of the known names.
pub(crate) fn unknown(kind: &str, name: &str, known: &[&str]) -> Error {
    let likeness = |known: &str| strsim::jaro_winkler(&name.to_lowercase(), &known.to_lowercase());
    let nearest = known.iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
    Error::UnknownName {
        kind: kind.into(),
        name: name.into(),
        nearest: nearest.filter(|known| likeness(known) > 0.7).map(|known| (*known).to_owned()),
        known: known.join(", "),
    }
}
