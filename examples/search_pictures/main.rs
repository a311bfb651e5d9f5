//! Pictures of searches: how fast methods converge, how a population gathers, and what its size and its mutations do.
//!
//! `cargo run --release --example search_pictures -- --out target/search_pictures`
//!
//! Each picture is checked for what it is to show. Those in `docs/search` are of this program without `--quick`.

#[path = "../support/contour.rs"]
mod contour;
mod convergence;
#[path = "../support/curves.rs"]
mod curves;
mod population;
mod runs;
mod settings;
#[path = "../support/sheet.rs"]
mod sheet;

use std::path::PathBuf;

use anyhow::Result;
use clap::Parser;
use gradus::{Gpu, GpuOptions};

/// Draws convergence.svg, population.svg and settings.svg.
#[derive(Parser)]
struct Args {
    /// Folder for the pictures.
    #[arg(long, default_value = "target/search_pictures")]
    out: PathBuf,
    /// Few seeds and a fifth of the evaluations.
    #[arg(long)]
    quick: bool,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let gpu = Gpu::new(GpuOptions::default())?;
    population::draw(&gpu, &args)?;
    convergence::draw(&gpu, &args)?;
    settings::draw(&gpu, &args)
}
