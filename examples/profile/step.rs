//! A step of a model, and the time of each of its dispatches.

use std::ops::Range;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use gradus::Gpu;
use gradus::ParamStore;
use gradus::gpu::{Dispatch, Recorder, Timestamps};
use gradus::grad::{ClipGradNorm, Transforms};
use gradus::graph::{Graph, Plan, PlanOptions, Var, Workspace};
use gradus::optim::{self, AnyRule, Optimizer};

use crate::args::{Args, block_name};
use crate::models::{Batch, MODELS};
use crate::networks::BLOCKS;

/// Runs of which the fastest counts.
const RUNS: usize = 10;

/// Seconds that repetitions of one dispatch take at least, so that a submit weighs little.
const LEAST: f64 = 2e-3;
const MOST_REPEATS: usize = 256;

/// A dispatch and when it ran, in seconds from the start of the step.
#[derive(Clone, Debug)]
pub(crate) struct Timed {
    pub(crate) dispatch: Dispatch,
    pub(crate) start: f64,
    pub(crate) seconds: f64,
}

pub(crate) struct Step {
    gpu: Gpu,
    params: ParamStore,
    plan: Plan,
    optimizer: Optimizer<Box<dyn AnyRule>>,
}

/// How a step is recorded.
enum How<'t> {
    Whole,
    Timed(&'t mut Timestamps),
    /// One of its dispatches alone, so many times.
    Repeating(usize, usize),
}

/// The inputs of a step.
enum Data {
    Model(Batch),
    Block(Vec<f32>),
}

impl Data {
    fn write(&self, plan: &Plan) -> Result<()> {
        match self {
            Self::Model(batch) => {
                batch.data().iter().try_for_each(|(name, data)| Ok(plan.write(name, *data)?))
            }
            Self::Block(x) => Ok(plan.write("x", x)?),
        }
    }
}

/// The loss of a model, its inputs, and whether its example clips gradients.
fn build(graph: &Graph, name: &str) -> Result<(Var, Data, bool)> {
    if let Some(model) = MODELS.iter().find(|model| model.name == name) {
        let (loss, batch) = (model.build)(graph);
        return Ok((loss, Data::Model(batch), model.clips));
    }
    let block = BLOCKS.iter().find(|(block, ..)| block_name(block) == name);
    let (_, shape, block) = block.with_context(|| format!("no model {name}"))?;
    // The input has a gradient too, as a block in the middle of a network.
    let loss = block(&graph.input("x", *shape).bias()).mean();
    let x = (0..shape.iter().product::<usize>()).map(|i| (i % 89) as f32 / 89.0 - 0.5).collect();
    Ok((loss, Data::Block(x), false))
}

impl Step {
    pub(crate) fn new(gpu: &Gpu, args: &Args) -> Result<Self> {
        let graph = Graph::new();
        let (loss, data, clips) = build(&graph, &args.model)?;
        let params = graph.store(gpu, 1)?;
        let plan = graph.compile(&params, &PlanOptions::train(&loss), &mut Workspace::new())?;
        data.write(&plan)?;
        let mut optimizer = optim::from_json(&args.optimizer)?.build(&params)?;
        let max_norm = args.clip_grad_norm.or(clips.then_some(1.0));
        let clip_grad_norm = max_norm.map(ClipGradNorm::new);
        optimizer.set_transforms(Transforms { clip_grad_norm, ..Transforms::default() }, &params)?;
        let mut step = Self { gpu: gpu.clone(), params, plan, optimizer };
        // Makes what later steps find made.
        step.run(How::Whole)?;
        step.run(How::Whole)?;
        Ok(step)
    }

    fn dispatches(&self) -> Vec<Dispatch> {
        let mut all = self.plan.dispatches();
        all.extend(self.optimizer.dispatches());
        all
    }

    /// Seconds from the submit of a step to its end.
    fn run(&mut self, how: How<'_>) -> Result<f64> {
        let mut encoder = self.gpu.encoder("profile");
        let mut timestamps: Option<&mut Timestamps> = None;
        let mut recorder = match how {
            How::Whole => Recorder::new(&self.gpu, &mut encoder),
            How::Repeating(number, times) => Recorder::repeating(&self.gpu, &mut encoder, number, times),
            How::Timed(taken) => Recorder::timed(&self.gpu, &mut encoder, timestamps.insert(taken)),
        };
        self.plan.record(&mut recorder)?;
        let ticket = self.optimizer.record_into(&mut recorder, &mut self.params)?;
        drop(recorder);
        if let Some(timestamps) = timestamps {
            timestamps.record_read(&mut encoder);
        }
        let start = Instant::now();
        self.gpu.submit(encoder)?;
        self.gpu.wait()?;
        let seconds = start.elapsed().as_secs_f64();
        self.optimizer.submitted(ticket)?;
        self.optimizer.read_step_results()?;
        Ok(seconds)
    }

    /// Seconds of the fastest whole step.
    pub(crate) fn whole(&mut self) -> Result<f64> {
        (0..RUNS).try_fold(f64::INFINITY, |best, _| Ok(best.min(self.run(How::Whole)?)))
    }

    /// By timestamps: the run whose dispatches take least together.
    pub(crate) fn timed(&mut self) -> Result<Vec<Timed>> {
        let dispatches = self.dispatches();
        let mut timestamps = Timestamps::new(&self.gpu, dispatches.len())?;
        let (mut best, mut least) = (Vec::new(), f64::INFINITY);
        for _ in 0..RUNS {
            self.run(How::Timed(&mut timestamps))?;
            let times = timestamps.read()?;
            ensure!(
                times.len() == dispatches.len(),
                "{} dispatches were recorded of {}",
                times.len(),
                dispatches.len()
            );
            let sum: f64 = times.iter().flatten().map(|time| time.end - time.start).sum();
            if sum < least {
                (best, least) = (times, sum);
            }
        }
        let timed = |(dispatch, time): (Dispatch, Option<Range<f64>>)| {
            let Range { start, end } = time.unwrap_or(0.0..0.0);
            Timed { dispatch, start: start / 1e9, seconds: (end - start) / 1e9 }
        };
        Ok(dispatches.into_iter().zip(best).map(timed).collect())
    }

    /// By repetition, laid end to end.
    pub(crate) fn repeated(&mut self) -> Result<Vec<Timed>> {
        let dispatches = self.dispatches();
        let none = dispatches.len();
        let submit = (0..RUNS).try_fold(f64::INFINITY, |best, _| {
            Ok::<_, anyhow::Error>(best.min(self.run(How::Repeating(none, 1))?))
        })?;
        let mut start = 0.0;
        let mut timed = Vec::with_capacity(none);
        for (number, dispatch) in dispatches.into_iter().enumerate() {
            let mut times = 1;
            let mut seconds = self.run(How::Repeating(number, times))?;
            while seconds - submit < LEAST && times < MOST_REPEATS {
                times *= 2;
                seconds = self.run(How::Repeating(number, times))?;
            }
            for _ in 1..RUNS / 2 {
                seconds = seconds.min(self.run(How::Repeating(number, times))?);
            }
            let seconds = (seconds - submit).max(0.0) / times as f64;
            timed.push(Timed { dispatch, start, seconds });
            start += seconds;
        }
        Ok(timed)
    }
}
