use serde::Deserialize;
use serde_json::{Map, Value};

use super::course::mover;
use super::nested::{self, Listed, Members, within};
use super::recursion::{Seen, recursion};
use super::{Course, Link, OUTER, Point, Schedule, times};
use crate::config;
use crate::error::Error;

/// Several schedules at once. Each acts on the rate that the one before it leaves.
///
/// Factors of the base rate are multiplied: `lr(k) = b * f1(k) * f2(k) ...`. A schedule that sets the rate
/// ([`OneCycleLR`](super::OneCycleLR), [`CyclicLR`](super::CyclicLR),
/// [`CosineAnnealingWarmRestarts`](super::CosineAnnealingWarmRestarts), [`LambdaLR`](super::LambdaLR) or a piecewise
/// constant one) overrides those before it. [`CosineAnnealingLR`](super::CosineAnnealingLR) changes the rate of the
/// previous step. So with an `eta_min` above 0, or after `T_max`, the rate follows PyTorch's recursion instead of a
/// product; the same holds for [`SWALR`](super::SWALR). While the cosine rises, this recursion amplifies every change
/// that other schedules make, and the rate can fall below 0, which optimizers refuse. Use a
/// [`SequentialLR`](super::SequentialLR) or `clamp` to avoid that.
///
/// The momentum is that of the last schedule that cycles it.
///
/// A late step of the recursion is not computed from step 0. The recursion restarts wherever the cosine is at its
/// minimum. From 4,096 steps after that, a range of steps in which all schedules multiply, or all but one are
/// constant, is one product; a range in which others change smoothly is a sum of a few hundred terms. So most steps
/// take microseconds, and some a few milliseconds.
///
/// # Errors
/// [`Schedule::at`] refuses a step that would take more than 1,048,576 steps and terms (a tenth of a second), for
/// example where a schedule drops the rate at more than a hundred thousand steps, unless a step shortly before it was
/// computed last. It also refuses a rate that is not finite.
///
/// Source: PyTorch 2.15, `torch.optim.lr_scheduler.ChainedScheduler`. Differs: schedules that PyTorch does not have
/// multiply, as in braintools 0.3. As in PyTorch, a schedule that follows a metric is refused.
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
    pub(super) schedulers: Members,
    levels: usize,
    pub(super) seen: Seen,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Form {
    #[serde(rename = "schedulers")]
    _schedulers: Listed,
}

pub(super) fn read(name: &'static str, fields: &Map<String, Value>) -> Result<Box<dyn Schedule>, Error> {
    let Form { .. } = config::read_without("schedule", name, fields, OUTER)?;
    Ok(Box::new(ChainedScheduler::of(nested::read(name, fields)?)))
}

impl ChainedScheduler {
    /// A chain of one schedule.
    #[must_use]
    pub fn new(first: impl Schedule + 'static) -> Self {
        Self::of(vec![Box::new(first)])
    }

    /// Appends a schedule, which acts after the others.
    #[must_use]
    pub fn and(mut self, next: impl Schedule + 'static) -> Self {
        self.schedulers.push(Box::new(next));
        Self::of(self.schedulers)
    }

    /// A chain of a list of schedules; at least one.
    #[must_use]
    pub fn of(schedulers: Vec<Box<dyn Schedule>>) -> Self {
        Self { levels: nested::levels(&schedulers), schedulers, seen: Seen::default() }
    }

    pub(super) fn member<T>(
        &self,
        index: usize,
        act: impl Fn(&dyn Schedule) -> Result<T, Error>,
    ) -> Result<T, Error> {
        act(&self.schedulers[index]).map_err(|error| within(error, index))
    }

    /// Applies the members from `first` on to a point.
    pub(super) fn fold(&self, first: usize, step: u64, base: f64, from: Point) -> Result<Point, Error> {
        (first..self.schedulers.len()).try_fold(from, |from, index| {
            let point = self.member(index, |member| member.follow(step, base, from.lr))?;
            Ok(Point { momentum: point.momentum.or(from.momentum), ..point })
        })
    }

    /// The base rate times all factors.
    pub(super) fn product(&self, step: u64, base: f64) -> Result<Point, Error> {
        (0..self.schedulers.len()).try_fold(Point::rate(base), |from, index| {
            let point = self.member(index, |member| member.at(step, base))?;
            let lr = if base == 0.0 { 0.0 } else { times(from.lr, point.lr / base) };
            Point { lr, momentum: point.momentum.or(from.momentum) }.finite(step)
        })
    }

    /// The course of each member.
    pub(super) fn courses(&self, step: u64) -> Vec<Course> {
        self.schedulers.iter().map(|member| member.course(step)).collect()
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
            Link::Moves { from } if step >= from => recursion(self, from, step, base),
            _ => self.product(step, base),
        }
    }

    fn check(&self) -> Result<(), Error> {
        nested::check("ChainedScheduler", &self.schedulers)
    }

    fn to_json(&self) -> Option<Value> {
        nested::write("ChainedScheduler", &self.schedulers).map(Value::Object)
    }

    fn identity(&self) -> Value {
        nested::identity("ChainedScheduler", &self.schedulers).into()
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

    fn course(&self, step: u64) -> Course {
        Course::of_all(step, &self.courses(step))
    }

    fn ratio(&self, from: u64, to: u64, base: f64) -> Result<f64, Error> {
        let courses = self.courses(from);
        let moved = mover(&courses).and_then(Result::ok);
        (0..self.schedulers.len()).try_fold(1.0, |ratio, index| match moved {
            // Members that do not move the floor keep the rate during the whole course.
            Some(mover) if mover != index => Ok(ratio),
            _ => Ok(ratio * self.member(index, |member| member.ratio(from, to, base))?),
        })
    }

    fn levels(&self) -> usize {
        self.levels
    }
}
