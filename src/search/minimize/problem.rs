//! The user's functions as the library of methods wants them.

use std::cell::RefCell;

use basin::{
    BoxBounds, ConstraintDescription, ConstraintJacobian, ConstraintSet, ConstraintSolveError, Constraints,
    CostFunction, DenseMatrix, DenseMatrixFromFn, Gradient, HessianProduct, NoLinearConstraints,
    NonlinearBlock, NonlinearBlocks, NonlinearEqualityValues, NonlinearInequalityValues,
};

use super::evaluations::{Evaluations, Interrupt};

/// Bounds and nothing else.
pub(super) type Box = ConstraintSet<BoxBounds<Vec<f64>>>;

/// Bounds, equalities and inequalities.
pub(super) type Nonlinear =
    ConstraintSet<BoxBounds<Vec<f64>>, NoLinearConstraints, NonlinearBlocks<NonlinearBlock, NonlinearBlock>>;

/// An objective with the set of constraints that a method takes.
pub(super) struct Objective<'e, 'a, S> {
    pub(super) evaluations: &'e RefCell<Evaluations<'a>>,
    set: S,
}

fn box_of(evaluations: &RefCell<Evaluations<'_>>, dimensions: usize) -> Box {
    let bounds = &evaluations.borrow().bounds;
    let side = |side: fn(&(f64, f64)) -> f64, none: f64| match bounds.is_empty() {
        true => vec![none; dimensions],
        false => bounds.iter().map(side).collect(),
    };
    let (lower, upper) = (side(|b| b.0, f64::NEG_INFINITY), side(|b| b.1, f64::INFINITY));
    ConstraintSet::new().with_bounds(BoxBounds::new(Some(lower), Some(upper)))
}

impl<'e, 'a> Objective<'e, 'a, Box> {
    pub(super) fn boxed(evaluations: &'e RefCell<Evaluations<'a>>, dimensions: usize) -> Self {
        Self { evaluations, set: box_of(evaluations, dimensions) }
    }
}

impl<'e, 'a> Objective<'e, 'a, Nonlinear> {
    pub(super) fn constrained(evaluations: &'e RefCell<Evaluations<'a>>, dimensions: usize) -> Self {
        let equalities = evaluations.borrow().constraints.iter().filter(|c| c.equality).count();
        let inequalities = evaluations.borrow().constraints.len() - equalities;
        let set = box_of(evaluations, dimensions)
            .with_nonlinear_equalities(equalities)
            .with_nonlinear_inequalities(inequalities);
        Self { evaluations, set }
    }
}

impl<S> Objective<'_, '_, S> {
    fn constraints_that(&self, equality: bool, x: &[f64]) -> Vec<f64> {
        let mut evaluations = self.evaluations.borrow_mut();
        let values = evaluations.constraints(x).to_vec();
        let kept = evaluations.constraints.iter().zip(values).filter(|(c, _)| c.equality == equality);
        // The library's inequalities hold at or below 0, scipy's at or above.
        kept.map(|(_, value)| if equality { value } else { -value }).collect()
    }
}

impl<S> CostFunction for Objective<'_, '_, S> {
    type Param = Vec<f64>;
    type Output = f64;
    type Error = Interrupt;

    fn cost(&self, x: &Vec<f64>) -> Result<f64, Interrupt> {
        self.evaluations.borrow_mut().value(x)
    }
}

impl<S> Gradient for Objective<'_, '_, S> {
    type Gradient = Vec<f64>;

    fn gradient(&self, x: &Vec<f64>) -> Result<Vec<f64>, Interrupt> {
        self.evaluations.borrow_mut().gradient(x)
    }
}

impl<S> HessianProduct for Objective<'_, '_, S> {
    fn hessian_product(&self, x: &Vec<f64>, v: &Vec<f64>) -> Result<Vec<f64>, Interrupt> {
        self.evaluations.borrow_mut().hessian_product(x, v)
    }
}

impl<S: ConstraintDescription> Constraints for Objective<'_, '_, S> {
    type Set = S;

    fn constraints(&self) -> S::Borrowed<'_> {
        self.set.borrowed()
    }
}

impl NonlinearEqualityValues for Objective<'_, '_, Nonlinear> {
    type Param = Vec<f64>;
    type Values = Vec<f64>;
    type Error = Interrupt;

    fn nonlinear_equalities(&self, x: &Vec<f64>) -> Result<Vec<f64>, ConstraintSolveError<Interrupt>> {
        Ok(self.constraints_that(true, x))
    }
}

impl NonlinearInequalityValues for Objective<'_, '_, Nonlinear> {
    type Param = Vec<f64>;
    type Values = Vec<f64>;
    type Error = Interrupt;

    fn nonlinear_inequalities(&self, x: &Vec<f64>) -> Result<Vec<f64>, ConstraintSolveError<Interrupt>> {
        Ok(self.constraints_that(false, x))
    }
}

impl ConstraintJacobian for Objective<'_, '_, Nonlinear> {
    type Param = Vec<f64>;
    type Jacobian = DenseMatrix<f64>;
    type Error = Interrupt;

    fn constraint_jacobian(&self, x: &Vec<f64>) -> Result<DenseMatrix<f64>, ConstraintSolveError<Interrupt>> {
        let mut evaluations = self.evaluations.borrow_mut();
        let mut rows = Vec::new();
        for equality in [true, false] {
            for at in 0..evaluations.constraints.len() {
                if evaluations.constraints[at].equality == equality {
                    let gradient = evaluations.constraint_gradient(at, x)?;
                    rows.push(if equality { gradient } else { gradient.iter().map(|g| -g).collect() });
                }
            }
        }
        Ok(<Vec<f64> as DenseMatrixFromFn>::dense_from_fn(rows.len(), x.len(), |row, column| {
            rows[row][column]
        }))
    }
}
