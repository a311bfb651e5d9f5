use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Course, Link, Point, Schedule, at_least_one, half_wave, rate_at};
use crate::config;
use crate::error::{Error, at_least};

/// A linear warm-up to the base rate.
///
/// `lr(k) = s + (b - s) * min(k / n, 1)` with the base rate `b`, the step `k`, `s` = `warmup_start_lr` and `n` =
/// `warmup_epochs`; without a warm-up, which is `n` = 0, it is `b` at once.
///
/// Source: braintools 0.3, `braintools.optim.WarmupScheduler`. Differs: a negative `warmup_start_lr` is refused.
///
/// ```
/// use gradus::schedule::{Schedule, WarmupScheduler};
///
/// let schedule = WarmupScheduler { warmup_epochs: 4, ..Default::default() };
/// assert_eq!([0, 1, 4, 9].map(|k| schedule.at(k, 1.0).unwrap().lr), [0.0, 0.25, 1.0, 1.0]);
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WarmupScheduler {
    /// Number of updates (despite the name) until the base rate is reached; 0 for no warm-up. Default 5.
    pub warmup_epochs: u64,
    /// The first rate, at least 0; with 0 the first update changes nothing. Default 0.
    pub warmup_start_lr: f64,
}

impl Default for WarmupScheduler {
    fn default() -> Self {
        Self { warmup_epochs: 5, warmup_start_lr: 0.0 }
    }
}

impl Schedule for WarmupScheduler {
    fn at(&self, step: u64, base: f64) -> Result<Point, Error> {
        let start = self.warmup_start_lr;
        if step >= self.warmup_epochs {
            return rate_at(step, base);
        }
        rate_at(step, start + (base - start) * (step as f64 / self.warmup_epochs as f64))
    }

    fn check(&self) -> Result<(), Error> {
        at_least("warmup_start_lr", self.warmup_start_lr, 0.0)
    }

    fn to_json(&self) -> Option<Value> {
        Some(config::write("WarmupScheduler", self))
    }

    fn link(&self) -> Link {
        Link::Scales
    }

    fn course(&self, step: u64) -> Course {
        Course::until_end(step, self.warmup_epochs)
    }
}

/// A linear warm-up to the base rate, followed by half a cosine wave down.
///
/// With the base rate `b`, the step `k`, `W` = `warmup_steps` and `N` = `total_steps`: `lr(k) = s + (b - s) * k / W`
/// with `s` = `warmup_start_lr` before step `W`, then `eta_min + (b - eta_min) * (1 + cos(pi * q)) / 2` with `q` =
/// `(k - W) / (N - W)`, at most 1.
///
/// Source: braintools 0.3, `braintools.optim.WarmupCosineSchedule`, which is
/// `optax.warmup_cosine_decay_schedule`. Differs: negative rates and a warm-up longer than the run are refused.
///
/// ```
/// use gradus::schedule::{Schedule, WarmupCosineSchedule};
///
/// let schedule = WarmupCosineSchedule { warmup_steps: 4, total_steps: 12, ..Default::default() };
/// assert_eq!([0, 1, 4, 8, 12].map(|k| schedule.at(k, 1.0).unwrap().lr), [0.0, 0.25, 1.0, 0.5, 0.0]);
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WarmupCosineSchedule {
    /// Updates up to the base rate, at most `total_steps`. Default 1000.
    pub warmup_steps: u64,
    /// Updates up to `eta_min`, at least 1. Default 10000.
    pub total_steps: u64,
    /// The first rate, at least 0. Default 0.
    pub warmup_start_lr: f64,
    /// The last rate, at least 0. Default 0.
    pub eta_min: f64,
}

impl Default for WarmupCosineSchedule {
    fn default() -> Self {
        Self { warmup_steps: 1000, total_steps: 10_000, warmup_start_lr: 0.0, eta_min: 0.0 }
    }
}

impl Schedule for WarmupCosineSchedule {
    fn at(&self, step: u64, base: f64) -> Result<Point, Error> {
        let start = self.warmup_start_lr;
        if step < self.warmup_steps {
            return rate_at(step, start + (base - start) * (step as f64 / self.warmup_steps as f64));
        }
        let wave = half_wave(after_warmup(step, self.warmup_steps, self.total_steps));
        rate_at(step, self.eta_min + (base - self.eta_min) * wave)
    }

    fn check(&self) -> Result<(), Error> {
        at_least("warmup_start_lr", self.warmup_start_lr, 0.0)?;
        at_least("eta_min", self.eta_min, 0.0)?;
        check_lengths(self.warmup_steps, self.total_steps)
    }

    fn to_json(&self) -> Option<Value> {
        Some(config::write("WarmupCosineSchedule", self))
    }

    fn link(&self) -> Link {
        Link::Scales
    }

    fn course(&self, step: u64) -> Course {
        let (warm, end) = (self.warmup_steps, self.total_steps);
        if step < warm {
            Course::product(step, warm)
        } else {
            Course::until_end(step, end).smooth_before(end)
        }
    }
}

/// A linear warm-up to the base rate, followed by a linear decay to 0.
///
/// With the base rate `b`, the step `k`, `W` = `warmup_steps` and `N` = `total_steps`: `lr(k) = b * (k + 1) / W`
/// before step `W`, then `b * (1 - (k - W) / (N - W))`, at least 0. So the base rate is reached at step `W - 1`,
/// and the first update is not lost.
///
/// Source: the linear warm-up and decay of Devlin et al. 2019, arXiv:1810.04805, with a first rate above 0.
///
/// ```
/// use gradus::schedule::{Schedule, WarmupLinearDecay};
///
/// let schedule = WarmupLinearDecay::new(4, 8);
/// assert_eq!([0, 3, 4, 6, 8].map(|k| schedule.at(k, 1.0).unwrap().lr), [0.25, 1.0, 1.0, 0.5, 0.0]);
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WarmupLinearDecay {
    /// Updates up to the base rate, at most `total_steps`. Required.
    pub warmup_steps: u64,
    /// Updates up to 0, at least 1. Required.
    pub total_steps: u64,
}

impl WarmupLinearDecay {
    /// Warm-up in `warmup_steps`, decay in the rest of `total_steps`.
    #[must_use]
    pub fn new(warmup_steps: u64, total_steps: u64) -> Self {
        Self { warmup_steps, total_steps }
    }
}

impl Schedule for WarmupLinearDecay {
    fn at(&self, step: u64, base: f64) -> Result<Point, Error> {
        if step < self.warmup_steps {
            return rate_at(step, base * ((step + 1) as f64 / self.warmup_steps as f64));
        }
        rate_at(step, base * (1.0 - after_warmup(step, self.warmup_steps, self.total_steps)))
    }

    fn check(&self) -> Result<(), Error> {
        check_lengths(self.warmup_steps, self.total_steps)
    }

    fn to_json(&self) -> Option<Value> {
        Some(config::write("WarmupLinearDecay", self))
    }

    fn link(&self) -> Link {
        Link::Scales
    }

    fn course(&self, step: u64) -> Course {
        let (warm, end) = (self.warmup_steps, self.total_steps);
        if step < warm {
            Course::product(step, warm - 1)
        } else {
            Course::until_end(step, end).smooth_before(end)
        }
    }
}

/// The fraction that has passed between the end of the warm-up and the end of the run, at most 1.
fn after_warmup(step: u64, warmup: u64, total: u64) -> f64 {
    if step >= total {
        return 1.0;
    }
    // Only a schedule that was not checked has a warm-up as long as the run.
    step.saturating_sub(warmup) as f64 / total.saturating_sub(warmup).max(1) as f64
}

fn check_lengths(warmup: u64, total: u64) -> Result<(), Error> {
    at_least_one("total_steps", total)?;
    if warmup <= total {
        return Ok(());
    }
    Err(Error::constant("warmup_steps", format!("at most total_steps, which is {total}"), warmup))
}
