use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Course, Link, Point, Schedule, at_least_one, rate_at};
use crate::config;
use crate::error::{Error, closed};

/// A straight line from one multiple of the base rate to another.
///
/// `lr(k) = b * (s + (e - s) * min(k, n) / n)` with the base rate `b`, the step `k`, `s` =
/// `start_factor`, `e` = `end_factor` and `n` = `total_iters`.
///
/// Source: PyTorch 2.15, `torch.optim.lr_scheduler.LinearLR`. Differs: `total_iters` of 0 is refused,
/// where PyTorch keeps `b * s` for good.
///
/// ```
/// use gradus::schedule::{LinearLR, Schedule};
///
/// let schedule = LinearLR { start_factor: 0.5, total_iters: 2, ..Default::default() };
/// let rates: Vec<f64> = (0..4).map(|k| schedule.at(k, 1.0).unwrap().lr).collect();
/// assert_eq!(rates, [0.5, 0.75, 1.0, 1.0]);
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LinearLR {
    /// Factor of the base rate at step 0, in `(0, 1]`. Default 1/3.
    pub start_factor: f64,
    /// Factor of the base rate at the end, in `[0, 1]`. Default 1.
    pub end_factor: f64,
    /// Updates from the first factor to the last, at least 1. Default 5.
    pub total_iters: u64,
}

impl Default for LinearLR {
    fn default() -> Self {
        Self { start_factor: 1.0 / 3.0, end_factor: 1.0, total_iters: 5 }
    }
}

impl Schedule for LinearLR {
    fn at(&self, step: u64, base: f64) -> Result<Point, Error> {
        at_least_one("total_iters", self.total_iters)?;
        let done = step.min(self.total_iters) as f64 / self.total_iters as f64;
        rate_at(step, base * (self.start_factor + (self.end_factor - self.start_factor) * done))
    }

    fn check(&self) -> Result<(), Error> {
        if !(self.start_factor > 0.0 && self.start_factor <= 1.0) {
            return Err(Error::constant("start_factor", "above 0 and at most 1", self.start_factor));
        }
        closed("end_factor", self.end_factor, 0.0, 1.0)?;
        at_least_one("total_iters", self.total_iters)
    }

    fn to_json(&self) -> Option<Value> {
        Some(config::write("LinearLR", self))
    }

    fn link(&self) -> Link {
        Link::Scales
    }

    fn course(&self, step: u64) -> Course {
        Course::until_end(step, self.total_iters)
    }
}
