//! Trains a small CNN on 1,797 handwritten digits of 8x8 pixels and prints its accuracy on 360 of them.
//!
//! The digits are the test part of UCI's "Optical Recognition of Handwritten Digits" (Alpaydin and Kaynak
//! 1998), which the crate `smartcore` carries.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Parser;
use gradus::graph::{Graph, Var};
use gradus::nn::Conv2d;
use gradus::optim::{self, AdamW};
use gradus::schedule::{self, OneCycleLR, Schedule};
use gradus::train::StepReport;
use gradus::train::data::{Dataset, stratified_split};
use gradus::{Gpu, GpuOptions};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::Value;

const SIDE: usize = 8;
const CLASSES: u32 = 10;
const TEST_SAMPLES: usize = 360;

/// Trains a small CNN on the UCI digits.
#[derive(Parser)]
struct Args {
    /// Passes over the training set.
    #[arg(long, default_value_t = 30, value_parser = positive)]
    epochs: usize,
    /// Samples of a step.
    #[arg(long, default_value_t = 32, value_parser = positive)]
    batch_size: usize,
    /// Learning rate: the optimizer's, and the peak of the default schedule.
    #[arg(long, default_value_t = 5e-3)]
    lr: f64,
    /// Seed of the parameters and of the shuffling.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Optimizer as JSON, as in '{"name": "SGD", "lr": 0.1, "momentum": 0.9}'. Default: AdamW at --lr.
    #[arg(long)]
    optimizer: Option<String>,
    /// Schedule as JSON, as in '{"name": "StepLR", "step_size": 200}'. Default: OneCycleLR to --lr.
    #[arg(long)]
    schedule: Option<String>,
    /// Gives every training image the label of another one, to see that nothing can be learnt then.
    #[arg(long)]
    shuffle_labels: bool,
}

fn positive(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|number| *number > 0).ok_or_else(|| "it must be an integer of at least 1".into())
}

fn digits() -> Result<(Dataset, Dataset)> {
    let digits = smartcore::dataset::digits::load_dataset();
    let x = digits.data.iter().map(|pixel| pixel / 16.0).collect();
    let y: Vec<u32> = digits.target.iter().map(|&label| to_class(label)).collect();
    let (train, test) = stratified_split(&y, TEST_SAMPLES)?;
    let all = Dataset::new(x, &[1, SIDE, SIDE], y, CLASSES)?;
    Ok((all.subset(&train)?, all.subset(&test)?))
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "labels are 0.0 to 9.0")]
fn to_class(label: f32) -> u32 {
    label as u32
}

fn network(graph: &Graph, batch: usize) -> (Var, Var) {
    let (x, y) = (graph.input("x", [batch, 1, SIDE, SIDE]), graph.labels("y", batch));
    let h = x.conv2d(Conv2d::new(16, 3).padding(1)).relu().max_pool2d(2);
    let h = h.conv2d(Conv2d::new(32, 3).padding(1)).relu().max_pool2d(2);
    let logits = h.flatten().linear(64).relu().linear(CLASSES as usize);
    (logits.cross_entropy(&y), logits.accuracy(&y))
}

fn parse(what: &str, json: &str) -> Result<Value> {
    serde_json::from_str(json).with_context(|| format!("--{what} is not JSON: {json}"))
}

fn main() -> Result<()> {
    let args = Args::parse();
    let (train, test) = digits()?;
    let train = if args.shuffle_labels { train.shuffle_labels(args.seed) } else { train };
    let gpu = Gpu::new(GpuOptions::default())?;
    println!(
        "{} ({:?}); {} images to train on, {} to test on",
        gpu.info().name,
        gpu.info().backend,
        train.len(),
        test.len()
    );

    let steps = args.epochs * train.len().div_ceil(args.batch_size);
    let optimizer = match &args.optimizer {
        Some(json) => optim::from_json(&parse("optimizer", json)?)?,
        None => AdamW { lr: args.lr, ..AdamW::default() }.into(),
    };
    let schedule: Box<dyn Schedule> = match &args.schedule {
        Some(json) => schedule::from_json(&parse("schedule", json)?)?,
        None => Box::new(OneCycleLR::new(args.lr, steps as u64)),
    };
    let graph = Graph::new();
    let (loss, accuracy) = network(&graph, args.batch_size);
    let mut trainer = graph
        .trainer(&loss, optimizer)
        .schedule(schedule)
        .metric("accuracy", &accuracy)
        .seed(args.seed)
        .build(&gpu)?;

    let test_x = test.numbers();
    let mut progress = Progress::new(steps as u64);
    for epoch in 0..args.epochs {
        for batch in train.shuffled(args.seed, epoch as u64).batches(args.batch_size)? {
            trainer.step(&[("x", &batch.x), ("y", &batch.y)])?;
            let rate = trainer.optimizer().group("default")?.lr();
            while let Some(report) = trainer.poll()? {
                progress.step(&report, rate);
            }
        }
        while let Some(report) = trainer.read_report()? {
            progress.step(&report, trainer.optimizer().group("default")?.lr());
        }
        let held_out = trainer.evaluate(&[("x", &test_x), ("y", &test.y())], 120)?;
        progress.epoch(epoch + 1, args.epochs, held_out.metrics[0]);
    }
    progress.finish();
    let held_out = trainer.evaluate(&[("x", &test_x), ("y", &test.y())], 120)?;
    println!("test accuracy: {:.4}", held_out.metrics[0]);
    Ok(())
}

/// A bar on a terminal, a line for each epoch elsewhere.
struct Progress {
    bar: ProgressBar,
    started: Instant,
    epoch: Vec<(f32, f32)>,
    rate: f64,
    steps: u64,
}

impl Progress {
    fn new(steps: u64) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let target = if terminal { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(Some(steps), target);
        let style = "{bar:24} {pos}/{len}  {msg}  {elapsed} of {duration}";
        bar.set_style(ProgressStyle::with_template(style).unwrap_or_else(|_| ProgressStyle::default_bar()));
        Self { bar, started: Instant::now(), epoch: Vec::new(), rate: 0.0, steps: 0 }
    }

    fn step(&mut self, report: &StepReport, rate: f64) {
        self.steps = report.step + 1;
        self.rate = rate;
        self.epoch.push((report.loss, report.metrics[0]));
        self.bar.set_position(self.steps);
        self.bar.set_message(self.line());
    }

    /// Means over the epoch so far, the rate, and the speed since the start.
    fn line(&self) -> String {
        let n = self.epoch.len().max(1) as f32;
        let (loss, accuracy) =
            self.epoch.iter().fold((0.0, 0.0), |(l, a), (loss, accuracy)| (l + loss, a + accuracy));
        let seconds = self.started.elapsed().max(Duration::from_millis(1)).as_secs_f64();
        let speed = self.steps as f64 / seconds;
        format!(
            "loss {:.4}  accuracy {:.4}  lr {:.2e}  {speed:.0} steps/s",
            loss / n,
            accuracy / n,
            self.rate
        )
    }

    fn epoch(&mut self, epoch: usize, epochs: usize, held_out: f64) {
        if self.bar.is_hidden() {
            println!("epoch {epoch:>2}/{epochs}  {}  test accuracy {held_out:.4}", self.line());
        }
        self.epoch.clear();
    }

    fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
