use std::fmt;
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::lambda::debug;
use super::{Course, Link, Point, Schedule, rate_at};
use crate::config;
use crate::error::{Error, at_least};

/// Multiplies the rate of the previous step by a factor from a table.
///
/// `lr(k) = b * f(1) * f(2) * ... * f(k)` with the base rate `b`, the step `k` and `f(j) = factors[j - 1]`. After the
/// last factor the rate is constant. [`MultiplicativeFn`] takes a function instead of a table. At a milestone of a
/// [`SequentialLR`](super::SequentialLR), it starts from the current rate.
///
/// Source: PyTorch 2.15, `torch.optim.lr_scheduler.MultiplicativeLR`, which takes a function. Differs: a negative factor is
/// refused; in a `SequentialLR` PyTorch multiplies by `f(0)` too, which the table does not have.
///
/// ```
/// use gradus::schedule::{MultiplicativeLR, Schedule};
///
/// let schedule = MultiplicativeLR::new([0.5, 1.0, 0.25]);
/// assert_eq!([0, 1, 2, 3, 9].map(|k| schedule.at(k, 8.0).unwrap().lr), [8.0, 4.0, 4.0, 1.0, 1.0]);
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MultiplicativeLR {
    /// Factors of the rate at steps 1, 2, ..., each at least 0. Required. May be shorter than the run.
    pub factors: Vec<f64>,
}

impl MultiplicativeLR {
    /// Multiplies the rate by the first of `factors` at step 1, and so on.
    #[must_use]
    pub fn new(factors: impl Into<Vec<f64>>) -> Self {
        Self { factors: factors.into() }
    }

    fn given(&self, step: u64) -> &[f64] {
        &self.factors[..usize::try_from(step).unwrap_or(usize::MAX).min(self.factors.len())]
    }
}

impl Schedule for MultiplicativeLR {
    fn at(&self, step: u64, base: f64) -> Result<Point, Error> {
        rate_at(step, self.given(step).iter().fold(base, |lr, factor| lr * factor))
    }

    fn check(&self) -> Result<(), Error> {
        let mut factors = self.factors.iter().enumerate();
        factors.try_for_each(|(index, factor)| at_least(&format!("factors[{index}]"), *factor, 0.0))
    }

    fn to_json(&self) -> Option<Value> {
        Some(config::write("MultiplicativeLR", self))
    }

    fn link(&self) -> Link {
        Link::Scales
    }

    fn follow(&self, step: u64, _base: f64, lr: f64) -> Result<Point, Error> {
        let place = usize::try_from(step).unwrap_or(usize::MAX).checked_sub(1);
        let factor = place.and_then(|place| self.factors.get(place)).copied();
        rate_at(step, lr * factor.unwrap_or(1.0))
    }

    fn course(&self, step: u64) -> Course {
        let last = if step < self.factors.len() as u64 { step } else { u64::MAX };
        Course::product(last, last)
    }

    fn ratio(&self, from: u64, to: u64, _base: f64) -> Result<f64, Error> {
        Ok(self.given(to)[self.given(from).len()..].iter().product())
    }

    fn goes_on(&self) -> bool {
        true
    }
}

/// Multiplies the rate of the previous step by a function of the step.
///
/// `lr(k) = b * f(1) * f(2) * ... * f(k)` with the base rate `b` and the step `k`. It has no JSON form;
/// [`MultiplicativeLR`], which takes a table, has one. In a [`SequentialLR`](super::SequentialLR), it starts from the
/// current rate.
///
/// # Errors
/// [`Schedule::at`] refuses a step if the function would have to be called more than 1,048,576 times, because neither this
/// step nor one shortly before it was asked for; and a rate that is not finite.
///
/// Source: PyTorch 2.15, `torch.optim.lr_scheduler.MultiplicativeLR`. Differs: in a `SequentialLR` PyTorch multiplies by
/// `f(0)` too.
///
/// ```
/// use gradus::schedule::{MultiplicativeFn, Schedule};
///
/// let schedule = MultiplicativeFn::new(|step| if step % 2 == 0 { 0.5 } else { 1.0 });
/// assert_eq!([0, 1, 2, 3, 4].map(|k| schedule.at(k, 8.0).unwrap().lr), [8.0, 8.0, 4.0, 4.0, 2.0]);
/// ```
pub struct MultiplicativeFn<F> {
    factor: F,
    name: Option<String>,
    /// The latest computed step for each base rate, so that the next step takes only one factor.
    seen: Mutex<Vec<(f64, u64, f64)>>,
}

/// Maximum number of calls of the function for one step.
const MOST_CALLS: u64 = 1 << 20;
/// Number of base rates that are remembered.
const BASES: usize = 64;

impl<F: Fn(u64) -> f64 + Send + Sync> MultiplicativeFn<F> {
    /// Multiplies the rate of the previous step by `factor(step)`.
    pub fn new(factor: F) -> Self {
        Self { factor, name: None, seen: Mutex::default() }
    }

    /// Names the closure, so that a checkpoint can distinguish it from others: see
    /// [`FromFn::named`](super::FromFn::named).
    #[must_use]
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    fn known(&self, step: u64, base: f64) -> (u64, f64) {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let of = seen.iter().find(|(known, at, _)| known.to_bits() == base.to_bits() && *at <= step);
        of.map_or((0, base), |(_, at, lr)| (*at, *lr))
    }

    fn keep(&self, step: u64, base: f64, lr: f64) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.retain(|(known, ..)| known.to_bits() != base.to_bits());
        seen.insert(0, (base, step, lr));
        seen.truncate(BASES);
    }
}

impl<F: Fn(u64) -> f64 + Send + Sync> Schedule for MultiplicativeFn<F> {
    fn at(&self, step: u64, base: f64) -> Result<Point, Error> {
        let (known, lr) = self.known(step, base);
        if step - known > MOST_CALLS {
            let what = format!("schedule MultiplicativeFn at step {step}");
            let reason = format!(
                "its function would be called for {} steps, at most {MOST_CALLS} are for one",
                step - known
            );
            return Err(Error::Config { what, reason });
        }
        let lr = (known..step).fold(lr, |lr, before| lr * (self.factor)(before + 1));
        self.keep(step, base, lr);
        rate_at(step, lr)
    }

    fn identity(&self) -> Value {
        json!({"name": "MultiplicativeFn", "closure": self.name})
    }

    fn link(&self) -> Link {
        Link::Scales
    }

    fn follow(&self, step: u64, _base: f64, lr: f64) -> Result<Point, Error> {
        rate_at(step, if step == 0 { lr } else { lr * (self.factor)(step) })
    }

    fn goes_on(&self) -> bool {
        true
    }
}

impl<F: Clone> Clone for MultiplicativeFn<F> {
    fn clone(&self) -> Self {
        Self { factor: self.factor.clone(), name: self.name.clone(), seen: Mutex::default() }
    }
}

impl<F> fmt::Debug for MultiplicativeFn<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        debug(f, "MultiplicativeFn", self.name.as_deref())
    }
}
