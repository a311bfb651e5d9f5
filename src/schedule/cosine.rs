use std::f64::consts::PI;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::link::ratio;
use super::{Course, Link, Point, Schedule, at_least_one, rate_at, times};
use crate::config;
use crate::error::{Error, at_least};

/// Half a cosine wave from the base rate down to `eta_min`, and up again unless clamped.
///
/// `lr(k) = eta_min + (b - eta_min) * (1 + cos(pi * k / T_max)) / 2` with the base rate `b` and the
/// step `k`; with `clamp`, `k` is at most `T_max`.
///
/// In a [`ChainedScheduler`](super::ChainedScheduler) it follows PyTorch's recursion; clamped, it multiplies.
///
/// Source: Loshchilov & Hutter 2017, arXiv:1608.03983, eq. 5, without restarts; PyTorch 2.15,
/// `torch.optim.lr_scheduler.CosineAnnealingLR`. Differs: `clamp` is ours, a negative `eta_min` is
/// refused.
///
/// ```
/// use gradus::schedule::{CosineAnnealingLR, Schedule};
///
/// let schedule = CosineAnnealingLR::new(10);
/// assert_eq!(schedule.at(0, 1.0)?.lr, 1.0);
/// assert_eq!(schedule.at(10, 1.0)?.lr, 0.0);
/// assert_eq!(schedule.at(20, 1.0)?.lr, 1.0);
/// assert_eq!(CosineAnnealingLR { clamp: true, ..schedule }.at(20, 1.0)?.lr, 0.0);
/// # Ok::<(), gradus::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CosineAnnealingLR {
    /// Updates from the base rate to `eta_min`, at least 1. Required; `T_max` in JSON.
    #[serde(rename = "T_max")]
    pub t_max: u64,
    /// The lowest rate, at least 0. Default 0.
    #[serde(default)]
    pub eta_min: f64,
    /// Whether the rate stays at `eta_min` after `T_max` instead of rising again. Default false.
    #[serde(default)]
    pub clamp: bool,
}

impl CosineAnnealingLR {
    /// From the base rate to 0 in `t_max` updates, and up again.
    #[must_use]
    pub fn new(t_max: u64) -> Self {
        Self { t_max, eta_min: 0.0, clamp: false }
    }

    /// The angle at a step: pi at `T_max`.
    fn angle(&self, step: u64) -> f64 {
        if step < EXACT {
            return PI * step as f64 / self.t_max as f64;
        }
        let turn = 2 * u128::from(self.t_max);
        PI * (u128::from(step) % turn) as f64 / self.t_max as f64
    }

    /// `1 + cos(pi * k / T_max)`, halved, with PyTorch's rounding.
    fn wave(&self, step: u64) -> f64 {
        match self.t_max < EXACT {
            true => (1.0 + self.angle(step).cos()) / 2.0,
            false => (self.angle(step) / 2.0).cos().powi(2),
        }
    }

    /// Whether the wave is at its minimum.
    fn is_low(&self, step: u64) -> bool {
        self.lowest(step) == Some(step)
    }

    /// The latest step, up to this one, at which the wave is at its minimum.
    fn lowest(&self, step: u64) -> Option<u64> {
        let turn = self.t_max.max(1).saturating_mul(2);
        step.checked_sub(self.t_max).map(|since| step - since % turn)
    }
}

/// Below this step, the formulas round exactly as PyTorch's do. Above it, where those would lose most digits, more
/// accurate ones are used.
const EXACT: u64 = 1 << 24;

impl Schedule for CosineAnnealingLR {
    fn at(&self, step: u64, base: f64) -> Result<Point, Error> {
        at_least_one("T_max", self.t_max)?;
        let now = if self.clamp { step.min(self.t_max) } else { step };
        rate_at(step, self.eta_min + (base - self.eta_min) * self.wave(now))
    }

    fn check(&self) -> Result<(), Error> {
        at_least_one("T_max", self.t_max)?;
        at_least("eta_min", self.eta_min, 0.0)
    }

    fn to_json(&self) -> Option<Value> {
        Some(config::write("CosineAnnealingLR", self))
    }

    /// With `eta_min` 0 it multiplies the base rate, until it rises again.
    fn link(&self) -> Link {
        match self.clamp {
            true => Link::Scales,
            false if self.eta_min == 0.0 => Link::Moves { from: self.t_max.saturating_add(1) },
            false => Link::Moves { from: 1 },
        }
    }

    /// PyTorch's recursion: multiplies the distance to `eta_min`. If that is 0, the rise starts with the distance of
    /// the base rate.
    fn follow(&self, step: u64, base: f64, lr: f64) -> Result<Point, Error> {
        let Some(before) = step.checked_sub(1) else { return Ok(Point::rate(lr)) };
        if self.clamp {
            return rate_at(step, times(lr, self.ratio(before, step, base)?));
        }
        at_least_one("T_max", self.t_max)?;
        let lr = match (self.is_low(before), self.is_low(step)) {
            (true, _) => {
                let angle = PI / self.t_max as f64;
                let rise = match self.t_max < EXACT {
                    true => (1.0 - angle.cos()) / 2.0,
                    false => (angle / 2.0).sin().powi(2),
                };
                lr + (base - self.eta_min) * rise
            }
            (false, true) => self.eta_min,
            (false, false) => self.wave(step) / self.wave(before) * (lr - self.eta_min) + self.eta_min,
        };
        rate_at(step, lr)
    }

    fn course(&self, step: u64) -> Course {
        if self.clamp {
            return Course::until_end(step, self.t_max).smooth_before(self.t_max);
        }
        let reset = self.lowest(step);
        let next = match reset {
            Some(lowest) => lowest.saturating_add(self.t_max.saturating_mul(2)),
            None => self.t_max,
        };
        // The direction changes at the minimum, so another course begins there.
        let last = if self.is_low(step) { step } else { next.saturating_sub(1) };
        Course { reset, floor: self.eta_min, until: last, steady: step, smooth: last }
    }

    fn ratio(&self, from: u64, to: u64, base: f64) -> Result<f64, Error> {
        if self.clamp {
            return ratio(self.at(from, base)?.lr, self.at(to, base)?.lr, to);
        }
        let half = |step: u64| (self.angle(step) / 2.0).cos();
        Ok((half(to) / half(from)).powi(2))
    }

    fn fall(&self, step: u64) -> f64 {
        let Some(before) = step.checked_sub(1) else { return 0.0 };
        let half_step = PI / 2.0 / self.t_max as f64;
        let middle = self.angle(before) + half_step;
        middle.sin() * half_step.sin() / (self.angle(before) / 2.0).cos().powi(2)
    }
}
