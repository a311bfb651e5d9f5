//! A run that goes on.

use std::collections::{BTreeMap, VecDeque};

use super::record::Record;
use super::{FitOptions, FitReport};
use crate::Error;
use crate::graph::HostData;
use crate::optim::{AnyRule, NormReport};
use crate::train::callbacks::{
    BatchEnd, Callbacks, Control, EpochEnd, Note, Reads, RunInfo, Stopped, TrainEnd,
};
use crate::train::data::{BatchSource, Inputs, Position};
use crate::train::{Evaluation, StepReport, Trainer};

/// A batch whose report was not given to callbacks yet.
struct Taken {
    epoch: u64,
    samples: usize,
    lrs: Vec<f64>,
    /// The step as the optimizer counts it, if its norms are reported.
    norms: Option<u64>,
}

pub(super) struct Running<'a, 'c, R: AnyRule, S: BatchSource> {
    trainer: &'a mut Trainer<R>,
    source: &'a mut S,
    batch: S::Batch,
    options: &'a FitOptions<'a>,
    callbacks: &'a mut Callbacks<'c>,
    info: RunInfo,
    record: Record,
    norms_every: u64,
    taken: VecDeque<Taken>,
    reports: VecDeque<StepReport>,
    norms: VecDeque<NormReport>,
    stopped: Option<Stopped>,
    notes: Vec<Note>,
}

impl<'a, 'c, R: AnyRule + Clone, S: BatchSource<Batch: Inputs>> Running<'a, 'c, R, S> {
    /// Checks everything, loads the checkpoint to resume from, and begins.
    pub(super) async fn begin(
        trainer: &'a mut Trainer<R>,
        source: &'a mut S,
        options: &'a FitOptions<'a>,
        callbacks: &'a mut Callbacks<'c>,
    ) -> Result<Self, Error> {
        let batches = batches_per_epoch(source.batches_per_epoch(), options.batches_per_epoch)?;
        let steps_per_epoch = steps_per_epoch(trainer, batches)?;
        let mut info = trainer.run_info(options.epochs, steps_per_epoch);
        let columns = columns(&info, options.validation.is_some());
        let mut record = Record::new(trainer.steps(), batches, columns)?;
        callbacks.check(&info)?;
        let norms_every = callbacks.norms_every();
        trainer.check_norms_every(norms_every)?;
        match options.resume {
            Some(checkpoint) => {
                record = record.load(checkpoint, &options.run)?;
                callbacks.on_load_checkpoint(checkpoint)?;
                trainer.load_checkpoint_async(checkpoint).await?;
            }
            None => while trainer.read_report_async().await?.is_some() {},
        }
        if norms_every > 0 {
            trainer.report_norms(norms_every)?;
        }
        (info.first_step, info.step) = (record.first_step, trainer.steps());
        info.resumed = options.resume.is_some();
        let mut running = Self {
            trainer,
            source,
            batch: S::Batch::default(),
            options,
            callbacks,
            info,
            record,
            norms_every,
            taken: VecDeque::new(),
            reports: VecDeque::new(),
            norms: VecDeque::new(),
            stopped: None,
            notes: Vec::new(),
        };
        let mut control = Control::new();
        running.callbacks.on_train_begin(&running.info, &mut control)?;
        running.obey(control)?;
        Ok(running)
    }

    /// Runs the epochs that are left.
    pub(super) async fn run(&mut self) -> Result<(), Error> {
        let of = self.trainer.batches_a_step();
        while (self.record.history.rows().len() as u64) < self.options.epochs && self.stopped.is_none() {
            let epoch = self.record.history.rows().len() as u64;
            let before = self.info.first_step + epoch * self.info.steps_per_epoch;
            let steps = self.trainer.steps().checked_sub(before);
            let steps = steps.filter(|steps| *steps <= self.info.steps_per_epoch);
            let lost = || Error::Config {
                what: "fit".into(),
                reason: format!(
                    "{} steps were taken, which is not within epoch {epoch}",
                    self.trainer.steps()
                ),
            };
            let steps = steps.ok_or_else(lost)?;
            let position = Position { epoch, batch: steps * of };
            if self.source.position() != position {
                self.source.seek(position)?;
            }
            if steps == 0 {
                let mut control = Control::new();
                self.callbacks.on_epoch_begin(epoch + 1, &mut control)?;
                self.obey(control)?;
            }
            self.batches(epoch, steps * of).await?;
            if self.stopped.is_some() {
                break;
            }
            self.end_epoch(epoch).await?;
        }
        Ok(())
    }

    /// Takes the batches of an epoch from number `from` on, until a callback stops the run.
    async fn batches(&mut self, epoch: u64, from: u64) -> Result<(), Error> {
        let of = self.trainer.batches_a_step();
        for number in from..self.record.batches_per_epoch {
            if number.is_multiple_of(of) {
                let mut control = Control::new();
                self.callbacks.on_train_batch_begin(self.trainer.steps(), &mut control)?;
                let saves = control.saves();
                self.obey(control)?;
                if saves {
                    self.arrive_all().await?;
                    self.save().await?;
                }
                if self.stopped.is_some() {
                    return Ok(());
                }
            }
            self.step(epoch, number).await?;
            self.poll()?;
            self.deliver(false)?;
        }
        // The end of the epoch, so that the next one follows.
        if self.source.next_batch(&mut self.batch)? {
            let reason = format!("epoch {epoch} has more than {} batches", self.record.batches_per_epoch);
            return Err(Error::Config { what: "source".into(), reason });
        }
        self.arrive_all().await
    }

    async fn step(&mut self, epoch: u64, number: u64) -> Result<(), Error> {
        let batches = self.record.batches_per_epoch;
        if !self.source.next_batch(&mut self.batch)? {
            let reason = format!("epoch {epoch} ended after {number} of {batches} batches");
            return Err(Error::Config { what: "source".into(), reason });
        }
        let batch = self.batch.inputs();
        let inputs: Vec<(&str, &dyn HostData)> =
            batch.iter().map(|(name, data)| (*name, data as &dyn HostData)).collect();
        let attempted = self.trainer.optimizer().attempted();
        self.trainer.step_async(&inputs).await?;
        let updated = self.trainer.optimizer().attempted() > attempted;
        let samples = self.trainer.batch_of(&inputs)?;
        let due = updated && self.norms_every > 0 && attempted.is_multiple_of(self.norms_every);
        let lrs = rates(self.trainer);
        self.taken.push_back(Taken { epoch: epoch + 1, samples, lrs, norms: due.then_some(attempted) });
        Ok(())
    }

    /// Takes what has arrived, without waiting.
    fn poll(&mut self) -> Result<(), Error> {
        while let Some(report) = self.trainer.poll()? {
            self.reports.push_back(report);
        }
        if self.norms_every > 0 {
            while let Some(report) = self.trainer.poll_norm_report()? {
                self.norms.push_back(report);
            }
        }
        Ok(())
    }

    /// Waits for the reports of all steps, and gives them to the callbacks.
    async fn arrive_all(&mut self) -> Result<(), Error> {
        while let Some(report) = self.trainer.read_report_async().await? {
            self.reports.push_back(report);
        }
        self.norms.extend(self.trainer.read_norm_reports_async().await?);
        self.deliver(true)
    }

    /// Gives reports to the callbacks, in the order of the steps, each with its norms. Unless it has `all`, a report
    /// stays whose norms have not arrived yet.
    fn deliver(&mut self, all: bool) -> Result<(), Error> {
        while let (Some(taken), Some(_)) = (self.taken.front(), self.reports.front()) {
            let mut norms = None;
            if let Some(step) = taken.norms {
                while self.norms.front().is_some_and(|report| report.step < step) {
                    self.norms.pop_front();
                }
                if self.norms.is_empty() && !all {
                    return Ok(());
                }
                if self.norms.front().is_some_and(|report| report.step == step) {
                    norms = self.norms.pop_front();
                }
            }
            let (Some(taken), Some(report)) = (self.taken.pop_front(), self.reports.pop_front()) else {
                break;
            };
            self.record.sums.add(report.loss, &report.metrics, taken.samples);
            let means = self.record.sums.means(self.info.metrics.len());
            let mut control = Control::new();
            let values = std::iter::once(&report.loss).chain(&report.metrics);
            for (name, value) in self.info.metrics.iter().zip(values) {
                control.log(name, f64::from(*value));
            }
            let batch = BatchEnd {
                epoch: taken.epoch,
                report: &report,
                samples: taken.samples,
                lrs: &taken.lrs,
                means: &means,
                norms: norms.as_ref(),
            };
            self.callbacks.on_train_batch_end(&batch, &mut control)?;
            self.obey(control)?;
        }
        Ok(())
    }

    /// Evaluates, adds a row to the history, and calls the callbacks.
    async fn end_epoch(&mut self, epoch: u64) -> Result<(), Error> {
        let tested = match self.options.validation {
            Some(validation) => Some(self.trainer.evaluate_async(validation.data, validation.batch).await?),
            None => None,
        };
        let trained = std::mem::take(&mut self.record.sums).means(self.info.metrics.len());
        let lrs = rates(self.trainer);
        let metric = tested.as_ref().map_or(trained[0], |tested| tested.loss);
        let held_out =
            tested.iter().flat_map(|Evaluation { loss, metrics, .. }| [&[*loss], &metrics[..]].concat());
        let lr = lrs.iter().copied().fold(0.0, f64::max);
        let values: Vec<f64> = trained.into_iter().chain(held_out).chain([lr]).collect();
        let step = self.trainer.steps();
        self.record.history.push(epoch + 1, step, &values)?;
        let mut control = Control::new();
        for (name, value) in self.record.history.columns().iter().zip(values) {
            control.log(name, value);
        }
        let reads = self.callbacks.reads(epoch + 1, &control)?;
        let (weights, gradients) = self.read(reads).await?;
        let (weights, gradients) = (weights.as_ref(), gradients.as_ref());
        let end = EpochEnd { epoch: epoch + 1, step, lrs: &lrs, weights, gradients };
        self.callbacks.on_epoch_end(&end, &mut control)?;
        // Behind the callbacks, which say more about a metric that is not a number.
        self.trainer.observe(metric)?;
        let saves = control.saves();
        self.obey(control)?;
        if saves { self.save().await } else { Ok(()) }
    }

    async fn read(&self, reads: Reads) -> Result<(Option<Tensors>, Option<Tensors>), Error> {
        let weights = if reads.weights { Some(self.trainer.read_params().await?) } else { None };
        let gradients = if reads.gradients { Some(self.trainer.read_gradients().await?) } else { None };
        Ok((weights, gradients))
    }

    /// Does what callbacks have asked for, except saving.
    fn obey(&mut self, control: Control) -> Result<(), Error> {
        self.trainer.apply(&control)?;
        self.notes.extend_from_slice(control.notes());
        if self.stopped.is_none() {
            self.stopped = control.stopped().cloned();
        }
        Ok(())
    }

    /// Makes a checkpoint of the run, all of whose reports the callbacks have seen, and gives it to them.
    async fn save(&mut self) -> Result<(), Error> {
        let mut checkpoint = self.trainer.read_checkpoint_async().await?;
        self.record.save(&mut checkpoint, &self.options.run);
        self.callbacks.on_save_checkpoint(&mut checkpoint)?;
        self.callbacks.write_checkpoint(&checkpoint)
    }

    /// Ends the run.
    pub(super) async fn end(mut self) -> Result<FitReport, Error> {
        self.arrive_all().await?;
        let mut control = Control::new();
        let stopped = self.stopped.clone();
        let end = TrainEnd { step: self.trainer.steps(), stopped: stopped.as_ref() };
        self.callbacks.on_train_end(&end, &mut control)?;
        if control.saves() && self.trainer.taken == 0 {
            self.save().await?;
        }
        // After the last checkpoint, which goes on from the latest weights and not the best.
        self.obey(control)?;
        if self.norms_every > 0 {
            self.trainer.report_norms(0)?;
        }
        Ok(FitReport { history: self.record.history, stopped, notes: self.notes })
    }
}

/// The rate of each group.
fn rates<R: AnyRule + Clone>(trainer: &Trainer<R>) -> Vec<f64> {
    trainer.optimizer().rules().map(|rule| rule.lr()).collect()
}

/// Batches of an epoch, as the source or the options say.
fn batches_per_epoch(source: Option<u64>, option: Option<u64>) -> Result<u64, Error> {
    match (source, option) {
        (Some(source), Some(option)) if source != option => {
            Err(Error::constant("batches_per_epoch", format!("{source}, those of the source"), option))
        }
        (Some(batches), _) | (None, Some(batches)) => Ok(batches),
        (None, None) => {
            let reason =
                "the source does not know how many batches an epoch has: set batches_per_epoch".into();
            Err(Error::Config { what: "fit".into(), reason })
        }
    }
}

type Tensors = BTreeMap<String, Vec<f32>>;

/// Columns of the history.
fn columns(info: &RunInfo, validates: bool) -> Vec<String> {
    let sets: &[&str] = if validates { &["train", "val"] } else { &["train"] };
    let of = |set: &&str| info.metrics.iter().map(move |name| format!("{set}_{name}")).collect::<Vec<_>>();
    let columns = sets.iter().flat_map(of);
    columns.chain(["lr".into()]).collect()
}

/// Steps of an epoch of `batches` batches.
fn steps_per_epoch<R: AnyRule + Clone>(trainer: &Trainer<R>, batches: u64) -> Result<u64, Error> {
    let of = trainer.batches_a_step();
    let refuse = |reason: String| Error::Config { what: "fit".into(), reason };
    if trainer.taken > 0 {
        let taken = trainer.taken;
        return Err(refuse(format!(
            "{taken} of the {of} batches of a step were taken: begin after the last"
        )));
    }
    if batches == 0 || !batches.is_multiple_of(of) {
        return Err(refuse(format!("an epoch has {batches} batches, and {of} make a step")));
    }
    match trainer.steps_per_epoch {
        Some(steps) if steps != batches / of => {
            let allowed = format!("{}, the steps in an epoch of the source", batches / of);
            Err(Error::constant("steps_per_epoch", allowed, steps))
        }
        _ => Ok(batches / of),
    }
}
