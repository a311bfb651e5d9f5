//! What the command line says, and what a saved run says for it.

use std::fmt::Display;
use std::path::PathBuf;

use anyhow::Result;
use clap::{Parser, ValueEnum};
use serde::{Deserialize, Serialize};

use crate::options::{Options, Training, pick, positive};

/// Trains a small network on images and keeps the run in a folder, from which it can go on.
#[derive(Parser)]
#[command(after_help = "Defaults: 30 epochs (3 with --quick) in batches of 32, a rate of 5e-3.")]
pub(crate) struct Args {
    /// Folder of IDX files, as MNIST's: train-images-idx3-ubyte and so on, also .gz. Default: the UCI digits.
    #[arg(long)]
    pub(crate) data: Option<PathBuf>,
    /// Network. Default cnn.
    #[arg(long)]
    model: Option<Model>,
    /// Passes over the training set.
    #[arg(long, value_parser = positive)]
    epochs: Option<usize>,
    /// Gives every training image the label of another one, to see that nothing can be learnt then.
    #[arg(long)]
    shuffle_labels: bool,
    /// Keeps the training and the test set on the device; a step uploads the places of its images.
    #[arg(long)]
    pub(crate) resident: bool,
    #[command(flatten)]
    pub(crate) options: Options,
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
const OF_TRAINING: [&str; 13] = [
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
    "quick",
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
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Config {
    pub(crate) model: Model,
    pub(crate) epochs: usize,
    #[serde(flatten)]
    pub(crate) training: Training,
    pub(crate) shuffle_labels: bool,
}

impl Args {
    /// The options of this run: those of the `saved` run where nothing else is said, and none that differ.
    pub(crate) fn config(&self, saved: Option<&Config>) -> Result<Config> {
        let shuffle = self.shuffle_labels.then_some(true);
        let epochs = if self.options.quick { 3 } else { 30 };
        Ok(Config {
            model: pick("model", self.model, saved.map(|s| s.model), Model::default())?,
            epochs: pick("epochs", self.epochs, saved.map(|s| s.epochs), epochs)?,
            training: self.options.training(saved.map(|s| &s.training), 32, 5e-3)?,
            shuffle_labels: pick("shuffle-labels", shuffle, saved.map(|s| s.shuffle_labels), false)?,
        })
    }
}
