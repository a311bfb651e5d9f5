//! The exercises and pictures of courses on optimization, each as one picture that is checked for what it is to show.
//!
//! `cargo run --release --example tutorials -- --out target/tutorials` draws all and an index page;
//! names, as in `-- memory momentum_valley`, draw only these. `docs/tutorials.md` lists them.

mod adam_then_lbfgs;
#[path = "../support/bars.rs"]
mod bars;
mod batch_paths;
mod batch_scaling;
#[path = "../support/contour.rs"]
mod contour;
#[path = "../support/curves.rs"]
mod curves;
mod deep_initialization;
mod descent;
mod diagnoses;
#[path = "../support/digits.rs"]
#[expect(dead_code, reason = "images of other sizes")]
mod digits;
mod gradient_scatter;
mod high_dimensions;
#[path = "../support/histogram.rs"]
mod histogram;
mod index;
mod initial_points;
#[path = "../support/key.rs"]
mod key;
mod learn;
mod learning_rates;
mod line_data;
mod loss_landscape;
mod memory;
mod momentum_valley;
mod monitoring;
mod noise_robustness;
mod optimizer_paths;
#[path = "../support/paths.rs"]
mod paths;
mod robust_optimizer;
mod safeguard_paths;
mod schedules;
mod search_and_descent;
#[path = "../support/sheet.rs"]
mod sheet;

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result};
use clap::Parser;
use clap::builder::PossibleValuesParser;
use gradus::train::files;
use gradus::{Gpu, GpuOptions};

use index::Entry;

/// What a tutorial draws with.
struct Stage {
    gpu: Gpu,
    /// Few steps and seeds.
    quick: bool,
}

/// What a tutorial makes.
struct Picture {
    svg: String,
    /// What the picture shows, in one or two sentences with figures.
    shows: String,
}

type Draw = fn(&Stage) -> Result<Picture>;

/// In the order of the index: the name, its title, and what draws it.
const TUTORIALS: &[(&str, &str, Draw)] = &[
    ("memory", "Memory of optimizers", memory::draw),
    ("batch_scaling", "Batches from 32 to 1,024", batch_scaling::draw),
    ("noise_robustness", "Noise on gradients", noise_robustness::draw),
    ("adam_then_lbfgs", "Adam, then L-BFGS", adam_then_lbfgs::draw),
    ("learning_rates", "Learning rates that are too small, right and too large", learning_rates::draw),
    ("momentum_valley", "Momentum in a narrow valley", momentum_valley::draw),
    ("optimizer_paths", "Paths of optimizers over four functions", optimizer_paths::draw),
    ("gradient_scatter", "Gradients of batches", gradient_scatter::draw),
    ("batch_paths", "Single samples, batches and all data", batch_paths::draw),
    ("initial_points", "Initial points of a search", initial_points::draw),
    ("deep_initialization", "Initial weights of a deep network", deep_initialization::draw),
    ("monitoring", "What a run's monitor sees", monitoring::draw),
    ("diagnoses", "What is wrong with a run", diagnoses::draw),
    ("safeguard_paths", "Clipping and noise on a ridge", safeguard_paths::draw),
    ("robust_optimizer", "Safeguards combined", robust_optimizer::draw),
    ("schedules", "Three schedules on one problem", schedules::draw),
    ("search_and_descent", "Searches beside gradient descent", search_and_descent::draw),
    ("high_dimensions", "Distances in many dimensions", high_dimensions::draw),
    ("loss_landscape", "Convex and not convex", loss_landscape::draw),
];

/// Draws each tutorial's picture, NAME.svg, and a page that shows all, index.html.
#[derive(Parser)]
struct Args {
    /// Only these, and no page. Default: all.
    #[arg(value_parser = PossibleValuesParser::new(TUTORIALS.iter().map(|tutorial| tutorial.0)))]
    names: Vec<String>,
    /// Folder for the pictures.
    #[arg(long, default_value = "target/tutorials")]
    out: PathBuf,
    /// Few steps and seeds.
    #[arg(long)]
    quick: bool,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let stage = Stage { gpu: Gpu::new(GpuOptions::default())?, quick: args.quick };
    let mut entries = Vec::new();
    for (name, title, draw) in TUTORIALS {
        if !args.names.is_empty() && !args.names.iter().any(|wanted| wanted == name) {
            continue;
        }
        let start = Instant::now();
        let Picture { svg, shows } = draw(&stage).with_context(|| format!("tutorial {name}"))?;
        println!("{title} ({:.1} s)\n  {shows}", start.elapsed().as_secs_f64());
        sheet::save(&args.out, &format!("{name}.svg"), &svg)?;
        entries.push(Entry { name, title, shows });
    }
    if args.names.is_empty() {
        let path = args.out.join("index.html");
        let there = |picture: &str| args.out.join(picture).exists();
        let page = index::page(&entries, there);
        files::write_atomic(&path, |file| file.write_all(page.as_bytes()))?;
        println!("{}", path.display());
    }
    Ok(())
}
