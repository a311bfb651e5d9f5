//! Loads weights saved by torch, by name, into networks with the same modules, and compares the logits with torch's.
//!
//! In Python: `safetensors.torch.save_file(model.state_dict(), "model.safetensors")`. The modules in `models.rs` give
//! the parameters the same names, so no table of names is needed. `make.py` created the files that come with the
//! example: a model of two LSTM layers and a transformer, with the logits that torch computes.
//!
//! ```sh
//! cargo run --release --example load_torch
//! cargo run --release --example load_torch -- --model lstm my_lstm.safetensors --partly
//! ```

mod models;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use clap::{Parser, ValueEnum};
use gradus::graph::Graph;
use gradus::params::Weights;
use gradus::predict::Predictor;
use gradus::{Gpu, GpuOptions};

/// Tolerance for single precision and different orders of summation.
const TOLERANCE: f32 = 1e-5;

/// Loads weights saved by torch, and prints the missing and the unexpected names.
#[derive(Parser)]
struct Args {
    /// A file with weights. Default: the files that come with the example, for both models.
    #[arg(requires = "model")]
    file: Option<PathBuf>,
    /// The network that the weights are for.
    #[arg(long)]
    model: Option<Model>,
    /// Loads what matches by name, like torch's `strict=False`. Shapes must match in any case.
    #[arg(long)]
    partly: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Model {
    Lstm,
    Transformer,
}

fn main() -> ExitCode {
    let args = Args::parse();
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<()> {
    let gpu = Gpu::new(GpuOptions::default())?;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/load_torch");
    let expected = Weights::read(folder.join("expected.safetensors"))?;
    for model in args.model.map_or(vec![Model::Lstm, Model::Transformer], |model| vec![model]) {
        let name = match model {
            Model::Lstm => "lstm",
            Model::Transformer => "transformer",
        };
        let own = folder.join(name).with_extension("safetensors");
        let weights = Weights::read(args.file.as_ref().unwrap_or(&own))?;
        let logits = logits(&gpu, name, &weights, !args.partly, &expected)?;
        if args.file.is_none() {
            let torch = &expected.get(&format!("{name}.logits"))?.values;
            let apart =
                logits.iter().zip(torch).map(|(ours, torch)| (ours - torch).abs()).fold(0.0, f32::max);
            println!("{name}: {} logits are at most {apart:.1e} from torch's", logits.len());
            ensure!(
                logits.len() == torch.len() && apart <= TOLERANCE,
                "{name}: they should agree to {TOLERANCE:e}"
            );
        }
    }
    Ok(())
}

/// Builds the network, loads the weights and computes the logits of the tokens that come with the example.
fn logits(gpu: &Gpu, name: &str, weights: &Weights, strict: bool, expected: &Weights) -> Result<Vec<f32>> {
    let graph = Graph::new();
    let logits = models::logits(name, &graph).context("a model of this name")?;
    let mut params = graph.store(gpu, 0)?;
    println!("{name}: {}", params.load_state_dict(weights, strict)?);
    let mut predictor = Predictor::new(&graph, params, &[("logits", &logits)])?;
    let tokens = &expected.get("tokens")?.values;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "token numbers are small and whole"
    )]
    let tokens: Vec<u32> = tokens.iter().map(|&token| token as u32).collect();
    Ok(predictor.predict(&[("tokens", &tokens)])?.take("logits")?.values)
}
