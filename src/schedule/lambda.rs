use std::fmt;

use serde_json::{Value, json};

use super::{Point, Schedule, rate_at};
use crate::error::Error;

/// The base rate times a function of the step.
///
/// `lr(k) = b * f(k)` with the base rate `b` and the step `k`. It has no JSON form.
///
/// Source: PyTorch 2.15, `torch.optim.lr_scheduler.LambdaLR`.
///
/// ```
/// use gradus::schedule::{LambdaLR, Schedule};
///
/// let schedule = LambdaLR::new(|step| 1.0 / (1.0 + step as f64));
/// assert_eq!(schedule.at(3, 0.1)?.lr, 0.025);
/// # Ok::<(), gradus::Error>(())
/// ```
#[derive(Clone)]
pub struct LambdaLR<F> {
    factor: F,
    name: Option<String>,
}

impl<F: Fn(u64) -> f64 + Send + Sync> LambdaLR<F> {
    /// The base rate times `factor(step)`.
    pub fn new(factor: F) -> Self {
        Self { factor, name: None }
    }

    /// Names the closure, so that a checkpoint can distinguish it from others: see [`FromFn::named`].
    #[must_use]
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }
}

impl<F: Fn(u64) -> f64 + Send + Sync> Schedule for LambdaLR<F> {
    fn at(&self, step: u64, base: f64) -> Result<Point, Error> {
        rate_at(step, base * (self.factor)(step))
    }

    fn identity(&self) -> Value {
        json!({"name": "LambdaLR", "closure": self.name})
    }
}

impl<F> fmt::Debug for LambdaLR<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        debug(f, "LambdaLR", self.name.as_deref())
    }
}

/// A schedule from a function of the step and the base rate; see [`from_fn`].
///
/// ```
/// use gradus::schedule::{Schedule, from_fn};
///
/// let halves = from_fn(|step, base| base * 0.5_f64.powi(step as i32)).named("halves");
/// assert_eq!(halves.at(2, 1.0)?.lr, 0.25);
/// # Ok::<(), gradus::Error>(())
/// ```
#[derive(Clone)]
pub struct FromFn<F> {
    rate: F,
    name: Option<String>,
}

impl<F: Fn(u64, f64) -> f64 + Send + Sync> FromFn<F> {
    /// Names the closure, so that a checkpoint can distinguish it from others.
    ///
    /// A run resumes only under a closure with the same name. The code of closures cannot be compared, so change the
    /// name when you change the closure.
    ///
    /// ```
    /// use gradus::schedule::{self, Schedule};
    ///
    /// let schedule = schedule::from_fn(|step, base| base / (1.0 + step as f64)).named("one over the step");
    /// assert_eq!(schedule.identity()["closure"], "one over the step");
    /// ```
    #[must_use]
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }
}

/// A schedule whose rate at `step` is `rate(step, base)`.
///
/// # Errors
/// Its [`Schedule::at`] returns [`Error::Constant`] if the value of the function is not finite.
///
/// ```
/// use gradus::schedule::{self, Schedule};
///
/// let schedule = schedule::from_fn(|step, base| base.min(1e-4 * step as f64));
/// assert_eq!(schedule.at(10, 0.1)?.lr, 1e-3);
/// # Ok::<(), gradus::Error>(())
/// ```
pub fn from_fn<F: Fn(u64, f64) -> f64 + Send + Sync>(rate: F) -> FromFn<F> {
    FromFn { rate, name: None }
}

impl<F: Fn(u64, f64) -> f64 + Send + Sync> Schedule for FromFn<F> {
    fn at(&self, step: u64, base: f64) -> Result<Point, Error> {
        rate_at(step, (self.rate)(step, base))
    }

    fn identity(&self) -> Value {
        json!({"name": "FromFn", "closure": self.name})
    }
}

impl<F> fmt::Debug for FromFn<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        debug(f, "FromFn", self.name.as_deref())
    }
}

/// Writes the kind of a closure, and its name if it has one.
pub(super) fn debug(f: &mut fmt::Formatter<'_>, kind: &str, name: Option<&str>) -> fmt::Result {
    let mut shown = f.debug_struct(kind);
    if let Some(name) = name {
        shown.field("name", &name);
    }
    shown.finish_non_exhaustive()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_that_is_not_finite_is_refused_with_its_step() {
        let message = "learning rate at step 7 must be finite, got NaN";
        assert_eq!(from_fn(|_, _| f64::NAN).at(7, 0.1).unwrap_err().to_string(), message);
        assert_eq!(LambdaLR::new(|_| f64::NAN).at(7, 0.1).unwrap_err().to_string(), message);
    }

    #[test]
    fn a_boxed_closure_is_a_schedule() {
        let boxed: Box<dyn Schedule> = Box::new(from_fn(|step, base| base * step as f64));
        assert_eq!(boxed.at(2, 0.5).unwrap(), Point::rate(1.0));
        assert_eq!(format!("{boxed:?}"), "FromFn { .. }");
        let named = LambdaLR::new(|_| 1.0).named("hold");
        assert_eq!(format!("{named:?}"), r#"LambdaLR { name: "hold", .. }"#);
    }

    /// Schedules are compared by kind, name and nesting, not by code.
    #[test]
    fn closures_are_known_by_their_kind_and_name_at_any_depth() {
        use super::super::{ChainedScheduler, PerEpoch, SequentialLR, StepLR};

        #[derive(Debug)]
        struct Own;
        impl Schedule for Own {
            fn at(&self, _: u64, base: f64) -> Result<Point, Error> {
                Ok(Point::rate(base))
            }
        }
        let plain = || from_fn(|_, base| base);
        let schedules: Vec<Box<dyn Schedule>> = vec![
            Box::new(plain()),
            Box::new(plain().named("a")),
            Box::new(plain().named("b")),
            Box::new(plain().named("")),
            Box::new(LambdaLR::new(|_| 1.0)),
            Box::new(LambdaLR::new(|_| 1.0).named("a")),
            Box::new(Own),
            Box::new(StepLR::new(3)),
            Box::new(PerEpoch(plain())),
            Box::new(PerEpoch(plain().named("a"))),
            Box::new(PerEpoch(Own)),
            Box::new(ChainedScheduler::new(plain()).and(StepLR::new(3))),
            Box::new(ChainedScheduler::new(plain()).and(StepLR::new(4))),
            Box::new(ChainedScheduler::new(plain().named("a")).and(StepLR::new(3))),
            Box::new(SequentialLR::new(StepLR::new(3)).then(5, plain())),
            Box::new(SequentialLR::new(StepLR::new(3)).then(6, plain())),
            Box::new(SequentialLR::new(StepLR::new(3)).then(6, ChainedScheduler::new(plain().named("a")))),
            Box::new(SequentialLR::new(StepLR::new(3)).then(6, ChainedScheduler::new(plain().named("b")))),
        ];
        for (index, schedule) in schedules.iter().enumerate() {
            for (other_index, other) in schedules.iter().enumerate() {
                let same = schedule.identity() == other.identity();
                assert_eq!(same, index == other_index, "{schedule:?} and {other:?}");
            }
        }
        assert_eq!(from_fn(|step, base| base * step as f64).identity(), plain().identity());
        let json = ChainedScheduler::new(StepLR::new(3)).and(SequentialLR::new(StepLR::new(2)));
        assert_eq!(Some(json.identity()), json.to_json());
        assert_eq!(<&ChainedScheduler as Schedule>::identity(&&json), json.identity());
    }
}
