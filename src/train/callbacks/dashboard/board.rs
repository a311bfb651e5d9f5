//! What a dashboard shows.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::trace::Trace;
use crate::train::callbacks::RunInfo;

/// Time over which samples per second are taken.
const SPEED: Duration = Duration::from_secs(5);
/// Steps between those whose times are kept, at most so many.
const TIMES: usize = 256;

/// The state of a run.
#[derive(Clone, Debug)]
pub(crate) struct Board {
    pub(crate) epochs: u64,
    steps_per_epoch: u64,
    first_step: u64,
    /// Loss and metrics.
    metrics: Vec<String>,
    pub(crate) epoch: u64,
    /// Steps of this run.
    pub(crate) step: u64,
    pub(crate) loss: Option<f64>,
    pub(crate) lr: f64,
    pub(crate) bytes: Option<u64>,
    pub(crate) losses: [Trace; 2],
    pub(crate) values: [Trace; 2],
    pub(crate) rates: Trace,
    pub(crate) notes: Vec<String>,
    /// Samples seen so far, and when.
    times: VecDeque<(Instant, u64)>,
    samples: u64,
    began: Instant,
    resumed_at: u64,
}

/// What is known after a step.
#[derive(Clone, Debug)]
pub(crate) struct Latest {
    pub(crate) step: u64,
    pub(crate) epoch: u64,
    pub(crate) lr: f64,
    pub(crate) loss: f64,
    pub(crate) metric: Option<f64>,
    pub(crate) samples: u64,
    pub(crate) bytes: Option<u64>,
    pub(crate) at: Instant,
}

impl Default for Board {
    fn default() -> Self {
        Self::new(&RunInfo::default())
    }
}

impl Board {
    /// Before the first step.
    pub(crate) fn new(run: &RunInfo) -> Self {
        let step = run.step.saturating_sub(run.first_step);
        Self {
            epochs: run.epochs,
            steps_per_epoch: run.steps_per_epoch,
            first_step: run.first_step,
            metrics: run.metrics.clone(),
            epoch: 0,
            step,
            loss: None,
            lr: 0.0,
            bytes: None,
            losses: Default::default(),
            values: Default::default(),
            rates: Trace::default(),
            notes: Vec::new(),
            times: VecDeque::new(),
            samples: 0,
            began: Instant::now(),
            resumed_at: step,
        }
    }

    /// The metric that is shown beside the loss: the last one.
    pub(crate) fn metric(&self) -> &str {
        self.metrics.get(1..).and_then(|metrics| metrics.last()).map_or("", |name| name)
    }

    pub(crate) fn step(&mut self, latest: &Latest) {
        self.step = latest.step.saturating_sub(self.first_step);
        let step = self.step as f64;
        (self.epoch, self.lr, self.loss, self.bytes) =
            (latest.epoch, latest.lr, Some(latest.loss), latest.bytes);
        self.losses[0].push(step, latest.loss);
        self.rates.push(step, latest.lr);
        if let Some(metric) = latest.metric {
            self.values[0].push(step, metric);
        }
        self.samples += latest.samples;
        self.times.push_back((latest.at, self.samples));
        let is_old = |(at, _): &(Instant, u64)| latest.at.duration_since(*at) > SPEED;
        while self.times.len() > TIMES || self.times.len() > 2 && self.times.front().is_some_and(is_old) {
            self.times.pop_front();
        }
    }

    /// The results on validation data after `step` steps of the trainer.
    pub(crate) fn epoch(&mut self, step: u64, loss: Option<f64>, metric: Option<f64>) {
        let step = step.saturating_sub(self.first_step) as f64;
        if let Some(loss) = loss {
            self.losses[1].push(step, loss);
        }
        if let Some(metric) = metric {
            self.values[1].push(step, metric);
        }
    }

    /// Steps of the whole run.
    pub(crate) fn steps(&self) -> u64 {
        self.epochs.saturating_mul(self.steps_per_epoch)
    }

    /// The part of the run that is done.
    pub(crate) fn done(&self) -> f64 {
        (self.step as f64 / self.steps().max(1) as f64).clamp(0.0, 1.0)
    }

    /// Samples per second of late.
    pub(crate) fn throughput(&self) -> Option<f64> {
        let ((first, before), (last, samples)) = (self.times.front()?, self.times.back()?);
        let seconds = last.duration_since(*first).as_secs_f64();
        (seconds > 0.0).then(|| (samples - before) as f64 / seconds)
    }

    /// Seconds since the run began here, and those that are left.
    pub(crate) fn seconds(&self, now: Instant) -> (f64, Option<f64>) {
        let so_far = now.saturating_duration_since(self.began).as_secs_f64();
        let taken = self.step.saturating_sub(self.resumed_at);
        let left = self.steps().saturating_sub(self.step) as f64;
        (so_far, (taken > 0).then(|| so_far / taken as f64 * left))
    }

    #[cfg(test)]
    pub(crate) fn began(&self) -> Instant {
        self.began
    }
}
