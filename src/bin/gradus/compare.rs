//! `gradus compare`: optimizers on one problem with several seeds, as a table and as a page of pictures.

mod contender;
mod folder;
mod page;
mod problem;
mod progress;
mod record;
mod settings;
mod summary;
mod tables;

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, Result};
use gradus::{Gpu, GpuOptions};

use contender::{Contender, contenders};
use folder::Folder;
use problem::Problem;
use progress::Progress;
use record::{Record, Times};
use settings::{Settings, Whole};
use summary::Summary;

const AFTER: &str = "A comparison that was interrupted goes on with the same command: runs that are finished are not \
                     repeated. In --out: results.csv and steps.csv are the same however often it was interrupted; times.csv \
                     and compare.svg also show times.";

#[derive(clap::Args)]
#[command(after_help = AFTER)]
pub(crate) struct Args {
    /// Optimizer by name or as JSON, such as AdamW or '{"name": "SGD", "lr": 0.1, "momentum": 0.9}', at its customary
    /// rate unless it has one. Repeat for several. Default: SGD with momentum, RMSprop, Adagrad, Adam, AdamW and Lion.
    #[arg(long, value_name = "NAME or JSON")]
    optimizer: Vec<String>,
    /// Model by name or as JSON with layers, as in a run file. Default: cnn.
    #[arg(long, value_name = "NAME or JSON")]
    model: Option<String>,
    /// Data with class labels by name or as JSON, as in a run file. Default: digits.
    #[arg(long, value_name = "NAME or JSON")]
    data: Option<String>,
    /// Schedule as JSON for the rates of all, such as '{"name": "StepLR", "step_size": 200}'. Default: constant rates.
    #[arg(long, value_name = "JSON")]
    schedule: Option<String>,
    /// Runs of each optimizer, with seeds from 1. A seed determines the first weights and the order of the samples. Default: 5.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=1000))]
    seeds: Option<u64>,
    /// Passes over the training data. Default: 20.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    epochs: Option<u64>,
    /// Samples in a batch. Default: 32.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    batch_size: Option<u64>,
    /// Other defaults, to see in seconds what it does: mlp, 2 seeds, 3 epochs.
    #[arg(long)]
    quick: bool,
    /// Folder for the results.
    #[arg(long, default_value = "compare")]
    out: PathBuf,
}

/// Runs what is missing, prints the table, and writes all results.
pub(crate) fn run(args: &Args) -> Result<()> {
    let saved = Folder::saved(&args.out)?;
    let settings = Settings::of(args, saved.as_ref())?;
    let contenders = contenders(&settings.optimizers)?;
    let problem = Problem::new(&settings)?;
    let gpu = Gpu::new(GpuOptions::default())?;
    let whole = Whole::new(settings, &problem, &gpu);
    if let Some(saved) = &saved {
        whole.check(saved).with_context(|| format!("--out {}", args.out.display()))?;
    }
    // All of them, so that what a model cannot be trained with is refused before the first run.
    for contender in &contenders {
        problem.check(&gpu, contender).with_context(|| contender.place())?;
    }
    let folder = Folder::open(&args.out, &whole)?;
    let runs = missing(&folder, &problem, &contenders, &gpu)?;
    let seen: Vec<Summary<'_>> =
        contenders.iter().zip(&runs).map(|(contender, runs)| Summary::new(contender, runs)).collect();
    folder.write("results.csv", &tables::results(&seen))?;
    folder.write("steps.csv", &tables::steps(&seen))?;
    folder.write("times.csv", &tables::times(&seen))?;
    folder.write("compare.svg", &page::draw(&seen, &problem)?)?;
    let files: String = ["results.csv", "steps.csv", "times.csv", "compare.svg"]
        .map(|name| format!("{}\n", args.out.join(name).display()))
        .concat();
    // Not `print!`, which panics if the reader of a pipe has exited.
    Ok(std::io::stdout().write_all((tables::printed(&seen) + &files).as_bytes())?)
}

/// The runs of each optimizer, by seed: those in the folder, and the others, which are run now.
fn missing(
    folder: &Folder,
    problem: &Problem,
    contenders: &[Contender],
    gpu: &Gpu,
) -> Result<Vec<Vec<(Record, Times)>>> {
    let seeds = 1..=problem.seeds;
    let mut runs = Vec::new();
    for contender in contenders {
        let known = seeds.clone().map(|seed| folder.read(problem, contender, seed));
        runs.push(known.collect::<Result<Vec<Option<(Record, Times)>>>>()?);
    }
    let finished = runs.iter().flatten().flatten().count();
    let mut progress = Progress::new(finished, runs.iter().map(Vec::len).sum(), problem.epochs);
    progress.begin(&folder.name())?;
    // A seed of each, then the next seed: what is interrupted has compared all.
    for seed in seeds {
        for (contender, runs) in contenders.iter().zip(&mut runs) {
            let run = &mut runs[usize::try_from(seed - 1)?];
            if run.is_none() {
                let place = || format!("{}, seed {seed}", contender.label);
                let done = problem.run(gpu, contender, seed, &mut progress).with_context(place)?;
                folder.keep(contender, seed, &done)?;
                progress.finish(contender, seed, &done)?;
                *run = Some(done);
            }
        }
    }
    Ok(runs.into_iter().map(|runs| runs.into_iter().flatten().collect()).collect())
}
