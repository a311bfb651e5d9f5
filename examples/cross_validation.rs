//! Regression from a CSV file with 5-fold cross-validation: how well is the course of diabetes predicted for patients that
//! were not trained on?
//!
//! 442 patients with ten measurements each (Efron et al. 2004), which the crate `smartcore` carries, are written as a table
//! and read again, as a user's own would be. Each fold fits the scale of each column to its own training set.
//!
//! `cargo run --release --example cross_validation [-- <table.csv> <target column>]`

use std::fmt::Write;
use std::sync::Arc;

use anyhow::{Result, bail, ensure};
use gradus::graph::Graph;
use gradus::optim::AdamW;
use gradus::schedule::OneCycleLR;
use gradus::train::data::{Batch, BatchSource, Csv, DataLoader, Dataset, KFold, Normalization, Prefetch};
use gradus::{Gpu, GpuOptions};

const FOLDS: usize = 5;
const EPOCHS: u64 = 40;
const BATCH: usize = 32;

/// The table that the example carries.
fn diabetes() -> Result<String> {
    let data = smartcore::dataset::diabetes::load_dataset();
    let mut table = format!("{},progression\n", data.feature_names.join(","));
    for (patient, target) in data.data.chunks(data.num_features).zip(&data.target) {
        patient.iter().try_for_each(|number| write!(table, "{number},"))?;
        writeln!(table, "{target}")?;
    }
    Ok(table)
}

/// Trains a network on one fold; its mean squared error on the other samples.
fn train(gpu: &Gpu, train: &Dataset<f32>, test: &Dataset<f32>, seed: u64) -> Result<f64> {
    let normalization = Normalization::fit_features(train)?;
    let (train, test) = (train.clone().normalized(&normalization)?, test.clone().normalized(&normalization)?);
    let features = train.shape()[0];
    // The network predicts the difference from the mean, in units of 100.
    let mean = train.y().iter().sum::<f32>() / train.len() as f32;
    let graph = Graph::new();
    let (x, y) = (graph.input("x", [BATCH, features]), graph.input("y", [BATCH]));
    let predicted = x.linear(16).tanh().linear(1).flatten_dims(0, 1) * 100.0 + f64::from(mean);
    let loader = DataLoader::new(Arc::new(train), BATCH)?.shuffle(seed);
    let steps = EPOCHS * loader.batches_per_epoch().unwrap_or(0);
    let mut trainer = graph
        .trainer(&predicted.mse_loss(&y), AdamW { weight_decay: 1.0, ..AdamW::default() })
        .schedule(OneCycleLR::new(0.01, steps))
        .seed(seed)
        .build(gpu)?;
    let mut batches = Prefetch::new(loader, 4)?;
    let mut batch = Batch::default();
    while batches.position().epoch < EPOCHS {
        while batches.next_batch(&mut batch)? {
            trainer.step(&[("x", &batch.x), ("y", &batch.y)])?;
        }
    }
    Ok(trainer.evaluate(&[("x", &test.numbers()), ("y", &test.y())], BATCH)?.loss)
}

/// The mean squared error of predicting the mean.
fn error_of_mean(data: &Dataset<f32>) -> f64 {
    let n = data.len() as f64;
    let mean = data.y().iter().map(|&y| f64::from(y)).sum::<f64>() / n;
    data.y().iter().map(|&y| (f64::from(y) - mean).powi(2)).sum::<f64>() / n
}

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let data = match &args[..] {
        [] => Csv::new().target("progression").parse("diabetes.csv", diabetes()?.as_bytes())?,
        [table, target] => Csv::new().target(target.as_str()).read(table)?,
        _ => bail!("expected a table and the name of its target, or nothing"),
    };
    let gpu = Gpu::new(GpuOptions::default())?;
    println!("{} samples of {} features, {FOLDS} folds of {EPOCHS} epochs", data.len(), data.shape()[0]);
    let mut error = 0.0;
    for (fold, split) in KFold::new(FOLDS)?.shuffle(1).split(data.len())?.iter().enumerate() {
        let (known, unseen) = (data.subset(&split.train)?, data.subset(&split.test)?);
        let loss = train(&gpu, &known, &unseen, fold as u64)?;
        println!(
            "fold {fold}: {} to train on, {} unseen: mean squared error {loss:.0}",
            known.len(),
            unseen.len()
        );
        error += loss * unseen.len() as f64 / data.len() as f64;
    }
    let explained = 1.0 - error / error_of_mean(&data);
    println!("mean squared error {error:.0}: {:.1} % of the variance is explained", 100.0 * explained);
    if args.is_empty() {
        // Linear regression explains 48 %.
        ensure!(explained > 0.4, "expected more than 40 %");
    }
    Ok(())
}
