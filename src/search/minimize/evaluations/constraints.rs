//! Values and gradients of constraints.

use super::derivatives::checked;
use super::{Evaluations, Interrupt};

/// What a constraint that is not finite counts as: violated by far.
const BROKEN: f64 = -1e10;

impl Evaluations<'_> {
    /// The constraints' functions at `x`, in order: 0, or at least 0, where they hold.
    pub(in super::super) fn constraints(&mut self, x: &[f64]) -> &[f64] {
        let known = self.last_constraints.as_ref().is_some_and(|(at, _)| at == x);
        if !known {
            let values = self.constraints.iter_mut().map(|constraint| {
                let value = (constraint.function)(x);
                if value.is_finite() { value } else { BROKEN }
            });
            self.last_constraints = Some((x.to_vec(), values.collect()));
        }
        self.last_constraints.as_ref().map_or(&[], |(_, values)| values)
    }

    /// The largest violation at `x`.
    pub(super) fn violation(&mut self, x: &[f64]) -> f64 {
        let mut largest = 0.0_f64;
        if !self.constraints.is_empty() {
            let values = self.constraints(x).to_vec();
            for (constraint, value) in self.constraints.iter().zip(values) {
                largest = largest.max(if constraint.equality { value.abs() } else { -value });
            }
        }
        let outside =
            |largest: f64, ((low, high), x): (&(f64, f64), &f64)| largest.max(low - x).max(x - high);
        self.bounds.iter().zip(x).fold(largest, outside)
    }

    /// The gradient of constraint `at`.
    pub(in super::super) fn constraint_gradient(
        &mut self,
        at: usize,
        x: &[f64],
    ) -> Result<Vec<f64>, Interrupt> {
        let bounds = self.bounds.clone();
        let differences = self.differences;
        let constraint = &mut self.constraints[at];
        if let Some(gradient) = &mut constraint.gradient {
            return checked(&format!("gradient of constraint {at}"), gradient(x), x)
                .map_err(Interrupt::Refused);
        }
        let mut gradient = vec![0.0; x.len()];
        let mut moved = x.to_vec();
        for i in 0..x.len() {
            let (below, above) = super::derivatives::steps(differences, x[i], bounds.get(i).copied());
            let mut side = |step: f64| {
                moved[i] = x[i] + step;
                let value = (constraint.function)(&moved);
                let side = (moved[i], if value.is_finite() { value } else { BROKEN });
                moved[i] = x[i];
                side
            };
            let (low, high) = (side(-below), side(above));
            if high.0 > low.0 {
                gradient[i] = (high.1 - low.1) / (high.0 - low.0);
            }
        }
        Ok(gradient)
    }
}
