//! Command-line options, and the options stored in a saved run.

use anyhow::{Context, Result};
use clap::{CommandFactory, FromArgMatches};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::images::Source;
use crate::options::{Options, Training, pick, positive};
use crate::several;

const DEFAULTS: &str = "Defaults: the digits enlarged to 28x28, 5 epochs (2 with --quick) in batches of 32, at rates of 0.05 \
                        (SGD) and 1e-3 (Adam and RMSprop) without a schedule. After that many epochs a run on the digits \
                        ends with an error if one of them has not reached what it should.";

/// Trains a network with one hidden layer with SGD, Adam and RMSprop, and compares them.
#[derive(clap::Parser)]
#[command(after_help = DEFAULTS)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) source: Source,
    /// Passes over the training set with each optimizer.
    #[arg(long, value_parser = positive)]
    epochs: Option<usize>,
    #[command(flatten)]
    pub(crate) options: Options,
}

/// An optimizer of the comparison.
pub(crate) struct Chosen {
    pub(crate) name: String,
    /// Its learning rate, unless `--lr` is given.
    lr: f64,
    /// The accuracy that it should reach on the digits, after 5 epochs and after 2.
    bounds: Option<[f64; 2]>,
}

/// The settings that determine the results of a run. Stored in the model's file.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Config {
    pub(crate) epochs: usize,
    #[serde(flatten)]
    pub(crate) training: Training,
    pub(crate) shuffle_labels: bool,
}

const EPOCHS: [usize; 2] = [5, 2];

impl Args {
    pub(crate) fn parse() -> Self {
        let command = Self::command()
            .mut_arg("out", |arg| arg.help(several::OUT))
            .mut_arg("resume", |arg| arg.help(several::RESUME))
            .mut_arg("lr", |arg| arg.help("Learning rate, in place of each optimizer's own"))
            .mut_arg("schedule", |arg| {
                arg.help(r#"Schedule as JSON, as in '{"name": "StepLR", "step_size": 200}'. Default: none"#)
            })
            .mut_arg("optimizer", |arg| {
                arg.help(r#"One optimizer, as JSON, in place of the three: '{"name": "Lion", "lr": 1e-3}'"#)
            });
        let parsed = Self::from_arg_matches(&command.get_matches());
        parsed.unwrap_or_else(|error| error.exit())
    }

    /// The optimizers to compare.
    pub(crate) fn chosen(&self) -> Result<Vec<Chosen>> {
        if let Some(json) = &self.options.optimizer {
            let rule = gradus::optim::from_json(json).context("--optimizer")?;
            return Ok(vec![Chosen { name: rule.name().into(), lr: rule.lr(), bounds: None }]);
        }
        let of = |name: &str, lr, bounds| Chosen { name: name.into(), lr, bounds: Some(bounds) };
        Ok(vec![
            of("SGD", 0.05, [0.92, 0.88]),
            of("Adam", 1e-3, [0.93, 0.91]),
            of("RMSprop", 1e-3, [0.93, 0.91]),
        ])
    }

    /// The options of this run. Unspecified ones come from the `saved` run; specified ones must not differ from it.
    pub(crate) fn config(&self, chosen: &Chosen, saved: Option<&Config>) -> Result<Config> {
        let shuffle = self.source.shuffle_labels.then_some(true);
        let epochs = EPOCHS[usize::from(self.options.quick)];
        let mut training = self.options.training(saved.map(|s| &s.training), 32, chosen.lr)?;
        let lr = training.lr;
        training.optimizer.get_or_insert_with(|| json!({"name": chosen.name, "lr": lr}));
        training.schedule.get_or_insert_with(constant);
        Ok(Config {
            epochs: pick("epochs", self.epochs, saved.map(|s| s.epochs), epochs)?,
            training,
            shuffle_labels: pick("shuffle-labels", shuffle, saved.map(|s| s.shuffle_labels), false)?,
        })
    }

    /// The test accuracy that this run should reach: known for the digits and default options, with any seed.
    pub(crate) fn bound(&self, chosen: &Chosen, config: &Config) -> Option<f64> {
        let Config { epochs, training, shuffle_labels } = config;
        let usual = Training {
            seed: training.seed,
            autocast: training.autocast,
            optimizer: Some(json!({"name": chosen.name, "lr": chosen.lr})),
            schedule: Some(constant()),
            ..Training::new(32, chosen.lr)
        };
        let known = self.source.data.is_none() && !shuffle_labels && *training == usual;
        let after = EPOCHS.iter().position(|after| after == epochs)?;
        chosen.bounds.filter(|_| known).map(|bounds| bounds[after])
    }
}

/// A constant learning rate.
fn constant() -> Value {
    json!({"name": "ConstantLR", "factor": 1.0})
}
