//! Runs a method of the library, iteration by iteration.

use std::cell::RefCell;

use basin::{ConstraintSolveError, CountsMirror, Executor, Solver, State, StepOutcome, Termination};

use super::evaluations::{Evaluations, Interrupt};
use super::result::MinimizeStatus as Status;
use crate::error::Error;

/// How a run of a method ended, and why in words.
pub(super) type End = (Status, String);

impl From<ConstraintSolveError<Interrupt>> for Interrupt {
    fn from(error: ConstraintSolveError<Interrupt>) -> Self {
        match error {
            ConstraintSolveError::Evaluation(interrupt) => interrupt,
            // Bounds are checked before, and counts of constraints are ours.
            refused => {
                Self::Refused(Error::Config { what: "constraints".into(), reason: format!("{refused:?}") })
            }
        }
    }
}

/// Runs until the method stops by itself, `converged` gives a reason, or something interrupts.
pub(super) fn drive<P, S, So>(
    executor: Executor<P, S, So>,
    evaluations: &RefCell<Evaluations<'_>>,
    converged: impl Fn(&S) -> Option<String>,
) -> Result<End, Interrupt>
where
    S: State<Float = f64> + CountsMirror,
    So: Solver<P, S>,
    Interrupt: From<So::Error>,
{
    let mut stepper = executor.max_iter(u64::MAX).into_stepper()?;
    evaluations.borrow_mut().remember();
    loop {
        if let Some(reason) = converged(stepper.state()) {
            return Ok((Status::Converged, reason));
        }
        let before = stepper.iter();
        match stepper.step()? {
            StepOutcome::Continue => evaluations.borrow_mut().iterated()?,
            StepOutcome::Stopped(report) => {
                if stepper.iter() > before {
                    evaluations.borrow_mut().iterated()?;
                }
                return Ok(match report.termination {
                    Termination::Converged(_) => (Status::Converged, "the method's own test was met".into()),
                    _ => (Status::Stalled, "no better point was found along the method's direction".into()),
                });
            }
        }
    }
}
