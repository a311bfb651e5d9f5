//! What state of 16 and 8 bits makes of training: the curves of AdamW with each, of three seeds, over one another.
//!
//! Two networks learn, a convolutional one the digits and a small transformer the next character of a text. Beside
//! f32, bf16 and 8 bits runs a control that must fail: 8 bits a value too, in the same blocks of 256, but in equal steps, so
//! that small second moments become zero and are divided by. The mean over the seeds of the last epoch's loss must lie within a
//! band around that of f32: three standard deviations of its seeds, or a tenth of it where these are closer.

#[expect(dead_code, reason = "images stay as they are")]
#[path = "../support/digits.rs"]
mod digits;
mod models;

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use gradus::optim::{AdamW, OptimizerOptions, StatePrecision};
use gradus::train::{Trainer, files, report};
use gradus::{Gpu, GpuOptions};
use models::{Data, Task};

/// Trains two networks with state of each precision, draws their losses, and holds them to those of f32.
#[derive(Parser)]
struct Args {
    /// Folder for cnn.svg and characters.svg.
    #[arg(long, default_value = "state_precision")]
    out: PathBuf,
    /// Two seeds of a few epochs, without a judgement.
    #[arg(long)]
    quick: bool,
}

/// What the state of a run is stored as.
#[derive(Clone, Copy, PartialEq)]
enum Mode {
    Stored(StatePrecision),
    /// 8 bits in equal steps.
    Linear,
}

const MODES: [Mode; 4] = [
    Mode::Stored(StatePrecision::F32),
    Mode::Stored(StatePrecision::Bf16),
    Mode::Stored(StatePrecision::Int8),
    Mode::Linear,
];

impl Mode {
    fn name(self) -> String {
        match self {
            Self::Stored(precision) => precision.to_string(),
            Self::Linear => "8 linear bits, the control".into(),
        }
    }
}

/// From which size on a tensor's state has few bits, in the control as in the optimizer.
const LEAST: usize = 1024;

fn main() -> Result<()> {
    let args = Args::parse();
    let gpu = Gpu::new(GpuOptions::default())?;
    std::fs::create_dir_all(&args.out).with_context(|| args.out.display().to_string())?;
    for task in [Task::Cnn, Task::Characters] {
        let epochs = if args.quick { 2 } else { task.epochs() };
        let seeds = if args.quick { 2 } else { 3 };
        let data = Data::of(task)?;
        let mut curves = Vec::new();
        let mut last = Vec::new();
        for mode in MODES {
            let runs: Result<Vec<Vec<f64>>> =
                (1..=seeds).map(|seed| run(&gpu, task, mode, (seed, epochs), &data)).collect();
            let runs = runs?;
            let mean = |epoch: usize| runs.iter().map(|run| run[epoch]).sum::<f64>() / runs.len() as f64;
            curves.push((mode.name(), (0..epochs).map(mean).collect::<Vec<f64>>()));
            let ends: Vec<f64> = runs.iter().map(|run| run[epochs - 1]).collect();
            println!("{}, {}: mean {:.6}, seeds {ends:.6?}", task.name(), mode.name(), mean(epochs - 1));
            last.push((mode, ends));
        }
        let path = args.out.join(format!("{}.svg", task.name()));
        // A run that diverged would leave the others a line on the axis.
        let most = 1.5 * curves[0].1[0];
        let title = format!("{}: loss of an epoch, mean of {seeds} seeds, cut at {most:.2}", task.name());
        let drawn: Vec<(String, Vec<f64>)> = curves
            .into_iter()
            .map(|(name, curve)| {
                (name, curve.into_iter().map(|loss| if loss < most { loss } else { most }).collect())
            })
            .collect();
        let svg = report::overlay(&title, "epoch", "loss", &drawn)?;
        files::write_atomic(&path, |file| file.write_all(svg.as_bytes()))?;
        println!("{}", path.display());
        if !args.quick {
            judge(&last)?;
        }
    }
    Ok(())
}

/// Holds the others to the band of f32.
fn judge(last: &[(Mode, Vec<f64>)]) -> Result<()> {
    let mean = |ends: &[f64]| ends.iter().sum::<f64>() / ends.len() as f64;
    let plain = &last[0].1;
    let middle = mean(plain);
    let variance = plain.iter().map(|end| (end - middle).powi(2)).sum::<f64>() / (plain.len() - 1) as f64;
    let band = (3.0 * variance.sqrt()).max(0.1 * middle);
    println!("band: {:.4} to {:.4}", middle - band, middle + band);
    for (mode, ends) in &last[1..] {
        let within = (mean(ends) - middle).abs() <= band;
        ensure!(within == (*mode != Mode::Linear), "{} ends at {:.4}", mode.name(), mean(ends));
    }
    Ok(())
}

/// The mean loss of each epoch.
fn run(gpu: &Gpu, task: Task, mode: Mode, (seed, epochs): (u64, usize), data: &Data) -> Result<Vec<f64>> {
    let state = match mode {
        Mode::Stored(precision) => precision,
        Mode::Linear => StatePrecision::F32,
    };
    let options = OptimizerOptions { state, least_8bit: LEAST, ..OptimizerOptions::default() };
    let rule = AdamW { lr: task.lr(), ..AdamW::default() };
    let mut trainer = task.trainer(data, rule).optimizer_options(options).seed(seed).build(gpu)?;
    let mut losses = Vec::new();
    for epoch in 0..epochs {
        let mut sum = 0.0;
        let batches = data.batches(task, seed, epoch as u64);
        for (x, y) in &batches {
            data.step(task, &mut trainer, x, y)?;
            sum += f64::from(trainer.read_loss()?);
            if mode == Mode::Linear {
                make_linear(&mut trainer)?;
            }
        }
        losses.push(sum / batches.len() as f64);
    }
    Ok(losses)
}

/// What 8 bits in equal steps of a block leave of the state.
fn make_linear(trainer: &mut Trainer<AdamW>) -> Result<()> {
    let mut dict = trainer.optimizer().read_state_dict()?;
    for state in dict.state.values_mut() {
        for (slot, values) in &mut state.slots {
            let Some(values) = values.as_mut().filter(|values| values.len() >= LEAST) else { continue };
            let steps = if slot == "exp_avg" { 127.0 } else { 255.0 };
            for block in values.chunks_mut(256) {
                let scale = block.iter().fold(0.0_f32, |most, value| most.max(value.abs()));
                for value in block.iter_mut().filter(|_| scale > 0.0) {
                    *value = (*value / scale * steps).round() / steps * scale;
                }
            }
        }
    }
    Ok(trainer.optimizer_mut().load_state_dict(&dict)?)
}
