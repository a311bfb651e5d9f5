//! What the command line says, and what a saved run says for it.

use std::fmt::Display;
use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::{Parser, ValueEnum};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Trains a small network on images and keeps the run in a folder, from which it can go on.
#[derive(Parser)]
pub(crate) struct Args {
    /// Folder of IDX files, as MNIST's: train-images-idx3-ubyte and so on, also .gz. Default: the UCI digits.
    #[arg(long)]
    pub(crate) data: Option<PathBuf>,
    /// Network. Default cnn.
    #[arg(long)]
    model: Option<Model>,
    /// Passes over the training set. Default 30.
    #[arg(long, value_parser = positive)]
    epochs: Option<usize>,
    /// Samples of a step. Default 32.
    #[arg(long, value_parser = positive)]
    batch_size: Option<usize>,
    /// Learning rate: the default optimizer's, and the peak of the default schedule. Default 5e-3.
    #[arg(long, value_parser = rate)]
    lr: Option<f64>,
    /// Seed of the parameters and of the shuffling. Default 1.
    #[arg(long)]
    seed: Option<u64>,
    /// Optimizer as JSON, as in '{"name": "SGD", "lr": 0.1, "momentum": 0.9}'. Default: AdamW at --lr.
    #[arg(long, value_parser = json)]
    optimizer: Option<Value>,
    /// Schedule as JSON, as in '{"name": "StepLR", "step_size": 200}'. Default: OneCycleLR to --lr. One that
    /// follows a metric is told the loss on the test set after each epoch.
    #[arg(long, value_parser = json)]
    schedule: Option<Value>,
    /// Gives every training image the label of another one, to see that nothing can be learnt then.
    #[arg(long)]
    shuffle_labels: bool,
    /// Keeps the training and the test set on the device; a step uploads the places of its images.
    #[arg(long)]
    pub(crate) resident: bool,
    /// Folder for model.safetensors, history.csv and report.svg; an earlier run's are replaced.
    #[arg(long)]
    pub(crate) out: Option<PathBuf>,
    /// Steps between two saves of the model. Default: those of an epoch.
    #[arg(long, value_parser = positive, requires = "out")]
    pub(crate) save_every: Option<usize>,
    /// Goes on from this model, bit for bit, with its options; starts afresh if there is no such file yet.
    #[arg(long)]
    pub(crate) resume: Option<PathBuf>,
    /// Prints the accuracy of this model on the test set and which digits it takes for which; trains nothing.
    #[arg(long, value_name = "MODEL", conflicts_with_all = OF_TRAINING)]
    pub(crate) evaluate: Option<PathBuf>,
    /// Prints the class of each image of an .npy array, whose numbers are as in --data, a line each.
    #[arg(long, value_name = "FILE.npy", requires = "model_file", conflicts_with_all = OF_TRAINING)]
    #[arg(conflicts_with_all = ["data", "evaluate"])]
    pub(crate) predict: Option<PathBuf>,
    /// The model that --predict uses.
    #[arg(long = "load", id = "model_file", value_name = "MODEL", requires = "predict")]
    pub(crate) load: Option<PathBuf>,
}

/// What means nothing to a model that is not trained.
const OF_TRAINING: [&str; 12] = [
    "model",
    "epochs",
    "batch_size",
    "lr",
    "seed",
    "optimizer",
    "schedule",
    "shuffle_labels",
    "resident",
    "out",
    "save_every",
    "resume",
];

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Model {
    /// Two convolutions with pooling, then two linear layers.
    #[default]
    Cnn,
    /// One hidden layer of 128.
    Mlp,
}

impl Display for Model {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Cnn => "cnn",
            Self::Mlp => "mlp",
        })
    }
}

/// What decides the numbers of a run; it is kept in the model's file.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    pub(crate) model: Model,
    pub(crate) epochs: usize,
    pub(crate) batch_size: usize,
    pub(crate) lr: f64,
    pub(crate) seed: u64,
    /// As it was given, `None` for the default.
    pub(crate) optimizer: Option<Value>,
    /// As it was given, `None` for the default.
    pub(crate) schedule: Option<Value>,
    pub(crate) shuffle_labels: bool,
}

impl Args {
    /// The options of this run: those of the `saved` run where nothing else is said, and none that differ.
    pub(crate) fn config(&self, saved: Option<&Config>) -> Result<Config> {
        let of = |optional: fn(&Config) -> Option<&Value>| saved.and_then(optional);
        let shuffle = self.shuffle_labels.then_some(true);
        Ok(Config {
            model: pick("model", self.model, saved.map(|s| s.model), Model::default())?,
            epochs: pick("epochs", self.epochs, saved.map(|s| s.epochs), 30)?,
            batch_size: pick("batch-size", self.batch_size, saved.map(|s| s.batch_size), 32)?,
            lr: pick("lr", self.lr, saved.map(|s| s.lr), 5e-3)?,
            seed: pick("seed", self.seed, saved.map(|s| s.seed), 1)?,
            optimizer: pick_json("optimizer", self.optimizer.clone(), saved, of(|s| s.optimizer.as_ref()))?,
            schedule: pick_json("schedule", self.schedule.clone(), saved, of(|s| s.schedule.as_ref()))?,
            shuffle_labels: pick("shuffle-labels", shuffle, saved.map(|s| s.shuffle_labels), false)?,
        })
    }
}

fn pick<T: PartialEq + Display>(name: &str, given: Option<T>, saved: Option<T>, default: T) -> Result<T> {
    if let (Some(given), Some(saved)) = (&given, &saved)
        && given != saved
    {
        bail!("{}", differs(name, given, saved));
    }
    Ok(given.or(saved).unwrap_or(default))
}

fn differs(name: &str, given: &impl Display, saved: &impl Display) -> String {
    format!("its --{name} is {saved}, not {given}: leave the option out to go on with that")
}

fn pick_json(
    name: &str,
    given: Option<Value>,
    run: Option<&Config>,
    saved: Option<&Value>,
) -> Result<Option<Value>> {
    match (given, run) {
        (Some(given), Some(_)) => {
            if saved != Some(&given) {
                let saved = saved.map_or("the default".into(), Value::to_string);
                bail!("{}", differs(name, &given, &saved));
            }
            Ok(Some(given))
        }
        (given, _) => Ok(given.or(saved.cloned())),
    }
}

fn positive(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|number| *number > 0).ok_or_else(|| "it must be an integer of at least 1".into())
}

fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse().ok().filter(|rate: &f64| rate.is_finite() && *rate >= 0.0);
    rate.ok_or_else(|| "it must be a finite number of at least 0".into())
}

fn json(text: &str) -> Result<Value, String> {
    serde_json::from_str(text).map_err(|e| format!("it must be JSON: {e}"))
}
