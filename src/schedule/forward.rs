//! Blanket implementations: a box of a schedule and a reference to one are schedules.

use serde_json::Value;

use super::{Course, Interval, Link, Point, Schedule};
use crate::error::Error;

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

    fn identity(&self) -> Value {
        (**self).identity()
    }

    fn interval(&self) -> Interval {
        (**self).interval()
    }

    fn link(&self) -> Link {
        (**self).link()
    }

    fn follow(&self, step: u64, base: f64, lr: f64) -> Result<Point, Error> {
        (**self).follow(step, base, lr)
    }

    fn course(&self, step: u64) -> Course {
        (**self).course(step)
    }

    fn ratio(&self, from: u64, to: u64, base: f64) -> Result<f64, Error> {
        (**self).ratio(from, to, base)
    }

    fn fall(&self, step: u64) -> f64 {
        (**self).fall(step)
    }

    fn goes_on(&self) -> bool {
        (**self).goes_on()
    }

    fn levels(&self) -> usize {
        (**self).levels()
    }

    fn takes_metric(&self) -> bool {
        (**self).takes_metric()
    }

    fn observe(&mut self, metric: f64) -> Result<(), Error> {
        (**self).observe(metric)
    }

    fn state(&self) -> Option<Value> {
        (**self).state()
    }

    fn load_state(&mut self, state: &Value) -> Result<(), Error> {
        (**self).load_state(state)
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

    fn identity(&self) -> Value {
        (**self).identity()
    }

    fn interval(&self) -> Interval {
        (**self).interval()
    }

    fn link(&self) -> Link {
        (**self).link()
    }

    fn follow(&self, step: u64, base: f64, lr: f64) -> Result<Point, Error> {
        (**self).follow(step, base, lr)
    }

    fn course(&self, step: u64) -> Course {
        (**self).course(step)
    }

    fn ratio(&self, from: u64, to: u64, base: f64) -> Result<f64, Error> {
        (**self).ratio(from, to, base)
    }

    fn fall(&self, step: u64) -> f64 {
        (**self).fall(step)
    }

    fn goes_on(&self) -> bool {
        (**self).goes_on()
    }

    fn levels(&self) -> usize {
        (**self).levels()
    }

    fn takes_metric(&self) -> bool {
        (**self).takes_metric()
    }

    fn observe(&mut self, _metric: f64) -> Result<(), Error> {
        if !self.takes_metric() {
            return Ok(());
        }
        let reason = "a borrowed schedule cannot take a metric".into();
        Err(Error::Config { what: "schedule".into(), reason })
    }

    fn state(&self) -> Option<Value> {
        (**self).state()
    }
}
