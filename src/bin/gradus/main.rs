//! `gradus`: training from the command line. Requires the feature `cli`.

mod adapters;
mod data;
#[path = "../../../examples/support/digits.rs"]
#[expect(dead_code, reason = "images of other sizes")]
mod digits;
mod fields;
mod models;
#[path = "../../../examples/train_cnn/model.rs"]
mod networks;
mod preview;
#[path = "../../../examples/train_cnn/resnet.rs"]
mod resnet;

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
