//! Command-line options, and the options stored in a saved run.

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::{CommandFactory, FromArgMatches};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::options::{Options, Training, pick, rate};
use crate::several;

const DEFAULTS: &str = "Defaults: 4 epochs of the first half, 6 of the head, 6 of all (3, 3 and 3 with --quick) in batches \
                        of 32, at a rate of 1e-2, a tenth of it for the body. After that many epochs a run on the digits \
                        ends with an error if one of them has not reached what it should.";

/// Trains a network on the first half of the classes and transfers its body to the other half.
#[derive(clap::Parser)]
#[command(after_help = DEFAULTS)]
pub(crate) struct Args {
    /// Folder with IDX files such as MNIST's: train-images-idx3-ubyte and so on, optionally .gz. Default: the UCI
    /// digits.
    #[arg(long)]
    pub(crate) data: Option<PathBuf>,
    /// Uses the body of this model, from finetune or train_cnn, instead of training one.
    #[arg(long, value_name = "MODEL")]
    pub(crate) from: Option<PathBuf>,
    /// Epochs on the first half of the classes.
    #[arg(long, value_parser = epochs, conflicts_with = "from")]
    first_epochs: Option<usize>,
    /// Epochs for the new head on the frozen body.
    #[arg(long, value_parser = epochs)]
    head_epochs: Option<usize>,
    /// Further epochs that train everything.
    #[arg(long, value_parser = epochs)]
    body_epochs: Option<usize>,
    /// Learning rate of the unfrozen body. Default: a tenth of --lr.
    #[arg(long, value_parser = rate)]
    body_lr: Option<f64>,
    #[command(flatten)]
    pub(crate) options: Options,
}

/// The settings that determine the results of the first run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Pretraining {
    pub(crate) epochs: usize,
    #[serde(flatten)]
    pub(crate) training: Training,
}

/// The settings that determine the results of the second run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Finetuning {
    pub(crate) head_epochs: usize,
    pub(crate) body_epochs: usize,
    pub(crate) body_lr: f64,
    /// CRC-32 of the initial body.
    body: u32,
    #[serde(flatten)]
    pub(crate) training: Training,
}

/// Learning rate of the first run and of the head.
const LR: f64 = 1e-2;

/// Epochs of the phases, and the accuracies they should reach on the digits; then the same with `--quick`.
const PHASES: [([usize; 3], [f64; 3]); 2] =
    [([4, 6, 6], [0.95, 0.65, 0.93]), ([3, 3, 3], [0.92, 0.55, 0.85])];

impl Args {
    pub(crate) fn parse() -> Self {
        let command = Self::command()
            .mut_arg("out", |arg| arg.help(several::OUT))
            .mut_arg("resume", |arg| arg.help(several::RESUME))
            .mut_arg("schedule", |arg| {
                arg.help(r#"Schedule as JSON, as in '{"name": "StepLR", "step_size": 200}'. Default: none"#)
            });
        let parsed = Self::from_arg_matches(&command.get_matches());
        parsed.unwrap_or_else(|error| error.exit())
    }

    fn training(&self, saved: Option<&Training>) -> Result<Training> {
        let mut training = self.options.training(saved, 32, LR)?;
        training.schedule.get_or_insert_with(constant);
        Ok(training)
    }

    fn epochs(&self) -> [usize; 3] {
        PHASES[usize::from(self.options.quick)].0
    }

    pub(crate) fn pretraining(&self, saved: Option<&Pretraining>) -> Result<Pretraining> {
        let [first, ..] = self.epochs();
        Ok(Pretraining {
            epochs: pick("first-epochs", self.first_epochs, saved.map(|s| s.epochs), first)?,
            training: self.training(saved.map(|s| &s.training))?,
        })
    }

    /// The settings for a body with this checksum.
    pub(crate) fn finetuning(&self, body: u32, saved: Option<&Finetuning>) -> Result<Finetuning> {
        let [_, head, all] = self.epochs();
        let training = self.training(saved.map(|s| &s.training))?;
        let body_lr = training.lr / 10.0;
        if let Some(theirs) = saved.map(|saved| saved.body).filter(|theirs| *theirs != body) {
            bail!("it began with another body, of the checksum {theirs:08x}, not {body:08x}");
        }
        Ok(Finetuning {
            head_epochs: pick("head-epochs", self.head_epochs, saved.map(|s| s.head_epochs), head)?,
            body_epochs: pick("body-epochs", self.body_epochs, saved.map(|s| s.body_epochs), all)?,
            body_lr: pick("body-lr", self.body_lr, saved.map(|s| s.body_lr), body_lr)?,
            body,
            training,
        })
    }

    /// The accuracies that the phases should reach: known for the digits and default options, with any seed.
    pub(crate) fn bounds(&self, first: &Pretraining, other: &Finetuning) -> Option<[f64; 3]> {
        let usual = |training: &Training| {
            let default =
                Training { seed: training.seed, schedule: Some(constant()), ..Training::new(32, LR) };
            *training == default && self.data.is_none() && other.body_lr == LR / 10.0
        };
        let known = usual(&first.training) && usual(&other.training);
        let epochs = [first.epochs, other.head_epochs, other.body_epochs];
        PHASES.iter().find(|(after, _)| known && *after == epochs).map(|(_, bounds)| *bounds)
    }
}

/// Limited so that the number of steps cannot overflow, for any batch size.
fn epochs(text: &str) -> Result<usize, String> {
    let epochs = text.parse().ok().filter(|number| (1..=1_000_000).contains(number));
    epochs.ok_or_else(|| "it must be an integer from 1 to 1000000".into())
}

/// A constant learning rate.
fn constant() -> Value {
    json!({"name": "ConstantLR", "factor": 1.0})
}
