//! Command-line options.

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Parser;
use clap::error::ErrorKind;
use gradus::optim::{self, AnyRule};
use serde_json::Value;

use crate::models::MODELS;
use crate::networks::BLOCKS;

/// Shows the time of each dispatch of a training step.
#[derive(Parser)]
pub(crate) struct Args {
    /// The model to train: the reference network, a model of the examples, or a block of benches/step.rs.
    #[arg(long, default_value = "reference-cnn", value_parser = model)]
    pub(crate) model: String,
    /// Optimizer as JSON, such as '{"name": "LAMB"}'. Default: AdamW.
    #[arg(long, value_parser = optimizer, default_value = r#"{"name": "AdamW"}"#)]
    pub(crate) optimizer: Value,
    /// Clips the norm of all gradients. Default: as in the model's example.
    #[arg(long, value_name = "NORM", value_parser = norm)]
    pub(crate) clip_grad_norm: Option<f64>,
    /// Number of rows of the table, slowest dispatches first. Default: all.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rows: Option<u32>,
    /// Repeats each dispatch alone, even if the device has timestamps.
    #[arg(long)]
    pub(crate) repeats: bool,
    /// Writes a trace for chrome://tracing and Perfetto.
    #[arg(long, value_name = "FILE")]
    pub(crate) trace: Option<PathBuf>,
}

impl Args {
    /// Parses the command line; `None` if it only asked for help, which was printed.
    pub(crate) fn parse() -> Result<Option<Self>> {
        match Self::try_parse() {
            Ok(args) => Ok(Some(args)),
            Err(error) if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) => {
                error.print()?;
                Ok(None)
            }
            Err(error) => {
                // The rest of it repeats the usage.
                let text = error.to_string();
                let first = text.split("\n\n").next().unwrap_or_default().trim_start_matches("error: ");
                bail!("{}", first.split_whitespace().collect::<Vec<_>>().join(" "))
            }
        }
    }
}

/// The names of all models.
pub(crate) fn names() -> Vec<String> {
    let blocks = BLOCKS.iter().map(|(name, ..)| block_name(name));
    let models = MODELS.iter().map(|model| model.name.to_owned());
    models.chain(blocks).collect()
}

/// A block beside models, of which one is an LSTM too.
pub(crate) fn block_name(name: &str) -> String {
    format!("{}-block", name.trim_end_matches(" block"))
}

fn model(text: &str) -> Result<String, String> {
    let names = names();
    if names.iter().any(|name| name == text) {
        return Ok(text.to_owned());
    }
    Err(format!("it must be one of {}", names.join(", ")))
}

fn optimizer(text: &str) -> Result<Value, String> {
    let value: Value = serde_json::from_str(text).map_err(|e| format!("it must be JSON: {e}"))?;
    optim::from_json(&value).map(|_: Box<dyn AnyRule>| value).map_err(|e| e.to_string())
}

fn norm(text: &str) -> Result<f64, String> {
    let norm = text.parse().ok().filter(|norm: &f64| norm.is_finite() && *norm > 0.0);
    norm.ok_or_else(|| "it must be a finite number above 0".into())
}
