//! Trains a small network on images: 1,797 handwritten digits of 8x8 pixels that come with it, or IDX files.
//!
//! The run is kept in a folder, can be stopped at any moment and goes on bit for bit; a kept model can be
//! evaluated and used.

mod args;
mod data;
mod model;
mod progress;
mod run;

use std::path::Path;

use anyhow::Result;
use clap::Parser;
use gradus::train::{Checkpoint, Confusion, classes_of};
use gradus::{Gpu, GpuOptions};

use args::Args;
use model::Network;
use run::{EVALUATION_BATCH, Folder, Run, Saved};

fn main() -> Result<()> {
    let args = Args::parse();
    match (&args.evaluate, &args.predict, &args.load) {
        (Some(model), ..) => evaluate(&args, model),
        (_, Some(images), Some(model)) => predict(images, model),
        _ => train(&args),
    }
}

fn train(args: &Args) -> Result<()> {
    let started = match args.resume.as_deref() {
        Some(path) if path.exists() => {
            let checkpoint = Checkpoint::read(path)?;
            let saved = Saved::of(&checkpoint)?;
            Some((checkpoint, saved))
        }
        Some(path) => {
            println!("{} does not exist yet: starting afresh", path.display());
            None
        }
        None => None,
    };
    let config = args.config(started.as_ref().map(|(_, saved)| &saved.config))?;
    let mut sets = data::load(args.data.as_deref())?;
    if config.shuffle_labels {
        sets.train = sets.train.shuffle_labels(config.seed);
    }
    let folder = args.out.as_deref().map(Folder::open).transpose()?;
    let gpu = Gpu::new(GpuOptions::default())?;
    let info = gpu.info();
    let (train, test) = (sets.train.len(), sets.test.len());
    println!("{} ({:?}); {train} images to train on, {test} to test on", info.name, info.backend);
    let mut run = Run::new(&gpu, &config, &sets, args.resident)?;
    if let Some((checkpoint, saved)) = started {
        run.resume(&checkpoint, saved)?;
        println!("going on after step {}", checkpoint.step);
    }
    if let Some(folder) = folder {
        run.keep_in(folder, args.save_every);
    }
    println!("test accuracy: {:.4}", run.train()?);
    Ok(())
}

/// A saved model, and what it must know.
fn load(path: &Path) -> Result<(Network, Saved)> {
    let checkpoint = Checkpoint::read(path)?;
    let saved = Saved::of(&checkpoint)?;
    let gpu = Gpu::new(GpuOptions::default())?;
    let mut network = Network::new(&gpu, &saved.config, &saved.images)?;
    network.trainer.load_checkpoint(&checkpoint)?;
    Ok((network, saved))
}

fn evaluate(args: &Args, model: &Path) -> Result<()> {
    let (Network { mut trainer, logits }, saved) = load(model)?;
    let test = data::load(args.data.as_deref())?.test;
    let images = saved.images.numbers_of(&test)?;
    let logits = trainer.predict(&logits, &[("x", &images)], EVALUATION_BATCH)?;
    let table = Confusion::of_logits(&logits, test.y(), saved.images.classes as usize)?;
    print!("test accuracy: {:.4}\n\n{table}", table.accuracy());
    Ok(())
}

fn predict(images: &Path, model: &Path) -> Result<()> {
    let (Network { mut trainer, logits }, saved) = load(model)?;
    let images = saved.images.read(images)?;
    let logits = trainer.predict(&logits, &[("x", &images)], EVALUATION_BATCH)?;
    for class in classes_of(&logits, saved.images.classes as usize)? {
        println!("{class}");
    }
    Ok(())
}
