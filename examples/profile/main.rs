//! Shows the time of each dispatch of a training step (plan and optimizer), compared with the memory bandwidth and
//! the arithmetic rate of the same device, measured in the same run.
//!
//! ```sh
//! cargo run --release --example profile -- --model reference-cnn
//! cargo run --release --example profile -- --model transformer --trace step.json
//! ```
//!
//! A row gives the time of a dispatch, the bytes it must move and its FLOP, and their fractions of the rates of a
//! kernel that only copies or only multiplies and adds. Times are the device's timestamps if it has them; otherwise
//! each dispatch is repeated alone, with warm caches. The trace can be opened in `chrome://tracing` and Perfetto.

mod args;
#[path = "../../benches/support/measure.rs"]
mod measure;
#[path = "../train_mlp/network.rs"]
mod mlp;
#[path = "../train_cnn/model.rs"]
mod model;
#[path = "../../benches/support/models.rs"]
#[expect(dead_code, reason = "what torch is told")]
mod models;
#[path = "../../benches/support/networks.rs"]
#[expect(dead_code, reason = "the reference network, which is one of the models")]
mod networks;
mod probes;
#[path = "../train_cnn/resnet.rs"]
mod resnet;
#[path = "../train_rnn/network.rs"]
mod rnn;
mod step;
mod table;
#[path = "../support/terminal.rs"]
mod terminal;
mod trace;
#[path = "../train_transformer/network.rs"]
mod transformer;

use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use gradus::{Gpu, GpuOptions};

use args::Args;
use probes::Probes;
use step::Step;
use terminal::{exit, say};

fn main() -> ExitCode {
    exit(Args::parse().and_then(|args| args.map_or(Ok(()), |args| run(&args))))
}

fn run(args: &Args) -> Result<()> {
    let gpu = Gpu::new(GpuOptions { timestamps: true, ..Default::default() })?;
    let mut step = Step::new(&gpu, args)?;
    let (times, how) = match args.repeats || !gpu.has_timestamps() {
        true => (step.repeated()?, "each dispatch repeated alone"),
        false => (step.timed()?, "timestamps"),
    };
    let probes = Probes::measure(&gpu)?;
    let info = gpu.info();
    say(format_args!("{} ({:?}, {}), {how}", info.name, info.backend, info.driver_info))?;
    say(format_args!(
        "{}: copy {:.1} GB/s, arithmetic {:.1} GFLOP/s",
        args.model, probes.copy, probes.arithmetic
    ))?;
    table::print(&times, &probes, args.rows)?;
    if let Some(path) = &args.trace {
        let text = trace::json(&times, &format!("{} on {}", args.model, info.name), how)?;
        std::fs::write(path, text).with_context(|| format!("--trace {}", path.display()))?;
        say(format_args!("trace: {}", path.display()))?;
    }
    let whole = step.whole()?;
    let sum: f64 = times.iter().map(|timed| timed.seconds).sum();
    ensure!(sum > 0.0 && whole > 0.0, "nothing was measured");
    say(format_args!(
        "{} dispatches in {:.3} ms; a whole step takes {:.3} ms",
        times.len(),
        sum * 1e3,
        whole * 1e3
    ))
}
