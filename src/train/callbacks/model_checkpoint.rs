use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{BatchEnd, Callback, Control, EpochEnd, RunInfo, TrainEnd, read_state, to_state};
use crate::error::Error;
use crate::files;
use crate::schedule::{Best, MetricMode};
use crate::train::Checkpoint;

/// Saves the run: the latest checkpoint, the best by a metric, and the last few.
///
/// | file in `folder` | what it is |
/// |---|---|
/// | `last.safetensors` | the latest checkpoint, from which [`FitOptions::resume`](crate::train::FitOptions::resume) goes on |
/// | `best.safetensors` | that of the epoch with the best `monitor`, if there is one |
/// | `step-00000135.safetensors` | those of the last `keep` saves, by the number of their steps |
///
/// Each file is written beside its destination and renamed, `last.safetensors` after the others, so that a run that is
/// killed at any moment leaves whole files and goes on from the last one. A checkpoint is not written once a loss was not
/// finite. It takes all bytes of parameters and optimizer state for each file. For one folder use a
/// [`FolderLock`](crate::train::files::FolderLock) if several runs may choose the same.
///
/// Source: Keras 3.15, `keras.callbacks.ModelCheckpoint`, and Lightning 2.5, `ModelCheckpoint`. Differs: the whole run is
/// saved, not the weights alone; there is no mode `auto`.
///
/// ```
/// use gradus::schedule::MetricMode;
/// use gradus::train::callbacks::ModelCheckpoint;
///
/// let saves = ModelCheckpoint::new("runs/first").monitor("val_loss", MetricMode::Min).keep(2);
/// assert!(saves.last().ends_with("last.safetensors"));
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelCheckpoint {
    folder: PathBuf,
    #[serde(default)]
    monitor: Option<String>,
    #[serde(default)]
    mode: MetricMode,
    #[serde(default)]
    keep: usize,
    #[serde(default = "one")]
    every_n_epochs: u64,
    #[serde(default)]
    every_n_steps: u64,
    #[serde(default = "last")]
    last: String,
    #[serde(skip)]
    state: State,
    #[serde(skip)]
    moment: Moment,
}

fn one() -> u64 {
    1
}

fn last() -> String {
    "last.safetensors".into()
}

const BEST: &str = "best.safetensors";

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct State {
    best: Best,
    best_step: Option<u64>,
}

/// What is known between events, and not kept.
#[derive(Clone, Debug, Default, PartialEq)]
struct Moment {
    /// Steps of the run when it was last saved, or when it began.
    saved: Option<u64>,
    /// Whether the next checkpoint is asked for by this callback.
    asked: bool,
    /// Whether that is the best so far.
    is_best: bool,
    diverged: bool,
}

impl ModelCheckpoint {
    /// Saves into `folder`, which is created, after each epoch.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
            monitor: None,
            mode: MetricMode::Min,
            keep: 0,
            every_n_epochs: 1,
            every_n_steps: 0,
            last: last(),
            state: State::default(),
            moment: Moment::default(),
        }
    }

    /// Also keeps the best epoch by the logged value `name`, such as `val_loss`, and by whether smaller or larger is better.
    #[must_use]
    pub fn monitor(mut self, name: impl Into<String>, mode: MetricMode) -> Self {
        (self.monitor, self.mode) = (Some(name.into()), mode);
        self
    }

    /// Also keeps this many of the last saves by number; each save removes all other numbered ones in the folder, also
    /// those of earlier runs. Default 0.
    #[must_use]
    pub fn keep(mut self, saves: usize) -> Self {
        self.keep = saves;
        self
    }

    /// Epochs between saves, at least 1. Default 1. The best epoch and the end of the run are saved anyway.
    #[must_use]
    pub fn every_n_epochs(mut self, epochs: u64) -> Self {
        self.every_n_epochs = epochs;
        self
    }

    /// Steps between further saves within an epoch, 0 for none. Each waits for the steps in flight. Default 0.
    #[must_use]
    pub fn every_n_steps(mut self, steps: u64) -> Self {
        self.every_n_steps = steps;
        self
    }

    /// Name of the latest checkpoint's file. Default `last.safetensors`.
    #[must_use]
    pub fn last_name(mut self, name: impl Into<String>) -> Self {
        self.last = name.into();
        self
    }

    /// The latest checkpoint's file.
    #[must_use]
    pub fn last(&self) -> PathBuf {
        self.folder.join(&self.last)
    }

    /// The best checkpoint's file.
    #[must_use]
    pub fn best(&self) -> PathBuf {
        self.folder.join(BEST)
    }

    /// The best value of `monitor` so far and the steps that had been taken.
    #[must_use]
    pub fn best_so_far(&self) -> Option<(f64, u64)> {
        self.state.best.0.zip(self.state.best_step)
    }

    fn ask(&mut self, control: &mut Control) {
        if !self.moment.diverged {
            self.moment.asked = true;
            control.save_checkpoint();
        }
    }

    /// Whether this is a name of a numbered checkpoint, and of which step.
    fn step_of(name: &str) -> Option<u64> {
        let digits = name.strip_prefix("step-")?.strip_suffix(".safetensors")?;
        digits.parse().ok().filter(|step| numbered(*step) == name)
    }

    /// Removes numbered checkpoints but the last `keep` up to `step`.
    fn prune(&self, step: u64) -> Result<(), Error> {
        let refuse = |path: &Path, error: &std::io::Error| Error::File {
            path: path.display().to_string(),
            reason: error.to_string(),
        };
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.folder).map_err(|error| refuse(&self.folder, &error))? {
            let entry = entry.map_err(|error| refuse(&self.folder, &error))?;
            found.extend(entry.file_name().to_str().and_then(Self::step_of));
        }
        found.sort_unstable_by_key(|found| std::cmp::Reverse(*found));
        let kept: Vec<u64> = found.iter().copied().filter(|found| *found <= step).take(self.keep).collect();
        for old in found.into_iter().filter(|found| !kept.contains(found)) {
            let path = self.folder.join(numbered(old));
            fs::remove_file(&path).map_err(|error| refuse(&path, &error))?;
        }
        Ok(())
    }
}

fn numbered(step: u64) -> String {
    format!("step-{step:08}.safetensors")
}

impl Callback for ModelCheckpoint {
    fn name(&self) -> &str {
        "ModelCheckpoint"
    }

    fn check(&self, _: &RunInfo) -> Result<(), Error> {
        if self.every_n_epochs == 0 {
            return Err(Error::constant("every_n_epochs", "at least 1", 0));
        }
        let is_name = Path::new(&self.last).file_name().is_some_and(|name| name == &self.last[..]);
        if !is_name || self.last == BEST || Self::step_of(&self.last).is_some() {
            let allowed = format!("a file name other than {BEST} and those with a step");
            return Err(Error::constant("last", allowed, format!("{:?}", self.last)));
        }
        Ok(())
    }

    fn on_train_begin(&mut self, run: &RunInfo, _: &mut Control) -> Result<(), Error> {
        let path = || self.folder.display().to_string();
        fs::create_dir_all(&self.folder)
            .map_err(|error| Error::File { path: path(), reason: error.to_string() })?;
        let is_ours = |name: &str| name == self.last || name == BEST || Self::step_of(name).is_some();
        files::sweep(&self.folder, is_ours)?;
        if !run.resumed {
            self.state = State::default();
        }
        self.moment = Moment { saved: Some(run.step), ..Moment::default() };
        Ok(())
    }

    fn on_train_batch_begin(&mut self, step: u64, control: &mut Control) -> Result<(), Error> {
        let due = self.every_n_steps > 0 && step.is_multiple_of(self.every_n_steps);
        if due && self.moment.saved != Some(step) {
            self.ask(control);
        }
        Ok(())
    }

    fn on_train_batch_end(&mut self, batch: &BatchEnd<'_>, _: &mut Control) -> Result<(), Error> {
        self.moment.diverged |= !batch.report.loss.is_finite();
        Ok(())
    }

    fn on_epoch_end(&mut self, epoch: &EpochEnd<'_>, control: &mut Control) -> Result<(), Error> {
        if let Some(name) = &self.monitor {
            let metric = control.logged(name)?;
            if metric.is_nan() {
                return Err(Error::constant(name, "a number", metric));
            }
            let best = self.state.best.0.unwrap_or(self.mode.worst());
            let is_better = match self.mode {
                MetricMode::Min => metric < best,
                MetricMode::Max => metric > best,
            };
            if is_better || self.state.best_step.is_none() {
                self.state = State { best: Best(Some(metric)), best_step: Some(epoch.step) };
                self.moment.is_best = true;
            }
        }
        if epoch.epoch.is_multiple_of(self.every_n_epochs) || self.moment.is_best {
            self.ask(control);
        }
        Ok(())
    }

    fn on_train_end(&mut self, end: &TrainEnd<'_>, control: &mut Control) -> Result<(), Error> {
        if self.moment.saved != Some(end.step) {
            self.ask(control);
        }
        Ok(())
    }

    fn state(&mut self) -> Result<Option<Value>, Error> {
        Ok(to_state(&self.state))
    }

    fn load_state(&mut self, state: &Value) -> Result<(), Error> {
        self.state = read_state(self.name(), state)?;
        Ok(())
    }

    fn write_checkpoint(&mut self, checkpoint: &Checkpoint) -> Result<(), Error> {
        // The reports that this save has waited for may have been the first that are not finite.
        if !std::mem::take(&mut self.moment.asked) || self.moment.diverged {
            return Ok(());
        }
        if std::mem::take(&mut self.moment.is_best) {
            checkpoint.write(self.best())?;
        }
        if self.keep > 0 {
            checkpoint.write(self.folder.join(numbered(checkpoint.step)))?;
        }
        checkpoint.write(self.last())?;
        self.moment.saved = Some(checkpoint.step);
        self.prune(checkpoint.step)
    }
}
