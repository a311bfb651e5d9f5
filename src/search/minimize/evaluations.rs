//! Calls of the user's functions: counted, within a budget, and safe for methods that expect finite numbers.

mod constraints;
mod derivatives;

use super::options::{Callback, Constraint, Differences, Product, Vector};
use super::result::{HistoryPoint, MinimizeProgress, MinimizeStatus as Status, OptimizeResult};
use crate::error::Error;

/// A violation up to this counts as none.
pub(super) const FEASIBLE: f64 = 1e-6;

/// Why a method is interrupted in the middle of an iteration.
#[derive(Debug)]
pub(super) enum Interrupt {
    Ended(Status),
    Refused(Error),
}

/// A point that may be returned.
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    pub(super) x: Vec<f64>,
    pub(super) fun: f64,
    pub(super) violation: f64,
    pub(super) gradient: Option<Vec<f64>>,
}

impl Candidate {
    pub(super) fn beats(&self, other: &Candidate, feasible: f64) -> bool {
        match (self.violation <= feasible, other.violation <= feasible) {
            (true, true) => self.fun < other.fun,
            (false, false) => self.violation < other.violation,
            (holds, _) => holds,
        }
    }
}

/// The better of two that may be missing.
fn keep(one: Option<Candidate>, other: Option<Candidate>, feasible: f64) -> Option<Candidate> {
    match (one, other) {
        (Some(one), Some(other)) if other.beats(&one, feasible) => Some(other),
        (one, other) => one.or(other),
    }
}

/// The user's functions, and all that is known of their values.
pub(super) struct Evaluations<'a> {
    pub(super) objective: &'a mut dyn FnMut(&[f64]) -> f64,
    pub(super) gradient: Option<Vector<'a>>,
    pub(super) hessian_product: Option<Product<'a>>,
    pub(super) constraints: Vec<Constraint<'a>>,
    pub(super) differences: Differences,
    pub(super) bounds: Vec<(f64, f64)>,
    pub(super) callback: Option<Callback<'a>>,
    pub(super) feasible: f64,
    /// Of the current start.
    pub(super) limit: u64,
    pub(super) max_iterations: u64,
    pub(super) nfev: u64,
    pub(super) njev: u64,
    pub(super) products: u64,
    pub(super) nit: u64,
    pub(super) not_finite: u64,
    /// Of the current start.
    pub(super) best: Option<Candidate>,
    /// Of the starts before.
    best_before: Option<Candidate>,
    pub(super) history: Vec<HistoryPoint>,
    /// Requests since the last call of the objective.
    idle: u32,
    /// The largest finite value so far.
    worst: f64,
    last: Option<(Vec<f64>, f64)>,
    last_gradient: Option<(Vec<f64>, Vec<f64>)>,
    last_constraints: Option<(Vec<f64>, Vec<f64>)>,
}

impl<'a> Evaluations<'a> {
    pub(super) fn new(objective: &'a mut dyn FnMut(&[f64]) -> f64, bounds: Vec<(f64, f64)>) -> Self {
        Self {
            objective,
            gradient: None,
            hessian_product: None,
            constraints: Vec::new(),
            differences: Differences::default(),
            bounds,
            callback: None,
            feasible: FEASIBLE,
            limit: u64::MAX,
            max_iterations: u64::MAX,
            nfev: 0,
            njev: 0,
            products: 0,
            nit: 0,
            not_finite: 0,
            best: None,
            best_before: None,
            history: Vec::new(),
            idle: 0,
            worst: f64::NEG_INFINITY,
            last: None,
            last_gradient: None,
            last_constraints: None,
        }
    }

    /// The objective at a point that the method asks for, which may be returned.
    ///
    /// What is not finite is replaced by something worse than all values so far, so that a method can compute with it.
    pub(super) fn value(&mut self, x: &[f64]) -> Result<f64, Interrupt> {
        if let Some((at, value)) = &self.last
            && at == x
        {
            let value = *value;
            return self.idle().map(|()| value);
        }
        let fun = self.count(x)?;
        let value = self.finite(fun);
        self.last = Some((x.to_vec(), value));
        if fun.is_finite() {
            let violation = self.violation(x);
            self.offer(Candidate { x: x.to_vec(), fun, violation, gradient: None });
        }
        Ok(value)
    }

    fn offer(&mut self, found: Candidate) {
        if self.best.as_ref().is_none_or(|best| found.beats(best, self.feasible)) {
            self.best = Some(found);
        }
    }

    /// Notes that the method asked for what it need not: a method that does nothing else would never end.
    fn idle(&mut self) -> Result<(), Interrupt> {
        const PATIENCE: u32 = 1000;
        self.idle += 1;
        if self.idle > PATIENCE { Err(Interrupt::Ended(Status::Stalled)) } else { Ok(()) }
    }

    /// One call of the objective.
    fn count(&mut self, x: &[f64]) -> Result<f64, Interrupt> {
        if x.iter().any(|x| !x.is_finite()) {
            // A step of a method that overflowed: nothing that the objective should be asked for.
            return self.idle().map(|()| f64::NAN);
        }
        if self.nfev >= self.limit {
            return Err(Interrupt::Ended(Status::MaxEvaluations));
        }
        self.nfev += 1;
        self.idle = 0;
        let fun = (self.objective)(x);
        if fun.is_finite() {
            self.worst = self.worst.max(fun);
            return Ok(fun);
        }
        if fun == f64::NEG_INFINITY {
            let violation = self.violation(x);
            if violation <= self.feasible {
                self.offer(Candidate { x: x.to_vec(), fun, violation, gradient: None });
                return Err(Interrupt::Ended(Status::Unbounded));
            }
        }
        self.not_finite += 1;
        Ok(fun)
    }

    /// A finite value for methods to compute with.
    fn finite(&self, fun: f64) -> f64 {
        // Far from overflow when squared.
        const LARGE: f64 = 1e150;
        if fun.is_finite() {
            return fun.clamp(-LARGE, LARGE);
        }
        let worst = if self.worst.is_finite() { self.worst } else { 0.0 };
        (worst + worst.abs() + 1.0).min(LARGE)
    }

    /// Counts an iteration, keeps its best value and asks the callback.
    pub(super) fn iterated(&mut self) -> Result<(), Interrupt> {
        self.nit += 1;
        self.remember();
        let Some(best) = self.best_of_all() else { return Ok(()) };
        let best = best.clone();
        let progress = MinimizeProgress { nit: self.nit, nfev: self.nfev, x: &best.x, fun: best.fun };
        if let Some(callback) = &mut self.callback
            && callback(&progress).is_break()
        {
            return Err(Interrupt::Ended(Status::Stopped));
        }
        if self.nit >= self.max_iterations {
            return Err(Interrupt::Ended(Status::MaxIterations));
        }
        Ok(())
    }

    fn best_of_all(&self) -> Option<&Candidate> {
        match (&self.best, &self.best_before) {
            (Some(one), Some(other)) if other.beats(one, self.feasible) => Some(other),
            (one, other) => one.as_ref().or(other.as_ref()),
        }
    }

    /// Adds the best value so far to the history.
    pub(super) fn remember(&mut self) {
        let Some(best) = self.best_of_all() else { return };
        let point = HistoryPoint { nfev: self.nfev, fun: best.fun };
        if self.history.last() != Some(&point) {
            self.history.push(point);
        }
    }

    /// Makes ready for the first of so many starts that are left; false if nothing is left to spend.
    pub(super) fn begin(&mut self, max_evaluations: u64, starts_left: usize) -> bool {
        let left = max_evaluations.saturating_sub(self.nfev);
        self.limit = self.nfev + left.div_ceil(starts_left as u64);
        (self.last, self.last_gradient, self.last_constraints) = (None, None, None);
        self.best_before = keep(self.best_before.take(), self.best.take(), self.feasible);
        left > 0
    }

    /// The best point of the current start.
    pub(super) fn found(&self) -> Option<Candidate> {
        self.best.clone()
    }

    /// The result, at the point that was found.
    pub(super) fn into_result(self, found: Candidate, status: Status, message: String) -> OptimizeResult {
        OptimizeResult {
            x: found.x,
            fun: found.fun,
            jac: found.gradient,
            nfev: self.nfev,
            njev: self.njev,
            nit: self.nit,
            not_finite: self.not_finite,
            max_violation: found.violation,
            success: status == Status::Converged,
            status,
            message,
            history: self.history,
        }
    }

    /// The nearest point within the bounds.
    pub(super) fn clamp(&self, x: &mut [f64]) {
        x.iter_mut().zip(&self.bounds).for_each(|(x, (low, high))| *x = x.clamp(*low, *high));
    }
}
