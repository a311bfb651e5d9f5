use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::link::scaled;
use super::{Link, Point, Schedule, at_least_one, half_wave};
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

    fn wave(&self, step: u64) -> f64 {
        half_wave(step as f64 / self.t_max as f64)
    }
}

impl Schedule for CosineAnnealingLR {
    fn at(&self, step: u64, base: f64) -> Result<Point, Error> {
        let step = if self.clamp { step.min(self.t_max) } else { step };
        Ok(Point::rate(self.eta_min + (base - self.eta_min) * self.wave(step)))
    }

    fn check(&self) -> Result<(), Error> {
        at_least_one("T_max", self.t_max)?;
        at_least("eta_min", self.eta_min, 0.0)
    }

    fn to_json(&self) -> Option<Value> {
        Some(config::write("CosineAnnealingLR", self))
    }

    /// With `eta_min` 0 it multiplies the base rate, but only until it rises again.
    fn link(&self) -> Link {
        match self.clamp {
            true => Link::Scales,
            false if self.eta_min == 0.0 => Link::Moves { from: self.t_max.saturating_add(1) },
            false => Link::Moves { from: 1 },
        }
    }

    /// PyTorch's recursion: the distance to `eta_min` is multiplied, and where it is 0 the way up begins with
    /// that of the base rate.
    fn follow(&self, step: u64, base: f64, lr: f64) -> Result<Point, Error> {
        let Some(before) = step.checked_sub(1) else { return Ok(Point::rate(lr)) };
        if self.clamp {
            return scaled(&|step| self.at(step, base), step, base, lr);
        }
        at_least_one("T_max", self.t_max)?;
        let turns =
            before >= self.t_max && (before - self.t_max).is_multiple_of(self.t_max.saturating_mul(2));
        Ok(Point::rate(match turns {
            true => lr + (base - self.eta_min) * self.wave(step),
            false => self.wave(step) / self.wave(before) * (lr - self.eta_min) + self.eta_min,
        }))
    }
}
