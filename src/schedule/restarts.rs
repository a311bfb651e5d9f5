use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Course, Link, Point, Schedule, at_least_one, half_wave, rate_at, times};
use crate::config;
use crate::error::{Error, at_least, closed};

/// Half cosine waves from the base rate to `eta_min`, one after the other. Each can be longer than the previous one.
///
/// `lr(k) = eta_min + (b - eta_min) * (1 + cos(pi * t / n)) / 2` with the base rate `b` and the number of steps `t`
/// since the last restart. The first wave has `n` = `T_0` steps, each later one `T_mult` times as many as the one
/// before.
///
/// Source: Loshchilov & Hutter 2017, arXiv:1608.03983; PyTorch 2.15,
/// `torch.optim.lr_scheduler.CosineAnnealingWarmRestarts`. Differs: a negative `eta_min` is refused.
///
/// ```
/// use gradus::schedule::{CosineAnnealingWarmRestarts, Schedule};
///
/// let schedule = CosineAnnealingWarmRestarts { t_mult: 2, ..CosineAnnealingWarmRestarts::new(10) };
/// assert_eq!([0, 5, 10, 20, 30].map(|k| schedule.at(k, 1.0).unwrap().lr), [1.0, 0.5, 1.0, 0.5, 1.0]);
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CosineAnnealingWarmRestarts {
    /// Updates of the first wave, at least 1. Required; `T_0` in JSON.
    #[serde(rename = "T_0")]
    pub t_0: u64,
    /// Ratio of the lengths of consecutive waves, at least 1. Default 1; `T_mult` in JSON.
    #[serde(rename = "T_mult", default = "t_mult")]
    pub t_mult: u64,
    /// The lowest rate, at least 0. Default 0.
    #[serde(default)]
    pub eta_min: f64,
}

fn t_mult() -> u64 {
    1
}

impl CosineAnnealingWarmRestarts {
    /// Waves of `t_0` updates to 0.
    #[must_use]
    pub fn new(t_0: u64) -> Self {
        Self { t_0, t_mult: t_mult(), eta_min: 0.0 }
    }
}

impl Schedule for CosineAnnealingWarmRestarts {
    fn at(&self, step: u64, base: f64) -> Result<Point, Error> {
        at_least_one("T_0", self.t_0)?;
        // At most one wave, the current one, is longer than 64 bits hold.
        let (mut since, mut length) = (u128::from(step), u128::from(self.t_0));
        if self.t_mult < 2 {
            since %= length;
        }
        while since >= length {
            since -= length;
            length *= u128::from(self.t_mult);
        }
        let wave = half_wave(since as f64 / length as f64);
        rate_at(step, self.eta_min + (base - self.eta_min) * wave)
    }

    fn check(&self) -> Result<(), Error> {
        at_least_one("T_0", self.t_0)?;
        at_least_one("T_mult", self.t_mult)?;
        at_least("eta_min", self.eta_min, 0.0)
    }

    fn to_json(&self) -> Option<Value> {
        Some(config::write("CosineAnnealingWarmRestarts", self))
    }
}

/// Half cosine waves from the base rate to a fraction of it, one after the other. Each can be longer and lower than
/// the previous one.
///
/// `lr(k) = b * ((1 - alpha) * m_mul^i * (1 + cos(pi * t)) / 2 + alpha)` with the base rate `b`; step `k` is in wave
/// `i` (from 0), of which the fraction `t` has passed. The first wave has `first_decay_steps` steps, each later one
/// `t_mul` times as many as the one before.
///
/// Source: Keras 3.15, `keras.optimizers.schedules.CosineDecayRestarts`. Differs: a wave begins exactly where the
/// previous one ends, while Keras can be off by one wave because of rounding in a logarithm; `t_mul` below 1 is
/// refused.
///
/// ```
/// use gradus::schedule::{CosineDecayRestarts, Schedule};
///
/// let schedule = CosineDecayRestarts { t_mul: 1.5, m_mul: 0.5, ..CosineDecayRestarts::new(10) };
/// assert_eq!([0, 5, 10, 25].map(|k| schedule.at(k, 1.0).unwrap().lr), [1.0, 0.5, 0.5, 0.25]);
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CosineDecayRestarts {
    /// Updates of the first wave, at least 1. Required.
    pub first_decay_steps: u64,
    /// Ratio of the lengths of consecutive waves, at least 1. Default 2.
    #[serde(default = "t_mul")]
    pub t_mul: f64,
    /// Ratio of the heights of consecutive waves, at least 0. Default 1.
    #[serde(default = "m_mul")]
    pub m_mul: f64,
    /// The lowest rate as a fraction of the base rate, in `[0, 1]`. Default 0.
    #[serde(default)]
    pub alpha: f64,
}

fn t_mul() -> f64 {
    2.0
}

fn m_mul() -> f64 {
    1.0
}

/// Relative tolerance within which a step counts as a restart; larger than rounding errors.
const HAIR: f64 = 1e-12;

impl CosineDecayRestarts {
    /// Waves to 0. The first has `first_decay_steps` updates, each later one twice as many as the one before.
    #[must_use]
    pub fn new(first_decay_steps: u64) -> Self {
        Self { first_decay_steps, t_mul: t_mul(), m_mul: m_mul(), alpha: 0.0 }
    }

    /// The number of the wave at `step`, from 0, and the fraction of it that has passed.
    fn wave(&self, step: u64) -> (f64, f64) {
        let length = self.first_decay_steps;
        let (passed, growth) = (step as f64 / length as f64, self.t_mul - 1.0);
        if growth <= 0.0 {
            return ((step / length) as f64, (step % length) as f64 / length as f64);
        }
        if self.t_mul >= passed {
            // There is no third wave in range, and powers of such a large number overflow.
            return if step < length {
                (0.0, passed)
            } else {
                (1.0, (step - length) as f64 / length as f64 / self.t_mul)
            };
        }
        // In units of the length of the first wave.
        let start = |wave: f64| (self.t_mul.powf(wave) - 1.0) / growth;
        let reached = passed * (1.0 + HAIR);
        let mut wave = ((growth * passed).ln_1p() / self.t_mul.ln()).round();
        // Usually at most one wave too many; more only if a wave is shorter than the rounding error.
        for _ in 0..2 {
            if wave > 0.0 && start(wave) > reached {
                wave -= 1.0;
            }
        }
        (wave, ((passed - start(wave)) / self.t_mul.powf(wave)).clamp(0.0, 1.0))
    }
}

impl Schedule for CosineDecayRestarts {
    fn at(&self, step: u64, base: f64) -> Result<Point, Error> {
        at_least_one("first_decay_steps", self.first_decay_steps)?;
        let (wave, part) = self.wave(step);
        let height = times(1.0 - self.alpha, self.m_mul.powf(wave));
        rate_at(step, times(base, times(half_wave(part), height) + self.alpha))
    }

    fn check(&self) -> Result<(), Error> {
        at_least_one("first_decay_steps", self.first_decay_steps)?;
        at_least("t_mul", self.t_mul, 1.0)?;
        at_least("m_mul", self.m_mul, 0.0)?;
        closed("alpha", self.alpha, 0.0, 1.0)
    }

    fn to_json(&self) -> Option<Value> {
        Some(config::write("CosineDecayRestarts", self))
    }

    fn link(&self) -> Link {
        Link::Scales
    }

    fn course(&self, step: u64) -> Course {
        // If `t_mul` is not an integer, restarts are not at whole steps.
        Course::product(step, step)
    }
}
