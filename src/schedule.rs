//! Learning-rate schedules: pure functions of the step, in f64 on the host.
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
//! Steps count updates from 0, so that the first update takes `at(0, base)`. Names, fields and
//! defaults are PyTorch's.

use std::fmt::Debug;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::config;
use crate::error::Error;

mod constant;
mod cosine;
mod lambda;
mod linear;
mod one_cycle;
mod step;

pub use constant::ConstantLR;
pub use cosine::CosineAnnealingLR;
pub use lambda::{FromFn, LambdaLR, from_fn};
pub use linear::LinearLR;
pub use one_cycle::{Anneal, OneCycleLR};
pub use step::StepLR;

/// A learning rate for every step.
pub trait Schedule: Debug + Send + Sync {
    /// What holds at `step`, counted in updates from 0, for a group whose own rate is `base`.
    ///
    /// It depends on nothing but its arguments and the schedule's fields.
    ///
    /// # Errors
    /// [`Error::Constant`] for a step past the end of a schedule that has one, or a rate that is not
    /// finite.
    fn at(&self, step: u64, base: f64) -> Result<Point, Error>;

    /// Refuses fields that are out of range; called once, where the schedule is attached.
    ///
    /// # Errors
    /// [`Error::Constant`] with the field, its range and its value; [`Error::Config`] for fields that
    /// are missing or contradict each other.
    fn check(&self) -> Result<(), Error> {
        Ok(())
    }

    /// What [`from_json`] makes this schedule of; `None` if it has no such form, as a closure.
    fn to_json(&self) -> Option<Value> {
        None
    }
}

impl<S: Schedule + ?Sized> Schedule for Box<S> {
    fn at(&self, step: u64, base: f64) -> Result<Point, Error> {
        (**self).at(step, base)
    }

    fn check(&self) -> Result<(), Error> {
        (**self).check()
    }

    fn to_json(&self) -> Option<Value> {
        (**self).to_json()
    }
}

impl<S: Schedule + ?Sized> Schedule for &S {
    fn at(&self, step: u64, base: f64) -> Result<Point, Error> {
        (**self).at(step, base)
    }

    fn check(&self) -> Result<(), Error> {
        (**self).check()
    }

    fn to_json(&self) -> Option<Value> {
        (**self).to_json()
    }
}

/// What a schedule says about one step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// The learning rate.
    pub lr: f64,
    /// The momentum (`momentum`, or `betas[0]`) of a schedule that cycles it.
    pub momentum: Option<f64>,
}

impl Point {
    /// A rate that leaves the momentum alone.
    #[must_use]
    pub const fn rate(lr: f64) -> Self {
        Self { lr, momentum: None }
    }
}

/// A row of [`SCHEDULES`].
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// The name in JSON, which is also the type's.
    pub name: &'static str,
    read: Reader,
}

type Reader = fn(name: &str, fields: &Map<String, Value>) -> Result<Box<dyn Schedule>, Error>;

/// Every schedule that [`from_json`] knows.
pub const SCHEDULES: &[Entry] = &[
    Entry { name: "ConstantLR", read: read::<ConstantLR> },
    Entry { name: "CosineAnnealingLR", read: read::<CosineAnnealingLR> },
    Entry { name: "LinearLR", read: read::<LinearLR> },
    Entry { name: "OneCycleLR", read: read::<OneCycleLR> },
    Entry { name: "StepLR", read: read::<StepLR> },
];

fn read<S>(name: &str, fields: &Map<String, Value>) -> Result<Box<dyn Schedule>, Error>
where
    S: Schedule + DeserializeOwned + 'static,
{
    Ok(Box::new(config::read::<S>("schedule", name, fields)?))
}

/// The schedule of a JSON object, as in `{"name": "StepLR", "step_size": 10, "gamma": 0.5}`.
///
/// Fields that are left out take their defaults, and numbers may be written as integers.
///
/// # Errors
/// [`Error::UnknownName`] for a name or a field that does not exist, with the nearest one that does;
/// [`Error::Config`] for a field that is missing or of another type; what [`Schedule::check`] says.
///
/// ```
/// use gradus::schedule;
///
/// let refused = schedule::from_json(&serde_json::json!({"name": "StepLr", "step_size": 10}));
/// let message = refused.unwrap_err().to_string();
/// assert!(message.starts_with(r#"unknown schedule "StepLr", did you mean "StepLR"?"#));
/// ```
pub fn from_json(json: &Value) -> Result<Box<dyn Schedule>, Error> {
    let (name, fields) = config::named("schedule", json)?;
    let entry = SCHEDULES
        .iter()
        .find(|entry| entry.name == name)
        .ok_or_else(|| Error::unknown("schedule", &name, SCHEDULES.iter().map(|entry| entry.name)))?;
    let schedule = (entry.read)(entry.name, &fields)?;
    schedule.check()?;
    Ok(schedule)
}

/// Refuses a count of steps that is 0.
fn at_least_one(name: &str, steps: u64) -> Result<(), Error> {
    if steps == 0 { Err(Error::constant(name, "at least 1", steps)) } else { Ok(()) }
}

#[cfg(test)]
mod tests;
