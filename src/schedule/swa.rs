use std::f64::consts::PI;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Anneal, Course, Link, Point, Schedule, rate_at};
use crate::config;
use crate::error::{Error, at_least};

/// Moves from the current rate to a constant rate, for stochastic weight averaging.
///
/// `lr(k) = swa_lr * a + b * (1 - a)` with the base rate `b`, the step `k` and the fraction `a`: `min(k / n, 1)` with
/// `n` = `anneal_epochs`, or `(1 - cos(pi * k / n)) / 2` for [`Anneal::Cos`]. With `n` = 0 the rate is `swa_lr` at
/// once. The rate may rise or fall.
///
/// In a [`ChainedScheduler`](super::ChainedScheduler), it changes the rate that the others leave, and is `swa_lr`
/// from step `n` on. At a milestone of a [`SequentialLR`](super::SequentialLR), it starts from the current rate.
///
/// Source: Izmailov et al. 2018, arXiv:1803.05407; PyTorch 2.15, `torch.optim.swa_utils.SWALR`. Differs: one `swa_lr`
/// for all groups; a negative one is refused; of several SWALR schedules, each moves to its own `swa_lr`, where
/// PyTorch stores one per group, that of the last schedule.
///
/// ```
/// use gradus::schedule::{SWALR, Schedule};
///
/// let schedule = SWALR { anneal_epochs: 4, ..SWALR::new(0.05) };
/// assert_eq!([0, 2, 4, 9].map(|k| schedule.at(k, 0.25).unwrap().lr), [0.25, 0.15, 0.05, 0.05]);
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SWALR {
    /// The rate at the end, at least 0. Required.
    pub swa_lr: f64,
    /// Number of updates (despite the name) until `swa_lr` is reached; 0 for immediately. Default 10.
    #[serde(default = "anneal_epochs")]
    pub anneal_epochs: u64,
    /// The shape of the transition. Default [`Anneal::Cos`].
    #[serde(default)]
    pub anneal_strategy: Anneal,
}

fn anneal_epochs() -> u64 {
    10
}

impl SWALR {
    /// A transition to `swa_lr` in 10 updates, along half a cosine wave.
    #[must_use]
    pub fn new(swa_lr: f64) -> Self {
        Self { swa_lr, anneal_epochs: anneal_epochs(), anneal_strategy: Anneal::default() }
    }

    /// The fraction of the transition that has passed.
    fn passed(&self, step: u64) -> f64 {
        if step >= self.anneal_epochs {
            return 1.0;
        }
        let part = step as f64 / self.anneal_epochs as f64;
        match self.anneal_strategy {
            Anneal::Cos => (1.0 - (PI * part).cos()) / 2.0,
            Anneal::Linear => part,
        }
    }

    /// The remaining fraction, without cancellation.
    fn left(&self, step: u64) -> f64 {
        let left = self.anneal_epochs.saturating_sub(step) as f64 / self.anneal_epochs as f64;
        match self.anneal_strategy {
            Anneal::Cos => (PI / 2.0 * left).sin().powi(2),
            Anneal::Linear => left,
        }
    }
}

impl Schedule for SWALR {
    fn at(&self, step: u64, base: f64) -> Result<Point, Error> {
        let passed = self.passed(step);
        rate_at(step, self.swa_lr * passed + base * (1.0 - passed))
    }

    fn check(&self) -> Result<(), Error> {
        at_least("swa_lr", self.swa_lr, 0.0)
    }

    fn to_json(&self) -> Option<Value> {
        Some(config::write("SWALR", self))
    }

    fn link(&self) -> Link {
        Link::Moves { from: 0 }
    }

    /// PyTorch's recursion: recovers the rate at the start of the transition and continues from there.
    fn follow(&self, step: u64, _base: f64, lr: f64) -> Result<Point, Error> {
        let (passed, before) =
            (self.passed(step), step.checked_sub(1).map_or(0.0, |before| self.passed(before)));
        if passed == 1.0 {
            return rate_at(step, self.swa_lr);
        }
        let first = (lr - before * self.swa_lr) / (1.0 - before);
        rate_at(step, self.swa_lr * passed + first * (1.0 - passed))
    }

    fn course(&self, step: u64) -> Course {
        if step >= self.anneal_epochs {
            return Course::sets(step);
        }
        let last = self.anneal_epochs - 1;
        Course { reset: None, floor: self.swa_lr, until: last, steady: step, smooth: last }
    }

    fn ratio(&self, from: u64, to: u64, _base: f64) -> Result<f64, Error> {
        Ok(self.left(to) / self.left(from))
    }

    fn fall(&self, step: u64) -> f64 {
        let Some(before) = step.checked_sub(1) else { return 0.0 };
        let length = self.anneal_epochs as f64;
        match self.anneal_strategy {
            Anneal::Linear => 1.0 / (length - before as f64),
            Anneal::Cos => {
                let half_step = PI / 2.0 / length;
                let middle = PI * before as f64 / length + half_step;
                middle.sin() * half_step.sin() / self.left(before)
            }
        }
    }

    fn goes_on(&self) -> bool {
        true
    }
}
