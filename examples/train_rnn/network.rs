//! Two recurrent layers, and a linear layer on their last state.

use std::fmt::Display;

use clap::ValueEnum;
use gradus::graph::Var;
use gradus::nn::{GRU, LSTM, Linear, Module, RNN};
use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Cell {
    /// The hyperbolic tangent of a sum.
    Rnn,
    /// Long short-term memory.
    #[default]
    Lstm,
    /// Gated recurrent units.
    Gru,
}

impl Display for Cell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Rnn => "rnn",
            Self::Lstm => "lstm",
            Self::Gru => "gru",
        })
    }
}

/// torch's `RNN`, `LSTM` or `GRU` as `rnn`, and a `Linear` as `head`, which determines the names of the parameters.
pub(crate) struct Network {
    pub(crate) cell: Cell,
    pub(crate) hidden: usize,
}

const LAYERS: usize = 2;

impl Module for Network {
    fn forward(&self, x: &Var) -> Var {
        let hidden = self.hidden;
        macro_rules! states {
            ($layer:ident, $call:ident) => {
                x.$call($layer::new(hidden).num_layers(LAYERS).batch_first(true).name("rnn"), None).0
            };
        }
        let states = match self.cell {
            Cell::Rnn => states!(RNN, rnn),
            Cell::Lstm => states!(LSTM, lstm),
            Cell::Gru => states!(GRU, gru),
        };
        let last = states.shape()[1].saturating_sub(1).cast_signed();
        states.narrow(1, last, 1).flatten().apply("head", &Linear::new(1))
    }
}
