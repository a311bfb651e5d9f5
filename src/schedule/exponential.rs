use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Course, Link, Point, Schedule, at_least_one, rate_at, times};
use crate::config;
use crate::error::{Error, above, at_least};

/// Multiplies the rate by `gamma` at each step.
///
/// `lr(k) = b * gamma^k` with the base rate `b` and the step `k`.
///
/// Source: PyTorch 2.15, `torch.optim.lr_scheduler.ExponentialLR`. Differs: a negative `gamma` is refused.
///
/// ```
/// use gradus::schedule::{ExponentialLR, Schedule};
///
/// assert_eq!(ExponentialLR::new(0.5).at(3, 1.0)?.lr, 0.125);
/// # Ok::<(), gradus::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExponentialLR {
    /// Factor per step, at least 0. Required.
    pub gamma: f64,
}

impl ExponentialLR {
    /// Multiplies the rate by `gamma` at each step.
    #[must_use]
    pub fn new(gamma: f64) -> Self {
        Self { gamma }
    }
}

impl Schedule for ExponentialLR {
    fn at(&self, step: u64, base: f64) -> Result<Point, Error> {
        rate_at(step, times(base, self.gamma.powf(step as f64)))
    }

    fn check(&self) -> Result<(), Error> {
        at_least("gamma", self.gamma, 0.0)
    }

    fn to_json(&self) -> Option<Value> {
        Some(config::write("ExponentialLR", self))
    }

    fn link(&self) -> Link {
        Link::Scales
    }

    fn course(&self, step: u64) -> Course {
        Course::product(if self.gamma == 1.0 { u64::MAX } else { step }, u64::MAX)
    }

    fn ratio(&self, from: u64, to: u64, _base: f64) -> Result<f64, Error> {
        Ok(self.gamma.powf((to - from) as f64))
    }
}

/// Multiplies the rate by `decay_rate` every `decay_steps` steps.
///
/// `lr(k) = b * decay_rate^(k / decay_steps)` with the base rate `b` and the step `k`; with `staircase` the
/// exponent is rounded down.
///
/// Source: Keras 3.15, `keras.optimizers.schedules.ExponentialDecay`. Differs: a negative `decay_rate` is
/// refused.
///
/// ```
/// use gradus::schedule::{ExponentialDecay, Schedule};
///
/// let stairs = ExponentialDecay { staircase: true, ..ExponentialDecay::new(10, 0.5) };
/// assert_eq!(stairs.at(25, 1.0)?.lr, 0.25);
/// # Ok::<(), gradus::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExponentialDecay {
    /// Number of updates per factor of `decay_rate`, at least 1. Required.
    pub decay_steps: u64,
    /// The factor, at least 0. Required.
    pub decay_rate: f64,
    /// Whether the rate changes only every `decay_steps` updates instead of continuously. Default false.
    #[serde(default)]
    pub staircase: bool,
}

impl ExponentialDecay {
    /// Multiplies the rate by `decay_rate` every `decay_steps` updates.
    #[must_use]
    pub fn new(decay_steps: u64, decay_rate: f64) -> Self {
        Self { decay_steps, decay_rate, staircase: false }
    }
}

impl Schedule for ExponentialDecay {
    fn at(&self, step: u64, base: f64) -> Result<Point, Error> {
        at_least_one("decay_steps", self.decay_steps)?;
        let periods = periods(step, self.decay_steps, self.staircase);
        rate_at(step, times(base, self.decay_rate.powf(periods)))
    }

    fn check(&self) -> Result<(), Error> {
        at_least_one("decay_steps", self.decay_steps)?;
        at_least("decay_rate", self.decay_rate, 0.0)
    }

    fn to_json(&self) -> Option<Value> {
        Some(config::write("ExponentialDecay", self))
    }

    fn link(&self) -> Link {
        Link::Scales
    }

    fn course(&self, step: u64) -> Course {
        of_periods(step, self.decay_steps, self.staircase)
    }

    fn ratio(&self, from: u64, to: u64, _base: f64) -> Result<f64, Error> {
        let length = self.decay_steps.max(1);
        let periods = match self.staircase {
            true => (to / length - from / length) as f64,
            false => periods(to - from, length, false),
        };
        Ok(self.decay_rate.powf(periods))
    }
}

/// Like [`ExponentialDecay`], starting at `transition_begin` and limited by `end_value`.
///
/// `lr(k) = b * decay_rate^(max(k - transition_begin, 0) / decay_steps)` with the base rate `b` and the step
/// `k`; with `staircase` the exponent is rounded down. `end_value` is a floor if `decay_rate` is under 1, else
/// a ceiling.
///
/// Source: braintools 0.3, `braintools.optim.ExponentialDecayLR`, which is `optax.exponential_decay`. Differs:
/// a `decay_rate` of 0, which optax takes for no decay, and a negative `end_value` are refused.
///
/// ```
/// use gradus::schedule::{ExponentialDecayLR, Schedule};
///
/// let growth = ExponentialDecayLR { end_value: Some(3.0), ..ExponentialDecayLR::new(10, 2.0) };
/// assert_eq!((growth.at(10, 1.0)?.lr, growth.at(20, 1.0)?.lr), (2.0, 3.0));
/// # Ok::<(), gradus::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExponentialDecayLR {
    /// Number of updates per factor of `decay_rate`, at least 1. Required.
    pub decay_steps: u64,
    /// The factor, above 0. Required.
    pub decay_rate: f64,
    /// Updates before the first change. Default 0.
    #[serde(default)]
    pub transition_begin: u64,
    /// Whether the rate changes only every `decay_steps` updates instead of continuously. Default false.
    #[serde(default)]
    pub staircase: bool,
    /// The limit of the rate, at least 0. Default none.
    #[serde(default)]
    pub end_value: Option<f64>,
}

impl ExponentialDecayLR {
    /// Multiplies the rate by `decay_rate` every `decay_steps` updates, without a limit.
    #[must_use]
    pub fn new(decay_steps: u64, decay_rate: f64) -> Self {
        Self { decay_steps, decay_rate, transition_begin: 0, staircase: false, end_value: None }
    }
}

impl Schedule for ExponentialDecayLR {
    fn at(&self, step: u64, base: f64) -> Result<Point, Error> {
        at_least_one("decay_steps", self.decay_steps)?;
        let since = step.saturating_sub(self.transition_begin);
        let lr = times(base, self.decay_rate.powf(periods(since, self.decay_steps, self.staircase)));
        // A NaN rate must not be replaced by the limit.
        let bound = self.end_value.filter(|_| !lr.is_nan());
        rate_at(
            step,
            match bound {
                Some(end) if self.decay_rate < 1.0 => lr.max(end),
                Some(end) => lr.min(end),
                None => lr,
            },
        )
    }

    fn check(&self) -> Result<(), Error> {
        at_least_one("decay_steps", self.decay_steps)?;
        above("decay_rate", self.decay_rate, 0.0)?;
        self.end_value.map_or(Ok(()), |end| at_least("end_value", end, 0.0))
    }

    fn to_json(&self) -> Option<Value> {
        Some(config::write("ExponentialDecayLR", self))
    }

    fn link(&self) -> Link {
        Link::Scales
    }

    fn course(&self, step: u64) -> Course {
        let begin = self.transition_begin;
        match (step < begin, self.end_value) {
            (true, _) => Course::product(begin, begin),
            // The limit is not reached at a whole step.
            (false, Some(_)) => Course::product(step, step),
            (false, None) => of_periods(step - begin, self.decay_steps, self.staircase).within(begin, None),
        }
    }
}

/// The number of periods of `length` steps (at least 1) in `step`; whole periods only with `staircase`.
pub(super) fn periods(step: u64, length: u64, staircase: bool) -> f64 {
    if staircase { (step / length) as f64 } else { step as f64 / length as f64 }
}

/// The course of a function of [`periods`].
pub(super) fn of_periods(step: u64, length: u64, staircase: bool) -> Course {
    if !staircase {
        return Course::product(step, u64::MAX);
    }
    let last = (step / length.max(1)).saturating_add(1).saturating_mul(length).saturating_sub(1);
    Course::product(last.max(step), last.max(step))
}
