//! Classical minimizers behind one call.

mod brent;
mod check;
mod drive;
mod evaluations;
mod first_trial;
mod minimizer;
mod newton_cg;
mod options;
mod powell;
mod problem;
mod result;
mod solvers;
#[cfg(test)]
mod tests;

use std::cell::RefCell;

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;

use crate::error::Error;
use drive::End;
use evaluations::{Candidate, Evaluations, FEASIBLE, Interrupt};
pub use minimizer::Minimizer;
use options::MultiStart;
pub use options::{Constraint, Differences, MinimizeOptions};
pub use result::{HistoryPoint, MinimizeProgress, MinimizeStatus, OptimizeResult};

/// Finds a minimum of `fun` from `x0`, in the manner of `scipy.optimize.minimize`.
///
/// All numbers are f64 and all work is the host's. The methods are local; see [`Minimizer`] for what each takes and is
/// good for, and [`MinimizeOptions`] for what can be told. Evaluations that are NaN or `+inf` are counted and ranked last:
/// the method is given something worse than all other values in their place.
///
/// ```
/// use gradus::search::{Constraint, MinimizeOptions, Minimizer, minimize_scalar_function};
///
/// let rosenbrock = |x: &[f64]| (1.0 - x[0]).powi(2) + 100.0 * (x[1] - x[0] * x[0]).powi(2);
/// let free = minimize_scalar_function(rosenbrock, &[-1.2, 1.0], MinimizeOptions::new())?;
/// assert!(free.success && (free.x[0] - 1.0).abs() < 1e-4 && free.fun < 1e-9);
///
/// let within = |x: &[f64]| 1.0 - x[0] * x[0] - x[1] * x[1];
/// let options = MinimizeOptions::new().method(Minimizer::Slsqp).constraint(Constraint::inequality(within));
/// let bound = minimize_scalar_function(rosenbrock, &[0.0, 0.0], options)?;
/// assert!(bound.success && (bound.x[0] - 0.7864).abs() < 1e-3);
/// # Ok::<(), gradus::Error>(())
/// ```
///
/// # Errors
/// [`Error::Length`] and [`Error::Constant`] for an `x0`, bounds, tolerance or budget that is refused (an `x0` outside of
/// its bounds, bounds in reverse), [`Error::Config`] for bounds or constraints of a method that takes none, all before
/// the first evaluation; [`Error::Length`] or [`Error::Constant`] for a gradient or product of another length or that is
/// not finite; [`Error::Config`] if no evaluation was finite. A budget that is used up is no error.
///
/// Source: the methods are those of the library `basin` (BFGS, L-BFGS-B, Nelder-Mead, CG, trust-ncg, COBYLA, SLSQP) and
/// our own (Powell, Newton-CG), with scipy's starting steps and tolerances.
pub fn minimize_scalar_function(
    mut fun: impl FnMut(&[f64]) -> f64,
    x0: &[f64],
    options: MinimizeOptions<'_>,
) -> Result<OptimizeResult, Error> {
    let method = check::minimizer(&options);
    check::check(method, x0, &options)?;
    run(&mut fun, x0, method, options)
}

fn run<'a>(
    fun: &'a mut dyn FnMut(&[f64]) -> f64,
    x0: &[f64],
    method: Minimizer,
    options: MinimizeOptions<'a>,
) -> Result<OptimizeResult, Error> {
    let tol = options.tol.unwrap_or(method.default_tolerance());
    let most = (1000 * x0.len() as u64).max(15_000);
    let max_evaluations = options.max_evaluations.unwrap_or(most);
    let starts = starts(x0, options.multi_start);
    let mut evaluations = Evaluations::new(fun, options.bounds.unwrap_or_default());
    evaluations.gradient = options.gradient;
    evaluations.hessian_product = options.hessian_product;
    evaluations.constraints = options.constraints;
    evaluations.differences = options.differences;
    evaluations.callback = options.callback;
    evaluations.max_iterations = options.max_iterations.unwrap_or(max_evaluations);
    evaluations.feasible = tol.max(FEASIBLE);
    let cell = RefCell::new(evaluations);
    let mut best: Option<(Candidate, End)> = None;
    for (at, start) in starts.iter().enumerate() {
        let left = cell.borrow_mut().begin(max_evaluations, starts.len() - at);
        if !left {
            break;
        }
        let end = match from(&cell, start, method, tol) {
            Ok(end) => end,
            Err(Interrupt::Ended(status)) => (status, in_words(status, max_evaluations)),
            Err(Interrupt::Refused(error)) => return Err(error),
        };
        let mut evaluations = cell.borrow_mut();
        evaluations.remember();
        if let Some(found) = evaluations.found()
            && best.as_ref().is_none_or(|(best, _)| found.beats(best, evaluations.feasible))
        {
            best = Some((found, end.clone()));
        }
        if matches!(end.0, MinimizeStatus::Stopped | MinimizeStatus::MaxIterations) {
            // No further start; the result says so.
            best = best.map(|(found, _)| (found, end));
            break;
        }
    }
    let evaluations = cell.into_inner();
    let Some((found, (status, message))) = best else {
        let reason = format!(
            "it was NaN or infinite at all {} points that were evaluated; start where it is finite",
            evaluations.nfev
        );
        return Err(Error::Config { what: "objective".into(), reason });
    };
    Ok(evaluations.into_result(found, status, message))
}

/// Where to start: at `x0`, then at random points.
fn starts(x0: &[f64], multi_start: Option<MultiStart>) -> Vec<Vec<f64>> {
    let mut starts = vec![x0.to_vec()];
    if let Some(MultiStart { starts: count, region, seed }) = multi_start {
        let mut random = Pcg64::seed_from_u64(seed);
        let mut draw = |(low, high): &(f64, f64)| low + (high - low) * random.random::<f64>();
        starts.extend((1..count).map(|_| region.iter().map(&mut draw).collect::<Vec<f64>>()));
    }
    starts
}

fn from(cell: &RefCell<Evaluations<'_>>, x0: &[f64], method: Minimizer, tol: f64) -> Result<End, Interrupt> {
    match method {
        Minimizer::Bfgs => solvers::bfgs(cell, x0, tol),
        Minimizer::LbfgsB => solvers::lbfgsb(cell, x0, tol),
        Minimizer::NelderMead => solvers::nelder_mead(cell, x0, tol),
        Minimizer::Powell => powell::powell(cell, x0, tol),
        Minimizer::ConjugateGradient => solvers::conjugate_gradient(cell, x0, tol),
        Minimizer::NewtonCg => newton_cg::newton_cg(cell, x0, tol),
        Minimizer::TrustRegion => solvers::trust_region(cell, x0, tol),
        Minimizer::Cobyla => solvers::cobyla(cell, x0, tol),
        Minimizer::Slsqp => solvers::slsqp(cell, x0, tol),
    }
}

fn in_words(status: MinimizeStatus, max_evaluations: u64) -> String {
    match status {
        MinimizeStatus::MaxEvaluations => format!("the {max_evaluations} evaluations were used up"),
        MinimizeStatus::MaxIterations => "the iterations were used up".into(),
        MinimizeStatus::Stopped => "the callback stopped it".into(),
        MinimizeStatus::Unbounded => "the objective was -inf at a point".into(),
        MinimizeStatus::Stalled => "the method came to no further point".into(),
        MinimizeStatus::Converged | MinimizeStatus::Infeasible => String::new(),
    }
}
