//! `gradus`: training from the command line. Requires the feature `cli`.

mod adapters;
mod preview;

use clap::Parser;

/// Training on any GPU that wgpu reaches.
#[derive(Parser)]
#[command(name = "gradus", version)]
enum Command {
    /// Lists the adapters with their limits and features.
    Adapters,
    /// Draws learning-rate schedules into one picture.
    Preview(preview::Args),
}

fn main() -> anyhow::Result<()> {
    match Command::parse() {
        Command::Adapters => adapters::run(),
        Command::Preview(args) => preview::run(&args),
    }
}
