use std::collections::{HashMap, VecDeque};

use super::frozen::FrozenSets;
use super::group::Group;
use crate::Error;
use crate::gpu::{Gpu, ReadRing, Recorder, Staging, Ticket};
use crate::graph::{Dtype, Graph, HostData, Mode, Plan, PlanOptions, Var, Whole, Workspace};
use crate::optim::{AnyRule, Optimizer, StepSpec};
use crate::params::ParamStore;
use crate::predict::Inference;
use crate::schedule::{Interval, Schedule};

/// Submits that may be in flight before the next step waits.
pub(super) const IN_FLIGHT: usize = 3;

/// Number of unread reports kept; older ones are dropped.
const KEPT: usize = 4096;

/// Trains one graph: one submit per step, or [several steps per submit](super::TrainerBuilder::steps_per_submit). The
/// loss is read some steps later, without waiting.
///
/// ```no_run
/// // Needs a device.
/// use gradus::graph::Graph;
/// use gradus::optim::AdamW;
/// use gradus::schedule::OneCycleLR;
/// use gradus::{Gpu, GpuOptions};
///
/// let graph = Graph::new();
/// let (x, y) = (graph.input("x", [32, 8]), graph.labels("y", 32));
/// let logits = x.linear(64).relu().linear(10);
/// let loss = logits.cross_entropy(&y);
/// let mut trainer = graph
///     .trainer(&loss, AdamW::default())
///     .schedule(OneCycleLR::new(1e-2, 100))
///     .metric("accuracy", &logits.accuracy(&y))
///     .build(&Gpu::new(GpuOptions::default())?)?;
/// for _ in 0..100 {
///     trainer.step(&[("x", &vec![0.5; 32 * 8]), ("y", &vec![3; 32])])?;
/// }
/// println!("{:.3}", trainer.read_loss()?);
/// # Ok::<(), gradus::Error>(())
/// ```
#[derive(Debug)]
pub struct Trainer<R: AnyRule> {
    pub(super) gpu: Gpu,
    pub(super) graph: Graph,
    pub(super) params: ParamStore,
    pub(super) optimizer: Optimizer<R>,
    pub(super) schedule: Option<Box<dyn Schedule>>,
    /// For a schedule that counts epochs, which is set only if this is.
    pub(super) steps_per_epoch: Option<u64>,
    pub(super) scalars: Vec<(String, Var)>,
    /// How scalars over a whole data set are computed from its batches.
    pub(super) whole: Whole,
    pub(super) plans: HashMap<PlanKey, Plan>,
    pub(super) frozen: FrozenSets,
    /// The inference plans of [`Trainer::predict`], by number of the graph's variable.
    pub(super) predictions: HashMap<usize, Inference>,
    pub(super) workspace: Workspace,
    pub(super) staging: Staging,
    pub(super) ring: ReadRing,
    pub(super) group: Group,
    pub(super) arrived: VecDeque<StepReport>,
    pub(super) last: Option<StepReport>,
    pub(super) steps: u64,
    /// Batches taken towards the next step, if several batches make one.
    pub(super) taken: u64,
    pub(super) seed: u64,
    /// The type in which plans store activations, if not f32.
    pub(super) autocast: Option<Dtype>,
}

/// Key of a plan: whether it trains, its number of samples, whether it adds to the gradients of earlier batches, and
/// the number of its set in [`FrozenSets`], which does not matter unless it trains.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct PlanKey {
    pub(super) mode: Mode,
    pub(super) batch: usize,
    pub(super) adds: bool,
    pub(super) frozen: u64,
}

impl PlanKey {
    pub(super) fn evaluate(batch: usize) -> Self {
        Self { mode: Mode::Evaluate, batch, adds: false, frozen: 0 }
    }
}

/// The results of one step: the loss and the metrics.
///
/// ```
/// use gradus::optim::AdamW;
/// use gradus::train::Trainer;
///
/// fn print(trainer: &mut Trainer<AdamW>) -> Result<(), gradus::Error> {
///     while let Some(report) = trainer.poll()? {
///         println!("step {}: {:.3}", report.step, report.loss);
///     }
///     Ok(())
/// }
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct StepReport {
    /// The step, from 0. Batches accumulated to one step share it.
    pub step: u64,
    /// The loss over the batch.
    pub loss: f32,
    /// The metrics in the order in which they were requested.
    pub metrics: Vec<f32>,
}

impl<R: AnyRule + Clone> Trainer<R> {
    /// Runs one step on a batch of any size: forward, backward and update in one submit. If transforms accumulate,
    /// every call runs one batch, and the last batch of each step updates.
    ///
    /// With [`steps_per_submit`](super::TrainerBuilder::steps_per_submit) the submit happens in a later call, which
    /// also returns its error.
    ///
    /// Waits only if three earlier submits are still in flight, and then for the oldest. A new batch size compiles a
    /// plan first, and so does a change of the [frozen](ParamStore::freeze) parameters: gradients of frozen parameters
    /// are not computed, and there is no backward pass below the last trained layer. Plans of the eight most recent
    /// sets of frozen parameters are kept.
    ///
    /// # Errors
    /// Those of [`Plan::write`] for the data, of the schedule for the step and of the optimizer for its
    /// hyperparameters, all before anything has changed; [`Error::NonFinite`] after too many skipped steps in a row;
    /// [`Error::Shape`] for batches other than 1 if the loss or a metric is a scalar only because the graph was
    /// declared with one sample, such as a loss without reduction; [`Error::DeviceLost`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn step(&mut self, data: &[(&str, &dyn HostData)]) -> Result<(), Error> {
        self.gpu.clone().block_on(self.step_async(data))
    }

    /// As [`Trainer::step`], without blocking except while [`Autotune`](crate::gpu::Autotune) times the kernels of a
    /// plan being compiled. If the future is dropped before it is ready, the step is not taken.
    ///
    /// ```no_run
    /// // Needs a device.
    /// use gradus::optim::SGD;
    /// use gradus::train::Trainer;
    ///
    /// async fn epoch(trainer: &mut Trainer<SGD>, x: &[f32], y: &[u32]) -> Result<f32, gradus::Error> {
    ///     for batch in 0..y.len() / 32 {
    ///         let rows = batch * 32..(batch + 1) * 32;
    ///         let x = &x[rows.start * 8..rows.end * 8];
    ///         trainer.step_async(&[("x", &x), ("y", &&y[rows])]).await?;
    ///     }
    ///     trainer.read_loss_async().await
    /// }
    /// ```
    ///
    /// # Errors
    /// As [`Trainer::step`].
    pub async fn step_async(&mut self, data: &[(&str, &dyn HostData)]) -> Result<(), Error> {
        self.optimizer.check_places()?;
        let batch = self.batch_of(data)?;
        self.any_plan().check_inputs(data, batch)?;
        let (adds, frozen) = (self.taken > 0, self.frozen.number(&self.params));
        let key = PlanKey { mode: Mode::Train, batch, adds, frozen };
        self.plan(key).await?;
        if let Some(forgotten) = self.frozen.forget() {
            self.plans.retain(|key, _| key.mode == Mode::Evaluate || key.frozen != forgotten);
        }
        let of = self.batches_a_step();
        let updates = self.taken + 1 == of;
        let number = self.steps.checked_mul(of).and_then(|before| before.checked_add(self.taken));
        let most = || Error::constant("step", format!("at most {}", u64::MAX / of), self.steps);
        let number = number.ok_or_else(most)?;
        if let (Some(schedule), true) = (&self.schedule, updates) {
            let step = match (schedule.interval(), self.steps_per_epoch) {
                (Interval::Epoch, Some(steps)) => self.steps / steps,
                _ => self.steps,
            };
            self.optimizer.schedule(schedule, step)?;
        }
        self.make_room().await?;
        let recorded = self.record_step(data, key, (number, updates)).await;
        if recorded.is_err() {
            self.settle_quietly();
        }
        let (commands, ticket) = recorded?;
        self.hold(commands, ticket)?;
        self.frozen.submitted(&self.params, adds);
        self.taken += 1;
        if updates {
            (self.steps, self.taken) = (self.steps + 1, 0);
        }
        let ends_epoch =
            updates && self.steps_per_epoch.is_some_and(|steps| self.steps.is_multiple_of(steps));
        if self.group.is_full() || ends_epoch {
            self.submit()?;
        }
        while let Some(bytes) = self.ring.poll(&self.gpu)? {
            self.arrive(Some(bytes));
        }
        Ok(())
    }

    /// Waits until another step can be in flight.
    async fn make_room(&mut self) -> Result<(), Error> {
        self.settle()?;
        // For a whole group at once: waiting submits the steps held back.
        let most = IN_FLIGHT * self.group.most;
        while self.ring.is_full() || self.group.is_empty() && self.ring.in_flight() + self.group.most > most {
            let oldest = self.ring.read_next_async(&self.gpu).await?;
            self.arrive(oldest);
        }
        if self.optimizer.is_full() {
            self.submit()?;
            self.optimizer.make_room().await?;
        }
        self.settle()
    }

    /// Records batch `number` of the run with a compiled plan.
    async fn record_step(
        &mut self,
        data: &[(&str, &dyn HostData)],
        key: PlanKey,
        (number, updates): (u64, bool),
    ) -> Result<(wgpu::CommandBuffer, Option<Ticket>), Error> {
        let gpu = &self.gpu;
        let step = updates.then(|| self.optimizer.compute_step(gpu, &self.params)).transpose()?;
        let uniforms = step.as_ref().map_or(0, StepSpec::uniform_bytes);
        let plan = &self.plans[&key];
        self.staging.begin(plan.staged_bytes(data) + Staging::room(uniforms)).await?;
        plan.stage(data, 0, &mut self.staging)?;
        plan.stage_step(self.seed, number, &mut self.staging)?;
        let step = match step {
            Some(step) => {
                let slot = self.optimizer.stage_step(&step, &mut self.staging)?;
                Some((step, slot))
            }
            None => None,
        };
        // Writes to buffers so far, such as initial values of state, have submitted the earlier steps.
        self.settle()?;
        self.begin_group();
        let plan = &self.plans[&key];
        let mut encoder = self.gpu.encoder("step");
        let mut recorder = Recorder::new(&self.gpu, &mut encoder);
        self.staging.record(&mut recorder);
        self.staging.end()?;
        if key.adds {
            self.frozen.record_zeros(&self.params, &mut recorder);
        }
        plan.record(&mut recorder)?;
        let ticket = match step {
            Some((step, slot)) => {
                Some(self.optimizer.record_step(&mut recorder, &self.params, step, slot)?)
            }
            None => None,
        };
        let names = self.scalars.iter().map(|(name, _)| name);
        record_scalars(&mut self.ring, &mut recorder, plan, names, self.steps)?;
        drop(recorder);
        match self.gpu.finish(encoder) {
            Ok(commands) => Ok((commands, ticket)),
            Err(error) => self.abandon_last(ticket, error),
        }
    }

    /// Batches that make one step.
    pub(super) fn batches_a_step(&self) -> u64 {
        self.optimizer.transforms().accumulate.as_ref().map_or(1, |accumulate| accumulate.steps)
    }

    /// Passes the latest value of its metric to the schedule, usually once per epoch. Does nothing if the schedule
    /// follows no metric.
    ///
    /// # Errors
    /// [`Error::Constant`] for NaN; then nothing was changed.
    pub fn observe(&mut self, metric: f64) -> Result<(), Error> {
        self.schedule.as_mut().map_or(Ok(()), |schedule| schedule.observe(metric))
    }

    /// The oldest report that has arrived and was not returned yet, without waiting.
    ///
    /// Only the latest 4,096 unread reports are kept.
    ///
    /// # Errors
    /// [`Error::DeviceLost`].
    pub fn poll(&mut self) -> Result<Option<StepReport>, Error> {
        // A submit polls as well, but no submit follows the last step.
        self.gpu.poll(wgpu::PollType::Poll)?;
        self.settle()?;
        while let Some(bytes) = self.ring.poll(&self.gpu)? {
            self.arrive(Some(bytes));
        }
        Ok(self.give())
    }

    /// Waits for the oldest report that was not returned yet; `None` if every step has been reported.
    ///
    /// # Errors
    /// [`Error::DeviceLost`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn read_report(&mut self) -> Result<Option<StepReport>, Error> {
        self.gpu.clone().block_on(self.read_report_async())
    }

    /// As [`Trainer::read_report`], without blocking. If the future is dropped, no report is lost.
    ///
    /// # Errors
    /// As [`Trainer::read_report`].
    pub async fn read_report_async(&mut self) -> Result<Option<StepReport>, Error> {
        if self.arrived.is_empty() {
            if self.ring.in_flight() == 0 {
                self.submit()?;
            }
            let next = self.ring.read_next_async(&self.gpu).await?;
            if next.is_none() {
                // Reports may be missing because the device was lost.
                self.gpu.check()?;
            }
            self.arrive(next);
        }
        Ok(self.give())
    }

    /// Waits for the loss of the latest step; NaN before the first step.
    ///
    /// Discards unread reports.
    ///
    /// # Errors
    /// [`Error::DeviceLost`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn read_loss(&mut self) -> Result<f32, Error> {
        self.gpu.clone().block_on(self.read_loss_async())
    }

    /// As [`Trainer::read_loss`], without blocking.
    ///
    /// # Errors
    /// As [`Trainer::read_loss`].
    pub async fn read_loss_async(&mut self) -> Result<f32, Error> {
        while self.read_report_async().await?.is_some() {}
        Ok(self.last.as_ref().map_or(f32::NAN, |report| report.loss))
    }

    /// Waits for the reports of all steps and keeps them.
    pub(super) async fn arrive_all(&mut self) -> Result<(), Error> {
        self.submit()?;
        while let Some(bytes) = self.ring.read_next_async(&self.gpu).await? {
            self.arrive(Some(bytes));
        }
        Ok(())
    }

    /// Drops unread reports of steps that no longer belong to this run.
    pub(super) fn forget_reports(&mut self) {
        self.arrived.clear();
        self.last = None;
    }

    fn arrive(&mut self, result: Option<(u64, Vec<u8>)>) {
        self.arrived.extend(result.map(report));
        if self.arrived.len() > KEPT {
            self.arrived.pop_front();
        }
    }

    fn give(&mut self) -> Option<StepReport> {
        let report = self.arrived.pop_front()?;
        self.last = Some(report.clone());
        Some(report)
    }

    /// Steps taken so far, including skipped ones. If several batches make a step, steps are counted, not batches.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// The parameters and their gradients.
    pub fn params(&self) -> &ParamStore {
        &self.params
    }

    /// The parameters and their gradients, for writing and freezing.
    pub fn params_mut(&mut self) -> &mut ParamStore {
        self.settle_quietly();
        &mut self.params
    }

    /// The optimizer, to read its groups, learning rates and state.
    pub fn optimizer(&self) -> &Optimizer<R> {
        &self.optimizer
    }

    /// The optimizer, to change its groups or to load its state.
    pub fn optimizer_mut(&mut self) -> &mut Optimizer<R> {
        self.settle_quietly();
        &mut self.optimizer
    }

    /// Number of samples in `data`, from the length of its first known input.
    pub(super) fn batch_of(&self, data: &[(&str, &dyn HostData)]) -> Result<usize, Error> {
        self.any_plan().samples(data)
    }

    /// Any plan: all plans take the same inputs.
    pub(super) fn any_plan(&self) -> &Plan {
        self.plans.values().next().expect("a plan is made when the trainer is")
    }

    pub(super) async fn plan(&mut self, key: PlanKey) -> Result<(), Error> {
        if self.plans.contains_key(&key) {
            return Ok(());
        }
        self.whole.check_batch(key.batch)?;
        let options = match key.mode {
            Mode::Train => {
                let (loss, metrics) = self.scalars.split_first().expect("the loss is the first scalar");
                let mut options = PlanOptions::train(&loss.1);
                options.accumulate = key.adds;
                options.scaled = self.optimizer.transforms().grad_scaler.is_some();
                metrics.iter().fold(options, |options, (name, scalar)| options.output(name, scalar))
            }
            Mode::Evaluate => {
                let parts = part_names().zip(self.whole.parts());
                parts.fold(PlanOptions::evaluate(), |options, (name, part)| options.output(&name, part))
            }
        };
        let options = PlanOptions { autocast: self.autocast, ..options.batch(key.batch) };
        let plan = self.graph.compile_async(&self.params, &options, &mut self.workspace).await?;
        self.plans.insert(key, plan);
        Ok(())
    }
}

/// Records copies of the named scalar outputs into a slot of `ring`.
pub(super) fn record_scalars(
    ring: &mut ReadRing,
    recorder: &mut Recorder<'_>,
    plan: &Plan,
    names: impl Iterator<Item = impl AsRef<str>>,
    tag: u64,
) -> Result<(), Error> {
    let sources = names.map(|name| Ok((plan.output(name.as_ref())?, 4)));
    ring.record(recorder, tag, &sources.collect::<Result<Vec<_>, Error>>()?)
}

/// Names of the parts of scalars in their plan.
pub(super) fn part_names() -> impl Iterator<Item = String> {
    (0..).map(|number: usize| format!("part {number}"))
}

pub(super) fn scalars(bytes: &[u8]) -> impl Iterator<Item = f32> {
    bytes.chunks_exact(4).map(bytemuck::pod_read_unaligned)
}

fn report((step, bytes): (u64, Vec<u8>)) -> StepReport {
    let mut values = scalars(&bytes);
    let loss = values.next().expect("the loss is the first scalar");
    StepReport { step, loss, metrics: values.collect() }
}
