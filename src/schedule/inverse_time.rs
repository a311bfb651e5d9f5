use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::exponential::{of_periods, periods};
use super::{Course, Link, Point, Schedule, at_least_one, rate_at};
use crate::config;
use crate::error::{Error, at_least};

/// A rate that falls with the reciprocal of the step.
///
/// `lr(k) = b / (1 + decay_rate * k / decay_steps)` with the base rate `b` and the step `k`; with `staircase`
/// `k / decay_steps` is rounded down.
///
/// Source: Keras 3.15, `keras.optimizers.schedules.InverseTimeDecay`. Differs: a negative `decay_rate` is
/// refused.
///
/// ```
/// use gradus::schedule::{InverseTimeDecay, Schedule};
///
/// assert_eq!(InverseTimeDecay::new(10, 1.5).at(20, 1.0)?.lr, 0.25);
/// # Ok::<(), gradus::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InverseTimeDecay {
    /// Number of updates in which the divisor grows by `decay_rate`, at least 1. Required.
    pub decay_steps: u64,
    /// Growth of the divisor, at least 0. Required.
    pub decay_rate: f64,
    /// Whether the divisor changes only every `decay_steps` updates instead of continuously. Default false.
    #[serde(default)]
    pub staircase: bool,
}

impl InverseTimeDecay {
    /// A divisor that grows by `decay_rate` every `decay_steps` updates.
    #[must_use]
    pub fn new(decay_steps: u64, decay_rate: f64) -> Self {
        Self { decay_steps, decay_rate, staircase: false }
    }
}

impl Schedule for InverseTimeDecay {
    fn at(&self, step: u64, base: f64) -> Result<Point, Error> {
        at_least_one("decay_steps", self.decay_steps)?;
        let periods = periods(step, self.decay_steps, self.staircase);
        rate_at(step, base / (1.0 + self.decay_rate * periods))
    }

    fn check(&self) -> Result<(), Error> {
        at_least_one("decay_steps", self.decay_steps)?;
        at_least("decay_rate", self.decay_rate, 0.0)
    }

    fn to_json(&self) -> Option<Value> {
        Some(config::write("InverseTimeDecay", self))
    }

    fn link(&self) -> Link {
        Link::Scales
    }

    fn course(&self, step: u64) -> Course {
        of_periods(step, self.decay_steps, self.staircase)
    }
}
