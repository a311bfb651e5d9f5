//! Gradients and products with Hessians: the user's, or finite differences.

use super::super::options::Differences;
use super::{Evaluations, Interrupt};
use crate::error::Error;
use crate::search::minimize::result::MinimizeStatus as Status;

impl Evaluations<'_> {
    /// The gradient at `x`, all finite.
    pub(in super::super) fn gradient(&mut self, x: &[f64]) -> Result<Vec<f64>, Interrupt> {
        if let Some((at, gradient)) = &self.last_gradient
            && at == x
        {
            return Ok(gradient.clone());
        }
        let gradient = match self.gradient.is_some() {
            true => self.given_gradient(x)?,
            false => self.difference_gradient(x)?,
        };
        if let Some(best) = &mut self.best
            && best.x == x
        {
            best.gradient = Some(gradient.clone());
        }
        self.last_gradient = Some((x.to_vec(), gradient.clone()));
        Ok(gradient)
    }

    fn given_gradient(&mut self, x: &[f64]) -> Result<Vec<f64>, Interrupt> {
        if self.njev >= self.limit {
            return Err(Interrupt::Ended(Status::MaxEvaluations));
        }
        self.njev += 1;
        let Some(gradient) = &mut self.gradient else { return Ok(Vec::new()) };
        let gradient = gradient(x);
        checked("gradient", gradient, x).or_else(|refused| {
            // Outside of the objective's domain there is no slope to go by.
            let not_finite = |at: &(Vec<f64>, f64)| at.0 == x && at.1 > self.worst;
            match self.last.as_ref().is_some_and(not_finite) {
                true => Ok(vec![0.0; x.len()]),
                false => Err(Interrupt::Refused(refused)),
            }
        })
    }

    fn difference_gradient(&mut self, x: &[f64]) -> Result<Vec<f64>, Interrupt> {
        let centre = self.value(x)?;
        let mut moved = x.to_vec();
        let mut gradient = vec![0.0; x.len()];
        for i in 0..x.len() {
            let (below, above) = steps(self.differences, x[i], self.bounds.get(i).copied());
            let mut side = |step: f64| -> Result<(f64, f64), Interrupt> {
                if step == 0.0 {
                    return Ok((x[i], centre));
                }
                moved[i] = x[i] + step;
                let fun = self.count(&moved)?;
                let side = (moved[i], self.finite(fun));
                moved[i] = x[i];
                Ok(side)
            };
            let (low, high) = (side(-below)?, side(above)?);
            if high.0 > low.0 {
                gradient[i] = (high.1 - low.1) / (high.0 - low.0);
            }
        }
        Ok(gradient)
    }

    /// The Hessian at `x` times `v`.
    pub(in super::super) fn hessian_product(&mut self, x: &[f64], v: &[f64]) -> Result<Vec<f64>, Interrupt> {
        if let Some(product) = &mut self.hessian_product {
            if self.products >= self.limit {
                return Err(Interrupt::Ended(Status::MaxEvaluations));
            }
            self.products += 1;
            return checked("hessian_product", product(x, v), x).map_err(Interrupt::Refused);
        }
        let len = |v: &[f64]| v.iter().map(|v| v * v).sum::<f64>().sqrt();
        // Differences of differences have lost half the digits already.
        let exact = if self.gradient.is_some() { f64::EPSILON.sqrt() } else { f64::EPSILON.cbrt() };
        let step = exact * (1.0 + len(x)) / len(v).max(f64::MIN_POSITIVE);
        let here = self.gradient(x)?;
        let (last, last_gradient) = (self.last.take(), self.last_gradient.take());
        let moved: Vec<f64> = x.iter().zip(v).map(|(x, v)| x + step * v).collect();
        let there = self.gradient(&moved)?;
        // The method goes on from where it was.
        (self.last, self.last_gradient) = (last, last_gradient);
        Ok(there.iter().zip(&here).map(|(there, here)| (there - here) / step).collect())
    }
}

/// How far to step down and up from `x`, within the bounds. Both are 0 where the bounds leave no room.
pub(super) fn steps(differences: Differences, x: f64, bounds: Option<(f64, f64)>) -> (f64, f64) {
    let (low, high) = bounds.unwrap_or((f64::NEG_INFINITY, f64::INFINITY));
    let size = x.abs().max(1.0);
    match differences {
        Differences::Forward => {
            let step = f64::EPSILON.sqrt() * size;
            let (down, up) = (x - low, high - x);
            if up >= step {
                (0.0, step)
            } else if down >= step {
                (step, 0.0)
            } else if up >= down {
                (0.0, up)
            } else {
                (down, 0.0)
            }
        }
        Differences::Central => {
            let step = f64::EPSILON.cbrt() * size;
            (step.min(x - low), step.min(high - x))
        }
    }
}

/// Refuses what has another length or is not finite.
pub(super) fn checked(what: &str, values: Vec<f64>, x: &[f64]) -> Result<Vec<f64>, Error> {
    if values.len() != x.len() {
        return Err(Error::Length { what: what.into(), expected: x.len(), got: values.len() });
    }
    match values.iter().position(|value| !value.is_finite()) {
        Some(at) => Err(Error::constant(format!("{what}[{at}] at {x:?}"), "finite", values[at])),
        None => Ok(values),
    }
}
