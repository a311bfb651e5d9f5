//! Steps a second of the examples' models, beside torch on the same CPU, where the Python of the variable `PYTHON`, or
//! `python3`, has torch and safetensors.
//!
//! The models are the examples' own files. Their first weights and one batch go to torch as safetensors: its modules, in
//! `support/torch_models.py`, take the weights by name, none missing and none left over. Both then take steps of AdamW on
//! that batch, and the losses of the first ones must agree before any time counts. What is timed are steps in a row, each
//! with the upload of its batch, and a wait after the last; rounds of both alternate, so that they see the same machine. torch
//! has one thread or one for each core, whichever makes its steps faster: of small ones, or on busy cores, it is often one.
//! The transformer has no dropout here, because random numbers differ. `cargo bench --bench models -- lstm` runs those models
//! whose name has `lstm` in it.

#[path = "../examples/train_mlp/network.rs"]
mod mlp;
#[path = "../examples/train_cnn/model.rs"]
mod model;
#[path = "support/models.rs"]
mod models;
#[path = "../examples/train_cnn/resnet.rs"]
mod resnet;
#[path = "../examples/train_rnn/network.rs"]
mod rnn;
#[path = "support/torch.rs"]
mod torch;
#[path = "../examples/train_transformer/network.rs"]
mod transformer;

use std::path::Path;
use std::thread::available_parallelism;
use std::time::Instant;

use anyhow::{Result, ensure};
use gradus::graph::Graph;
use gradus::optim::AdamW;
use gradus::params::Weights;
use gradus::train::Trainer;
use gradus::{Gpu, GpuOptions};

use models::{Batch, MODELS, Model};
use torch::Torch;

/// Steps whose losses are compared.
const FIRST: usize = 5;

/// How far the losses of a step may be apart, as a part of torch's: other orders of sums in single precision, which five
/// steps amplify.
const TOLERANCE: f64 = 1e-4;

const ROUNDS: usize = 7;

/// Seconds of a round, about.
const ROUND: f64 = 0.3;

fn main() -> Result<()> {
    // `cargo bench` adds `--bench`.
    let wanted = std::env::args().skip(1).find(|argument| !argument.starts_with("--")).unwrap_or_default();
    let gpu = Gpu::new(GpuOptions::default())?;
    println!("{} ({:?}, {})", gpu.info().name, gpu.info().backend, gpu.info().driver_info);
    let folder = std::env::temp_dir().join(format!("gradus-models-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let done = models(&gpu, &wanted, &folder);
    std::fs::remove_dir_all(&folder)?;
    done
}

fn models(gpu: &Gpu, wanted: &str, folder: &Path) -> Result<()> {
    let mut torch = Torch::start()?;
    for model in MODELS.iter().filter(|model| model.name.contains(wanted)) {
        let mut ours = Ours::new(gpu, model)?;
        let Some(torch) = &mut torch else {
            ours.first_losses()?;
            let mut rounds = Rounds::default();
            rounds.run(|steps| ours.time(steps))?;
            println!("{}: {:.1} steps/s, {}", model.title(), 1.0 / median(&rounds.times), ours.counters);
            continue;
        };
        let (weights, batch) = (folder.join("weights.safetensors"), folder.join("batch.safetensors"));
        ours.weights.write(&weights)?;
        ours.batch.weights()?.write(&batch)?;
        let theirs = torch.losses(model.name, [&weights, &batch], FIRST)?;
        let losses = ours.first_losses()?;
        println!("{}", model.title());
        println!("  losses {losses:.6?}");
        println!("  torch  {theirs:.6?}");
        let apart = losses.iter().zip(&theirs).map(|(ours, theirs)| (ours - theirs).abs() / theirs.abs());
        let apart = apart.fold(0.0, f64::max);
        ensure!(
            losses.len() == theirs.len() && apart <= TOLERANCE,
            "{}: the losses should agree to {TOLERANCE:e}, they are {apart:.1e} apart",
            model.name
        );
        let cores = available_parallelism()?.get();
        let (mut rounds, mut one, mut all) = (Rounds::default(), Rounds::default(), Rounds::default());
        for _ in 0..ROUNDS {
            rounds.one(|steps| ours.time(steps))?;
            one.one(|steps| torch.time(steps, 1))?;
            if cores > 1 {
                all.one(|steps| torch.time(steps, cores))?;
            }
        }
        let ours_median = median(&rounds.times);
        let (threads, theirs) =
            if cores > 1 && median(&all.times) < median(&one.times) { (cores, all) } else { (1, one) };
        let ratios: Vec<f64> =
            rounds.times.iter().zip(&theirs.times).map(|(ours, theirs)| theirs / ours).collect();
        println!(
            "  {:.1} steps/s, torch {:.1} steps/s (threads: {threads}), {:.2} of it; {}",
            1.0 / ours_median,
            1.0 / median(&theirs.times),
            median(&ratios),
            ours.counters
        );
    }
    Ok(())
}

/// Seconds a step of rounds, each of about as many steps as take [`ROUND`].
#[derive(Default)]
struct Rounds {
    steps: usize,
    times: Vec<f64>,
}

impl Rounds {
    fn run(&mut self, mut time: impl FnMut(usize) -> Result<f64>) -> Result<()> {
        (0..ROUNDS).try_for_each(|_| self.one(&mut time))
    }

    fn one(&mut self, mut time: impl FnMut(usize) -> Result<f64>) -> Result<()> {
        if self.steps == 0 {
            let each = time(3)? / 3.0;
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small number")]
            let steps = (ROUND / each).clamp(3.0, 1000.0) as usize;
            self.steps = steps;
        }
        self.times.push(time(self.steps)? / self.steps as f64);
        Ok(())
    }
}

fn median(numbers: &[f64]) -> f64 {
    let mut sorted = numbers.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

/// A model in training here.
struct Ours {
    trainer: Trainer<AdamW>,
    weights: Weights,
    batch: Batch,
    counters: String,
}

impl Ours {
    fn new(gpu: &Gpu, model: &Model) -> Result<Self> {
        let before = gpu.counters().live_bytes;
        let graph = Graph::new();
        let (loss, batch) = (model.build)(&graph);
        let mut builder = graph.trainer(&loss, AdamW::default()).seed(1);
        if model.clips {
            builder = builder.clip_grad_norm(1.0);
        }
        let trainer = builder.build(gpu)?;
        let weights = trainer.params().read_weights()?;
        let mut ours = Self { trainer, weights, batch, counters: String::new() };
        // Its weights come back: this step only shows what a step is made of.
        let start = ours.trainer.read_checkpoint()?;
        ours.step()?;
        ours.trainer.read_loss()?;
        let (live, dispatched) = (gpu.counters().live_bytes - before, gpu.counters());
        ours.step()?;
        let dispatches = gpu.counters().since(&dispatched).dispatches;
        ours.trainer.read_loss()?;
        ours.trainer.load_checkpoint(&start)?;
        ours.counters = format!("{dispatches} dispatches, {live} live bytes");
        Ok(ours)
    }

    fn step(&mut self) -> Result<()> {
        Ok(self.trainer.step(&self.batch.data())?)
    }

    fn first_losses(&mut self) -> Result<Vec<f64>> {
        let mut losses = Vec::new();
        for _ in 0..FIRST {
            self.step()?;
            losses.push(self.trainer.read_loss()?.into());
        }
        Ok(losses)
    }

    /// Seconds of so many steps.
    fn time(&mut self, steps: usize) -> Result<f64> {
        let start = Instant::now();
        for _ in 0..steps {
            self.step()?;
        }
        let loss = self.trainer.read_loss()?;
        let time = start.elapsed().as_secs_f64();
        ensure!(loss.is_finite(), "the loss is {loss}");
        Ok(time)
    }
}
