use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{Course, Link, Point, Schedule};
use crate::error::Error;

/// What a step of a schedule counts.
///
/// ```
/// use gradus::schedule::{Interval, from_json};
/// use gradus::serde_json::json;
///
/// let schedule = from_json(&json!({"name": "StepLR", "step_size": 10, "interval": "epoch"}))?;
/// assert_eq!(schedule.interval(), Interval::Epoch);
/// # Ok::<(), gradus::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Interval {
    /// Updates.
    #[default]
    Step,
    /// Epochs: the argument of [`Schedule::at`] is the number of the epoch, from 0.
    Epoch,
}

/// A schedule whose steps are epochs; in JSON, `"interval": "epoch"`.
///
/// Its [`Schedule::at`] takes an epoch. A trainer that knows the number of updates per epoch converts updates to
/// epochs. Only the outermost schedule can be a `PerEpoch`.
///
/// Source: Lightning's `interval` of a scheduler.
///
/// ```
/// use gradus::schedule::{self, Interval, PerEpoch, Schedule, StepLR};
///
/// let typed = PerEpoch(StepLR::new(10));
/// let named = schedule::from_json(&serde_json::json!({"name": "StepLR", "step_size": 10, "interval": "epoch"}))?;
/// assert_eq!((typed.interval(), named.interval()), (Interval::Epoch, Interval::Epoch));
/// assert_eq!(typed.to_json(), named.to_json());
/// # Ok::<(), gradus::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct PerEpoch<S>(pub S);

/// The field `interval` of the schedule called `name`.
pub(super) fn of(name: &str, fields: &Map<String, Value>) -> Result<Interval, Error> {
    let given = fields.get("interval").map(Interval::deserialize).transpose();
    let refuse = |reason| Error::Config { what: format!("schedule {name}"), reason };
    Ok(given.map_err(|e| refuse(format!("interval: {e}")))?.unwrap_or_default())
}

impl<S: Schedule> Schedule for PerEpoch<S> {
    fn at(&self, epoch: u64, base: f64) -> Result<Point, Error> {
        self.0.at(epoch, base)
    }

    fn check(&self) -> Result<(), Error> {
        self.0.check()
    }

    fn to_json(&self) -> Option<Value> {
        let mut json = self.0.to_json()?;
        json["interval"] = "epoch".into();
        Some(json)
    }

    fn identity(&self) -> Value {
        match self.0.identity() {
            Value::Object(mut fields) => {
                fields.insert("interval".into(), "epoch".into());
                fields.into()
            }
            other => json!({"interval": "epoch", "name": other}),
        }
    }

    fn interval(&self) -> Interval {
        Interval::Epoch
    }

    fn link(&self) -> Link {
        self.0.link()
    }

    fn follow(&self, epoch: u64, base: f64, lr: f64) -> Result<Point, Error> {
        self.0.follow(epoch, base, lr)
    }

    fn course(&self, step: u64) -> Course {
        self.0.course(step)
    }

    fn ratio(&self, from: u64, to: u64, base: f64) -> Result<f64, Error> {
        self.0.ratio(from, to, base)
    }

    fn fall(&self, step: u64) -> f64 {
        self.0.fall(step)
    }

    fn goes_on(&self) -> bool {
        self.0.goes_on()
    }

    fn levels(&self) -> usize {
        self.0.levels()
    }

    fn takes_metric(&self) -> bool {
        self.0.takes_metric()
    }

    fn observe(&mut self, metric: f64) -> Result<(), Error> {
        self.0.observe(metric)
    }

    fn state(&self) -> Option<Value> {
        self.0.state()
    }

    fn load_state(&mut self, state: &Value) -> Result<(), Error> {
        self.0.load_state(state)
    }
}
