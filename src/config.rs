//! Parses strict JSON objects into configuration structs, with errors that name the field.
//!
//! The serde attributes of a struct (`deny_unknown_fields`, `default`) determine which fields are allowed and
//! required, so no field is listed twice.

mod finite;

use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{self, DeserializeOwned, DeserializeSeed, IntoDeserializer, MapAccess};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::error::Error;

pub(crate) use finite::{not_finite, serialize_finite};

/// Which library's formula to use where libraries differ.
///
/// ```
/// use gradus::optim::{Adam, Variant};
///
/// let adam = Adam { variant: Variant::Optax, ..Adam::default() };
/// assert_ne!(adam, Adam::default());
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Variant {
    /// PyTorch's formula.
    #[default]
    Torch,
    /// Optax's formula.
    Optax,
}

/// Splits a JSON object into its `name` and the other fields.
///
/// `kind` says what the object configures, such as `schedule`.
pub(crate) fn named(kind: &str, json: &Value) -> Result<(String, Map<String, Value>), Error> {
    let (name, fields) = parts(kind, json)?;
    let mut fields = fields.clone();
    fields.remove("name");
    Ok((name.into(), fields))
}

/// The `name` of a JSON object and all its fields, including the name. For large objects; copies nothing.
pub(crate) fn parts<'j>(kind: &str, json: &'j Value) -> Result<(&'j str, &'j Map<String, Value>), Error> {
    let refuse = |reason: String| Error::Config { what: kind.into(), reason };
    let fields =
        json.as_object().ok_or_else(|| refuse(format!("expected an object with a name, got {json}")))?;
    match fields.get("name") {
        Some(Value::String(name)) => Ok((name, fields)),
        Some(other) => Err(refuse(format!("name: expected a string, got {other}"))),
        None => Err(refuse("missing field `name`".into())),
    }
}

/// Reads the `fields` of the `kind` called `name`, such as the `schedule` called `StepLR`, into `T`.
///
/// `T` derives `Deserialize` with `deny_unknown_fields`. This checks types, not ranges.
///
/// # Errors
/// [`Error::UnknownName`] for a field that `T` does not have; [`Error::Config`] for a missing field or a wrong type.
pub(crate) fn read<T: DeserializeOwned>(
    kind: &str,
    name: &str,
    fields: &Map<String, Value>,
) -> Result<T, Error> {
    read_without(kind, name, fields, &[])
}

/// Like [`read`], ignoring the fields in `without`.
pub(crate) fn read_without<T: DeserializeOwned>(
    kind: &str,
    name: &str,
    fields: &Map<String, Value>,
    without: &'static [&'static str],
) -> Result<T, Error> {
    let fields = Fields { rest: fields.iter(), without, value: None };
    T::deserialize(MapAccessDeserializer::new(fields)).map_err(|refusal| match refusal {
        Refusal::UnknownField { field, known } => {
            Error::unknown(format!("field of {name}"), &field, known.iter().copied())
        }
        Refusal::Other(reason) => Error::Config { what: format!("{kind} {name}"), reason },
    })
}

/// The inverse of [`named`] and [`read`]: a JSON object with the fields of `value` and its `name`.
pub(crate) fn write<T: Serialize>(name: &str, value: &T) -> Value {
    let mut json = serde_json::to_value(value).expect("configurations are plain values");
    json["name"] = name.into();
    json
}

/// Reads an optional field that must be either a value or left out; `null` is an error.
///
/// For `#[serde(default, deserialize_with = "present")]`.
pub(crate) fn present<'de, T, D>(deserializer: D) -> Result<Option<T>, D::Error>
where
    T: de::Deserialize<'de>,
    D: de::Deserializer<'de>,
{
    T::deserialize(deserializer).map(Some)
}

/// Why serde refused. Kept as an enum because serde_json would turn an unknown field into text.
#[derive(Debug)]
enum Refusal {
    UnknownField { field: String, known: &'static [&'static str] },
    Other(String),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownField { field, .. } => write!(f, "unknown field `{field}`"),
            Self::Other(reason) => f.write_str(reason),
        }
    }
}

impl std::error::Error for Refusal {}

impl de::Error for Refusal {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::Other(message.to_string())
    }

    fn unknown_field(field: &str, known: &'static [&'static str]) -> Self {
        Self::UnknownField { field: field.into(), known }
    }
}

struct Fields<'a> {
    rest: serde_json::map::Iter<'a>,
    without: &'static [&'static str],
    value: Option<(&'a str, &'a Value)>,
}

impl<'de> MapAccess<'de> for Fields<'de> {
    type Error = Refusal;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Refusal> {
        let mut rest = self.rest.by_ref().map(|(key, value)| (key.as_str(), value));
        self.value = rest.find(|(key, _)| !self.without.contains(key));
        self.value.map(|(key, _)| seed.deserialize(key.into_deserializer())).transpose()
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Refusal> {
        let (key, value) = self.value.take().expect("serde asks for a key before its value");
        seed.deserialize(value).map_err(|e| Refusal::Other(format!("{key}: {e}")))
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::json;

    use super::*;

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Sample {
        rate: f64,
        #[serde(default)]
        steps: u64,
        #[serde(rename = "T_max", default)]
        t_max: Option<u64>,
        #[serde(default, deserialize_with = "present")]
        total: Option<u64>,
    }

    fn sample(json: Value) -> Result<Sample, Error> {
        let (name, fields) = named("sample", &json)?;
        read("sample", &name, &fields)
    }

    #[test]
    fn integers_are_numbers_and_what_is_left_out_takes_its_default() {
        let got = sample(json!({"name": "S", "rate": 1, "T_max": null, "total": 4})).unwrap();
        assert_eq!(got, Sample { rate: 1.0, steps: 0, t_max: None, total: Some(4) });
    }

    #[test]
    fn refusals_name_the_field() {
        let rows = [
            (json!([1]), "sample: expected an object with a name, got [1]"),
            (json!({"rate": 1}), "sample: missing field `name`"),
            (json!({"name": 3}), "sample: name: expected a string, got 3"),
            (json!({"name": "S"}), "sample S: missing field `rate`"),
            (json!({"name": "S", "rate": "1"}), "sample S: rate: invalid type: string \"1\", expected f64"),
            (
                json!({"name": "S", "rate": 1, "steps": 1.5}),
                "sample S: steps: invalid type: floating point `1.5`, expected u64",
            ),
            (
                json!({"name": "S", "rate": 1, "steps": -1}),
                "sample S: steps: invalid value: integer `-1`, expected u64",
            ),
            (json!({"name": "S", "rate": null}), "sample S: rate: invalid type: null, expected f64"),
            (
                json!({"name": "S", "rate": 1, "total": null}),
                "sample S: total: invalid type: null, expected u64",
            ),
            (
                json!({"name": "S", "rate": 1, "t_max": 5}),
                "unknown field of S \"t_max\", did you mean \"T_max\"?; known: rate, steps, T_max, total",
            ),
        ];
        for (json, message) in rows {
            assert_eq!(sample(json).unwrap_err().to_string(), message);
        }
    }
}
