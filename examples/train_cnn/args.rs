//! Command-line options, and the options stored in a saved run.

use std::path::PathBuf;

use anyhow::Result;
use clap::Parser;
use serde::{Deserialize, Serialize};

use crate::images::Source;
use crate::model::Model;
use crate::options::{Options, Training, pick, positive};

const DEFAULTS: &str = "Defaults: 30 epochs, 3 with --quick (wide-cnn and resnet: 8 and 2), in batches of 32, at a rate of \
                        5e-3 (wide-cnn: 1e-3). After that many epochs a run on the UCI digits ends with an error if its \
                        test accuracy is below what the network should reach.";

/// Trains a small network on images and stores the run in a folder, from which it can be resumed.
#[derive(Parser)]
#[command(after_help = DEFAULTS)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) source: Source,
    /// Network. Default: cnn.
    #[arg(long)]
    model: Option<Model>,
    /// Passes over the training set.
    #[arg(long, value_parser = positive)]
    epochs: Option<usize>,
    #[command(flatten)]
    pub(crate) options: Options,
    /// Prints the accuracy of this model on the test set and its confusion of digits, without training.
    #[arg(long, value_name = "MODEL", conflicts_with_all = OF_TRAINING)]
    pub(crate) evaluate: Option<PathBuf>,
    /// Prints the class of each image in an .npy array with numbers as in --data, one per line.
    #[arg(long, value_name = "FILE.npy", requires = "model_file", conflicts_with_all = OF_TRAINING)]
    #[arg(conflicts_with_all = ["data", "evaluate"])]
    pub(crate) predict: Option<PathBuf>,
    /// The model that --predict uses.
    #[arg(long = "load", id = "model_file", value_name = "MODEL", requires = "predict")]
    pub(crate) load: Option<PathBuf>,
}

/// Options that have no meaning without training.
const OF_TRAINING: [&str; 15] = [
    "model",
    "epochs",
    "batch_size",
    "lr",
    "seed",
    "optimizer",
    "schedule",
    "averages",
    "shuffle_labels",
    "resident",
    "out",
    "save_every",
    "resume",
    "quick",
    "autocast",
];

impl Model {
    /// Default number of epochs, and with `--quick`.
    fn epochs(self) -> [usize; 2] {
        match self {
            Self::Cnn | Self::Mlp => [30, 3],
            Self::WideCnn | Self::Resnet => [8, 2],
        }
    }

    fn lr(self) -> f64 {
        if self == Self::WideCnn { 1e-3 } else { 5e-3 }
    }

    /// Expected accuracy on 360 of the UCI digits after these epochs: about 0.02 below the worst of three seeds.
    ///
    /// If the gradient of one of the later layers (the last convolutions, a stage, a hidden layer) had the wrong
    /// sign, it would be 0.77 or less.
    fn bounds(self) -> [f64; 2] {
        match self {
            Self::Cnn => [0.97, 0.93],
            Self::Mlp => [0.96, 0.93],
            Self::WideCnn => [0.97, 0.88],
            Self::Resnet => [0.97, 0.94],
        }
    }
}

/// The settings that determine the results of a run. Stored in the model's file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Config {
    pub(crate) model: Model,
    pub(crate) epochs: usize,
    #[serde(flatten)]
    pub(crate) training: Training,
    pub(crate) shuffle_labels: bool,
}

impl Args {
    /// The options of this run. Unspecified ones come from the `saved` run; specified ones must not differ from it.
    pub(crate) fn config(&self, saved: Option<&Config>) -> Result<Config> {
        let shuffle = self.source.shuffle_labels.then_some(true);
        let model = pick("model", self.model, saved.map(|s| s.model), Model::default())?;
        let epochs = model.epochs()[usize::from(self.options.quick)];
        Ok(Config {
            model,
            epochs: pick("epochs", self.epochs, saved.map(|s| s.epochs), epochs)?,
            training: self.options.training(saved.map(|s| &s.training), 32, model.lr())?,
            shuffle_labels: pick("shuffle-labels", shuffle, saved.map(|s| s.shuffle_labels), false)?,
        })
    }

    /// The test accuracy that this run should reach: known for the digits and default options, with any seed.
    pub(crate) fn bound(&self, config: &Config) -> Option<f64> {
        let Config { model, epochs, training, shuffle_labels } = config;
        let Training { seed, autocast, ref averages, .. } = *training;
        // Averages do not change the weights.
        let averages = averages.clone();
        let usual = Training { seed, autocast, averages, ..Training::new(32, model.lr()) };
        let known = self.source.data.is_none() && !shuffle_labels && *training == usual;
        let after = model.epochs().iter().position(|after| known && after == epochs)?;
        Some(model.bounds()[after])
    }
}
