//! Options shared by the training examples, and those stored with a run.

use std::fmt::Display;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use gradus::grad::{GradScaler, Transforms};
use gradus::graph::Dtype;
use gradus::optim::{self, AdamW, AnyRule, Averages};
use gradus::schedule::{self, Interval, OneCycleLR, Schedule};
use gradus::train::TrainerBuilder;
use serde::{Deserialize, Serialize};
use serde_json::Value;

#[derive(Clone, clap::Args)]
pub(crate) struct Options {
    /// Batch size.
    #[arg(long, value_parser = positive)]
    pub(crate) batch_size: Option<usize>,
    /// Learning rate of the default optimizer, and peak of the default schedule.
    #[arg(long, value_parser = rate)]
    pub(crate) lr: Option<f64>,
    /// Seed for the parameters and the shuffling. Default: 1.
    #[arg(long)]
    pub(crate) seed: Option<u64>,
    /// Optimizer as JSON, such as '{"name": "SGD", "lr": 0.1, "momentum": 0.9}'. Default: AdamW at --lr.
    #[arg(long, value_parser = json)]
    pub(crate) optimizer: Option<Value>,
    /// Schedule as JSON, such as '{"name": "StepLR", "step_size": 200}'. Default: OneCycleLR with peak --lr. A
    /// schedule that follows a metric gets the loss on the test set after each epoch.
    #[arg(long, value_parser = json)]
    pub(crate) schedule: Option<Value>,
    /// Averages of the weights as JSON, such as '{"kind": "ema", "decay": 0.99}'. They are evaluated at the end of
    /// the run. Default: none.
    #[arg(long, value_parser = json)]
    pub(crate) averages: Option<Value>,
    /// Stores activations and their gradients as f16, if the adapter has SHADER_F16, and scales the loss.
    #[arg(long)]
    pub(crate) autocast: bool,
    /// Folder for model.safetensors, history.csv and report.svg. Replaces those of an earlier run.
    #[arg(long)]
    pub(crate) out: Option<PathBuf>,
    /// Steps between saves of the model. Default: the steps of an epoch.
    #[arg(long, value_parser = positive, requires = "out")]
    pub(crate) save_every: Option<usize>,
    /// Resumes from this model, bit for bit, with its options. Starts a new run if the file does not exist.
    #[arg(long)]
    pub(crate) resume: Option<PathBuf>,
    /// A short run, to check in seconds that everything works.
    #[arg(long)]
    pub(crate) quick: bool,
}

/// Options that determine the results of a run. Stored in the model's file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Training {
    pub(crate) batch_size: usize,
    pub(crate) lr: f64,
    pub(crate) seed: u64,
    /// As it was given, `None` for the default.
    pub(crate) optimizer: Option<Value>,
    /// As it was given, `None` for the default.
    pub(crate) schedule: Option<Value>,
    /// As it was given, `None` for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) averages: Option<Value>,
    /// Whether activations are f16.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) autocast: bool,
}

/// Length of a run. An epoch ends with an evaluation; the last epoch can be shorter.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Length {
    pub(crate) steps: u64,
    pub(crate) steps_per_epoch: u64,
}

impl Options {
    /// The options of this run. Unspecified ones come from the `saved` run; specified ones must not differ from it.
    pub(crate) fn training(&self, saved: Option<&Training>, batch_size: usize, lr: f64) -> Result<Training> {
        let default = Training::new(batch_size, lr);
        let autocast = self.autocast.then_some(true);
        let of = |optional: fn(&Training) -> &Option<Value>| saved.map(optional);
        Ok(Training {
            batch_size: pick("batch-size", self.batch_size, saved.map(|s| s.batch_size), default.batch_size)?,
            lr: pick("lr", self.lr, saved.map(|s| s.lr), default.lr)?,
            seed: pick("seed", self.seed, saved.map(|s| s.seed), default.seed)?,
            optimizer: pick_json("optimizer", self.optimizer.clone(), of(|s| &s.optimizer))?,
            schedule: pick_json("schedule", self.schedule.clone(), of(|s| &s.schedule))?,
            averages: pick_json("averages", self.averages.clone(), of(|s| &s.averages))?,
            autocast: pick("autocast", autocast, saved.map(|s| s.autocast), false)?,
        })
    }
}

impl Training {
    /// The default options.
    pub(crate) fn new(batch_size: usize, lr: f64) -> Self {
        Self { batch_size, lr, seed: 1, optimizer: None, schedule: None, averages: None, autocast: false }
    }

    pub(crate) fn optimizer(&self) -> Result<Box<dyn AnyRule>> {
        Ok(match &self.optimizer {
            Some(json) => optim::from_json(json).context("--optimizer")?,
            None => AdamW { lr: self.lr, ..AdamW::default() }.into(),
        })
    }

    /// The schedule. It must have a rate for every step of the run.
    pub(crate) fn schedule(&self, length: Length) -> Result<Box<dyn Schedule>> {
        let Length { steps, .. } = length;
        let schedule: Box<dyn Schedule> = match &self.schedule {
            Some(json) => schedule::from_json(json).context("--schedule")?,
            None => Box::new(OneCycleLR::new(self.lr, steps)),
        };
        let last = match schedule.interval() {
            Interval::Step => steps - 1,
            Interval::Epoch => length.epochs() - 1,
        };
        schedule.at(last, self.lr).with_context(|| format!("--schedule for {steps} steps"))?;
        Ok(schedule)
    }

    /// Makes the trainer store f16, if this run does, and adjust the loss scale.
    pub(crate) fn cast<R: AnyRule + Clone>(&self, builder: TrainerBuilder<R>) -> TrainerBuilder<R> {
        if !self.autocast {
            return builder;
        }
        let transforms = Transforms { grad_scaler: Some(GradScaler::default()), ..Transforms::default() };
        builder.transforms(transforms).autocast(Dtype::F16)
    }

    /// Makes the trainer keep averages of the weights, if this run does.
    pub(crate) fn average<R: AnyRule + Clone>(
        &self,
        builder: TrainerBuilder<R>,
    ) -> Result<TrainerBuilder<R>> {
        let Some(json) = &self.averages else { return Ok(builder) };
        Ok(builder.averages(Averages::from_json(json).context("--averages")?))
    }

    pub(crate) fn schedule_name(&self) -> &str {
        let given = self.schedule.as_ref().and_then(|json| json["name"].as_str());
        given.unwrap_or("OneCycleLR")
    }
}

impl Length {
    pub(crate) fn of_epochs(epochs: usize, steps_per_epoch: usize) -> Result<Self> {
        let steps = epochs.checked_mul(steps_per_epoch);
        let steps = steps.with_context(|| format!("--epochs {epochs} are more steps than can be counted"))?;
        Ok(Self { steps: steps as u64, steps_per_epoch: steps_per_epoch as u64 })
    }

    pub(crate) fn epochs(self) -> u64 {
        self.steps.div_ceil(self.steps_per_epoch)
    }

    /// Number of steps of an epoch, counted from 0.
    pub(crate) fn steps_of(self, epoch: u64) -> u64 {
        self.steps_per_epoch.min(self.steps - epoch * self.steps_per_epoch)
    }
}

/// The value of an option: as specified, as saved, or the default. An error if it is specified and differs from the
/// saved value.
pub(crate) fn pick<T: PartialEq + Display>(
    name: &str,
    given: Option<T>,
    saved: Option<T>,
    default: T,
) -> Result<T> {
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

fn pick_json(name: &str, given: Option<Value>, saved: Option<&Option<Value>>) -> Result<Option<Value>> {
    match (given, saved) {
        (Some(given), Some(saved)) => {
            if saved.as_ref() != Some(&given) {
                let saved = saved.as_ref().map_or("the default".into(), Value::to_string);
                bail!("{}", differs(name, &given, &saved));
            }
            Ok(Some(given))
        }
        (given, saved) => Ok(given.or(saved.cloned().flatten())),
    }
}

pub(crate) fn positive(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|number| *number > 0).ok_or_else(|| "it must be an integer of at least 1".into())
}

pub(crate) fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse().ok().filter(|rate: &f64| rate.is_finite() && *rate >= 0.0);
    rate.ok_or_else(|| "it must be a finite number of at least 0".into())
}

fn json(text: &str) -> Result<Value, String> {
    serde_json::from_str(text).map_err(|e| format!("it must be JSON: {e}"))
}
