//! Tunes the learning rate and the weight decay of a network by Bayesian optimization, beside random search.
//!
//! A convolutional network learns 1,077 of UCI's digits for a few epochs with AdamW; its loss on 360 others is what is
//! minimized, by its logarithm. The crate `optimizer` models it as a Gaussian process (Matérn 5/2, length scales by the spread
//! of the points so far) and proposes where the expected improvement is largest (Jones, Schonlau and Welch 1998, Efficient
//! global optimization); the first proposals are random. Random search is [`RandomSearch`](gradus::search::RandomSearch) of the
//! same number of points.
//!
//! `cargo run --release --example tune_digits [-- --quick]`

#[path = "../support/digits.rs"]
#[expect(dead_code, reason = "images stay as they are")]
mod digits;
mod network;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use gradus::search::{RandomSearch, Search, Space};
use gradus::{Gpu, GpuOptions};
use optimizer::parameter::{FloatParam, Parameter};
use optimizer::sampler::gp::GpSampler;
use optimizer::{Direction, Study};

use network::{Data, Outcome};

const LR: (f64, f64) = (1e-5, 1.0);
const WEIGHT_DECAY: (f64, f64) = (1e-5, 10.0);
/// Random points before the model proposes.
const FIRST: usize = 6;

/// Tunes learning rate and weight decay by Bayesian optimization and by random search.
#[derive(Parser)]
struct Args {
    /// Networks that each search may train.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(8..=100))]
    trials: u16,
    /// Searches of each kind, with seeds from 1.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=100))]
    seeds: u16,
    /// One search of each kind with 14 networks of two epochs.
    #[arg(long)]
    quick: bool,
}

/// A network that was trained.
#[derive(Clone, Copy)]
struct Trial {
    lr: f64,
    weight_decay: f64,
    outcome: Outcome,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let (trials, seeds, epochs) =
        if args.quick { (14, 1, 2) } else { (usize::from(args.trials), u64::from(args.seeds), 3) };
    let gpu = Gpu::new(GpuOptions::default())?;
    let data = Data::read()?;
    let train = |lr: f64, weight_decay: f64| -> Result<Trial> {
        let outcome = data.train(&gpu, (lr, weight_decay), epochs)?;
        Ok(Trial { lr, weight_decay, outcome })
    };
    let mut ends = Vec::new();
    for seed in 1..=seeds {
        let ours =
            [("Bayesian", bayesian(&train, trials, seed)?), ("random", random(&gpu, &train, trials, seed)?)];
        for (name, all) in &ours {
            let best = best(all)?;
            println!(
                "seed {seed}, {name:>8}: best of {trials} has lr {:.2e}, weight decay {:.2e}: loss {:.4}, accuracy {:.4}; \
                 median loss after the first {FIRST}: {:.4}",
                best.lr,
                best.weight_decay,
                best.outcome.loss,
                best.outcome.accuracy,
                median(&all[FIRST..])
            );
        }
        ends.push(ours.map(|(_, all)| all));
    }
    judge(&ends, if args.quick { 1.5 } else { 1.0 })?;
    test(&data, &gpu, &ends, 3 * epochs)
}

/// Trials that a Gaussian process chose.
fn bayesian(train: &dyn Fn(f64, f64) -> Result<Trial>, trials: usize, seed: u64) -> Result<Vec<Trial>> {
    // Training is not smooth to the last digit, which the variance of noise stands for.
    let sampler = GpSampler::builder().n_startup_trials(FIRST).noise_variance(1e-2).seed(seed).build();
    let study: Study<f64> = Study::with_sampler(Direction::Minimize, sampler);
    let lr = FloatParam::new(LR.0, LR.1).log_scale();
    let weight_decay = FloatParam::new(WEIGHT_DECAY.0, WEIGHT_DECAY.1).log_scale();
    let mut all = Vec::new();
    for _ in 0..trials {
        let mut asked = study.ask();
        let trial = train(lr.suggest(&mut asked)?, weight_decay.suggest(&mut asked)?)?;
        study.tell(asked, Ok::<f64, String>(trial.outcome.loss.ln()));
        all.push(trial);
    }
    Ok(all)
}

/// As many trials anywhere in the same box.
fn random(
    gpu: &Gpu,
    train: &dyn Fn(f64, f64) -> Result<Trial>,
    trials: usize,
    seed: u64,
) -> Result<Vec<Trial>> {
    let space = Space::new().log(LR.0, LR.1).log(WEIGHT_DECAY.0, WEIGHT_DECAY.1);
    let mut search = Search::builder(space, RandomSearch::default()).members(trials).seed(seed).build(gpu)?;
    search.ask()?.chunks(2).map(|at| train(at[0].into(), at[1].into())).collect()
}

fn best(trials: &[Trial]) -> Result<Trial> {
    let best = trials.iter().min_by(|a, b| a.outcome.loss.total_cmp(&b.outcome.loss));
    best.copied().context("there are no trials")
}

fn median(trials: &[Trial]) -> f64 {
    let mut losses: Vec<f64> = trials.iter().map(|trial| trial.outcome.loss).collect();
    losses.sort_by(f64::total_cmp);
    losses[losses.len() / 2]
}

/// The model's own proposals are better than random ones in the median, and the best of them has at most `bound` times the
/// loss of the best random one, both as means over seeds.
fn judge(ends: &[[Vec<Trial>; 2]], bound: f64) -> Result<()> {
    let (mut proposed, mut found) = ([0.0; 2], [0.0; 2]);
    for end in ends {
        for (kind, trials) in end.iter().enumerate() {
            proposed[kind] += median(&trials[FIRST..]) / ends.len() as f64;
            found[kind] += best(trials)?.outcome.loss / ends.len() as f64;
        }
    }
    println!("mean over seeds: proposals {:.4} against {:.4}", proposed[0], proposed[1]);
    println!("mean over seeds: best {:.4} against {:.4}", found[0], found[1]);
    ensure!(proposed[0] < proposed[1], "the model's proposals are no better than random ones");
    ensure!(found[0] < bound * found[1], "random search found better rates");
    Ok(())
}

/// Trains for longer with what the model found, and asks for digits by which nothing was chosen.
fn test(data: &Data, gpu: &Gpu, ends: &[[Vec<Trial>; 2]], epochs: u64) -> Result<()> {
    let all: Vec<Trial> = ends.iter().flat_map(|end| end[0].iter().copied()).collect();
    let Trial { lr, weight_decay, .. } = best(&all)?;
    let accuracy = data.test(gpu, (lr, weight_decay), epochs)?;
    println!(
        "lr {lr:.2e}, weight decay {weight_decay:.2e}, {epochs} epochs: accuracy {accuracy:.4} on 360 other digits"
    );
    ensure!(accuracy >= 0.93, "expected an accuracy of 0.93 or more");
    Ok(())
}
