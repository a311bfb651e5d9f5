//! Trains a small network on images: 1,797 handwritten digits of 8x8 pixels that come with it, or IDX files.
//!
//! The run is stored in a folder; it can be stopped at any time and resumed bit for bit. A stored model can be
//! evaluated and used for predictions. The accuracy on 360 digits with seeds 1 to 3, and the bound that a run
//! asserts:
//!
//! | `--model` | | epochs | test accuracy | bound | with `--quick` | bound |
//! |---|---|---|---|---|---|---|
//! | `cnn` | two convolutions, one hidden layer | 30 | 0.9917 to 0.9944 | 0.97 | 0.9528 to 0.9778 | 0.93 |
//! | `mlp` | one hidden layer of 128 | 30 | 0.9833 to 0.9861 | 0.96 | 0.9667 to 0.9694 | 0.93 |
//! | `wide-cnn` | 64, 128 and 256 channels, 512 hidden | 8 | 0.9889 to 0.9944 | 0.97 | 0.9222 to 0.9417 | 0.88 |
//! | `resnet` | three residual blocks with batch normalisation | 8 | 0.9944 to 0.9972 | 0.97 | 0.9722 to 0.9861 | 0.94 |

mod args;
mod data;
#[path = "../support/digits.rs"]
mod digits;
#[path = "../support/folder.rs"]
mod folder;
#[path = "../support/images.rs"]
mod images;
mod model;
#[path = "../support/options.rs"]
mod options;
#[path = "../support/progress.rs"]
mod progress;
mod resnet;
#[path = "../support/run.rs"]
mod run;
#[path = "../support/terminal.rs"]
mod terminal;

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use gradus::train::{Checkpoint, Confusion, classes_of};
use gradus::{Gpu, GpuOptions};

use args::{Args, Config};
use images::{Classify, EVALUATION_BATCH, Images, Network, Sets, Settings};
use run::{Saved, Task};
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
    let resumed = run::resumed::<Classify<Config>>(&args.options)?;
    let config = images::config(resumed.as_ref(), |saved| args.config(saved))?;
    let mut sets = Sets::new(args.source.read(digits::SIDE)?)?;
    if config.shuffle_labels {
        sets.train = sets.train.shuffle_labels(config.training.seed);
    }
    let gpu = Gpu::new(GpuOptions::default())?;
    let info = gpu.info();
    let (train, test) = (sets.train.len(), sets.test.len());
    say(format_args!("{} ({:?}); {train} images to train on, {test} to test on", info.name, info.backend))?;
    let network = network(&gpu, &config, &sets.images)?;
    let name = config.model.to_string();
    let task = Classify::new(&gpu, name, (config.clone(), &config.training), sets, args.source.resident)?;
    let mut run = images::start(&task, network, &task.settings, resumed, &args.options)?;
    let accuracy = run.train()?.metrics[0];
    if let Some(averages) = &config.training.averages {
        let averaged = run.trainer.with_averages(|trainer| task.evaluate(trainer))?;
        say(format_args!("test accuracy with averages {averages}: {:.4}", averaged.metrics[0]))?;
    }
    let Some(bound) = args.bound(&config) else { return say(format_args!("test accuracy: {accuracy:.4}")) };
    ensure!(accuracy >= bound, "the test accuracy should be {bound} or more, got {accuracy:.4}");
    say(format_args!("test accuracy: {accuracy:.4} (bound: {bound})"))
}

fn network(gpu: &Gpu, config: &Config, images: &Images) -> Result<Network> {
    let Config { model, epochs, training, .. } = config;
    let name = format!("--model {model}");
    let logits = |x: &_, classes| model::logits(*model, x, classes);
    images::network(gpu, (&name, images), (training, *epochs), logits, images::one_group)
}

/// Loads a stored model and its settings.
fn load(path: &Path) -> Result<(Network, Settings<Config>)> {
    let checkpoint = Checkpoint::read(path)?;
    let saved = Saved::of::<Classify<Config>>(&checkpoint)?.settings;
    let gpu = Gpu::new(GpuOptions::default())?;
    let (mut trainer, logits, length) = network(&gpu, &saved.config, &saved.images)?;
    trainer.load_checkpoint(&checkpoint)?;
    Ok(((trainer, logits, length), saved))
}

fn evaluate(args: &Args, model: &Path) -> Result<()> {
    let ((mut trainer, logits, _), saved) = load(model)?;
    let test = Sets::new(args.source.read(digits::SIDE)?)?.test;
    let images = saved.images.numbers_of(&test).context("the test set of --data")?;
    let logits = trainer.predict(&logits, &[("x", &images)], EVALUATION_BATCH)?;
    let table = Confusion::of_logits(&logits, test.y(), saved.images.classes as usize)?;
    say(format_args!("test accuracy: {:.4}\n\n{}", table.accuracy(), table.to_string().trim_end()))
}

fn predict(images: &Path, model: &Path) -> Result<()> {
    let ((mut trainer, logits, _), saved) = load(model)?;
    let images = saved.images.read(images)?;
    let logits = trainer.predict(&logits, &[("x", &images)], EVALUATION_BATCH)?;
    for class in classes_of(&logits, saved.images.classes as usize)? {
        say(class)?;
    }
    Ok(())
}
