//! A whole run: epochs, evaluations, callbacks, and going on where a checkpoint was made.

mod record;
mod running;

use serde_json::{Map, Value};

use super::callbacks::{Callbacks, Control, Note, RunInfo, Stopped};
use super::data::{BatchSource, Inputs};
use super::{Checkpoint, History, Trainer};
use crate::Error;
use crate::graph::HostData;
use crate::optim::AnyRule;

use running::Running;

/// Options of [`Trainer::fit`].
///
/// ```
/// use gradus::train::FitOptions;
///
/// let options = FitOptions { epochs: 3, ..FitOptions::default() };
/// assert!(options.validation.is_none() && options.resume.is_none());
/// ```
#[derive(Clone, Default)]
pub struct FitOptions<'a> {
    /// Epochs of the whole run. Default 0.
    pub epochs: u64,
    /// Batches of an epoch, for a source that does not know them. Default none: as the source says.
    pub batches_per_epoch: Option<u64>,
    /// Data to evaluate on after each epoch. Default none.
    pub validation: Option<Validation<'a>>,
    /// A checkpoint of an earlier `fit` to go on from. Default none: a new run.
    pub resume: Option<&'a Checkpoint>,
    /// What checkpoints also keep, in [`Checkpoint::run`]: settings by which the run can be repeated. A run resumes only with
    /// the same. Entries `fit` and `callbacks` are replaced: those names are taken. Default: nothing.
    pub run: Map<String, Value>,
}

/// Held-out data.
///
/// ```
/// use gradus::train::Validation;
///
/// let (x, y) = (vec![0.5; 8], vec![1_u32, 0]);
/// let validation = Validation { data: &[("x", &x), ("y", &y)], batch: 2 };
/// assert_eq!(validation.data.len(), 2);
/// ```
#[derive(Clone, Copy)]
pub struct Validation<'a> {
    /// The inputs of all samples.
    pub data: &'a [(&'a str, &'a dyn HostData)],
    /// Samples in a batch; makes no difference to the results, up to rounding.
    pub batch: usize,
}

impl std::fmt::Debug for FitOptions<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FitOptions")
            .field("epochs", &self.epochs)
            .field("batches_per_epoch", &self.batches_per_epoch)
            .field("validation", &self.validation)
            .field("resume", &self.resume.map(|checkpoint| checkpoint.step))
            .field("run", &self.run)
            .finish()
    }
}

impl std::fmt::Debug for Validation<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<&str> = self.data.iter().map(|(name, _)| *name).collect();
        f.debug_struct("Validation").field("data", &names).field("batch", &self.batch).finish()
    }
}

/// What [`Trainer::fit`] returns.
///
/// ```
/// use gradus::train::FitReport;
///
/// fn last_loss(report: &FitReport) -> Option<f64> {
///     Some(report.history.rows().last()?.values[0])
/// }
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct FitReport {
    /// A row for each epoch: `train_loss` and the means of the metrics, `val_loss` and so on with validation data, `lr`.
    pub history: History,
    /// Who has stopped the run, unless it reached its last epoch.
    pub stopped: Option<Stopped>,
    /// What callbacks have said.
    pub notes: Vec<Note>,
}

impl<R: AnyRule + Clone> Trainer<R> {
    /// Trains for some epochs on the batches of `source`, evaluates after each, and calls `callbacks`.
    ///
    /// The source is sought to the run's first batch: that of its first epoch, or where the checkpoint was made.
    ///
    /// ```no_run
    /// // Needs a device.
    /// use gradus::graph::Graph;
    /// use gradus::optim::AdamW;
    /// use gradus::schedule::MetricMode;
    /// use gradus::train::callbacks::{CSVLogger, Callbacks, EarlyStopping, ModelCheckpoint, Progress};
    /// use gradus::train::data::{DataLoader, Dataset};
    /// use gradus::train::{Checkpoint, FitOptions, Validation};
    /// use gradus::{Gpu, GpuOptions};
    ///
    /// fn train(train: &Dataset, test: &Dataset) -> Result<(), gradus::Error> {
    ///     let graph = Graph::new();
    ///     let (x, y) = (graph.input("x", [32, 64]), graph.labels("y", 32));
    ///     let logits = x.linear(128).relu().linear(10);
    ///     let trainer = graph.trainer(&logits.cross_entropy(&y), AdamW::default());
    ///     let mut trainer =
    ///         trainer.metric("accuracy", &logits.accuracy(&y)).build(&Gpu::new(GpuOptions::default())?)?;
    ///     let saves = ModelCheckpoint::new("runs/first").monitor("val_loss", MetricMode::Min);
    ///     let last = saves.last();
    ///     let mut callbacks = Callbacks::new()
    ///         .with(EarlyStopping { patience: 5, ..Default::default() })
    ///         .with(CSVLogger::epochs("runs/first/history.csv"))
    ///         .with(Progress::default())
    ///         .with(saves);
    ///     let resume = if last.exists() { Some(Checkpoint::read(&last)?) } else { None };
    ///     let (x, y) = (test.numbers(), test.y());
    ///     let options = FitOptions {
    ///         epochs: 30,
    ///         validation: Some(Validation { data: &[("x", &x), ("y", &y)], batch: 100 }),
    ///         resume: resume.as_ref(),
    ///         ..Default::default()
    ///     };
    ///     let done = trainer.fit(&mut DataLoader::new(train, 32)?.shuffle(1), &options, &mut callbacks)?;
    ///     println!("{}", done.history.to_csv());
    ///     Ok(())
    /// }
    /// ```
    ///
    /// No step waits for a callback: events get reports when they have arrived, a few steps later. At the end of an epoch and
    /// before a checkpoint all reports are waited for, so that the values that callbacks see, what they write and what they
    /// keep do not depend on how fast the device is. A run that is killed at any moment and resumed with the same trainer,
    /// source, options and callbacks goes on bit for bit from its last checkpoint. A callback that stops the run within an
    /// epoch does so up to [`RunInfo::in_flight`] steps after the step whose report it saw.
    ///
    /// A schedule that follows a metric is given the loss on the validation data, or else the mean training loss, after
    /// each epoch. Checkpoints hold what [`Trainer::read_checkpoint`] reads, and in
    /// [`Checkpoint::run`] the entries `fit` and `callbacks`.
    ///
    /// It is made of public parts: [`Trainer::step`], [`Trainer::poll`], [`Trainer::evaluate`], the events of
    /// [`Callbacks`] and [`Trainer::apply`].
    ///
    /// # Errors
    /// [`Error::Callback`] with the name of a callback that failed; [`Error::Config`] for a source whose batches do not make
    /// whole steps or epochs, or that does not know how many an epoch has, and between the batches of a step; [`Error::Constant`] for another number of steps than the
    /// trainer's `steps_per_epoch`; [`Error::File`] for a checkpoint of another run, with the difference; the
    /// errors of the parts.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn fit<S>(
        &mut self,
        source: &mut S,
        options: &FitOptions<'_>,
        callbacks: &mut Callbacks<'_>,
    ) -> Result<FitReport, Error>
    where
        S: BatchSource<Batch: Inputs>,
    {
        self.gpu.clone().block_on(self.fit_async(source, options, callbacks))
    }

    /// As [`Trainer::fit`], without blocking except while plans are compiled, see [`Trainer::step_async`], and while
    /// callbacks write files. If the future is dropped, the run ends after the latest step.
    ///
    /// # Errors
    /// As [`Trainer::fit`].
    pub async fn fit_async<S>(
        &mut self,
        source: &mut S,
        options: &FitOptions<'_>,
        callbacks: &mut Callbacks<'_>,
    ) -> Result<FitReport, Error>
    where
        S: BatchSource<Batch: Inputs>,
    {
        let mut running = Running::begin(self, source, options, callbacks).await?;
        running.run().await?;
        running.end().await
    }

    /// What callbacks are told before a run of `epochs` epochs of `steps_per_epoch` steps.
    pub fn run_info(&self, epochs: u64, steps_per_epoch: u64) -> RunInfo {
        let layout = self.params.layout();
        RunInfo {
            epochs,
            steps_per_epoch,
            first_step: self.steps,
            step: self.steps,
            resumed: false,
            metrics: self.scalars.iter().map(|(name, _)| name.clone()).collect(),
            groups: layout.groups().to_vec(),
            tensors: layout.spans().iter().map(|span| (span.name.clone(), span.shape.clone())).collect(),
            scheduled: self.schedule.is_some(),
            in_flight: self.in_flight(),
        }
    }

    /// Sets the rates and writes the weights that callbacks have asked for.
    ///
    /// # Errors
    /// [`Error::Constant`] for a rate that the rule refuses or a group that does not exist; [`Error::StateDict`] for weights
    /// of another model. Then nothing was changed.
    pub fn apply(&mut self, control: &Control) -> Result<(), Error> {
        let mut rules: Vec<R> = self.optimizer.rules().cloned().collect();
        for (group, lr) in control.rates() {
            let groups = rules.len();
            let rule = rules.get_mut(*group);
            let unknown = || Error::constant("group", format!("below {groups}"), group);
            let rule = rule.ok_or_else(unknown)?;
            *rule.lr_mut() = *lr;
            rule.check()?;
        }
        if let Some(weights) = control.weights() {
            self.write_params(weights)?;
        }
        if !control.rates().is_empty() {
            self.submit()?;
            self.optimizer.rules_mut().zip(rules).for_each(|(rule, next)| *rule = next);
        }
        Ok(())
    }
}
