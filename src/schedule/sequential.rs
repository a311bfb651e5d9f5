use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::nested::{self, Members, within};
use super::{Link, Point, Schedule};
use crate::config;
use crate::error::Error;

/// One schedule after the other, each of which starts from the base rate at its milestone.
///
/// `lr(k)` is that of the schedule whose turn it is, at the step `k - m` since its milestone `m`. A schedule
/// whose milestone is that of the next one has no turn. The momentum stays where the last schedule that
/// cycled it left it.
///
/// Source: PyTorch 2.15, `torch.optim.lr_scheduler.SequentialLR`. Differs: a milestone of 0 passes over the
/// first schedule, where PyTorch takes it for one step. As in PyTorch, a schedule that follows a metric is
/// refused.
///
/// ```
/// use gradus::schedule::{ConstantLR, ExponentialLR, Schedule, SequentialLR};
///
/// let warm_up = ConstantLR { factor: 0.5, total_iters: 9 };
/// let schedule = SequentialLR::new(warm_up).then(2, ExponentialLR::new(0.1));
/// let rates: Vec<f64> = (0..4).map(|k| schedule.at(k, 8.0).unwrap().lr).collect();
/// assert_eq!(rates, [4.0, 4.0, 8.0, 0.8]);
/// ```
#[derive(Debug)]
pub struct SequentialLR {
    schedulers: Members,
    milestones: Vec<u64>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Form {
    schedulers: Vec<Value>,
    milestones: Vec<u64>,
}

pub(super) fn read(name: &str, fields: &Map<String, Value>) -> Result<Box<dyn Schedule>, Error> {
    let form: Form = config::read("schedule", name, fields)?;
    Ok(Box::new(SequentialLR::of(nested::read(name, &form.schedulers)?, form.milestones)))
}

impl SequentialLR {
    /// The schedule that comes first.
    #[must_use]
    pub fn new(first: impl Schedule + 'static) -> Self {
        Self::of(vec![Box::new(first)], Vec::new())
    }

    /// The sequence with one more schedule, whose turn begins at the step `milestone`.
    #[must_use]
    pub fn then(mut self, milestone: u64, next: impl Schedule + 'static) -> Self {
        self.schedulers.push(Box::new(next));
        self.milestones.push(milestone);
        self
    }

    /// A sequence of a list of schedules, and of milestones between them in rising order.
    #[must_use]
    pub fn of(schedulers: Vec<Box<dyn Schedule>>, milestones: Vec<u64>) -> Self {
        Self { schedulers, milestones }
    }

    /// The schedule whose turn it is at `step`, and the steps since its milestone.
    fn turn(&self, step: u64) -> (usize, u64) {
        let index = self.milestones.partition_point(|milestone| *milestone <= step);
        (index, step.saturating_sub(self.start(index)))
    }

    fn start(&self, index: usize) -> u64 {
        index.checked_sub(1).map_or(0, |before| self.milestones[before])
    }

    fn member(&self, index: usize) -> Result<&dyn Schedule, Error> {
        // Only a sequence that was not checked lacks one.
        self.schedulers.get(index).map(|member| &**member).ok_or_else(|| self.miscounted())
    }

    fn miscounted(&self) -> Error {
        let (schedulers, milestones) = (self.schedulers.len(), self.milestones.len());
        let reason = format!("{schedulers} schedulers need one milestone less, got {milestones}");
        Error::Config { what: "schedule SequentialLR".into(), reason }
    }

    /// The momentum that the schedules before this one have left.
    fn momentum_before(&self, index: usize, base: f64) -> Result<Option<f64>, Error> {
        for index in (0..index).rev() {
            let turns = self.milestones[index].saturating_sub(self.start(index));
            let Some(last) = turns.checked_sub(1) else { continue };
            let point = self.member(index)?.at(last, base).map_err(|error| within(error, index))?;
            if point.momentum.is_some() {
                return Ok(point.momentum);
            }
        }
        Ok(None)
    }

    fn with_momentum(&self, index: usize, base: f64, point: Result<Point, Error>) -> Result<Point, Error> {
        let point = point.map_err(|error| within(error, index))?;
        match point.momentum {
            Some(_) => Ok(point),
            None => Ok(Point { momentum: self.momentum_before(index, base)?, ..point }),
        }
    }
}

impl Schedule for SequentialLR {
    fn at(&self, step: u64, base: f64) -> Result<Point, Error> {
        let (index, since) = self.turn(step);
        self.with_momentum(index, base, self.member(index)?.at(since, base))
    }

    fn check(&self) -> Result<(), Error> {
        nested::check("SequentialLR", &self.schedulers)?;
        if self.milestones.len() + 1 != self.schedulers.len() {
            return Err(self.miscounted());
        }
        if !self.milestones.is_sorted() {
            let milestones = format!("{:?}", self.milestones);
            return Err(Error::constant("milestones", "steps in rising order", milestones));
        }
        Ok(())
    }

    fn to_json(&self) -> Option<Value> {
        let schedulers = nested::write(&self.schedulers)?;
        Some(config::write("SequentialLR", &Form { schedulers, milestones: self.milestones.clone() }))
    }

    fn identity(&self) -> Value {
        let (schedulers, milestones) = (nested::identities(&self.schedulers), self.milestones.clone());
        config::write("SequentialLR", &Form { schedulers, milestones })
    }

    fn link(&self) -> Link {
        Link::Moves { from: 0 }
    }

    /// Each turn begins with the base rate, whatever the others did.
    fn follow(&self, step: u64, base: f64, lr: f64) -> Result<Point, Error> {
        let (index, since) = self.turn(step);
        if since == 0 {
            return self.at(step, base);
        }
        self.with_momentum(index, base, self.member(index)?.follow(since, base, lr))
    }
}
