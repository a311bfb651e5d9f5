use serde::Deserialize;
use serde_json::{Map, Value};

use super::nested::{self, Listed, Members, within};
use super::{Course, Link, OUTER, Point, Schedule};
use crate::config;
use crate::error::Error;

/// Runs schedules one after the other. Each starts from the base rate at its milestone.
///
/// `lr(k)` is the rate of the active schedule at the step `k - m` since its milestone `m`. A schedule with the same
/// milestone as the next one is never active. The momentum keeps the last value of the last schedule that cycled it.
///
/// [`SWALR`](super::SWALR) and [`MultiplicativeLR`](super::MultiplicativeLR) start from the current rate at their
/// milestone instead of the base rate.
///
/// Source: PyTorch 2.15, `torch.optim.lr_scheduler.SequentialLR`. As there, a milestone of 0 skips the first
/// schedule, and a schedule that follows a metric is refused. Differs: if the first schedule is a `ChainedScheduler`
/// or a `SequentialLR`, PyTorch starts one step late; PyTorch cannot start a `ChainedScheduler` at a milestone; and
/// in PyTorch a `OneCycleLR` among the schedules overwrites all base rates, so that the others start from its first
/// rate.
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
    levels: usize,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Form {
    #[serde(rename = "schedulers")]
    _schedulers: Listed,
    milestones: Vec<u64>,
}

pub(super) fn read(name: &'static str, fields: &Map<String, Value>) -> Result<Box<dyn Schedule>, Error> {
    let form: Form = config::read_without("schedule", name, fields, OUTER)?;
    Ok(Box::new(SequentialLR::of(nested::read(name, fields)?, form.milestones)))
}

impl SequentialLR {
    /// A sequence that starts with this schedule.
    #[must_use]
    pub fn new(first: impl Schedule + 'static) -> Self {
        Self::of(vec![Box::new(first)], Vec::new())
    }

    /// Appends a schedule that starts at the step `milestone`.
    #[must_use]
    pub fn then(mut self, milestone: u64, next: impl Schedule + 'static) -> Self {
        self.schedulers.push(Box::new(next));
        self.milestones.push(milestone);
        Self::of(self.schedulers, self.milestones)
    }

    /// A sequence of a list of schedules, with the milestones between them in ascending order.
    #[must_use]
    pub fn of(schedulers: Vec<Box<dyn Schedule>>, milestones: Vec<u64>) -> Self {
        Self { levels: nested::levels(&schedulers), schedulers, milestones }
    }

    /// The index of the active schedule at `step`, and the number of steps since its milestone.
    fn turn(&self, step: u64) -> (usize, u64) {
        let index = self.milestones.partition_point(|milestone| *milestone <= step);
        (index, step.saturating_sub(self.start(index)))
    }

    fn start(&self, index: usize) -> u64 {
        index.checked_sub(1).map_or(0, |before| self.milestones[before])
    }

    fn member(&self, index: usize) -> Result<&dyn Schedule, Error> {
        // Only a sequence that was not checked can lack a schedule.
        self.schedulers.get(index).map(|member| &**member).ok_or_else(|| self.miscounted())
    }

    fn miscounted(&self) -> Error {
        let (schedulers, milestones) = (self.schedulers.len(), self.milestones.len());
        let reason = format!("{schedulers} schedulers need one milestone fewer, got {milestones}");
        Error::Config { what: "schedule SequentialLR".into(), reason }
    }

    /// The momentum left by the schedules before `index`.
    fn momentum_before(&self, index: usize, base: f64) -> Result<Option<f64>, Error> {
        for index in (0..index).rev() {
            let turns = self.milestones[index].saturating_sub(self.start(index));
            let Some(last) = turns.checked_sub(1) else { continue };
            let member = self.member(index)?;
            if member.goes_on() {
                // It depends on the rates before it and cycles no momentum.
                continue;
            }
            let point = member.at(last, base).map_err(|error| within(error, index))?;
            if point.momentum.is_some() {
                return Ok(point.momentum);
            }
        }
        Ok(None)
    }

    /// The rate from which schedule `index` starts at its milestone.
    fn base_of(&self, index: usize, base: f64) -> Result<f64, Error> {
        let mut found = self.before(index);
        let mut last = Vec::new();
        while let Some(step) = found {
            last.push(step);
            found = self.before(self.turn(step).0);
        }
        last.into_iter().rev().try_fold(base, |base, step| {
            let (index, since) = self.turn(step);
            Ok(self.member(index)?.at(since, base).map_err(|error| within(error, index))?.lr)
        })
    }

    /// The step whose rate schedule `index` starts from; `None` if it starts from the base rate.
    fn before(&self, index: usize) -> Option<u64> {
        self.start(index).checked_sub(1).filter(|_| self.member(index).is_ok_and(|member| member.goes_on()))
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
        let own = self.base_of(index, base)?;
        self.with_momentum(index, base, self.member(index)?.at(since, own))
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
        let mut json = nested::write("SequentialLR", &self.schedulers)?;
        json.insert("milestones".into(), self.milestones.clone().into());
        Some(Value::Object(json))
    }

    fn identity(&self) -> Value {
        let mut json = nested::identity("SequentialLR", &self.schedulers);
        json.insert("milestones".into(), self.milestones.clone().into());
        json.into()
    }

    fn link(&self) -> Link {
        Link::Moves { from: 0 }
    }

    /// Each schedule starts from the base rate, unless it starts from the current rate.
    fn follow(&self, step: u64, base: f64, lr: f64) -> Result<Point, Error> {
        let (index, since) = self.turn(step);
        let member = self.member(index)?;
        if since == 0 && (step == 0 || !member.goes_on()) {
            return self.at(step, base);
        }
        self.with_momentum(index, base, member.follow(since, base, lr))
    }

    fn course(&self, step: u64) -> Course {
        let (index, since) = self.turn(step);
        let Ok(member) = self.member(index) else { return Course::unknown(step) };
        let course = member.course(since).within(self.start(index), self.milestones.get(index).copied());
        let (mut reset, mut index) = (course.reset, index);
        while reset.is_none() {
            let start = self.start(index);
            let Some(before) = self.before(index) else {
                reset = Some(start);
                break;
            };
            let since;
            (index, since) = self.turn(before);
            let course =
                self.member(index).map(|member| member.course(since).within(self.start(index), None));
            reset = course.ok().and_then(|course| course.reset);
        }
        Course { reset, ..course }
    }

    fn ratio(&self, from: u64, to: u64, base: f64) -> Result<f64, Error> {
        let (index, since) = self.turn(from);
        let (start, member) = (from - since, self.member(index)?);
        member.ratio(since, to - start, base).map_err(|error| within(error, index))
    }

    fn fall(&self, step: u64) -> f64 {
        let (index, since) = self.turn(step);
        self.member(index).map_or(f64::NAN, |member| member.fall(since))
    }

    fn levels(&self) -> usize {
        self.levels
    }
}
