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

/// Steps that may be on their way before the next one waits.
pub(super) const IN_FLIGHT: usize = 3;

/// Reports that are kept for a caller who does not ask; older ones are dropped.
const KEPT: usize = 4096;

/// Trains one graph: one submit a step, or [several steps a submit](super::TrainerBuilder::steps_per_submit), and the loss read some steps later.
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
    /// For a schedule that counts epochs, which is there only if this is.
    pub(super) steps_per_epoch: Option<u64>,
    pub(super) scalars: Vec<(String, Var)>,
    /// How the scalars over a data set follow from its batches.
    pub(super) whole: Whole,
    pub(super) plans: HashMap<PlanKey, Plan>,
    pub(super) frozen: FrozenSets,
    /// What [`Trainer::predict`] computes by, for each variable, which is the graph's own.
    pub(super) predictions: HashMap<usize, Inference>,
    pub(super) workspace: Workspace,
    pub(super) staging: Staging,
    pub(super) ring: ReadRing,
    pub(super) group: Group,
    pub(super) arrived: VecDeque<StepReport>,
    pub(super) last: Option<StepReport>,
    pub(super) steps: u64,
    /// Batches taken towards the next step, where several make one.
    pub(super) taken: u64,
    pub(super) seed: u64,
    /// What its plans store activations as, if not as f32.
    pub(super) autocast: Option<Dtype>,
}

/// Which plan: whether it trains, for how many samples, whether it adds to the gradients of the one before, and what is
/// frozen, by its number among [`FrozenSets`], which makes no difference where nothing is trained.
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

/// What one step computed: the loss first, then the metrics.
#[derive(Clone, Debug, PartialEq)]
pub struct StepReport {
    /// The step, from 0; batches that are accumulated to one step share it.
    pub step: u64,
    /// The loss over the batch.
    pub loss: f32,
    /// The metrics in the order in which they were asked for.
    pub metrics: Vec<f32>,
}

impl<R: AnyRule + Clone> Trainer<R> {
    /// Runs one step on a batch of any size: forward, backward and update in one submit. Where transforms
    /// accumulate, every batch is run so, and the last of each step updates.
    ///
    /// With [`steps_per_submit`](super::TrainerBuilder::steps_per_submit) the submit comes with a later step, and an error
    /// of it from the call that submits.
    ///
    /// Waits only if three earlier submits of steps are still on their way, and then for the oldest. A batch size that was not
    /// seen before compiles a plan first, and so does a change of what is [frozen](ParamStore::freeze): no gradient of it is computed,
    /// and there is no backward pass below the last layer that is trained. Plans of the latest eight sets of frozen
    /// parameters are kept.
    ///
    /// # Errors
    /// Those of [`Plan::write`] for the data, of the schedule for the step and of the optimizer for its
    /// hyperparameters, all before anything has changed; [`Error::NonFinite`] after too many skipped steps in a
    /// row; [`Error::Shape`] for other batches than 1 where the loss or a metric is a scalar only of the one sample that
    /// the graph was declared with, as a loss without reduction; [`Error::DeviceLost`].
    pub fn step(&mut self, data: &[(&str, &dyn HostData)]) -> Result<(), Error> {
        self.gpu.clone().block_on(self.step_async(data))
    }

    /// As [`Trainer::step`], without blocking but where [`Autotune`](crate::gpu::Autotune) times the kernels of a plan that
    /// is compiled. Where the future is dropped before it is ready, the step was not taken.
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
        self.plan(key)?;
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

    /// Waits until another step can be on its way.
    async fn make_room(&mut self) -> Result<(), Error> {
        self.settle()?;
        // For a whole group at once: to wait submits what is held back.
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

    /// Records batch `number` of the run, of a plan that there is.
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
        // What was written to buffers until here, as first values of state, has submitted the steps before.
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

    /// Tells the schedule the latest value of the metric that it follows, most often once an epoch. Does
    /// nothing for a schedule that follows none.
    ///
    /// # Errors
    /// [`Error::Constant`] for NaN; then nothing was changed.
    pub fn observe(&mut self, metric: f64) -> Result<(), Error> {
        self.schedule.as_mut().map_or(Ok(()), |schedule| schedule.observe(metric))
    }

    /// The oldest report that has arrived and was not given out, without waiting.
    ///
    /// Of reports that nobody asks for the latest 4,096 are kept.
    ///
    /// # Errors
    /// [`Error::DeviceLost`].
    pub fn poll(&mut self) -> Result<Option<StepReport>, Error> {
        // A submit looks for what has arrived as well, but after the last step there is none.
        self.gpu.poll(wgpu::PollType::Poll)?;
        self.settle()?;
        while let Some(bytes) = self.ring.poll(&self.gpu)? {
            self.arrive(Some(bytes));
        }
        Ok(self.give())
    }

    /// The oldest report that was not given out, waited for; `None` when every step has been reported.
    ///
    /// # Errors
    /// [`Error::DeviceLost`].
    pub fn read_report(&mut self) -> Result<Option<StepReport>, Error> {
        self.gpu.clone().block_on(self.read_report_async())
    }

    /// As [`Trainer::read_report`], without blocking. Where the future is dropped, no report is lost.
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

    /// The loss of the latest step, waited for; NaN before the first one.
    ///
    /// Reports that were not given out before are passed over.
    ///
    /// # Errors
    /// [`Error::DeviceLost`].
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

    /// Drops reports that were not given out, of steps that are no longer this run's.
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

    /// Steps taken so far: updates, not batches, where several batches make one; skipped ones are counted.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// The parameters and their gradients.
    pub fn params(&self) -> &ParamStore {
        &self.params
    }

    /// The parameters and their gradients, to be written or frozen.
    pub fn params_mut(&mut self) -> &mut ParamStore {
        self.settle_quietly();
        &mut self.params
    }

    /// The optimizer, for its groups, rates and state.
    pub fn optimizer(&self) -> &Optimizer<R> {
        &self.optimizer
    }

    /// The optimizer, to change its groups or to load its state.
    pub fn optimizer_mut(&mut self) -> &mut Optimizer<R> {
        self.settle_quietly();
        &mut self.optimizer
    }

    /// Samples in `data`, from the length of its first known input.
    pub(super) fn batch_of(&self, data: &[(&str, &dyn HostData)]) -> Result<usize, Error> {
        self.any_plan().samples(data)
    }

    /// Some plan: all of them take the same inputs.
    pub(super) fn any_plan(&self) -> &Plan {
        self.plans.values().next().expect("a plan is made when the trainer is")
    }

    pub(super) fn plan(&mut self, key: PlanKey) -> Result<(), Error> {
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
        let plan = self.graph.compile(&self.params, &options, &mut self.workspace)?;
        self.plans.insert(key, plan);
        Ok(())
    }
}

/// Records the copies of scalars, which are outputs of these names, into a slot of `ring`.
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

/// The names of the parts of scalars in their plan.
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
