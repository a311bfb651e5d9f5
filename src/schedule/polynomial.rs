use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Course, Link, Point, Schedule, at_least_one, rate_at};
use crate::config;
use crate::error::{Error, at_least};

/// Decays from the base rate to 0 as a power of a linear function.
///
/// `lr(k) = b * (1 - min(k, n) / n)^power` with the base rate `b`, the step `k` and `n` = `total_iters`.
///
/// Source: PyTorch 2.15, `torch.optim.lr_scheduler.PolynomialLR`. Differs: a negative `power` is refused.
///
/// ```
/// use gradus::schedule::{PolynomialLR, Schedule};
///
/// let schedule = PolynomialLR { total_iters: 4, power: 2.0 };
/// assert_eq!((schedule.at(2, 1.0)?.lr, schedule.at(9, 1.0)?.lr), (0.25, 0.0));
/// # Ok::<(), gradus::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PolynomialLR {
    /// Updates to 0, at least 1. Default 5.
    pub total_iters: u64,
    /// The power, at least 0. Default 1.
    pub power: f64,
}

impl Default for PolynomialLR {
    fn default() -> Self {
        Self { total_iters: 5, power: 1.0 }
    }
}

impl Schedule for PolynomialLR {
    fn at(&self, step: u64, base: f64) -> Result<Point, Error> {
        at_least_one("total_iters", self.total_iters)?;
        let left = 1.0 - step.min(self.total_iters) as f64 / self.total_iters as f64;
        rate_at(step, base * left.powf(self.power))
    }

    fn check(&self) -> Result<(), Error> {
        at_least_one("total_iters", self.total_iters)?;
        at_least("power", self.power, 0.0)
    }

    fn to_json(&self) -> Option<Value> {
        Some(config::write("PolynomialLR", self))
    }

    fn link(&self) -> Link {
        Link::Scales
    }

    fn course(&self, step: u64) -> Course {
        // Not smooth at the end, where the ratio is 0.
        Course::until_end(step, self.total_iters).smooth_before(self.total_iters)
    }
}

/// Decays from the base rate to another rate as a power of a linear function, once or in cycles.
///
/// `lr(k) = (b - e) * (1 - min(k, n) / n)^power + e` with the base rate `b`, the step `k`, `e` = `end_learning_rate`
/// and `n` = `decay_steps`. With `cycle`, `n` is the smallest multiple of `decay_steps` that is at least `k`, so the
/// rate jumps up at each multiple and then falls more slowly than before.
///
/// Source: Keras 3.15, `keras.optimizers.schedules.PolynomialDecay`. Differs: a negative `power` or
/// `end_learning_rate` is refused.
///
/// ```
/// use gradus::schedule::{PolynomialDecay, Schedule};
///
/// let schedule = PolynomialDecay { end_learning_rate: 0.0, cycle: true, ..PolynomialDecay::new(10) };
/// assert_eq!((schedule.at(10, 1.0)?.lr, schedule.at(15, 1.0)?.lr), (0.0, 0.25));
/// # Ok::<(), gradus::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolynomialDecay {
    /// Updates to `end_learning_rate`, at least 1. Required.
    pub decay_steps: u64,
    /// The last rate, at least 0. Default 1e-4.
    #[serde(default = "end_learning_rate")]
    pub end_learning_rate: f64,
    /// The power, at least 0. Default 1.
    #[serde(default = "power")]
    pub power: f64,
    /// Whether to start again after `decay_steps`. Default false.
    #[serde(default)]
    pub cycle: bool,
}

fn end_learning_rate() -> f64 {
    1e-4
}

fn power() -> f64 {
    1.0
}

impl PolynomialDecay {
    /// A linear decay to 1e-4 in `decay_steps` updates.
    #[must_use]
    pub fn new(decay_steps: u64) -> Self {
        Self { decay_steps, end_learning_rate: end_learning_rate(), power: power(), cycle: false }
    }
}

impl Schedule for PolynomialDecay {
    fn at(&self, step: u64, base: f64) -> Result<Point, Error> {
        at_least_one("decay_steps", self.decay_steps)?;
        let cycles = if self.cycle { step.div_ceil(self.decay_steps).max(1) } else { 1 };
        let length = self.decay_steps as f64 * cycles as f64;
        let left = 1.0 - (step as f64).min(length) / length;
        let end = self.end_learning_rate;
        rate_at(step, (base - end) * left.powf(self.power) + end)
    }

    fn check(&self) -> Result<(), Error> {
        at_least_one("decay_steps", self.decay_steps)?;
        at_least("end_learning_rate", self.end_learning_rate, 0.0)?;
        at_least("power", self.power, 0.0)
    }

    fn to_json(&self) -> Option<Value> {
        Some(config::write("PolynomialDecay", self))
    }

    fn link(&self) -> Link {
        Link::Scales
    }

    fn course(&self, step: u64) -> Course {
        let end = self.decay_steps;
        match self.cycle {
            true => {
                let end = step.div_ceil(end.max(1)).max(1).saturating_mul(end);
                Course::product(step, end.saturating_sub(1).max(step))
            }
            false => Course::until_end(step, end).smooth_before(end),
        }
    }
}
