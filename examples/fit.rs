//! A run that can be watched, stopped and resumed: digits, 64-64-10, by `Trainer::fit` and its callbacks.
//!
//! `cargo run --release --example fit -- <folder>` leaves checkpoints, rows of CSV and TensorBoard's events in the folder,
//! and goes on where an earlier run there was killed: its files end the same, byte for byte.
//! `tensorboard --logdir <folder>` shows them.

#[path = "support/digits.rs"]
#[expect(dead_code, reason = "images of other sizes")]
mod digits;

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use gradus::graph::Graph;
use gradus::optim::AdamW;
use gradus::schedule::{self, MetricMode};
use gradus::train::callbacks::{
    CSVLogger, Callbacks, EarlyStopping, GradientMonitor, LearningRateMonitor, ModelCheckpoint, Progress,
    ReduceLROnPlateau, TensorBoard, TerminateOnNaN,
};
use gradus::train::data::{DataLoader, Dataset, Normalization};
use gradus::train::files::FolderLock;
use gradus::train::{Checkpoint, FitOptions, Validation};
use gradus::{Gpu, GpuOptions};

fn main() -> Result<()> {
    let folder = PathBuf::from(std::env::args().nth(1).context("expected a folder for the run")?);
    std::fs::create_dir_all(&folder)?;
    let _lock = FolderLock::new(&folder)?;
    let [train, test] = digits::read()?.map(|digits| {
        Dataset::new(digits.pixels, &[64], digits.labels.into_iter().map(u32::from).collect(), 10)
    });
    let (train, test) = (train?, test?);
    let normalization = Normalization::fit(&train)?;
    let (train, test) = (train.normalized(&normalization)?, test.normalized(&normalization)?);

    let graph = Graph::new();
    let (x, y) = (graph.input("x", [32, 64]), graph.labels("y", 32));
    let logits = x.linear(64).relu().linear(10);
    let trainer = graph.trainer(&logits.cross_entropy(&y), AdamW { lr: 1e-2, ..AdamW::default() });
    let trainer = trainer.metric("accuracy", &logits.accuracy(&y)).seed(1);
    let mut trainer = trainer.build(&Gpu::new(GpuOptions::default())?)?;

    let saves =
        ModelCheckpoint::new(&folder).monitor("val_accuracy", MetricMode::Max).every_n_steps(10).keep(2);
    let last = saves.last();
    let plateau = schedule::ReduceLROnPlateau { patience: 1, factor: 0.3, ..Default::default() };
    let mut monitor = GradientMonitor::new(5);
    let mut callbacks = Callbacks::new()
        .with(TerminateOnNaN)
        .with(LearningRateMonitor::new())
        .with(&mut monitor)
        .with(ReduceLROnPlateau { plateau, ..ReduceLROnPlateau::default() })
        .with(EarlyStopping { patience: 4, restore_best_weights: true, ..EarlyStopping::default() })
        .with(CSVLogger::epochs(folder.join("history.csv")))
        .with(CSVLogger::steps(folder.join("steps.csv"), 1))
        .with(TensorBoard::new(&folder))
        .with(Progress::default())
        .with(saves);

    let resume = if last.exists() { Some(Checkpoint::read(&last)?) } else { None };
    let (x, y) = (test.numbers(), test.y());
    let options = FitOptions {
        epochs: 8,
        validation: Some(Validation { data: &[("x", &x), ("y", &y)], batch: 120 }),
        resume: resume.as_ref(),
        ..FitOptions::default()
    };
    let mut source = DataLoader::new(&train, 32)?.shuffle(1);
    let done = trainer.fit(&mut source, &options, &mut callbacks)?;
    drop(callbacks);

    let accuracy = trainer.evaluate(&[("x", &x), ("y", &y)], 120)?.metrics[0];
    let problems = monitor.diagnoses();
    ensure!(problems.is_empty(), "a healthy run should have no problems, got {problems:?}");
    ensure!(accuracy > 0.95, "the test accuracy should be above 0.95, got {accuracy:.4}");
    println!("{} epochs, test accuracy {accuracy:.4}", done.history.rows().len());
    Ok(())
}
