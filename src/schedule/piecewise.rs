use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Point, Schedule, rate_at, rising};
use crate::config;
use crate::error::{Error, at_least};

/// A constant rate between boundaries. The step of a boundary uses the next rate.
///
/// `lr(k) = values[n]` with the number `n` of boundaries up to the step `k`. The base rate of a group is not
/// used.
///
/// Source: braintools 0.3, `braintools.optim.PiecewiseConstantSchedule`. Differs: negative rates are refused.
///
/// ```
/// use gradus::schedule::{PiecewiseConstantSchedule, Schedule};
///
/// let schedule = PiecewiseConstantSchedule::new([2, 3], [0.3, 0.2, 0.1]);
/// assert_eq!([1, 2, 3, 4].map(|k| schedule.at(k, 1.0).unwrap().lr), [0.3, 0.2, 0.1, 0.1]);
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PiecewiseConstantSchedule {
    /// Steps at which the rate changes, in ascending order; at least one. Required.
    pub boundaries: Vec<u64>,
    /// The rates, at least 0; one more than boundaries. Required.
    pub values: Vec<f64>,
}

impl PiecewiseConstantSchedule {
    /// The first of `values` before the first of `boundaries`, and so on.
    #[must_use]
    pub fn new(boundaries: impl Into<Vec<u64>>, values: impl Into<Vec<f64>>) -> Self {
        Self { boundaries: boundaries.into(), values: values.into() }
    }
}

impl Schedule for PiecewiseConstantSchedule {
    fn at(&self, step: u64, _base: f64) -> Result<Point, Error> {
        value(
            "PiecewiseConstantSchedule",
            step,
            &self.values,
            self.boundaries.partition_point(|boundary| *boundary <= step),
        )
    }

    fn check(&self) -> Result<(), Error> {
        check("PiecewiseConstantSchedule", &self.boundaries, &self.values)
    }

    fn to_json(&self) -> Option<Value> {
        Some(config::write("PiecewiseConstantSchedule", self))
    }
}

/// A constant rate between boundaries. The step of a boundary uses the previous rate.
///
/// `lr(k) = values[n]` with the number `n` of boundaries below the step `k`. The base rate of a group is not
/// used.
///
/// Source: Keras 3.15, `keras.optimizers.schedules.PiecewiseConstantDecay`. Differs: negative rates are refused.
///
/// ```
/// use gradus::schedule::{PiecewiseConstantDecay, Schedule};
///
/// let schedule = PiecewiseConstantDecay::new([2, 3], [0.3, 0.2, 0.1]);
/// assert_eq!([1, 2, 3, 4].map(|k| schedule.at(k, 1.0).unwrap().lr), [0.3, 0.3, 0.2, 0.1]);
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PiecewiseConstantDecay {
    /// Steps after which the rate changes, in ascending order; at least one. Required.
    pub boundaries: Vec<u64>,
    /// The rates, at least 0; one more than boundaries. Required.
    pub values: Vec<f64>,
}

impl PiecewiseConstantDecay {
    /// The first of `values` up to the first of `boundaries`, and so on.
    #[must_use]
    pub fn new(boundaries: impl Into<Vec<u64>>, values: impl Into<Vec<f64>>) -> Self {
        Self { boundaries: boundaries.into(), values: values.into() }
    }
}

impl Schedule for PiecewiseConstantDecay {
    fn at(&self, step: u64, _base: f64) -> Result<Point, Error> {
        value(
            "PiecewiseConstantDecay",
            step,
            &self.values,
            self.boundaries.partition_point(|boundary| *boundary < step),
        )
    }

    fn check(&self) -> Result<(), Error> {
        check("PiecewiseConstantDecay", &self.boundaries, &self.values)
    }

    fn to_json(&self) -> Option<Value> {
        Some(config::write("PiecewiseConstantDecay", self))
    }
}

fn value(name: &str, step: u64, values: &[f64], index: usize) -> Result<Point, Error> {
    // Only a schedule that was not checked can lack a value.
    let missing =
        || Error::Config { what: format!("schedule {name}"), reason: format!("no values[{index}]") };
    rate_at(step, *values.get(index).ok_or_else(missing)?)
}

fn check(name: &str, boundaries: &[u64], values: &[f64]) -> Result<(), Error> {
    rising("boundaries", boundaries)?;
    if values.len() != boundaries.len() + 1 {
        let (boundaries, values) = (boundaries.len(), values.len());
        let reason = format!("{boundaries} boundaries need one value more, got {values}");
        return Err(Error::Config { what: format!("schedule {name}"), reason });
    }
    let mut values = values.iter().enumerate();
    values.try_for_each(|(index, value)| at_least(&format!("values[{index}]"), *value, 0.0))
}
