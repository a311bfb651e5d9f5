//! A run on the whole terminal: curves, rate, samples per second, memory, and diagnoses in words. `q` closes it, and the run
//! goes on with a line for each epoch; Ctrl-C stops the run.
//!
//! `cargo run --release --example dashboard -- --epochs 100`
//!
//! Without a terminal, as in a pipe, there are only the lines.

#[path = "support/digits.rs"]
#[expect(dead_code, reason = "images of other sizes")]
mod digits;

use anyhow::{Result, ensure};
use clap::Parser;
use gradus::graph::Graph;
use gradus::optim::AdamW;
use gradus::schedule::CosineAnnealingLR;
use gradus::train::callbacks::{Callbacks, Dashboard, GradientMonitor};
use gradus::train::data::{DataLoader, Dataset, Normalization};
use gradus::train::{FitOptions, Validation};
use gradus::{Gpu, GpuOptions};

/// Trains 64-128-10 on handwritten digits, and shows how.
#[derive(Parser)]
struct Args {
    /// Passes over 1,437 digits.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    epochs: u64,
    /// The first learning rate, which falls to 0 along a cosine.
    #[arg(long, default_value_t = 3e-3)]
    lr: f64,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let [train, test] = digits::read()?.map(|digits| {
        Dataset::new(digits.pixels, &[64], digits.labels.into_iter().map(u32::from).collect(), 10)
    });
    let (train, test) = (train?, test?);
    let normalization = Normalization::fit(&train)?;
    let (train, test) = (train.normalized(&normalization)?, test.normalized(&normalization)?);
    let mut source = DataLoader::new(&train, 32)?.shuffle(1);

    let gpu = Gpu::new(GpuOptions::default())?;
    let graph = Graph::new();
    let (x, y) = (graph.input("x", [32, 64]), graph.labels("y", 32));
    let logits = x.linear(128).relu().linear(10);
    let steps = args.epochs * train.len().div_ceil(32) as u64;
    let trainer = graph.trainer(&logits.cross_entropy(&y), AdamW { lr: args.lr, ..AdamW::default() });
    let trainer = trainer.metric("accuracy", &logits.accuracy(&y)).schedule(CosineAnnealingLR::new(steps));
    let mut trainer = trainer.seed(1).build(&gpu)?;

    let (x, y) = (test.numbers(), test.y());
    let options = FitOptions {
        epochs: args.epochs,
        validation: Some(Validation { data: &[("x", &x), ("y", &y)], batch: 360 }),
        ..FitOptions::default()
    };
    let mut callbacks = Callbacks::new().with(GradientMonitor::default()).with(Dashboard::new().gpu(&gpu));
    let done = trainer.fit(&mut source, &options, &mut callbacks)?;
    drop(callbacks);
    let accuracy = trainer.evaluate(&[("x", &x), ("y", &y)], 360)?.metrics[0];
    ensure!(done.stopped.is_some() || accuracy > 0.9, "expected an accuracy above 0.9, got {accuracy:.4}");
    println!("test accuracy {accuracy:.4}");
    Ok(())
}
