//! Moré and Thuente's line search, told where to try first.

use basin::{CostFunction, Gradient, LineSearch, LineSearchOutcome, MoreThuente, Problem};

/// The first step tried is the one that would decrease the objective as much as the last iteration did, and at most 1;
/// of the first iteration, one of length 1.
///
/// Source: Nocedal and Wright 2006, eq. (3.60). The constants are those of scipy's `line_search_wolfe1`.
pub(super) struct FirstTrial {
    curvature: f64,
    previous: Option<f64>,
    unit_first: bool,
}

impl FirstTrial {
    /// With the constant of the curvature condition.
    pub(super) fn new(curvature: f64) -> Self {
        Self { curvature, previous: None, unit_first: false }
    }

    /// Tries 1 first, always.
    pub(super) fn unit_first(self) -> Self {
        Self { unit_first: true, ..self }
    }
}

impl<P> LineSearch<P, Vec<f64>> for FirstTrial
where
    P: CostFunction<Param = Vec<f64>, Output = f64> + Gradient<Gradient = Vec<f64>>,
{
    type Error = P::Error;

    fn reset(&mut self) {
        self.previous = None;
    }

    fn next(
        &mut self,
        problem: &mut Problem<P>,
        param: &Vec<f64>,
        cost: f64,
        gradient: &Vec<f64>,
        direction: &Vec<f64>,
    ) -> Result<f64, P::Error> {
        Ok(match self.next_with_outcome(problem, param, cost, gradient, direction)? {
            LineSearchOutcome::Step(step) => step,
            _ => 0.0,
        })
    }

    fn next_with_outcome(
        &mut self,
        problem: &mut Problem<P>,
        param: &Vec<f64>,
        cost: f64,
        gradient: &Vec<f64>,
        direction: &Vec<f64>,
    ) -> Result<LineSearchOutcome<f64>, P::Error> {
        let slope: f64 = gradient.iter().zip(direction).map(|(g, d)| g * d).sum();
        let length = gradient.iter().map(|g| g * g).sum::<f64>().sqrt();
        let previous = self.previous.replace(cost).unwrap_or(cost + length / 2.0);
        let step = (1.01 * 2.0 * (cost - previous) / slope).min(1.0);
        let step = if step > 1e-100 && !self.unit_first { step } else { 1.0 };
        let mut search = MoreThuente::new()
            .with_sufficient_decrease_coefficient(1e-4)
            .with_curvature_coefficient(self.curvature)
            .with_relative_bracket_tolerance(1e-14)
            .stpmin(1e-100)
            .stpmax(1e100)
            .alpha_init(step)
            .maxfev(100);
        search.next_with_outcome(problem, param, cost, gradient, direction)
    }
}
