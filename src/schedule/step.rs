use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::exponential::of_periods;
use super::{Course, Link, Point, Schedule, at_least_one, rate_at, rising, times};
use crate::config;
use crate::error::{Error, at_least};

/// Multiplies the rate by `gamma` every `step_size` updates.
///
/// `lr(k) = b * gamma^floor(k / step_size)` with the base rate `b` and the step `k`.
///
/// Source: PyTorch 2.15, `torch.optim.lr_scheduler.StepLR`. Differs: a negative `gamma` is refused.
///
/// ```
/// use gradus::schedule::{Schedule, StepLR};
///
/// let schedule = StepLR { gamma: 0.5, ..StepLR::new(2) };
/// let rates: Vec<f64> = (0..5).map(|k| schedule.at(k, 1.0).unwrap().lr).collect();
/// assert_eq!(rates, [1.0, 1.0, 0.5, 0.5, 0.25]);
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StepLR {
    /// Updates between two drops, at least 1. Required.
    pub step_size: u64,
    /// Factor of each drop, at least 0. Default 0.1.
    #[serde(default = "gamma")]
    pub gamma: f64,
}

fn gamma() -> f64 {
    0.1
}

impl StepLR {
    /// Multiplies the rate by 0.1 every `step_size` updates.
    #[must_use]
    pub fn new(step_size: u64) -> Self {
        Self { step_size, gamma: gamma() }
    }
}

impl Schedule for StepLR {
    fn at(&self, step: u64, base: f64) -> Result<Point, Error> {
        at_least_one("step_size", self.step_size)?;
        rate_at(step, times(base, self.gamma.powf((step / self.step_size) as f64)))
    }

    fn check(&self) -> Result<(), Error> {
        at_least_one("step_size", self.step_size)?;
        at_least("gamma", self.gamma, 0.0)
    }

    fn to_json(&self) -> Option<Value> {
        Some(config::write("StepLR", self))
    }

    fn link(&self) -> Link {
        Link::Scales
    }

    fn course(&self, step: u64) -> Course {
        let last = of_periods(step, self.step_size, true).steady;
        // A drop at every step is a smooth curve.
        let smooth = if self.step_size == 1 { u64::MAX } else { last };
        Course::product(if self.gamma == 1.0 { u64::MAX } else { last }, smooth)
    }

    fn ratio(&self, from: u64, to: u64, _base: f64) -> Result<f64, Error> {
        let length = self.step_size.max(1);
        Ok(self.gamma.powf((to / length - from / length) as f64))
    }
}

/// Multiplies the rate by `gamma` at each milestone.
///
/// `lr(k) = b * gamma^n` with the base rate `b` and the number `n` of milestones up to the step `k`. A milestone
/// listed twice counts twice.
///
/// Source: PyTorch 2.15, `torch.optim.lr_scheduler.MultiStepLR`. Differs: milestones in another than ascending order,
/// an empty list and a negative `gamma` are refused.
///
/// ```
/// use gradus::schedule::{MultiStepLR, Schedule};
///
/// let schedule = MultiStepLR { gamma: 0.5, ..MultiStepLR::new([1, 3, 3]) };
/// let rates: Vec<f64> = (0..5).map(|k| schedule.at(k, 1.0).unwrap().lr).collect();
/// assert_eq!(rates, [1.0, 0.5, 0.5, 0.125, 0.125]);
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MultiStepLR {
    /// Steps at which the rate drops, in ascending order; at least one. Required.
    pub milestones: Vec<u64>,
    /// Factor of each drop, at least 0. Default 0.1.
    #[serde(default = "gamma")]
    pub gamma: f64,
}

impl MultiStepLR {
    /// Multiplies the rate by 0.1 at each milestone.
    #[must_use]
    pub fn new(milestones: impl Into<Vec<u64>>) -> Self {
        Self { milestones: milestones.into(), gamma: gamma() }
    }

    /// Number of milestones up to a step.
    fn passed(&self, step: u64) -> usize {
        self.milestones.partition_point(|milestone| *milestone <= step)
    }
}

impl Schedule for MultiStepLR {
    fn at(&self, step: u64, base: f64) -> Result<Point, Error> {
        rate_at(step, times(base, self.gamma.powf(self.passed(step) as f64)))
    }

    fn check(&self) -> Result<(), Error> {
        rising("milestones", &self.milestones)?;
        at_least("gamma", self.gamma, 0.0)
    }

    fn to_json(&self) -> Option<Value> {
        Some(config::write("MultiStepLR", self))
    }

    fn link(&self) -> Link {
        Link::Scales
    }

    fn course(&self, step: u64) -> Course {
        let last = self.milestones.get(self.passed(step)).map_or(u64::MAX, |milestone| milestone - 1);
        Course::product(last, last)
    }

    fn ratio(&self, from: u64, to: u64, _base: f64) -> Result<f64, Error> {
        Ok(self.gamma.powf((self.passed(to) - self.passed(from)) as f64))
    }
}
