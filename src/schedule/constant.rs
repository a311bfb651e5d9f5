use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Course, Link, Point, Schedule, at_least_one, rate_at};
use crate::config;
use crate::error::{Error, closed};

/// A lower rate for the first updates, then the base rate.
///
/// `lr(k) = b * factor` for `k < total_iters`, then `b`, with the base rate `b` and the step `k`.
///
/// Source: PyTorch 2.15, `torch.optim.lr_scheduler.ConstantLR`. Differs: `total_iters` of 0 is refused,
/// where PyTorch keeps `b * factor` for good.
///
/// ```
/// use gradus::schedule::{ConstantLR, Schedule};
///
/// let schedule = ConstantLR { factor: 0.25, total_iters: 2 };
/// let rates: Vec<f64> = (0..4).map(|k| schedule.at(k, 1.0).unwrap().lr).collect();
/// assert_eq!(rates, [0.25, 0.25, 1.0, 1.0]);
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ConstantLR {
    /// What the base rate is multiplied by, in `[0, 1]`. Default 1/3.
    pub factor: f64,
    /// Updates at the lower rate, at least 1. Default 5.
    pub total_iters: u64,
}

impl Default for ConstantLR {
    fn default() -> Self {
        Self { factor: 1.0 / 3.0, total_iters: 5 }
    }
}

impl Schedule for ConstantLR {
    fn at(&self, step: u64, base: f64) -> Result<Point, Error> {
        rate_at(step, if step < self.total_iters { base * self.factor } else { base })
    }

    fn check(&self) -> Result<(), Error> {
        closed("factor", self.factor, 0.0, 1.0)?;
        at_least_one("total_iters", self.total_iters)
    }

    fn to_json(&self) -> Option<Value> {
        Some(config::write("ConstantLR", self))
    }

    fn link(&self) -> Link {
        Link::Scales
    }

    fn course(&self, step: u64) -> Course {
        let last = if step < self.total_iters { self.total_iters - 1 } else { u64::MAX };
        Course::product(last, last)
    }
}
