//! Learning-rate schedules, computed in f64 on the host. All are pure functions of the step, except
//! [`ReduceLROnPlateau`], which follows a metric.
//!
//! A schedule is a typed struct, a closure, or JSON:
//!
//! ```
//! use gradus::schedule::{self, Schedule, StepLR};
//!
//! let typed = StepLR { gamma: 0.5, ..StepLR::new(10) };
//! let named = schedule::from_json(&serde_json::json!({"name": "StepLR", "step_size": 10, "gamma": 0.5}))?;
//! let closure = schedule::from_fn(|step, base| if step < 10 { base } else { base / 2.0 });
//! assert_eq!(typed.at(12, 0.1)?.lr, 0.05);
//! assert_eq!(named.at(12, 0.1)?.lr, 0.05);
//! assert_eq!(closure.at(12, 0.1)?.lr, 0.05);
//! # Ok::<(), gradus::Error>(())
//! ```
//!
//! Steps count updates from 0, so the first update uses `at(0, base)`. Names, fields and defaults are those of
//! PyTorch, or of Keras or braintools for schedules that PyTorch does not have.
//!
//! [`ChainedScheduler`] and [`SequentialLR`] combine schedules. With [`PerEpoch`], or the field `"interval": "epoch"`
//! of the outermost JSON object, steps count epochs instead of updates. [`ReduceLROnPlateau`] receives a metric
//! through [`Schedule::observe`] and has a [`Schedule::state`].

use std::f64::consts::PI;
use std::fmt::Debug;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use crate::config;
use crate::error::Error;

/// Maximum nesting depth of schedules. Each level takes two levels of JSON, and files with more than 126 levels of
/// JSON cannot be read.
const MOST_LEVELS: usize = 60;

mod chained;
mod constant;
mod cosine;
mod cosine_decay;
mod course;
mod cyclic;
mod exponential;
mod forward;
mod interval;
mod inverse_time;
mod lambda;
mod linear;
mod link;
mod multiplicative;
mod nested;
mod one_cycle;
mod piecewise;
mod plateau;
mod polynomial;
mod recursion;
mod restarts;
mod sequential;
mod step;
mod sum;
mod swa;
mod warmup;

pub use chained::ChainedScheduler;
pub use constant::ConstantLR;
pub use cosine::CosineAnnealingLR;
pub use cosine_decay::CosineDecay;
#[doc(hidden)]
pub use course::Course;
pub use cyclic::{CyclicLR, CyclicMode};
pub use exponential::{ExponentialDecay, ExponentialDecayLR, ExponentialLR};
pub use interval::{Interval, PerEpoch};
pub use inverse_time::InverseTimeDecay;
pub use lambda::{FromFn, LambdaLR, from_fn};
pub use linear::LinearLR;
pub use link::Link;
pub use multiplicative::{MultiplicativeFn, MultiplicativeLR};
pub use one_cycle::{Anneal, OneCycleLR};
pub use piecewise::{PiecewiseConstantDecay, PiecewiseConstantSchedule};
pub use plateau::{Best, MetricMode, PlateauState, ReduceLROnPlateau, ThresholdMode};
pub use polynomial::{PolynomialDecay, PolynomialLR};
pub use restarts::{CosineAnnealingWarmRestarts, CosineDecayRestarts};
pub use sequential::SequentialLR;
pub use step::{MultiStepLR, StepLR};
pub use swa::SWALR;
pub use warmup::{WarmupCosineSchedule, WarmupLinearDecay, WarmupScheduler};

/// A learning rate for every step.
///
/// Only [`Schedule::at`] is required. The other methods have defaults that suit a pure function of the step.
///
/// ```
/// use gradus::schedule::{self, Schedule, StepLR};
///
/// let typed = StepLR { gamma: 0.5, ..StepLR::new(10) };
/// assert_eq!(typed.at(25, 0.1)?.lr, 0.025);
/// let warm_up = schedule::from_fn(|step, base| base * (step as f64 / 100.0).min(1.0));
/// assert_eq!(warm_up.at(50, 0.1)?.lr, 0.05);
/// # Ok::<(), gradus::Error>(())
/// ```
pub trait Schedule: Debug + Send + Sync {
    /// The learning rate at `step`, counted in updates from 0, for a parameter group with base rate `base`.
    ///
    /// The result depends only on the arguments, the schedule's fields and, if it follows a metric, its
    /// [`Schedule::state`]; never on earlier calls. It takes microseconds at any step; in a [`ChainedScheduler`] it
    /// can take up to a tenth of a second.
    ///
    /// # Errors
    /// [`Error::Constant`] for a step past the end of a finite schedule, or if the rate is not finite;
    /// [`Error::Config`] for a step that would take too long to compute, see [`ChainedScheduler`] and
    /// [`MultiplicativeFn`].
    fn at(&self, step: u64, base: f64) -> Result<Point, Error>;

    /// Refuses fields that are out of range. Called once, when the schedule is attached to an optimizer.
    ///
    /// # Errors
    /// [`Error::Constant`] with the field, its range and its value; [`Error::Config`] for fields that are missing or
    /// contradict each other.
    fn check(&self) -> Result<(), Error> {
        Ok(())
    }

    /// The JSON from which [`from_json`] recreates this schedule; `None` if there is none, as for a closure.
    fn to_json(&self) -> Option<Value> {
        None
    }

    /// What a checkpoint stores to recognise the schedule: [`Schedule::to_json`], or for a schedule without a JSON
    /// form, as much as identifies it. Default: that it has no JSON form.
    ///
    /// A run resumes only under a schedule with the same identity. Closures can be given a name with
    /// [`FromFn::named`], [`LambdaLR::named`] or [`MultiplicativeFn::named`]; two unnamed closures of the same kind
    /// count as equal.
    fn identity(&self) -> Value {
        self.to_json().unwrap_or_else(|| json!({"name": "a schedule without a JSON form"}))
    }

    /// What a step of [`Schedule::at`] counts. Default: updates.
    fn interval(&self) -> Interval {
        Interval::Step
    }

    /// How it acts in a [`ChainedScheduler`]. Default: [`Link::Sets`].
    fn link(&self) -> Link {
        Link::Sets
    }

    /// The rate at `step` in a [`ChainedScheduler`] whose other members have changed the rate to `lr`. Default: as
    /// [`Schedule::link`] says.
    ///
    /// # Errors
    /// As [`Schedule::at`]; [`Error::Config`] if the rate would have to rise from 0.
    fn follow(&self, step: u64, base: f64, lr: f64) -> Result<Point, Error> {
        match self.link() {
            Link::Scales => {
                let now = self.at(step, base)?;
                let factor = match step.checked_sub(1) {
                    None => link::ratio(base, now.lr, step)?,
                    Some(before) => self.ratio(before, step, base)?,
                };
                Point { lr: times(lr, factor), ..now }.finite(step)
            }
            Link::Sets | Link::Moves { .. } => self.at(step, base),
        }
    }

    /// How it continues from `step` in a [`ChainedScheduler`], as far as that is known.
    #[doc(hidden)]
    fn course(&self, step: u64) -> Course {
        match self.link() {
            Link::Scales => Course::product(step, step),
            Link::Sets => Course::sets(step),
            Link::Moves { .. } => Course::unknown(step),
        }
    }

    /// The factor by which the distance to the floor of its [`Course`] changes between two steps.
    #[doc(hidden)]
    fn ratio(&self, from: u64, to: u64, base: f64) -> Result<f64, Error> {
        link::ratio(self.at(from, base)?.lr, self.at(to, base)?.lr, to)
    }

    /// The relative decrease of the distance to a floor above 0, from the previous step to `step`.
    #[doc(hidden)]
    fn fall(&self, _step: u64) -> f64 {
        f64::NAN
    }

    /// Whether it starts from the current rate instead of the base rate in a [`SequentialLR`].
    #[doc(hidden)]
    fn goes_on(&self) -> bool {
        false
    }

    /// Nesting depth: 1 for a schedule that contains no other, otherwise one more than its deepest member. At most
    /// 60. Default: 1.
    fn levels(&self) -> usize {
        1
    }

    /// Whether it follows a metric, so that [`Schedule::observe`] must be called. Default: false.
    fn takes_metric(&self) -> bool {
        false
    }

    /// Reports the latest value of the metric. Default: ignored.
    ///
    /// # Errors
    /// [`Error::Constant`] for NaN; nothing has changed then.
    fn observe(&mut self, _metric: f64) -> Result<(), Error> {
        Ok(())
    }

    /// The state that past metrics have left, with the keys of PyTorch's `state_dict`; `None` for a schedule that
    /// depends only on the step.
    fn state(&self) -> Option<Value> {
        None
    }

    /// Restores a [`Schedule::state`].
    ///
    /// # Errors
    /// [`Error::StateDict`] for a state of another form; nothing has changed then.
    fn load_state(&mut self, _state: &Value) -> Result<(), Error> {
        Err(Error::StateDict("this schedule has no state".into()))
    }
}

/// The values of a schedule at one step.
///
/// ```
/// use gradus::schedule::Point;
///
/// assert_eq!(Point::rate(0.1), Point { lr: 0.1, momentum: None });
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// The learning rate.
    pub lr: f64,
    /// The momentum (`momentum`, or `betas[0]`), if the schedule cycles it.
    pub momentum: Option<f64>,
}

impl Point {
    /// A rate without a momentum.
    #[must_use]
    pub const fn rate(lr: f64) -> Self {
        Self { lr, momentum: None }
    }

    /// Refuses a rate or a momentum that is not finite.
    fn finite(self, step: u64) -> Result<Self, Error> {
        for (name, value) in [("learning rate", Some(self.lr)), ("momentum", self.momentum)] {
            if let Some(value) = value.filter(|value| !value.is_finite()) {
                return Err(Error::constant(format!("{name} at step {step}"), "finite", value));
            }
        }
        Ok(self)
    }
}

/// A point with this rate. Refuses a rate that is not finite.
fn rate_at(step: u64, lr: f64) -> Result<Point, Error> {
    Point::rate(lr).finite(step)
}

/// The product, or 0 if `base` is 0, even if the factor is infinite.
fn times(base: f64, factor: f64) -> f64 {
    if base == 0.0 { 0.0 } else { base * factor }
}

/// An entry of [`SCHEDULES`].
///
/// ```
/// use gradus::schedule::SCHEDULES;
///
/// assert!(SCHEDULES.iter().any(|entry| entry.name == "OneCycleLR"));
/// ```
#[derive(Clone, Copy, Debug)]
pub struct ScheduleEntry {
    /// Its name in JSON, which is also the name of the type.
    pub name: &'static str,
    read: Reader,
}

type Reader = fn(name: &'static str, fields: &Map<String, Value>) -> Result<Box<dyn Schedule>, Error>;

/// Fields of a JSON object that do not belong to the schedule itself.
const OUTER: &[&str] = &["name", "interval"];

/// Every schedule that [`from_json`] knows.
pub const SCHEDULES: &[ScheduleEntry] = &[
    ScheduleEntry { name: "ChainedScheduler", read: chained::read },
    ScheduleEntry { name: "ConstantLR", read: read::<ConstantLR> },
    ScheduleEntry { name: "CosineAnnealingLR", read: read::<CosineAnnealingLR> },
    ScheduleEntry { name: "CosineAnnealingWarmRestarts", read: read::<CosineAnnealingWarmRestarts> },
    ScheduleEntry { name: "CosineDecay", read: read::<CosineDecay> },
    ScheduleEntry { name: "CosineDecayRestarts", read: read::<CosineDecayRestarts> },
    ScheduleEntry { name: "CyclicLR", read: read::<CyclicLR> },
    ScheduleEntry { name: "ExponentialDecay", read: read::<ExponentialDecay> },
    ScheduleEntry { name: "ExponentialDecayLR", read: read::<ExponentialDecayLR> },
    ScheduleEntry { name: "ExponentialLR", read: read::<ExponentialLR> },
    ScheduleEntry { name: "InverseTimeDecay", read: read::<InverseTimeDecay> },
    ScheduleEntry { name: "LinearLR", read: read::<LinearLR> },
    ScheduleEntry { name: "MultiStepLR", read: read::<MultiStepLR> },
    ScheduleEntry { name: "MultiplicativeLR", read: read::<MultiplicativeLR> },
    ScheduleEntry { name: "OneCycleLR", read: read::<OneCycleLR> },
    ScheduleEntry { name: "PiecewiseConstantDecay", read: read::<PiecewiseConstantDecay> },
    ScheduleEntry { name: "PiecewiseConstantSchedule", read: read::<PiecewiseConstantSchedule> },
    ScheduleEntry { name: "PolynomialDecay", read: read::<PolynomialDecay> },
    ScheduleEntry { name: "PolynomialLR", read: read::<PolynomialLR> },
    ScheduleEntry { name: "ReduceLROnPlateau", read: read::<ReduceLROnPlateau> },
    ScheduleEntry { name: "SWALR", read: read::<SWALR> },
    ScheduleEntry { name: "SequentialLR", read: sequential::read },
    ScheduleEntry { name: "StepLR", read: read::<StepLR> },
    ScheduleEntry { name: "WarmupCosineSchedule", read: read::<WarmupCosineSchedule> },
    ScheduleEntry { name: "WarmupLinearDecay", read: read::<WarmupLinearDecay> },
    ScheduleEntry { name: "WarmupScheduler", read: read::<WarmupScheduler> },
];

fn read<S>(name: &'static str, fields: &Map<String, Value>) -> Result<Box<dyn Schedule>, Error>
where
    S: Schedule + DeserializeOwned + 'static,
{
    Ok(Box::new(config::read_without::<S>("schedule", name, fields, OUTER)?))
}

/// Creates the schedule that a JSON object describes, such as `{"name": "StepLR", "step_size": 10, "gamma": 0.5}`.
///
/// Omitted fields take their defaults. Numbers may be integers. In addition to the schedule's fields, `interval` is
/// `step` (the default) or `epoch`: see [`PerEpoch`].
///
/// # Errors
/// [`Error::UnknownName`] with the most similar name, for an unknown name or field; [`Error::Config`] for a missing
/// field or a wrong type; [`Error::Constant`] for more than 60 nested schedules; the errors of [`Schedule::check`].
/// The error of a nested schedule names its position.
///
/// ```
/// use gradus::schedule;
///
/// let refused = schedule::from_json(&serde_json::json!({"name": "StepLr", "step_size": 10}));
/// let message = refused.unwrap_err().to_string();
/// assert!(message.starts_with(r#"unknown schedule "StepLr", did you mean "StepLR"?"#));
/// ```
pub fn from_json(json: &Value) -> Result<Box<dyn Schedule>, Error> {
    nested::check_levels(nested::levels_of(json))?;
    let (name, fields) = config::parts("schedule", json)?;
    let interval = interval::of(name, fields)?;
    let schedule = unchecked(name, fields)?;
    schedule.check()?;
    Ok(match interval {
        Interval::Step => schedule,
        Interval::Epoch => Box::new(PerEpoch(schedule)),
    })
}

fn unchecked(name: &str, fields: &Map<String, Value>) -> Result<Box<dyn Schedule>, Error> {
    let entry = SCHEDULES
        .iter()
        .find(|entry| entry.name == name)
        .ok_or_else(|| Error::unknown("schedule", name, SCHEDULES.iter().map(|entry| entry.name)))?;
    (entry.read)(entry.name, fields)
}

/// Refuses a number of steps that is 0.
fn at_least_one(name: &str, steps: u64) -> Result<(), Error> {
    if steps == 0 { Err(Error::constant(name, "at least 1", steps)) } else { Ok(()) }
}

/// Refuses a list that is empty or not in ascending order.
fn rising(name: &str, steps: &[u64]) -> Result<(), Error> {
    if !steps.is_empty() && steps.is_sorted() {
        return Ok(());
    }
    Err(Error::constant(name, "steps in rising order, at least one", format!("{steps:?}")))
}

/// Half a cosine wave: 1 at `part` 0, 0 at `part` 1.
fn half_wave(part: f64) -> f64 {
    (1.0 + (PI * part).cos()) / 2.0
}

#[cfg(test)]
mod tests;
