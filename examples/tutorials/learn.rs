//! Networks that learn digits of 8x8 pixels, with everything that pictures need recorded each step.

use anyhow::{Context, Result};
use gradus::Gpu;
use gradus::grad::{Noise, Transforms};
use gradus::graph::Graph;
use gradus::nn::{Init, Linear};
use gradus::optim::{AnyRule, from_json_with_options};
use gradus::schedule::Schedule;
use gradus::train::Evaluation;
use rand::seq::SliceRandom;
use rand_pcg::Pcg32;
use serde_json::Value;

use crate::digits;

/// Images of 64 pixels from 0 to 1, and their digits.
pub(crate) struct Samples {
    pub(crate) pixels: Vec<f32>,
    pub(crate) labels: Vec<u32>,
}

/// 1,437 digits to learn from and 360 to test on.
pub(crate) fn samples() -> Result<[Samples; 2]> {
    Ok(digits::read()?.map(|digits| Samples {
        pixels: digits.pixels.iter().map(|pixel| pixel / 16.0).collect(),
        labels: digits.labels.into_iter().map(u32::from).collect(),
    }))
}

/// Batches of any size from one shuffled order after the other.
pub(crate) struct Batches<'s> {
    samples: &'s Samples,
    random: Pcg32,
    rest: Vec<usize>,
}

impl<'s> Batches<'s> {
    pub(crate) fn new(samples: &'s Samples, seed: u64) -> Self {
        Self { samples, random: Pcg32::new(seed, 0), rest: Vec::new() }
    }

    pub(crate) fn next(&mut self, batch: usize) -> (Vec<f32>, Vec<u32>) {
        let (mut pixels, mut labels) = (Vec::with_capacity(batch * 64), Vec::with_capacity(batch));
        while labels.len() < batch {
            let Some(sample) = self.rest.pop() else {
                self.rest = (0..self.samples.labels.len()).collect();
                self.rest.shuffle(&mut self.random);
                continue;
            };
            pixels.extend(&self.samples.pixels[64 * sample..][..64]);
            labels.push(self.samples.labels[sample]);
        }
        (pixels, labels)
    }
}

/// What is learnt, and how.
pub(crate) struct Run {
    /// The optimizer's name with its options.
    pub(crate) rule: Value,
    /// Units of the hidden layers.
    pub(crate) hidden: &'static [usize],
    /// How all weights begin.
    pub(crate) init: Init,
    pub(crate) biases: bool,
    pub(crate) batch: usize,
    pub(crate) steps: usize,
    pub(crate) schedule: Option<Box<dyn Schedule>>,
    /// Deviation of the noise on each gradient.
    pub(crate) noise: f64,
}

impl Run {
    /// 64-64-10 with torch's initial weights, with batches of 32, without schedule and noise.
    pub(crate) fn new(rule: Value, steps: usize) -> Self {
        let init = Init::KaimingUniform { a: 5_f64.sqrt() };
        Self { rule, hidden: &[64], init, biases: true, batch: 32, steps, schedule: None, noise: 0.0 }
    }
}

/// What came of it.
pub(crate) struct Learnt {
    /// Of each step's batch.
    pub(crate) losses: Vec<f64>,
    /// Of each step.
    pub(crate) rates: Vec<f64>,
    pub(crate) test: Evaluation,
    pub(crate) parameters: usize,
    /// Device memory of the trainer after the last step, in bytes.
    pub(crate) bytes: u64,
}

pub(crate) fn learn(gpu: &Gpu, run: Run, [train, test]: &[Samples; 2]) -> Result<Learnt> {
    gpu.wait()?;
    let before = gpu.counters().live_bytes;
    let graph = Graph::new();
    let (x, y) = (graph.input("x", [run.batch, 64]), graph.labels("y", run.batch));
    let layer = |units| {
        let layer = Linear::new(units).init(run.init);
        if run.biases { layer } else { layer.without_bias() }
    };
    let logits = run.hidden.iter().fold(x, |x, &units| x.linear(layer(units)).relu()).linear(layer(10));
    let (rule, options) = from_json_with_options(&run.rule)?;
    let noise = Noise { eta: run.noise, gamma: 0.0, seed: 1 };
    let transforms = Transforms { noise: (run.noise > 0.0).then_some(noise), ..Transforms::default() };
    let builder = graph.trainer(&logits.cross_entropy(&y), rule).optimizer_options(options).seed(1);
    let builder = builder.transforms(transforms).metric("accuracy", &logits.accuracy(&y));
    let mut trainer = match run.schedule {
        Some(schedule) => builder.schedule(schedule).build(gpu)?,
        None => builder.build(gpu)?,
    };
    let mut batches = Batches::new(train, 1);
    let (mut losses, mut rates) = (Vec::new(), Vec::new());
    for _ in 0..run.steps {
        let (x, y) = batches.next(run.batch);
        trainer.step(&[("x", &x), ("y", &y)])?;
        rates.push(trainer.optimizer().rules().next().context("there is one group")?.lr());
        while let Some(report) = trainer.poll()? {
            losses.push(f64::from(report.loss));
        }
    }
    while let Some(report) = trainer.read_report()? {
        losses.push(f64::from(report.loss));
    }
    gpu.wait()?;
    let bytes = gpu.counters().live_bytes - before;
    let parameters = trainer.params().layout().parameters();
    let test = trainer.evaluate(&[("x", &test.pixels), ("y", &test.labels)], test.labels.len())?;
    Ok(Learnt { losses, rates, test, parameters, bytes })
}

/// The mean of each value and of up to `count - 1` before it.
pub(crate) fn smoothed(values: &[f64], count: usize) -> Vec<f64> {
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    (1..=values.len()).map(|end| mean(&values[end.saturating_sub(count)..end])).collect()
}
