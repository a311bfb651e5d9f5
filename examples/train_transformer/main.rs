//! Trains a causal transformer on the characters of a text, compares it with n-gram models in the same run, and
//! generates text.
//!
//! `text.txt` is the Book of Genesis in the King James Version, which is in the public domain: one verse per line, a
//! blank line between chapters, from Debian's package `bible-kjv-text` 4.38 without the numbers. The last tenth is
//! held out. There, the transformer ends below the best n-gram model of orders 1 to 6 with Witten-Bell smoothing;
//! `args.rs` gives the margin, and the results of three seeds in two minutes on two CPU cores. n-grams of order 6
//! with modified Kneser-Ney smoothing, which is stronger, reach 1.66 bits per character, which a model of this size
//! does not.
//!
//! `--text FILE` trains on another text; `--load MODEL --prompt TEXT` generates text without training.

mod args;
#[path = "../support/folder.rs"]
mod folder;
mod model;
mod network;
mod ngram;
#[path = "../support/options.rs"]
mod options;
#[path = "../support/progress.rs"]
mod progress;
#[path = "../support/run.rs"]
mod run;
mod task;
#[path = "../support/terminal.rs"]
mod terminal;
mod text;
mod writing;

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Result, ensure};
use clap::Parser;
use gradus::graph::Graph;
use gradus::predict::Predictor;
use gradus::train::Checkpoint;
use gradus::{Gpu, GpuOptions};

use args::{Args, Known};
use run::{Run, Saved};
use task::{Characters, Settings};
use terminal::{exit, say};
use text::Text;

fn main() -> ExitCode {
    let args = Args::parse();
    exit(match &args.load {
        Some(model) => write(&args, model),
        None => train(&args),
    })
}

fn train(args: &Args) -> Result<()> {
    let resumed = run::resumed::<Characters>(&args.options)?;
    let config = match &resumed {
        Some((checkpoint, saved)) => {
            args.config(Some(&saved.settings.config)).map_err(|e| checkpoint.refuse(e.to_string()))?
        }
        None => args.config(None)?,
    };
    let text = Text::read(args.text.as_deref(), config.context)?;
    let settings = Settings { config: config.clone(), text: text.source.clone() };
    if let Some((checkpoint, saved)) = &resumed
        && let Some(reason) = settings.text.difference(&saved.settings.text)
    {
        return Err(checkpoint.refuse(reason).into());
    }
    let vocabulary = &settings.text.vocabulary;
    let prompt = args.writing.prompt(vocabulary, config.context)?;
    let gpu = Gpu::new(GpuOptions::default())?;
    let info = gpu.info();
    say(format_args!(
        "{} ({:?}); {} characters of {} kinds to train on, {} held out",
        info.name,
        info.backend,
        text.train().len(),
        vocabulary.len(),
        text.held_out(),
    ))?;
    let baselines = ngram::bits_of_each_order(text.train(), &text.tokens, vocabulary.len());
    for (order, bits) in (1..).zip(baselines) {
        say(format_args!("{order}-grams: {bits:.4} bits a character"))?;
    }
    let length = config.length()?;
    let (trainer, logits) = model::trainer(&gpu, &config, vocabulary.len(), length)?;
    let task = Characters::new(config.clone(), text);
    let mut run = Run::new(trainer, &task, length, settings.clone())?;
    if let Some((checkpoint, saved)) = resumed {
        run.resume(&checkpoint, saved)?;
    }
    run.keep(&args.options)?;
    let bits = run.train()?.metrics[0];
    let next = |window: &Vec<u32>| Ok(run.trainer.predict(&logits, &[("tokens", window)], 1)?);
    say(args.writing.write(next, vocabulary, &prompt, config.context)?)?;
    // Other texts, sizes or rates may need more time to learn it.
    let known = task.is_of_genesis().then(|| config.known()).flatten();
    let orders = known.map_or(ngram::ORDERS, |known| known.orders);
    let best = baselines[..orders].iter().copied().fold(f64::INFINITY, f64::min);
    say(format_args!(
        "transformer: {bits:.4} bits a character, where the best n-grams of orders 1 to {orders} have {best:.4}"
    ))?;
    if let Some(Known { margin, .. }) = known {
        ensure!(bits < best - margin, "it should be lower by more than {margin}");
        say(format_args!("lower by more than {margin}"))?;
    }
    Ok(())
}

fn write(args: &Args, model: &Path) -> Result<()> {
    let checkpoint = Checkpoint::read(model)?;
    let Settings { config, text } = Saved::of::<Characters>(&checkpoint)?.settings;
    let prompt = args.writing.prompt(&text.vocabulary, config.context)?;
    let (gpu, graph) = (Gpu::new(GpuOptions::default())?, Graph::new());
    let logits = model::network(&graph, &config, text.vocabulary.len());
    let mut predictor = Predictor::open(&gpu, &graph, model, &[("logits", &logits)])?;
    let next = |window: &Vec<u32>| Ok(predictor.predict(&[("tokens", window)])?.take("logits")?.values);
    say(args.writing.write(next, &text.vocabulary, &prompt, config.context)?)
}
