//! The recurrent layers among the layer cases.

use anyhow::{Result, bail};
use gradus::graph::{Init, Var};
use gradus::nn::{GRU, LSTM, RNN, RnnNonlinearity};

use crate::layers::Inputs;

/// Names of parameters in the case `rnn_tanh`, beside ours.
pub(crate) const SHORT_NAMES: [(&str, &str); 4] =
    [("weight_ih_l0", "w_ih"), ("weight_hh_l0", "w_hh"), ("bias_ih_l0", "b_ih"), ("bias_hh_l0", "b_hh")];

/// The options that all three kinds have.
macro_rules! layer {
    ($layer:ident, $inputs:ident, $weight:literal, $gates:literal) => {{
        let hidden = $inputs.get($weight)?.shape[0] / $gates;
        let layer = $layer::new(hidden)
            .num_layers($inputs.attribute("num_layers")?.unwrap_or(1))
            .batch_first($inputs.attribute("batch_first")?.unwrap_or(false))
            .name("");
        if $inputs.attribute("bias")?.unwrap_or(true) { layer } else { layer.without_bias() }
    }};
}

/// A first state, if the case has one.
fn first(inputs: &Inputs<'_>, name: &str) -> Result<Option<Var>> {
    inputs.has(name).then(|| inputs.tensor(name)).transpose()
}

pub(crate) fn lstm(inputs: &Inputs<'_>) -> Result<Var> {
    inputs.only(&["num_layers", "batch_first", "bias"])?;
    let layer = layer!(LSTM, inputs, "weight_hh_l0", 4);
    let (x, h0, c0) = (inputs.tensor("x")?, first(inputs, "h0")?, first(inputs, "c0")?);
    let (y, (h_n, c_n)) = x.lstm(layer, h0.as_ref().zip(c0.as_ref()));
    inputs.output("h_n", &h_n);
    inputs.output("c_n", &c_n);
    Ok(y)
}

pub(crate) fn gru(inputs: &Inputs<'_>) -> Result<Var> {
    inputs.only(&["num_layers", "batch_first", "bias"])?;
    let layer = layer!(GRU, inputs, "weight_hh_l0", 3);
    let (y, h_n) = inputs.tensor("x")?.gru(layer, first(inputs, "h0")?.as_ref());
    inputs.output("h_n", &h_n);
    Ok(y)
}

pub(crate) fn rnn(inputs: &Inputs<'_>) -> Result<Var> {
    inputs.only(&["num_layers", "batch_first", "bias", "nonlinearity"])?;
    let nonlinearity = match inputs.attribute::<String>("nonlinearity")?.as_deref() {
        None | Some("tanh") => RnnNonlinearity::Tanh,
        Some("relu") => RnnNonlinearity::Relu,
        Some(other) => bail!("unknown nonlinearity {other}"),
    };
    let layer = layer!(RNN, inputs, "weight_hh_l0", 1).nonlinearity(nonlinearity);
    let (y, h_n) = inputs.tensor("x")?.rnn(layer, first(inputs, "h0")?.as_ref());
    inputs.output("h_n", &h_n);
    Ok(y)
}

/// One layer, whose first state has no axis of layers.
pub(crate) fn rnn_tanh(inputs: &Inputs<'_>) -> Result<Var> {
    inputs.only(&[])?;
    let layer = layer!(RNN, inputs, "w_hh", 1).batch_first(true);
    let [batch, hidden] = inputs.get("h0")?.shape[..] else {
        bail!("the first state is not [batch, hidden]")
    };
    let h0 = inputs.graph.parameter("h0", [1, batch, hidden], Init::Constant(0.0));
    Ok(inputs.tensor("x")?.rnn(layer, Some(&h0)).0)
}
