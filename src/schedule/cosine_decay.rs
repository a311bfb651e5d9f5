use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Course, Link, Point, Schedule, at_least_one, half_wave, rate_at};
use crate::config;
use crate::error::{Error, at_least, closed};

/// Half a cosine wave from the base rate to a fraction of it, after an optional warm-up.
///
/// `lr(k) = b * ((1 - alpha) * (1 + cos(pi * min(k, n) / n)) / 2 + alpha)` with the base rate `b`, the step `k`
/// and `n` = `decay_steps`. With a `warmup_target` `t` the rate first goes in a straight line from `b` to `t`
/// in `warmup_steps`; then `t` takes the place of `b`, and steps count from there.
///
/// Source: Keras 3.15, `keras.optimizers.schedules.CosineDecay`. Differs: `warmup_steps` without a
/// `warmup_target`, which Keras ignores, is refused, as are negative rates.
///
/// ```
/// use gradus::schedule::{CosineDecay, Schedule};
///
/// let schedule = CosineDecay { warmup_target: Some(1.0), warmup_steps: 10, ..CosineDecay::new(40) };
/// let rates = [0, 5, 10, 30, 99].map(|k| schedule.at(k, 0.2).unwrap().lr);
/// assert_eq!(rates, [0.2, 0.6000000000000001, 1.0, 0.5, 0.0]);
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CosineDecay {
    /// Updates from the highest rate to the last, at least 1. Required.
    pub decay_steps: u64,
    /// The last rate as a fraction of the highest, in `[0, 1]`. Default 0.
    #[serde(default)]
    pub alpha: f64,
    /// The rate after the warm-up, at least 0. Default none: no warm-up.
    #[serde(default)]
    pub warmup_target: Option<f64>,
    /// Updates of the warm-up. Default 0.
    #[serde(default)]
    pub warmup_steps: u64,
}

impl CosineDecay {
    /// From the base rate to 0 in `decay_steps` updates.
    #[must_use]
    pub fn new(decay_steps: u64) -> Self {
        Self { decay_steps, alpha: 0.0, warmup_target: None, warmup_steps: 0 }
    }
}

impl Schedule for CosineDecay {
    fn at(&self, step: u64, base: f64) -> Result<Point, Error> {
        at_least_one("decay_steps", self.decay_steps)?;
        let (peak, since) = match self.warmup_target {
            Some(target) if step < self.warmup_steps => {
                let part = step as f64 / self.warmup_steps as f64;
                return rate_at(step, base + (target - base) * part);
            }
            Some(target) => (target, step - self.warmup_steps),
            None => (base, step),
        };
        let wave = half_wave(since.min(self.decay_steps) as f64 / self.decay_steps as f64);
        rate_at(step, peak * ((1.0 - self.alpha) * wave + self.alpha))
    }

    fn check(&self) -> Result<(), Error> {
        at_least_one("decay_steps", self.decay_steps)?;
        closed("alpha", self.alpha, 0.0, 1.0)?;
        match self.warmup_target {
            Some(target) => at_least("warmup_target", target, 0.0),
            None if self.warmup_steps == 0 => Ok(()),
            None => Err(Error::constant("warmup_steps", "0 without a warmup_target", self.warmup_steps)),
        }
    }

    fn to_json(&self) -> Option<Value> {
        Some(config::write("CosineDecay", self))
    }

    fn link(&self) -> Link {
        Link::Scales
    }

    fn course(&self, step: u64) -> Course {
        let warm = if self.warmup_target.is_some() { self.warmup_steps } else { 0 };
        match step < warm {
            true => Course::product(step, warm),
            false => {
                let end = warm.saturating_add(self.decay_steps);
                Course::until_end(step, end).smooth_before(end)
            }
        }
    }
}
