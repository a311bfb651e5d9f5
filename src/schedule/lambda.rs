use std::fmt;

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
}

impl<F: Fn(u64) -> f64 + Send + Sync> LambdaLR<F> {
    /// The base rate times `factor(step)`.
    pub fn new(factor: F) -> Self {
        Self { factor }
    }
}

impl<F: Fn(u64) -> f64 + Send + Sync> Schedule for LambdaLR<F> {
    fn at(&self, step: u64, base: f64) -> Result<Point, Error> {
        rate_at(step, base * (self.factor)(step))
    }
}

impl<F> fmt::Debug for LambdaLR<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LambdaLR").finish_non_exhaustive()
    }
}

/// A schedule made of any function of the step and the base rate; see [`from_fn`].
#[derive(Clone)]
pub struct FromFn<F> {
    rate: F,
}

/// A schedule whose rate is `rate(step, base)`.
///
/// # Errors
/// Its [`Schedule::at`] gives [`Error::Constant`] where the function's value is not finite.
///
/// ```
/// use gradus::schedule::{self, Schedule};
///
/// let schedule = schedule::from_fn(|step, base| base.min(1e-4 * step as f64));
/// assert_eq!(schedule.at(10, 0.1)?.lr, 1e-3);
/// # Ok::<(), gradus::Error>(())
/// ```
pub fn from_fn<F: Fn(u64, f64) -> f64 + Send + Sync>(rate: F) -> FromFn<F> {
    FromFn { rate }
}

impl<F: Fn(u64, f64) -> f64 + Send + Sync> Schedule for FromFn<F> {
    fn at(&self, step: u64, base: f64) -> Result<Point, Error> {
        rate_at(step, (self.rate)(step, base))
    }
}

impl<F> fmt::Debug for FromFn<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FromFn").finish_non_exhaustive()
    }
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
    }
}
