//! Recurrent layers over `[batch, time, features]`, which return the outputs of all times.

use serde::Deserialize;

use super::layers::yes;
use super::{AnyModule, Described};
use crate::error::Error;
use crate::graph::Var;
use crate::nn::{self, RnnNonlinearity};

/// The options of torch's class; a plain layer has one more.
macro_rules! recurrent {
    ($($name:ident { $($field:ident: $type:ty),* } $call:ident |$layer:ident| $options:expr;)*) => {$(
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        pub(super) struct $name {
            hidden_size: usize,
            #[serde(default = "one")]
            num_layers: usize,
            #[serde(default = "yes")]
            bias: bool,
            #[serde(default)]
            dropout: f64,
            $(#[serde(default)] $field: $type,)*
        }

        impl Described for $name {
            fn module(self) -> Result<AnyModule, Error> {
                let Self { hidden_size, num_layers, bias, dropout, $($field),* } = self;
                let $layer = nn::$name::new(hidden_size).num_layers(num_layers).dropout(dropout).batch_first(true);
                let layer = $options;
                let layer = if bias { layer } else { layer.without_bias() };
                // Without a prefix of its own: it is applied under its index.
                let layer = layer.name("");
                Ok(Box::new(move |x: &Var| x.$call(layer.clone(), None).0))
            }
        }
    )*};
}

recurrent! {
    GRU {} gru |layer| layer;
    LSTM {} lstm |layer| layer;
    RNN { nonlinearity: Nonlinearity } rnn |layer| layer.nonlinearity(match nonlinearity {
        Nonlinearity::Tanh => RnnNonlinearity::Tanh,
        Nonlinearity::Relu => RnnNonlinearity::Relu,
    });
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Nonlinearity {
    #[default]
    Tanh,
    Relu,
}

fn one() -> usize {
    1
}
