//! Trains a small network on images: 1,797 handwritten digits of 8x8 pixels that come with it, or IDX files.
//!
//! The run is kept in a folder, can be stopped at any moment and goes on bit for bit; a kept model can be
//! evaluated and used.

mod args;
mod data;
#[path = "../support/folder.rs"]
mod folder;
mod model;
#[path = "../support/options.rs"]
mod options;
#[path = "../support/progress.rs"]
mod progress;
#[path = "../support/run.rs"]
mod run;
mod task;
#[path = "../support/terminal.rs"]
mod terminal;

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;
use gradus::train::{Checkpoint, Confusion, classes_of};
use gradus::{Gpu, GpuOptions};

use args::Args;
use model::Network;
use run::{Run, Saved};
use task::{Classify, EVALUATION_BATCH, Settings};
use terminal::{exit, say};

fn main() -> ExitCode {
    let args = Args::parse();
    exit(match (&args.evaluate, &args.predict, &args.load) {
        (Some(model), ..) => evaluate(&args, model),
        (_, Some(images), Some(model)) => predict(images, model),
        _ => train(&args),
    })
}

fn train(args: &Args) -> Result<()> {
    let resumed = run::resumed::<Classify>(&args.options)?;
    let config = match &resumed {
        Some((checkpoint, saved)) => {
            args.config(Some(&saved.settings.config)).map_err(|e| checkpoint.refuse(e.to_string()))?
        }
        None => args.config(None)?,
    };
    let mut sets = data::load(args.data.as_deref())?;
    if config.shuffle_labels {
        sets.train = sets.train.shuffle_labels(config.training.seed);
    }
    let gpu = Gpu::new(GpuOptions::default())?;
    let info = gpu.info();
    let (train, test) = (sets.train.len(), sets.test.len());
    say(format_args!("{} ({:?}); {train} images to train on, {test} to test on", info.name, info.backend))?;
    let Network { trainer, length, .. } = Network::new(&gpu, &config, &sets.images)?;
    let settings = Settings { config: config.clone(), images: sets.images.clone() };
    let task = Classify::new(&gpu, config, sets, args.resident)?;
    let mut run = Run::new(trainer, &task, length, settings.clone())?;
    if let Some((checkpoint, saved)) = resumed {
        if let Some(reason) = settings.images.difference(&saved.settings.images) {
            return Err(checkpoint.refuse(reason).into());
        }
        run.resume(&checkpoint, saved)?;
    }
    run.keep(&args.options)?;
    say(format_args!("test accuracy: {:.4}", run.train()?.metrics[0]))
}

/// A saved model, and what it must know.
fn load(path: &Path) -> Result<(Network, Settings)> {
    let checkpoint = Checkpoint::read(path)?;
    let saved = Saved::of::<Classify>(&checkpoint)?.settings;
    let gpu = Gpu::new(GpuOptions::default())?;
    let mut network = Network::new(&gpu, &saved.config, &saved.images)?;
    network.trainer.load_checkpoint(&checkpoint)?;
    Ok((network, saved))
}

fn evaluate(args: &Args, model: &Path) -> Result<()> {
    let (Network { mut trainer, logits, .. }, saved) = load(model)?;
    let test = data::load(args.data.as_deref())?.test;
    let images = saved.images.numbers_of(&test).context("the test set of --data")?;
    let logits = trainer.predict(&logits, &[("x", &images)], EVALUATION_BATCH)?;
    let table = Confusion::of_logits(&logits, test.y(), saved.images.classes as usize)?;
    say(format_args!("test accuracy: {:.4}\n\n{}", table.accuracy(), table.to_string().trim_end()))
}

fn predict(images: &Path, model: &Path) -> Result<()> {
    let (Network { mut trainer, logits, .. }, saved) = load(model)?;
    let images = saved.images.read(images)?;
    let logits = trainer.predict(&logits, &[("x", &images)], EVALUATION_BATCH)?;
    for class in classes_of(&logits, saved.images.classes as usize)? {
        say(class)?;
    }
    Ok(())
}
