//! `gradus`: training from the command line. Requires the feature `cli`.

mod adapters;
#[path = "../../../examples/support/bars.rs"]
mod bars;
mod compare;
#[path = "../../../examples/support/curves.rs"]
#[expect(dead_code, reason = "the last value of a curve")]
mod curves;
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
#[path = "../../../examples/support/sheet.rs"]
#[expect(dead_code, reason = "pictures that are written where they are drawn")]
mod sheet;

use clap::Parser;

/// Training on any GPU that wgpu reaches.
#[derive(Parser)]
#[command(name = "gradus", version)]
enum Command {
    /// Lists the adapters with their limits and features.
    Adapters,
    /// Compares optimizers on one problem: a table, and a page of eight panels.
    Compare(compare::Args),
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
        Command::Compare(args) => compare::run(&args),
        Command::Inspect(args) => inspect::run(&args),
        Command::Preview(args) => preview::run(&args),
        Command::Run(args) => run::run(&args),
    }
}
