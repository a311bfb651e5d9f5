use std::collections::{HashMap, VecDeque};

use crate::Error;
use crate::gpu::{Gpu, ReadRing, Recorder};
use crate::graph::{Graph, HostData, Mode, Parameter, Plan, PlanOptions, Var, Workspace};
use crate::optim::{AnyRule, Optimizer};
use crate::params::ParamStore;
use crate::schedule::Schedule;

/// Steps that may be on their way before the next one waits.
const IN_FLIGHT: usize = 3;

/// Reports that are kept for a caller who does not ask; older ones are dropped.
const KEPT: usize = 4096;

/// Trains one graph: one submit a step, and the loss read some steps later.
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
    gpu: Gpu,
    graph: Graph,
    params: ParamStore,
    optimizer: Optimizer<R>,
    schedule: Option<Box<dyn Schedule>>,
    scalars: Vec<(String, Var)>,
    plans: HashMap<(Mode, usize), Plan>,
    workspace: Workspace,
    ring: ReadRing,
    arrived: VecDeque<StepReport>,
    last: Option<StepReport>,
    seed: u64,
    steps: u64,
}

/// A trainer in the making: see [`Graph::trainer`].
#[derive(Debug)]
#[must_use]
pub struct TrainerBuilder<R> {
    graph: Graph,
    loss: Var,
    rule: R,
    schedule: Option<Box<dyn Schedule>>,
    metrics: Vec<(String, Var)>,
    seed: u64,
    groups: Option<fn(&Parameter) -> String>,
}

/// What one step computed: the loss first, then the metrics.
#[derive(Clone, Debug, PartialEq)]
pub struct StepReport {
    /// The step, from 0.
    pub step: u64,
    /// Mean loss over the batch.
    pub loss: f32,
    /// The metrics in the order in which they were asked for.
    pub metrics: Vec<f32>,
}

/// Means over a whole data set.
#[derive(Clone, Debug, PartialEq)]
pub struct Evaluation {
    /// Samples seen; every one counts the same.
    pub samples: usize,
    /// Mean loss.
    pub loss: f64,
    /// Mean metrics in the order in which they were asked for.
    pub metrics: Vec<f64>,
}

impl Graph {
    /// A trainer that minimises `loss`, a scalar of this graph, with `rule`.
    pub fn trainer<R: AnyRule>(&self, loss: &Var, rule: R) -> TrainerBuilder<R> {
        TrainerBuilder {
            graph: self.clone(),
            loss: loss.clone(),
            rule,
            schedule: None,
            metrics: Vec::new(),
            seed: 0,
            groups: None,
        }
    }
}

impl<R: AnyRule + Clone> TrainerBuilder<R> {
    /// Lets the rate (and, where it cycles, the momentum) follow a schedule of the step.
    pub fn schedule(mut self, schedule: impl Schedule + 'static) -> Self {
        self.schedule = Some(Box::new(schedule));
        self
    }

    /// Also reports a scalar of the graph, whose mean over batches is taken by samples.
    pub fn metric(mut self, name: &str, scalar: &Var) -> Self {
        self.metrics.push((name.into(), scalar.clone()));
        self
    }

    /// Seed of the parameters' first values and of dropout. Default 0.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Puts each parameter into the group that `group` names for it. Default: one group named `default`.
    pub fn groups(mut self, group: fn(&Parameter) -> String) -> Self {
        self.groups = Some(group);
        self
    }

    /// Makes the parameters, the optimizer's state and the plan of the declared batch size.
    ///
    /// Parameters that the loss does not depend on are frozen: they have no gradient, as in torch.
    ///
    /// # Errors
    /// The graph's refusals; those of the rule and of the schedule; [`Error::Limit`]; [`Error::Kernel`].
    pub fn build(self, gpu: &Gpu) -> Result<Trainer<R>, Error> {
        self.graph.check()?;
        if let Some(schedule) = &self.schedule {
            schedule.check()?;
        }
        let params = match self.groups {
            Some(group) => self.graph.store_in_groups(gpu, self.seed, group)?,
            None => self.graph.store(gpu, self.seed)?,
        };
        let optimizer = Optimizer::new(self.rule, &params, &[])?;
        let mut scalars = vec![("loss".to_owned(), self.loss)];
        scalars.extend(self.metrics);
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
        let mut trainer = Trainer {
            gpu: gpu.clone(),
            graph: self.graph,
            params,
            optimizer,
            schedule: self.schedule,
            scalars,
            plans: HashMap::new(),
            workspace: Workspace::new(),
            ring: ReadRing::new(gpu, IN_FLIGHT)?,
            arrived: VecDeque::new(),
            last: None,
            seed: self.seed,
            steps: 0,
        };
        let declared = trainer.graph.batch().unwrap_or(1);
        trainer.plan(Mode::Train, declared)?;
        for name in trainer.plans[&(Mode::Train, declared)].unreached() {
            trainer.params.freeze(name)?;
        }
        Ok(trainer)
    }
}

impl<R: AnyRule + Clone> Trainer<R> {
    /// Runs one step on a batch of any size: forward, backward and update in one submit.
    ///
    /// Waits only if several earlier steps are still on their way. A batch size that was not seen before
    /// compiles a plan first.
    ///
    /// # Errors
    /// Those of [`Plan::write`] for the data, of the schedule for the step and of the optimizer for its
    /// hyperparameters, all before anything has changed; [`Error::DeviceLost`].
    pub fn step(&mut self, data: &[(&str, &dyn HostData)]) -> Result<(), Error> {
        let batch = self.batch_of(data)?;
        self.any_plan().check_inputs(data, batch)?;
        self.plan(Mode::Train, batch)?;
        if let Some(schedule) = &self.schedule {
            self.optimizer.schedule(schedule, self.steps)?;
        }
        while self.ring.is_full() {
            let oldest = self.ring.read_next(&self.gpu)?;
            self.arrive(oldest);
        }
        let plan = &self.plans[&(Mode::Train, batch)];
        plan.write_part(data, 0)?;
        plan.set_step(self.seed, self.steps);
        let mut encoder = self.gpu.encoder("step");
        let mut recorder = Recorder::new(&self.gpu, &mut encoder);
        plan.record(&mut recorder);
        let ticket = self.optimizer.record_into(&mut recorder, &mut self.params)?;
        record_scalars(&mut self.ring, &mut recorder, plan, &self.scalars, self.steps)?;
        drop(recorder);
        if let Err(error) = self.gpu.submit(encoder) {
            self.ring.abandoned();
            self.optimizer.abandoned(ticket)?;
            return Err(error);
        }
        self.optimizer.submitted(ticket)?;
        self.ring.submitted();
        self.steps += 1;
        while let Some(bytes) = self.ring.poll(&self.gpu)? {
            self.arrive(Some(bytes));
        }
        Ok(())
    }

    /// The oldest report that has arrived and was not given out, without waiting.
    ///
    /// Of reports that nobody asks for the latest 4,096 are kept.
    ///
    /// # Errors
    /// [`Error::DeviceLost`].
    pub fn poll(&mut self) -> Result<Option<StepReport>, Error> {
        // A submit looks for what has arrived as well, but after the last step there is none.
        let polled = self.gpu.device().poll(wgpu::PollType::Poll);
        polled.map_err(|e| Error::DeviceLost(e.to_string()))?;
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
        if self.arrived.is_empty() {
            let next = self.ring.read_next(&self.gpu)?;
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
        while self.read_report()?.is_some() {}
        Ok(self.last.as_ref().map_or(f32::NAN, |report| report.loss))
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

    /// Means of the loss and the metrics over all samples of `data`, in batches of `batch` and a rest.
    ///
    /// Nothing is trained. Waits for the results; step reports that arrive meanwhile are kept.
    ///
    /// # Errors
    /// As [`Trainer::step`]; [`Error::Constant`] for a batch of 0.
    pub fn evaluate(&mut self, data: &[(&str, &dyn HostData)], batch: usize) -> Result<Evaluation, Error> {
        if batch == 0 {
            return Err(Error::constant("batch", "at least 1", batch));
        }
        let samples = self.batch_of(data)?;
        self.any_plan().check_inputs(data, samples)?;
        // What can be refused is refused before anything is in flight.
        for size in [batch.min(samples), samples % batch] {
            if size > 0 {
                self.plan(Mode::Evaluate, size)?;
            }
        }
        while let Some(bytes) = self.ring.read_next(&self.gpu)? {
            self.arrive(Some(bytes));
        }
        let mut sums = vec![0.0; self.scalars.len()];
        let mut first = 0;
        while first < samples {
            let size = batch.min(samples - first);
            let plan = &self.plans[&(Mode::Evaluate, size)];
            plan.write_part(data, first)?;
            let mut encoder = self.gpu.encoder("evaluate");
            let mut recorder = Recorder::new(&self.gpu, &mut encoder);
            plan.record(&mut recorder);
            record_scalars(&mut self.ring, &mut recorder, plan, &self.scalars, size as u64)?;
            drop(recorder);
            self.gpu.submit(encoder)?;
            self.ring.submitted();
            first += size;
            while self.ring.is_full() || (first == samples && self.ring.in_flight() > 0) {
                if let Some((size, bytes)) = self.ring.read_next(&self.gpu)? {
                    for (sum, value) in sums.iter_mut().zip(scalars(&bytes)) {
                        *sum += f64::from(value) * size as f64;
                    }
                }
            }
        }
        let mut means = sums.into_iter().map(|sum| sum / samples as f64);
        let loss = means.next().expect("the loss is the first scalar");
        Ok(Evaluation { samples, loss, metrics: means.collect() })
    }

    /// Steps taken so far.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// The parameters and their gradients.
    pub fn params(&self) -> &ParamStore {
        &self.params
    }

    /// The parameters and their gradients, to be written or frozen.
    pub fn params_mut(&mut self) -> &mut ParamStore {
        &mut self.params
    }

    /// The optimizer, for its groups, rates and state.
    pub fn optimizer(&self) -> &Optimizer<R> {
        &self.optimizer
    }

    /// The optimizer, to change its groups or to load its state.
    pub fn optimizer_mut(&mut self) -> &mut Optimizer<R> {
        &mut self.optimizer
    }

    /// Samples in `data`, from the length of its first known input.
    fn batch_of(&self, data: &[(&str, &dyn HostData)]) -> Result<usize, Error> {
        self.any_plan().samples(data)
    }

    /// Some plan: all of them take the same inputs.
    fn any_plan(&self) -> &Plan {
        self.plans.values().next().expect("a plan is made when the trainer is")
    }

    fn plan(&mut self, mode: Mode, batch: usize) -> Result<(), Error> {
        if self.plans.contains_key(&(mode, batch)) {
            return Ok(());
        }
        let (loss, metrics) = self.scalars.split_first().expect("the loss is the first scalar");
        let mut options = match mode {
            Mode::Train => PlanOptions::train(&loss.1),
            Mode::Evaluate => PlanOptions::evaluate().output(&loss.0, &loss.1),
        };
        for (name, scalar) in metrics {
            options = options.output(name, scalar);
        }
        let plan = self.graph.compile(&self.params, &options.batch(batch), &mut self.workspace)?;
        self.plans.insert((mode, batch), plan);
        Ok(())
    }
}

fn record_scalars(
    ring: &mut ReadRing,
    recorder: &mut Recorder<'_>,
    plan: &Plan,
    scalars: &[(String, Var)],
    tag: u64,
) -> Result<(), Error> {
    let sources = scalars.iter().map(|(name, _)| Ok((plan.output(name)?, 4)));
    ring.record(recorder, tag, &sources.collect::<Result<Vec<_>, Error>>()?)
}

fn scalars(bytes: &[u8]) -> impl Iterator<Item = f32> {
    bytes.chunks_exact(4).map(bytemuck::pod_read_unaligned)
}

fn report((step, bytes): (u64, Vec<u8>)) -> StepReport {
    let mut values = scalars(&bytes);
    let loss = values.next().expect("the loss is the first scalar");
    StepReport { step, loss, metrics: values.collect() }
}
