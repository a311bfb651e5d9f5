use std::collections::{HashMap, VecDeque};
use std::fmt;

use super::Trainer;
use super::frozen::FrozenSets;
use super::group::Group;
use super::trainer::{IN_FLIGHT, PlanKey};
use crate::Error;
use crate::gpu::{Gpu, ReadRing, Staging};
use crate::grad::{ClipGradNorm, Transforms};
use crate::graph::{Dtype, Graph, Mode, Parameter, Var, Whole, Workspace};
use crate::optim::{AnyRule, Averages, Optimizer, OptimizerOptions};
use crate::schedule::{Interval, Schedule};

/// Options of a [`Trainer`] to build: see [`Graph::trainer`].
///
/// ```no_run
/// // Needs a device.
/// use gradus::graph::Graph;
/// use gradus::optim::AdamW;
/// use gradus::schedule::OneCycleLR;
/// use gradus::{Gpu, GpuOptions};
///
/// let graph = Graph::new();
/// let (x, y) = (graph.input("x", [32, 4]), graph.labels("y", 32));
/// let logits = x.linear(3);
/// let mut trainer = graph
///     .trainer(&logits.cross_entropy(&y), AdamW::default())
///     .schedule(OneCycleLR::new(1e-2, 1000))
///     .metric("accuracy", &logits.accuracy(&y))
///     .clip_grad_norm(1.0)
///     .build(&Gpu::new(GpuOptions::default())?)?;
/// # Ok::<(), gradus::Error>(())
/// ```
#[must_use]
pub struct TrainerBuilder<R> {
    graph: Graph,
    loss: Var,
    rule: R,
    schedule: Option<Box<dyn Schedule>>,
    steps_per_epoch: Option<u64>,
    metrics: Vec<(String, Var)>,
    seed: u64,
    steps_per_submit: usize,
    transforms: Transforms,
    optimizer_options: OptimizerOptions,
    averages: Option<Averages>,
    groups: Option<Box<Naming>>,
    autocast: Option<Dtype>,
}

/// Returns the name of a parameter's group.
type Naming = dyn Fn(&Parameter) -> String + Send + Sync;

impl<R: fmt::Debug> fmt::Debug for TrainerBuilder<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TrainerBuilder")
            .field("loss", &self.loss)
            .field("rule", &self.rule)
            .field("schedule", &self.schedule)
            .field("metrics", &self.metrics)
            .field("seed", &self.seed)
            .field("steps_per_submit", &self.steps_per_submit)
            .field("transforms", &self.transforms)
            .field("optimizer_options", &self.optimizer_options)
            .field("averages", &self.averages)
            .field("autocast", &self.autocast)
            .finish_non_exhaustive()
    }
}

impl Graph {
    /// Starts a trainer that minimizes `loss`, a scalar of this graph, with `rule`.
    pub fn trainer<R: AnyRule>(&self, loss: &Var, rule: R) -> TrainerBuilder<R> {
        TrainerBuilder {
            graph: self.clone(),
            loss: loss.clone(),
            rule,
            schedule: None,
            steps_per_epoch: None,
            metrics: Vec::new(),
            seed: 0,
            steps_per_submit: 1,
            transforms: Transforms::default(),
            optimizer_options: OptimizerOptions::default(),
            averages: None,
            groups: None,
            autocast: None,
        }
    }
}

impl<R: AnyRule + Clone> TrainerBuilder<R> {
    /// Sets the schedule of the learning rate and, if it cycles it, of the momentum. Default: none.
    pub fn schedule(mut self, schedule: impl Schedule + 'static) -> Self {
        self.schedule = Some(Box::new(schedule));
        self
    }

    /// Number of updates in an epoch, at least 1. Required by schedules that count epochs.
    pub fn steps_per_epoch(mut self, steps: u64) -> Self {
        self.steps_per_epoch = Some(steps);
        self
    }

    /// Adds a metric, a scalar of the graph. It is reported with each step's batch, and over a data set by
    /// [`Trainer::evaluate`].
    pub fn metric(mut self, name: &str, scalar: &Var) -> Self {
        self.metrics.push((name.into(), scalar.clone()));
        self
    }

    /// Seed of the parameters' initial values and of dropout. Default 0.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Number of steps that are submitted together, in [1, 8]. With gradient accumulation it counts batches. Default 1.
    ///
    /// A submit costs the host and the device tens of microseconds each, for a small model as much as a step. With 4, three of
    /// four calls of [`Trainer::step`] only record.
    ///
    /// Results do not change by a bit. Recorded steps are submitted before anything is evaluated, predicted, saved, read,
    /// written or waited for through this trainer or its [`Gpu`], at the end of an epoch of
    /// [`steps_per_epoch`](Self::steps_per_epoch), and by [`Trainer::submit`]. Reports of steps arrive later, because
    /// [`Trainer::poll`] does not submit. Staging and read-back memory grow by this factor. If steps may be skipped, at most
    /// eight are in flight. If you submit to the device's queue yourself, call [`Trainer::submit`] before you use what steps
    /// write.
    pub fn steps_per_submit(mut self, steps: usize) -> Self {
        self.steps_per_submit = steps;
        self
    }

    /// Sets the gradient transforms: clips, noise, penalties, accumulation, skipped steps. Default: none.
    pub fn transforms(mut self, transforms: Transforms) -> Self {
        self.transforms = transforms;
        self
    }

    /// Sets the optimizer's options, such as the precision of its state. Default: f32.
    pub fn optimizer_options(mut self, options: OptimizerOptions) -> Self {
        self.optimizer_options = options;
        self
    }

    /// Keeps an average of the weights: see [`Optimizer::set_averages`](Optimizer::set_averages). Evaluate with it by
    /// [`Trainer::with_averages`]. Default: none.
    pub fn averages(mut self, averages: impl Into<Averages>) -> Self {
        self.averages = Some(averages.into());
        self
    }

    /// Stores activations and their gradients in a type of half the size, in steps, evaluations and predictions: see
    /// [`PlanOptions::autocast`]. Parameters and the optimizer's state stay f32, so checkpoints do not depend on it. Default:
    /// none.
    ///
    /// ```no_run
    /// // Needs a device.
    /// use gradus::grad::{GradScaler, Transforms};
    /// use gradus::graph::{Dtype, Graph};
    /// use gradus::optim::AdamW;
    /// use gradus::{Gpu, GpuOptions};
    ///
    /// let graph = Graph::new();
    /// let (x, y) = (graph.input("x", [8, 4]), graph.labels("y", 8));
    /// let loss = x.linear(64).relu().linear(10).cross_entropy(&y);
    /// let transforms = Transforms { grad_scaler: Some(GradScaler::default()), ..Transforms::default() };
    /// let trainer = graph.trainer(&loss, AdamW::default()).transforms(transforms).autocast(Dtype::F16);
    /// let trainer = trainer.build(&Gpu::new(GpuOptions::default())?)?;
    /// # Ok::<(), gradus::Error>(())
    /// ```
    ///
    /// [`PlanOptions::autocast`]: crate::graph::PlanOptions::autocast
    pub fn autocast(mut self, dtype: Dtype) -> Self {
        self.autocast = Some(dtype);
        self
    }

    /// Clips the joint 2-norm of all gradients to `max_norm`, as torch's `clip_grad_norm_`.
    pub fn clip_grad_norm(mut self, max_norm: f64) -> Self {
        self.transforms.clip_grad_norm = Some(ClipGradNorm::new(max_norm));
        self
    }

    /// Sets the parameter groups: `group` returns the name of each parameter's. Default: one group named `default`.
    ///
    /// ```no_run
    /// // Needs a device.
    /// use gradus::graph::Graph;
    /// use gradus::optim::AdamW;
    /// use gradus::{Gpu, GpuOptions};
    ///
    /// let graph = Graph::new();
    /// let loss = graph.input("x", [8, 4]).linear(2).mean();
    /// let decays = [".weight"];
    /// let named = move |parameter: &gradus::graph::Parameter| {
    ///     let decays = decays.iter().any(|suffix| parameter.name.ends_with(suffix));
    ///     if decays { "decay" } else { "no_decay" }.to_owned()
    /// };
    /// let trainer = graph.trainer(&loss, AdamW::default()).groups(named).build(&Gpu::new(GpuOptions::default())?)?;
    /// # Ok::<(), gradus::Error>(())
    /// ```
    pub fn groups(mut self, group: impl Fn(&Parameter) -> String + Send + Sync + 'static) -> Self {
        self.groups = Some(Box::new(group));
        self
    }

    /// Creates the parameters, the optimizer's state and the plan for the declared batch size.
    ///
    /// Parameters that the loss does not depend on are frozen, because they have no gradient, as in torch. Parameters named by
    /// [`Graph::freeze`] are frozen too.
    ///
    /// # Errors
    /// The errors of [`Graph::check`]; [`Error::DeviceFeature`] for [`TrainerBuilder::autocast`] on a device that lacks the
    /// type; [`Error::Mismatch`] for a loss or metric of another graph; the errors of the rule, of the
    /// transforms, of the averages and of the schedule; [`Error::Limit`], [`Error::DeviceLimit`], [`Error::Kernel`],
    /// [`Error::DeviceLost`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn build(self, gpu: &Gpu) -> Result<Trainer<R>, Error> {
        gpu.block_on(self.build_async(gpu))
    }

    /// Like [`TrainerBuilder::build`], without blocking where the device tunes its kernels.
    ///
    /// # Errors
    /// As [`TrainerBuilder::build`].
    pub async fn build_async(self, gpu: &Gpu) -> Result<Trainer<R>, Error> {
        self.graph.check()?;
        if let Some(dtype) = self.autocast {
            dtype.check(gpu.capabilities())?;
        }
        let mut scalars = vec![("loss".to_owned(), self.loss)];
        scalars.extend(self.metrics);
        let whole = Whole::of(&self.graph, &scalars)?;
        if let Some(schedule) = &self.schedule {
            schedule.check()?;
            if schedule.interval() == Interval::Epoch && self.steps_per_epoch.is_none() {
                let reason = "its interval is epoch: the trainer needs steps_per_epoch".into();
                return Err(Error::Config { what: "schedule".into(), reason });
            }
        }
        if self.steps_per_epoch == Some(0) {
            return Err(Error::constant("steps_per_epoch", "at least 1", 0));
        }
        let most = Trainer::<R>::MOST_STEPS_PER_SUBMIT;
        if !(1..=most).contains(&self.steps_per_submit) {
            return Err(Error::constant(
                "steps_per_submit",
                format!("in [1, {most}]"),
                self.steps_per_submit,
            ));
        }
        let in_flight = IN_FLIGHT * self.steps_per_submit;
        let params = match self.groups {
            Some(group) => self.graph.store_in_groups(gpu, self.seed, group)?,
            None => self.graph.store(gpu, self.seed)?,
        };
        let mut optimizer = Optimizer::new(self.rule, &params, &[], &self.optimizer_options)?;
        optimizer.set_transforms(self.transforms, &params)?;
        self.averages.map_or(Ok(()), |averages| optimizer.set_averages(averages, &params))?;
        for (name, scalar) in &scalars {
            if scalar.shape() != [1] {
                let (layer, expected) = (name.clone(), "a scalar of shape [1]".into());
                return Err(Error::Shape { layer, expected, got: scalar.shape() });
            }
        }
        let most = ReadRing::SLOT_BYTES / size_of::<f32>();
        if scalars.len() > most {
            return Err(Error::constant("metrics", format!("at most {}", most - 1), scalars.len() - 1));
        }
        let slot = ReadRing::SLOT_BYTES.max(whole.parts().len() * size_of::<f32>());
        let mut trainer = Trainer {
            gpu: gpu.clone(),
            graph: self.graph,
            params,
            optimizer,
            schedule: self.schedule,
            steps_per_epoch: self.steps_per_epoch,
            scalars,
            whole,
            plans: HashMap::new(),
            frozen: FrozenSets::default(),
            predictions: HashMap::new(),
            workspace: Workspace::new(),
            staging: Staging::new(gpu, in_flight),
            ring: ReadRing::with_slot_bytes(gpu, in_flight, slot)?,
            group: Group::new(gpu, self.steps_per_submit),
            arrived: VecDeque::new(),
            last: None,
            steps: 0,
            taken: 0,
            seed: self.seed,
            autocast: self.autocast,
        };
        let declared = trainer.graph.batch().unwrap_or(1);
        let key = PlanKey { mode: Mode::Train, batch: declared, adds: false, frozen: 0 };
        trainer.plan(key).await?;
        let plan = &trainer.plans[&key];
        let mut matters = plan.reaches().to_vec();
        for name in plan.unreached() {
            matters[trainer.params.layout().index(name)?] = false;
            trainer.params.freeze(name)?;
        }
        trainer.frozen = FrozenSets::new(matters, &trainer.params);
        Ok(trainer)
    }
}
