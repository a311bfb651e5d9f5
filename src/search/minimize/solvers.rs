//! The methods of the library, set up as scipy sets up its own.

use std::cell::RefCell;

use basin::{
    Bfgs, CgUpdate, Cobyla, DenseMatrixFromFn, Executor, FirstOrderState, Lbfgsb, NelderMead, NonlinearCg,
    SelectedFirstOrderState, SelectedState, SimplexProgress, Slsqp, TrustRegion,
};

use super::drive::{End, drive};
use super::evaluations::{Evaluations, Interrupt};
use super::first_trial::FirstTrial;
use super::problem::Objective;
use super::result::MinimizeStatus as Status;

type Cell<'a> = RefCell<Evaluations<'a>>;

/// The test of methods that stop where the gradient is flat.
fn flat(tol: f64) -> impl Fn(&FirstOrderState<Vec<f64>>) -> Option<String> {
    move |state| {
        let (_, _, gradient) = state.current()?;
        let largest = gradient.iter().fold(0.0_f64, |largest, g| largest.max(g.abs()));
        (largest <= tol).then(|| format!("no component of the gradient exceeds {tol:e}"))
    }
}

pub(super) fn bfgs(cell: &Cell<'_>, x0: &[f64], tol: f64) -> Result<End, Interrupt> {
    // From the identity, not scaled after the first step: what the first line search finds is scaled already.
    let identity =
        <Vec<f64> as DenseMatrixFromFn>::dense_from_fn(x0.len(), x0.len(), |i, j| f64::from(i == j));
    let solver = Bfgs::<Vec<f64>, f64, _, _>::with_line_search(FirstTrial::new(0.9))
        .with_initial_inverse_hessian(identity);
    let problem = Objective::boxed(cell, x0.len());
    drive(Executor::new(problem, solver, FirstOrderState::new(x0.to_vec())), cell, flat(tol))
}

pub(super) fn lbfgsb(cell: &Cell<'_>, x0: &[f64], tol: f64) -> Result<End, Interrupt> {
    let solver = Lbfgsb::new()
        .with_absolute_projected_gradient_tolerance(tol)
        // 2.2e-9 for the default of 1e-5, as scipy has them.
        .with_relative_cost_reduction_tolerance(2.220_446_049_250_313e-4 * tol);
    let problem = Objective::boxed(cell, x0.len());
    drive(Executor::new(problem, solver, FirstOrderState::new(x0.to_vec())), cell, |_| None)
}

pub(super) fn nelder_mead(cell: &Cell<'_>, x0: &[f64], tol: f64) -> Result<End, Interrupt> {
    let simplex = SimplexProgress::from_simplex(first_simplex(x0, &cell.borrow().bounds));
    let solver = NelderMead::new()
        .with_absolute_simplex_size_tolerance(tol)
        .with_relative_simplex_size_tolerance(None)
        .with_absolute_simplex_cost_tolerance(tol)
        .with_relative_simplex_cost_tolerance(None)
        .projected();
    drive(Executor::new(Objective::boxed(cell, x0.len()), solver, simplex), cell, |_| None)
}

/// The start and a step along each axis: by a twentieth, or a little where the variable is 0; back into the bounds by
/// reflection.
fn first_simplex(x0: &[f64], bounds: &[(f64, f64)]) -> Vec<Vec<f64>> {
    let mut simplex = vec![x0.to_vec()];
    for i in 0..x0.len() {
        let mut vertex = x0.to_vec();
        vertex[i] = if x0[i] == 0.0 { 0.00025 } else { 1.05 * x0[i] };
        if let Some((low, high)) = bounds.get(i) {
            if vertex[i] > *high {
                vertex[i] = 2.0 * high - vertex[i];
            } else if vertex[i] < *low {
                vertex[i] = 2.0 * low - vertex[i];
            }
            vertex[i] = vertex[i].clamp(*low, *high);
        }
        simplex.push(vertex);
    }
    simplex
}

pub(super) fn conjugate_gradient(cell: &Cell<'_>, x0: &[f64], tol: f64) -> Result<End, Interrupt> {
    let solver = NonlinearCg::with_line_search(FirstTrial::new(0.4)).with_update(CgUpdate::PolakRibierePlus);
    let problem = Objective::boxed(cell, x0.len());
    drive(Executor::new(problem, solver, FirstOrderState::new(x0.to_vec())), cell, flat(tol))
}

pub(super) fn trust_region(cell: &Cell<'_>, x0: &[f64], tol: f64) -> Result<End, Interrupt> {
    let solver = TrustRegion::matrix_free().with_max_radius(1000.0).with_eta(0.15);
    let problem = Objective::boxed(cell, x0.len());
    drive(Executor::new(problem, solver, FirstOrderState::new(x0.to_vec())), cell, flat(tol))
}

pub(super) fn cobyla(cell: &Cell<'_>, x0: &[f64], tol: f64) -> Result<End, Interrupt> {
    // Half of the narrowest bounds, where 1 would leave them.
    let bounds = &cell.borrow().bounds.clone();
    let widths = bounds.iter().map(|(low, high)| high - low).filter(|width| *width > 0.0);
    let radius = widths.fold(1.0_f64, |radius, width| radius.min(width / 2.0)).max(tol);
    let solver = Cobyla::new().with_initial_radius(radius).with_final_radius(tol);
    let problem = Objective::constrained(cell, x0.len());
    let end = drive(Executor::new(problem, solver, SelectedState::new(x0.to_vec())), cell, |_| None)?;
    Ok(feasible(cell, end))
}

pub(super) fn slsqp(cell: &Cell<'_>, x0: &[f64], tol: f64) -> Result<End, Interrupt> {
    let solver = Slsqp::new().with_absolute_accuracy_tolerance(tol);
    let problem = Objective::constrained(cell, x0.len());
    let end =
        drive(Executor::new(problem, solver, SelectedFirstOrderState::new(x0.to_vec())), cell, |_| None)?;
    Ok(feasible(cell, end))
}

/// A run that ended without a point where the constraints hold did not converge.
fn feasible(cell: &Cell<'_>, end: End) -> End {
    let evaluations = cell.borrow();
    match &evaluations.best {
        Some(best) if best.violation > evaluations.feasible => {
            let violation = best.violation;
            (
                Status::Infeasible,
                format!("no point was found that violates no constraint by more than {violation:e}"),
            )
        }
        _ => end,
    }
}
