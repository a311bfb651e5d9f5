//! A network learns without gradients: 8x8 digits, 64-32-10, by evolution strategies over its 2,410 parameters.
//!
//! The 1,797 digits of UCI that `smartcore` carries, 1,437 to learn from. Each generation is evaluated on the device, and
//! nothing comes back but the best so far. Its accuracy on the other 360 is drawn over the evaluations, each of which is a pass
//! over all digits that are learnt.
//!
//! `cargo run --release --example search_digits -- --out target/search_digits`

#[path = "../support/curves.rs"]
mod curves;
#[path = "../support/digits.rs"]
#[expect(dead_code, reason = "images of other sizes")]
mod digits;
mod network;
#[path = "../support/sheet.rs"]
mod sheet;

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Result, ensure};
use clap::Parser;
use gradus::search::{Method, Objective, OpenAIES, SNES, Search};
use gradus::train::GraphLoss;
use gradus::{Gpu, GpuOptions};

use curves::Curve;
use network::{Images, Judge, network};
use sheet::{COLORS, Scale, cells, panel, save, sheet};

const MEMBERS: usize = 64;
const GENERATIONS: u64 = 160;
const WANTED: f64 = 0.9;

/// Trains a network of digits by SNES and by the evolution strategy of OpenAI.
#[derive(Parser)]
struct Args {
    /// Folder for accuracy.svg. Default: no picture.
    #[arg(long)]
    out: Option<PathBuf>,
    /// Networks that each method trains, with seeds from 1.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=100))]
    seeds: u16,
    /// One seed.
    #[arg(long)]
    quick: bool,
}

/// Accuracies on unseen digits, and after how many evaluations.
struct Run {
    evaluations: Vec<f64>,
    accuracies: Vec<f64>,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let seeds = if args.quick { 1 } else { u64::from(args.seeds) };
    let gpu = Gpu::new(GpuOptions::default())?;
    let sets = digits::read()?.map(Images::of);
    let methods: [Method; 2] = [
        SNES { sigma: 0.1, width_rate: Some(0.05), ..Default::default() }.into(),
        OpenAIES { sigma: 0.05, lr: 0.05, ..Default::default() }.into(),
    ];
    let mut curves = Vec::new();
    for (method, color) in methods.into_iter().zip(COLORS) {
        let runs: Result<Vec<Run>> = (1..=seeds).map(|seed| learn(&gpu, &method, seed, &sets)).collect();
        let runs = runs?;
        let accuracies: Vec<Vec<f64>> = runs.iter().map(|run| run.accuracies.clone()).collect();
        let curve = Curve::median(method.name(), color, &runs[0].evaluations, &accuracies);
        println!("{}: {:.3} is the median accuracy", curve.name, curve.end());
        curves.push(curve);
    }
    if let Some(folder) = &args.out {
        draw(folder, &curves, seeds)?;
    }
    Ok(())
}

/// Trains a network, and judges the best so far as it goes.
fn learn(gpu: &Gpu, method: &Method, seed: u64, [train, unseen]: &[Images; 2]) -> Result<Run> {
    let start = Instant::now();
    let (graph, loss, _) = network(train.labels.len());
    let mut judge = Judge::new(gpu, unseen)?;
    let mut params = graph.store(gpu, seed)?;
    let data: [(&str, &dyn gradus::graph::HostData); 2] =
        [("images", &train.pixels), ("labels", &train.labels)];
    let mut own = GraphLoss::new(&graph, &loss, &mut params, &data)?;
    let builder = Search::builder(own.space(), method.clone()).members(MEMBERS).seed(seed).start(&own.get()?);
    let mut search = builder.budget(GENERATIONS * MEMBERS as u64).build(gpu)?;

    let mut run = Run { evaluations: Vec::new(), accuracies: Vec::new() };
    let mut judged = Ok(0.0);
    let found = search.minimize_with(&mut Objective::device(&mut own), |so_far| {
        judged = judge.accuracy(&so_far.x);
        if let Ok(accuracy) = &judged {
            run.evaluations.push(so_far.nfev as f64);
            run.accuracies.push(*accuracy);
        }
        judged.is_ok()
    })?;
    let (name, accuracy, seconds) = (method.name(), judged?, start.elapsed().as_secs_f64());
    println!(
        "{name}, seed {seed}: loss {:.4}, accuracy {accuracy:.3} after {} evaluations",
        found.fun, found.nfev
    );
    let reached = run.evaluations.iter().zip(&run.accuracies).find(|(_, accuracy)| **accuracy >= WANTED);
    if let Some((evaluations, _)) = reached {
        println!(
            "    {WANTED} after {evaluations} evaluations, {:.0} s",
            seconds * evaluations / found.nfev as f64
        );
    }
    ensure!(accuracy >= WANTED, "expected an accuracy of {WANTED}");
    Ok(run)
}

fn draw(folder: &Path, curves: &[Curve], seeds: u64) -> Result<()> {
    let line = match seeds {
        1 => "The best so far by the loss on 1,437 digits; one seed.".to_owned(),
        _ => format!(
            "The best so far by the loss on 1,437 digits: median of {seeds} seeds, and the middle half."
        ),
    };
    let svg = sheet((620, 420), "A network of digits learns without gradients", &[&line], |body| {
        let area = &cells(body, 1, 1, 0)?[0];
        let ends = curves[0].x[0]..(GENERATIONS * MEMBERS as u64) as f64;
        let (x, y) = (Scale::log(ends, "evaluations"), Scale::linear(0.0..1.0, "accuracy on unseen digits"));
        let heading = format!("64-32-10, 2,410 parameters, {MEMBERS} members");
        let mut plot = panel(area, &heading, (&x, &y), 90)?;
        curves::draw(area, &mut plot, curves)
    })?;
    save(folder, "accuracy.svg", &svg)
}
