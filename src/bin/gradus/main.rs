//! `gradus`: training from the command line. Requires the feature `cli`.

mod adapters;
mod data;
#[path = "../../../examples/support/digits.rs"]
#[expect(dead_code, reason = "images of other sizes")]
mod digits;
mod document;
mod fields;
mod inspect;
mod models;
#[path = "../../../examples/train_cnn/model.rs"]
mod networks;
mod preview;
#[path = "../../../examples/train_cnn/resnet.rs"]
mod resnet;
mod run;

use clap::Parser;

/// Training on any GPU that wgpu reaches.
#[derive(Parser)]
#[command(name = "gradus", version)]
enum Command {
    /// Lists the adapters with their limits and features.
    Adapters,
    /// Shows what a safetensors file holds: tensors, and the record of a checkpoint.
    Inspect(inspect::Args),
    /// Draws learning-rate schedules into one picture.
    Preview(preview::Args),
    /// Trains what a TOML or JSON file describes.
    Run(run::Args),
}

fn main() -> anyhow::Result<()> {
    match Command::parse() {
        Command::Adapters => adapters::run(),
        Command::Inspect(args) => inspect::run(&args),
        Command::Preview(args) => preview::run(&args),
        Command::Run(args) => run::run(&args),
    }
}
