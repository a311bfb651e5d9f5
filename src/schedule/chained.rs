use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::nested::{self, Members, within};
use super::{Link, Point, Schedule};
use crate::config;
use crate::error::Error;

/// Several schedules at once, each of which acts on the rate that the one before it has left.
///
/// Those that multiply the base rate are multiplied: `lr(k) = b * f1(k) * f2(k) ...`. One that sets the rate
/// (as [`OneCycleLR`](super::OneCycleLR), [`CyclicLR`](super::CyclicLR),
/// [`CosineAnnealingWarmRestarts`](super::CosineAnnealingWarmRestarts),
/// [`LambdaLR`](super::LambdaLR) or a piecewise constant one) undoes what those before it did.
/// [`CosineAnnealingLR`](super::CosineAnnealingLR) moves the rate of the step before, so that with an
/// `eta_min` above 0, or after `T_max`, the rate is that of PyTorch's recursion and not a product; a step is
/// then computed from the one before, if that was the last one asked for, and else from the first. Mind that
/// on its way up this recursion enlarges whatever the others took from the rate, and may carry it below 0,
/// which optimizers refuse: a [`SequentialLR`](super::SequentialLR) or `clamp` avoids that.
///
/// The momentum is that of the last schedule that cycles it.
///
/// Source: PyTorch 2.15, `torch.optim.lr_scheduler.ChainedScheduler`. Differs: schedules that PyTorch does not
/// have multiply, as in braintools 0.3. As in PyTorch, a schedule that follows a metric is refused.
///
/// ```
/// use gradus::schedule::{ChainedScheduler, ConstantLR, ExponentialLR, Schedule};
///
/// let schedule = ChainedScheduler::new(ConstantLR { factor: 0.5, total_iters: 2 }).and(ExponentialLR::new(0.1));
/// let rates: Vec<f64> = (0..3).map(|k| schedule.at(k, 8.0).unwrap().lr).collect();
/// assert_eq!(rates, [4.0, 0.4, 0.08000000000000002]);
/// ```
#[derive(Debug)]
pub struct ChainedScheduler {
    schedulers: Members,
    seen: Seen,
}

/// The latest step that was computed for each base rate, because one step of a recursion is cheaper than all.
#[derive(Default)]
struct Seen(Mutex<Vec<(f64, u64, Point)>>);

/// Base rates that are remembered.
const BASES: usize = 64;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Form {
    schedulers: Vec<Value>,
}

pub(super) fn read(name: &str, fields: &Map<String, Value>) -> Result<Box<dyn Schedule>, Error> {
    let form: Form = config::read("schedule", name, fields)?;
    Ok(Box::new(ChainedScheduler::of(nested::read(name, &form.schedulers)?)))
}

impl ChainedScheduler {
    /// A chain of one schedule.
    #[must_use]
    pub fn new(first: impl Schedule + 'static) -> Self {
        Self::of(vec![Box::new(first)])
    }

    /// The chain with one more schedule, which acts after the others.
    #[must_use]
    pub fn and(mut self, next: impl Schedule + 'static) -> Self {
        self.schedulers.push(Box::new(next));
        Self::of(self.schedulers)
    }

    /// A chain of a list of schedules, at least one.
    #[must_use]
    pub fn of(schedulers: Vec<Box<dyn Schedule>>) -> Self {
        Self { schedulers, seen: Seen::default() }
    }

    fn member(
        &self,
        index: usize,
        act: impl Fn(&dyn Schedule) -> Result<Point, Error>,
    ) -> Result<Point, Error> {
        act(&self.schedulers[index]).map_err(|error| within(error, index))
    }

    /// Lets the members from `first` on act on a point.
    fn fold(&self, first: usize, step: u64, base: f64, from: Point) -> Result<Point, Error> {
        (first..self.schedulers.len()).try_fold(from, |from, index| {
            let point = self.member(index, |member| member.follow(step, base, from.lr))?;
            Ok(Point { momentum: point.momentum.or(from.momentum), ..point })
        })
    }

    /// The base rate times all factors.
    fn product(&self, step: u64, base: f64) -> Result<Point, Error> {
        (0..self.schedulers.len()).try_fold(Point::rate(base), |from, index| {
            let point = self.member(index, |member| member.at(step, base))?;
            let lr = if base == 0.0 { 0.0 } else { from.lr * (point.lr / base) };
            Ok(Point { lr, momentum: point.momentum.or(from.momentum) })
        })
    }

    /// The step `step` of the recursion that begins at `from`.
    fn recursion(&self, from: u64, step: u64, base: f64) -> Result<Point, Error> {
        let known = self.seen.before(step, base).filter(|(known, _)| *known >= from);
        let (mut next, mut point) = match (known, from) {
            (Some((known, point)), _) => (known + 1, point),
            (None, 0) => (0, Point::rate(base)),
            (None, _) => (from, self.product(from - 1, base)?),
        };
        while next <= step {
            point = self.fold(0, next, base, point)?;
            next += 1;
        }
        self.seen.keep(step, base, point);
        Ok(point)
    }
}

impl Seen {
    fn before(&self, step: u64, base: f64) -> Option<(u64, Point)> {
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of = seen.iter().find(|(known, ..)| known.to_bits() == base.to_bits());
        of.map(|(_, known, point)| (*known, *point)).filter(|(known, _)| *known <= step)
    }

    fn keep(&self, step: u64, base: f64, point: Point) {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.retain(|(known, ..)| known.to_bits() != base.to_bits());
        seen.insert(0, (base, step, point));
        seen.truncate(BASES);
    }
}

impl std::fmt::Debug for Seen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Seen")
    }
}

impl Schedule for ChainedScheduler {
    fn at(&self, step: u64, base: f64) -> Result<Point, Error> {
        if let Some(setter) = self.schedulers.iter().rposition(|member| member.link() == Link::Sets) {
            let momentum = (0..setter).rev().find_map(|index| {
                let point = self.member(index, |member| member.at(step, base));
                point.map(|point| point.momentum).transpose()
            });
            let set = self.member(setter, |member| member.at(step, base))?;
            let momentum = if set.momentum.is_some() { set.momentum } else { momentum.transpose()? };
            return self.fold(setter + 1, step, base, Point { momentum, ..set });
        }
        match self.link() {
            Link::Moves { from } if step >= from => self.recursion(from, step, base),
            _ => self.product(step, base),
        }
    }

    fn check(&self) -> Result<(), Error> {
        nested::check("ChainedScheduler", &self.schedulers)
    }

    fn to_json(&self) -> Option<Value> {
        Some(config::write("ChainedScheduler", &Form { schedulers: nested::write(&self.schedulers)? }))
    }

    fn identity(&self) -> Value {
        config::write("ChainedScheduler", &Form { schedulers: nested::identities(&self.schedulers) })
    }

    fn link(&self) -> Link {
        self.schedulers.iter().fold(Link::Scales, |link, member| match (link, member.link()) {
            (Link::Sets, _) | (_, Link::Sets) => Link::Sets,
            (Link::Moves { from }, Link::Moves { from: other }) => Link::Moves { from: from.min(other) },
            (Link::Scales, other) | (other, Link::Scales) => other,
        })
    }

    fn follow(&self, step: u64, base: f64, lr: f64) -> Result<Point, Error> {
        self.fold(0, step, base, Point::rate(lr))
    }
}
