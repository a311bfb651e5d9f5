//! Newton's method by conjugate gradients.

use std::cell::RefCell;

use basin::{LineSearch, LineSearchOutcome, Problem};

use super::drive::End;
use super::evaluations::{Evaluations, Interrupt};
use super::first_trial::FirstTrial;
use super::problem::Objective;
use super::result::MinimizeStatus as Status;

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// Goes along the Newton direction, as exactly as `min(1/2, sqrt |g|) |g|` and only as far as the curvature is positive.
/// Ends where a step is smaller than `tol` on average over the variables, or the gradient is 0.
///
/// Source: Nocedal and Wright 2006, Alg. 7.1, with scipy's way to end.
pub(super) fn newton_cg(cell: &RefCell<Evaluations<'_>>, x0: &[f64], tol: f64) -> Result<End, Interrupt> {
    let mut problem = Problem::new(Objective::boxed(cell, x0.len()));
    // The unit step is Newton's own.
    let mut search = FirstTrial::new(0.9).unit_first();
    let mut x = x0.to_vec();
    cell.borrow_mut().value(&x)?;
    cell.borrow_mut().remember();
    loop {
        let (value, gradient) = {
            let mut evaluations = cell.borrow_mut();
            (evaluations.value(&x)?, evaluations.gradient(&x)?)
        };
        if gradient.iter().all(|g| *g == 0.0) {
            return Ok((Status::Converged, "the gradient is 0".into()));
        }
        let direction = newton_direction(cell, &x, &gradient)?;
        let outcome = search.next_with_outcome(&mut problem, &x, value, &gradient, &direction)?;
        let step = match outcome {
            LineSearchOutcome::Step(step) if step > 0.0 && step.is_finite() => step,
            _ => return Ok((Status::Stalled, "no better point was found along Newton's direction".into())),
        };
        x.iter_mut().zip(&direction).for_each(|(x, d)| *x += step * d);
        cell.borrow_mut().value(&x)?;
        cell.borrow_mut().iterated()?;
        let moved = step * direction.iter().map(|d| d.abs()).sum::<f64>();
        if moved <= tol * x.len() as f64 {
            let reason = format!("the variables changed by less than {tol:e} on average");
            return Ok((Status::Converged, reason));
        }
    }
}

/// Conjugate gradients on `H d = -g`.
fn newton_direction(
    cell: &RefCell<Evaluations<'_>>,
    x: &[f64],
    gradient: &[f64],
) -> Result<Vec<f64>, Interrupt> {
    let size: f64 = gradient.iter().map(|g| g.abs()).sum();
    let enough = size * size.sqrt().min(0.5);
    let mut direction = vec![0.0; x.len()];
    let mut residual = gradient.to_vec();
    let mut conjugate: Vec<f64> = gradient.iter().map(|g| -g).collect();
    let mut length = dot(&residual, &residual);
    for inner in 0..20 * x.len() {
        if residual.iter().map(|r| r.abs()).sum::<f64>() <= enough {
            break;
        }
        let product = cell.borrow_mut().hessian_product(x, &conjugate)?;
        let curvature = dot(&conjugate, &product);
        if curvature <= 3.0 * f64::EPSILON * dot(&conjugate, &conjugate) {
            if inner == 0 {
                // Downwards without end, as far as the model knows: along the gradient, by the line search alone.
                direction = conjugate;
            }
            break;
        }
        let step = length / curvature;
        direction.iter_mut().zip(&conjugate).for_each(|(d, c)| *d += step * c);
        residual.iter_mut().zip(&product).for_each(|(r, p)| *r += step * p);
        let next = dot(&residual, &residual);
        conjugate.iter_mut().zip(&residual).for_each(|(c, r)| *c = next / length * *c - r);
        length = next;
    }
    if dot(&direction, gradient) < 0.0 && direction.iter().all(|d| d.is_finite()) {
        return Ok(direction);
    }
    Ok(gradient.iter().map(|g| -g).collect())
}
