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
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use gradus::train::{Checkpoint, Confusion, classes_of};
use gradus::{Gpu, GpuOptions};

use args::Args;
use model::Network;
use progress::say;
use run::{EVALUATION_BATCH, Folder, MODEL, Run, Saved};

fn main() -> ExitCode {
    let args = Args::parse();
    let done = match (&args.evaluate, &args.predict, &args.load) {
        (Some(model), ..) => evaluate(&args, model),
        (_, Some(images), Some(model)) => predict(images, model),
        _ => train(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
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
            // A name that is mistaken would cost the run that is there.
            let (name, out) = (path.display(), args.out.as_deref().unwrap_or(Path::new("")));
            let taken = args.out.is_some() && out.join(MODEL).exists();
            ensure!(
                !taken,
                "--resume {name}: there is no such file, but a {MODEL} in --out {}",
                out.display()
            );
            say(format_args!("{name} does not exist yet: starting afresh"))?;
            None
        }
        None => None,
    };
    let config = match &started {
        Some((checkpoint, saved)) => {
            args.config(Some(&saved.config)).map_err(|e| checkpoint.refuse(e.to_string()))?
        }
        None => args.config(None)?,
    };
    let mut sets = data::load(args.data.as_deref())?;
    if config.shuffle_labels {
        sets.train = sets.train.shuffle_labels(config.seed);
    }
    let gpu = Gpu::new(GpuOptions::default())?;
    let info = gpu.info();
    let (train, test) = (sets.train.len(), sets.test.len());
    say(format_args!("{} ({:?}); {train} images to train on, {test} to test on", info.name, info.backend))?;
    let mut run = Run::new(&gpu, &config, &sets, args.resident)?;
    if let Some((checkpoint, saved)) = started {
        run.resume(&checkpoint, saved)?;
        say(format_args!("going on after step {}", checkpoint.step))?;
    }
    if let Some(out) = &args.out {
        run.keep_in(Folder::open(out)?, args.save_every);
    }
    say(format_args!("test accuracy: {:.4}", run.train()?))
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
    let images = saved.images.numbers_of(&test).context("the test set of --data")?;
    let logits = trainer.predict(&logits, &[("x", &images)], EVALUATION_BATCH)?;
    let table = Confusion::of_logits(&logits, test.y(), saved.images.classes as usize)?;
    say(format_args!("test accuracy: {:.4}\n\n{}", table.accuracy(), table.to_string().trim_end()))
}

fn predict(images: &Path, model: &Path) -> Result<()> {
    let (Network { mut trainer, logits }, saved) = load(model)?;
    let images = saved.images.read(images)?;
    let logits = trainer.predict(&logits, &[("x", &images)], EVALUATION_BATCH)?;
    for class in classes_of(&logits, saved.images.classes as usize)? {
        say(class)?;
    }
    Ok(())
}
