//! Modules from JSON: a network as a list of layers.

#[expect(clippy::upper_case_acronyms, reason = "torch's names")]
mod functions;
mod layers;
#[expect(clippy::upper_case_acronyms, reason = "torch's names")]
mod recurrent;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::{Module, Sequential};
use crate::config;
use crate::error::Error;
use crate::graph::Var;

/// A module of any kind.
type AnyModule = Box<dyn Module + Send + Sync>;

/// The options of a layer as JSON, which make a module.
trait Described: DeserializeOwned {
    fn module(self) -> Result<AnyModule, Error>;
}

/// Reads the options of a layer of a name, at a depth of nesting.
type Reader = fn(&'static str, &Map<String, Value>, usize) -> Result<AnyModule, Error>;

/// A kind of layer: the name of torch's class, and what reads its options.
struct Entry {
    name: &'static str,
    read: Reader,
}

/// Reads options that hold no other layers.
fn read<T: Described>(name: &'static str, fields: &Map<String, Value>, _: usize) -> Result<AnyModule, Error> {
    config::read_without::<T>("layer", name, fields, &["name"])?.module()
}

const LAYERS: &[Entry] = &[
    Entry { name: "AdaptiveAvgPool2d", read: read::<layers::AdaptiveAvgPool2d> },
    Entry { name: "AvgPool2d", read: read::<layers::AvgPool2d> },
    Entry { name: "BatchNorm1d", read: read::<layers::BatchNorm1d> },
    Entry { name: "BatchNorm2d", read: read::<layers::BatchNorm2d> },
    Entry { name: "Conv1d", read: read::<layers::Conv1d> },
    Entry { name: "Conv2d", read: read::<layers::Conv2d> },
    Entry { name: "ConvTranspose2d", read: read::<layers::ConvTranspose2d> },
    Entry { name: "Dropout", read: read::<functions::Dropout> },
    Entry { name: "ELU", read: read::<functions::ELU> },
    Entry { name: "Embedding", read: read::<layers::Embedding> },
    Entry { name: "Flatten", read: read::<functions::Flatten> },
    Entry { name: "GELU", read: read::<functions::GELU> },
    Entry { name: "GRU", read: read::<recurrent::GRU> },
    Entry { name: "GroupNorm", read: read::<layers::GroupNorm> },
    Entry { name: "Hardsigmoid", read: read::<functions::Hardsigmoid> },
    Entry { name: "Hardswish", read: read::<functions::Hardswish> },
    Entry { name: "Hardtanh", read: read::<functions::Hardtanh> },
    Entry { name: "Identity", read: read::<functions::Identity> },
    Entry { name: "LSTM", read: read::<recurrent::LSTM> },
    Entry { name: "LayerNorm", read: read::<layers::LayerNorm> },
    Entry { name: "LeakyReLU", read: read::<functions::LeakyReLU> },
    Entry { name: "Linear", read: read::<layers::Linear> },
    Entry { name: "LogSigmoid", read: read::<functions::LogSigmoid> },
    Entry { name: "LogSoftmax", read: read::<functions::LogSoftmax> },
    Entry { name: "MaxPool2d", read: read::<layers::MaxPool2d> },
    Entry { name: "Mish", read: read::<functions::Mish> },
    Entry { name: "PReLU", read: read::<layers::PReLU> },
    Entry { name: "RMSNorm", read: read::<layers::RMSNorm> },
    Entry { name: "RNN", read: read::<recurrent::RNN> },
    Entry { name: "ReLU", read: read::<functions::ReLU> },
    Entry { name: "Residual", read: residual },
    Entry { name: "SELU", read: read::<functions::SELU> },
    Entry { name: "Select", read: read::<functions::Select> },
    Entry { name: "Sequential", read: sequential },
    Entry { name: "SiLU", read: read::<functions::SiLU> },
    Entry { name: "Sigmoid", read: read::<functions::Sigmoid> },
    Entry { name: "Softmax", read: read::<functions::Softmax> },
    Entry { name: "Softplus", read: read::<functions::Softplus> },
    Entry { name: "Tanh", read: read::<functions::Tanh> },
    Entry { name: "Upsample", read: read::<layers::Upsample> },
];

/// How deep lists of layers may lie in each other.
const MOST_LEVELS: usize = 32;

impl Sequential {
    /// Reads a network from a JSON array of layers, such as `[{"name": "Linear", "out_features": 64}, "ReLU"]`.
    ///
    /// A layer is an object with the `name` of torch's class and the arguments of its constructor, or only that name.
    /// Arguments with a default may be omitted. Sizes of inputs (`in_features`, `in_channels`, `num_features`,
    /// `input_size`, `num_channels`) are not among them, because they follow from the input. Layers are named by their
    /// index, as in torch's `Sequential`.
    ///
    /// These differ from torch: `RNN`, `LSTM` and `GRU` take inputs `[batch, time, features]` and return the outputs of all
    /// times; `Select` (`dim`, `index`) picks one index of an axis, such as the last time; `Residual` (`layers`) adds to its
    /// input what its layers make of that. `Sequential` (`layers`) nests.
    ///
    /// ```
    /// use gradus::graph::Graph;
    /// use gradus::nn::Sequential;
    ///
    /// let layers = serde_json::json!([
    ///     {"name": "Conv2d", "out_channels": 16, "kernel_size": 3, "padding": "same"},
    ///     "ReLU",
    ///     {"name": "MaxPool2d", "kernel_size": 2},
    ///     "Flatten",
    ///     {"name": "Linear", "out_features": 10},
    /// ]);
    /// let network = Sequential::from_json(&layers)?;
    /// let graph = Graph::new();
    /// assert_eq!(graph.input("x", [8, 1, 28, 28]).apply("", &network).shape(), [8, 10]);
    /// assert_eq!(graph.parameters()[2].name, "4.weight");
    ///
    /// let refused = Sequential::from_json(&serde_json::json!(["Relu"])).unwrap_err();
    /// assert!(refused.to_string().starts_with(r#"layers[0]: unknown layer "Relu", did you mean "ReLU"?"#));
    /// # Ok::<(), gradus::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Config`] with the position of the layer, for a name or an argument that does not exist (with the most
    /// similar one), a missing argument or a wrong type. Numbers out of range are refused when a graph is compiled,
    /// as for layers in code.
    pub fn from_json(layers: &Value) -> Result<Self, Error> {
        listed(layers, 1)
    }
}

/// Reads a list of layers that lies in so many others, itself counted.
fn listed(layers: &Value, level: usize) -> Result<Sequential, Error> {
    if level > MOST_LEVELS {
        return Err(Error::constant("layers", format!("at most {MOST_LEVELS} deep in each other"), level));
    }
    let list = layers.as_array().ok_or_else(|| Error::Config {
        what: "layers".into(),
        reason: format!("expected a list of layers, got {layers}"),
    })?;
    list.iter().enumerate().try_fold(Sequential::new(), |network, (index, layer)| {
        let module = one(layer, level).map_err(|error| within(index, &error))?;
        Ok(network.append(move |x: &Var| module.forward(x)))
    })
}

fn one(layer: &Value, level: usize) -> Result<AnyModule, Error> {
    let none = Map::new();
    let (name, fields) = match layer {
        Value::String(name) => (name.as_str(), &none),
        layer => config::parts("layer", layer)?,
    };
    let entry = LAYERS
        .iter()
        .find(|entry| entry.name == name)
        .ok_or_else(|| Error::unknown("layer", name, LAYERS.iter().map(|entry| entry.name)))?;
    (entry.read)(entry.name, fields, level)
}

/// An error of the layer at `index`; positions in nested lists join to one.
fn within(index: usize, error: &Error) -> Error {
    match error {
        Error::Config { what, reason } if what.starts_with("layers[") => {
            Error::Config { what: format!("layers[{index}].{what}"), reason: reason.clone() }
        }
        other => Error::Config { what: format!("layers[{index}]"), reason: other.to_string() },
    }
}

/// What holds a list of layers.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Holder {
    layers: Value,
}

fn held(name: &'static str, fields: &Map<String, Value>, level: usize) -> Result<Sequential, Error> {
    let Holder { layers } = config::read_without("layer", name, fields, &["name"])?;
    listed(&layers, level + 1)
}

fn sequential(name: &'static str, fields: &Map<String, Value>, level: usize) -> Result<AnyModule, Error> {
    Ok(Box::new(held(name, fields, level)?))
}

fn residual(name: &'static str, fields: &Map<String, Value>, level: usize) -> Result<AnyModule, Error> {
    let layers = held(name, fields, level)?;
    Ok(Box::new(move |x: &Var| x + &layers.forward(x)))
}

#[cfg(test)]
mod tests;
