//! Trains two recurrent layers on the adding problem, which only a memory solves: each step shows a number and a marker,
//! and after the last one the sum of the two marked numbers is asked for.
//!
//! Over 30 steps, `--cell lstm`, `gru` and `rnn` end below a mean squared error of 0.005, where the mean of all sums has
//! one of 0.164; `args.rs` says what three seeds have reached. That takes from a quarter of a minute to one on two CPU cores.

mod args;
#[path = "../support/folder.rs"]
mod folder;
mod model;
mod network;
#[path = "../support/options.rs"]
mod options;
#[path = "../support/progress.rs"]
mod progress;
#[path = "../support/run.rs"]
mod run;
mod task;
#[path = "../support/terminal.rs"]
mod terminal;

use std::process::ExitCode;

use anyhow::{Result, ensure};
use clap::Parser;
use gradus::{Gpu, GpuOptions};

use args::Args;
use run::Run;
use task::Adding;
use terminal::{exit, say};

fn main() -> ExitCode {
    exit(train(&Args::parse()))
}

fn train(args: &Args) -> Result<()> {
    let resumed = run::resumed::<Adding>(&args.options)?;
    let config = match &resumed {
        Some((checkpoint, saved)) => {
            args.config(Some(&saved.settings)).map_err(|e| checkpoint.refuse(e.to_string()))?
        }
        None => args.config(None)?,
    };
    let length = config.length()?;
    let gpu = Gpu::new(GpuOptions::default())?;
    // What is too long or too wide is refused before a set of it is drawn.
    let trainer = model::trainer(&gpu, &config, length)?;
    let task = Adding::new(config.clone());
    let (info, baseline) = (gpu.info(), task.baseline());
    let (cell, seq_len) = (config.cell, config.seq_len);
    say(format_args!(
        "{} ({:?}); two {cell} layers of {} units over {seq_len} steps",
        info.name, info.backend, config.hidden
    ))?;
    let mut run = Run::new(trainer, &task, length, config.clone())?;
    if let Some((checkpoint, saved)) = resumed {
        run.resume(&checkpoint, saved)?;
    }
    run.keep(&args.options)?;
    let error = run.train()?.loss;
    say(format_args!("{cell}: mean squared error {error:.5}, where the mean of all sums has {baseline:.5}"))?;
    // Other sizes, rates and lengths may need another time to learn it.
    if let Some(bound) = config.bound() {
        ensure!(error < bound, "{cell} has not solved it: its error should be below {bound}");
        say(format_args!("solved: below {bound}"))?;
    }
    Ok(())
}
