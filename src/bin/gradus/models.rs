//! Models by name, or as a list of layers.

use std::fmt;

use clap::ValueEnum;
use gradus::Error;
use gradus::graph::Var;
use gradus::nn::{Module, Sequential};
use serde_json::Value;

use crate::fields::{Fields, config, unknown};
use crate::networks;

/// A network for samples of any shape that suits its layers.
pub(crate) enum Model {
    /// One that has a name, which sees how many outputs are needed.
    Named(networks::Model),
    /// Layers, the last of which says how many outputs there are.
    Layers(Sequential),
}

impl fmt::Display for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named(model) => model.fmt(f),
            Self::Layers(_) => f.write_str("layers"),
        }
    }
}

/// The names of all that have one.
pub(crate) fn names() -> Vec<String> {
    let name = |model: &networks::Model| model.to_string();
    networks::Model::value_variants().iter().map(name).collect()
}

impl Model {
    /// The model of a name.
    pub(crate) fn named(name: &str) -> Result<Self, Error> {
        let of_name = |model: &&networks::Model| model.to_string() == name;
        match networks::Model::value_variants().iter().find(of_name) {
            Some(model) => Ok(Self::Named(*model)),
            None => {
                let known = names();
                Err(unknown("model", name, &known.iter().map(|name| &name[..]).collect::<Vec<_>>()))
            }
        }
    }

    /// The model of a name, of `{"name": ...}` or of `{"layers": [...]}`, and its table.
    pub(crate) fn from_json(json: &Value) -> Result<(Self, Value), Error> {
        if let Value::String(name) = json {
            return Ok((Self::named(name)?, serde_json::json!({"name": name})));
        }
        let mut fields = Fields::new("model", json, &["name", "layers"])?;
        let model = match (fields.optional::<String>("name")?, fields.optional::<Value>("layers")?) {
            (Some(name), None) => Self::named(&name)?,
            (None, Some(layers)) => Self::Layers(Sequential::from_json(&layers)?),
            (None, None) => return Err(config("model", "missing field `name` or `layers`")),
            (Some(_), Some(_)) => {
                return Err(config("model", "layers: it has a name, so it has no list of layers"));
            }
        };
        Ok((model, fields.end()))
    }

    /// What it makes of a batch `x`: for each sample `outputs` numbers, or as many as its last layer has.
    pub(crate) fn outputs(&self, x: &Var, outputs: usize) -> Var {
        match self {
            Self::Named(model) => networks::logits(*model, x, outputs),
            Self::Layers(layers) => layers.forward(x),
        }
    }
}
