//! Powell's method of conjugate directions.

use std::cell::RefCell;

use super::brent::{Interval, bracket, brent};
use super::drive::End;
use super::evaluations::{Evaluations, Interrupt};
use super::result::MinimizeStatus as Status;

/// A point and its value.
type Point = (Vec<f64>, f64);

/// Minimizes along each direction in turn, then replaces the one that helped most by the progress of the whole round,
/// where that is worth it.
///
/// Source: Powell 1964, The Computer Journal 7(2); with the rule of Press et al. 1992, Numerical Recipes, sec. 10.5. In
/// bounds, a line is searched from edge to edge, by golden sections first, as scipy does. Differs from scipy: a line
/// search that ends higher than it began does not move.
pub(super) fn powell(cell: &RefCell<Evaluations<'_>>, x0: &[f64], tol: f64) -> Result<End, Interrupt> {
    let n = x0.len();
    let mut directions: Vec<Vec<f64>> = (0..n).map(|i| (0..n).map(|j| f64::from(i == j)).collect()).collect();
    let start = cell.borrow_mut().value(x0)?;
    cell.borrow_mut().remember();
    let mut at: Point = (x0.to_vec(), start);
    loop {
        let before = at.clone();
        let (mut most, mut helped) = (0.0, 0);
        for (i, direction) in directions.iter().enumerate() {
            let value = at.1;
            at = along(cell, at, direction, tol)?.0;
            if value - at.1 > most {
                (most, helped) = (value - at.1, i);
            }
        }
        cell.borrow_mut().iterated()?;
        if 2.0 * (before.1 - at.1) <= tol * (before.1.abs() + at.1.abs()) + 1e-20 {
            let reason = format!("an iteration decreased the objective by less than {tol:e} of its value");
            return Ok((Status::Converged, reason));
        }
        let round: Vec<f64> = at.0.iter().zip(&before.0).map(|(to, from)| to - from).collect();
        let ahead = moved(cell, &at.0, &round, line(cell, &at.0, &round).1.min(1.0));
        let further = cell.borrow_mut().value(&ahead)?;
        if further < before.1 {
            let bend = 2.0 * (before.1 + further - 2.0 * at.1);
            let left = before.1 - at.1 - most;
            let gained = before.1 - further;
            if bend * left * left < most * gained * gained {
                let (to, step) = along(cell, at, &round, tol)?;
                at = to;
                if step.iter().any(|step| *step != 0.0) {
                    directions.swap_remove(helped);
                    directions.push(step);
                }
            }
        }
    }
}

/// The lowest point found along `direction`, and the step there.
fn along(
    cell: &RefCell<Evaluations<'_>>,
    from: Point,
    direction: &[f64],
    tol: f64,
) -> Result<(Point, Vec<f64>), Interrupt> {
    if direction.iter().all(|d| *d == 0.0) {
        return Ok((from, direction.to_vec()));
    }
    let (low, high) = line(cell, &from.0, direction);
    if low == high {
        return Ok((from, vec![0.0; direction.len()]));
    }
    // Half a line is searched over the angle whose tangent the place is, as scipy does.
    let half = low.is_finite() != high.is_finite();
    let place = |at: f64| if half { at.tan() } else { at };
    let mut value = |at: f64| {
        let x = moved(cell, &from.0, direction, place(at));
        cell.borrow_mut().value(&x)
    };
    let (at, lowest) = if low.is_finite() || high.is_finite() {
        let (low, high) = if half { (low.atan(), high.atan()) } else { (low, high) };
        let interval = Interval { low, high, inside: None };
        brent(interval, (f64::EPSILON.sqrt(), tol / 3.0), &mut value)?
    } else {
        let interval = bracket((0.0, from.1), &mut value)?;
        brent(interval, (100.0 * tol, 1e-11), &mut value)?
    };
    if lowest >= from.1 {
        return Ok((from, vec![0.0; direction.len()]));
    }
    let to = moved(cell, &from.0, direction, place(at));
    let step = to.iter().zip(&from.0).map(|(to, from)| to - from).collect();
    Ok(((to, lowest), step))
}

/// `x + at * direction`, and rounding kept within the bounds.
fn moved(cell: &RefCell<Evaluations<'_>>, x: &[f64], direction: &[f64], at: f64) -> Vec<f64> {
    let mut moved: Vec<f64> = x.iter().zip(direction).map(|(x, d)| x + at * d).collect();
    cell.borrow().clamp(&mut moved);
    moved
}

/// How far `direction` can be followed backward and forward within the bounds.
fn line(cell: &RefCell<Evaluations<'_>>, x: &[f64], direction: &[f64]) -> (f64, f64) {
    let evaluations = cell.borrow();
    let (mut low, mut high) = (f64::NEG_INFINITY, f64::INFINITY);
    for ((x, d), (least, greatest)) in x.iter().zip(direction).zip(&evaluations.bounds) {
        if *d != 0.0 {
            let (one, other) = ((least - x) / d, (greatest - x) / d);
            (low, high) = (low.max(one.min(other)), high.min(one.max(other)));
        }
    }
    if low <= high { (low, high) } else { (0.0, 0.0) }
}
