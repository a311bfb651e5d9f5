//! Two recurrent layers and a linear one over their last state.

use anyhow::{Context, Result};
use gradus::Gpu;
use gradus::graph::{Graph, Var};
use gradus::nn::{GRU, LSTM, Linear, Module, RNN};

use crate::args::{Cell, Config};
use crate::options::Length;
use crate::run::Trainer;

/// torch's `RNN`, `LSTM` or `GRU` as `rnn`, and a `Linear` as `head`: so are the parameters named.
struct Network {
    cell: Cell,
    hidden: usize,
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

pub(crate) fn trainer(gpu: &Gpu, config: &Config, length: Length) -> Result<Trainer> {
    let Config { cell, seq_len, hidden, ref training, .. } = *config;
    let (optimizer, schedule) = (training.optimizer()?, training.schedule(length)?);
    let graph = Graph::new();
    let x = graph.input("x", [training.batch_size, seq_len, 2]);
    let y = graph.input("y", [training.batch_size, 1]);
    let loss = x.apply("", &Network { cell, hidden }).mse_loss(&y);
    let trainer = graph
        .trainer(&loss, optimizer)
        .schedule(schedule)
        .steps_per_epoch(length.steps_per_epoch)
        .clip_grad_norm(1.0)
        .seed(training.seed)
        .build(gpu);
    trainer.with_context(|| format!("--cell {cell}, --hidden {hidden}, --seq-len {seq_len}"))
}
