//! What a minimization may be told.

use std::fmt;
use std::ops::ControlFlow;

use super::Minimizer;
use super::result::MinimizeProgress;

pub(super) type Scalar<'a> = Box<dyn FnMut(&[f64]) -> f64 + Send + Sync + 'a>;
pub(super) type Vector<'a> = Box<dyn FnMut(&[f64]) -> Vec<f64> + Send + Sync + 'a>;
pub(super) type Product<'a> = Box<dyn FnMut(&[f64], &[f64]) -> Vec<f64> + Send + Sync + 'a>;
pub(super) type Callback<'a> = Box<dyn FnMut(&MinimizeProgress<'_>) -> ControlFlow<()> + Send + Sync + 'a>;

/// How gradients are approximated where none are given.
///
/// ```
/// use gradus::search::{Differences, MinimizeOptions};
///
/// let options = MinimizeOptions::new().differences(Differences::Central);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Differences {
    /// One more evaluation a dimension, `h = sqrt(eps) max(1, |x|)` apart. As exact as half the digits.
    #[default]
    Forward,
    /// Two evaluations a dimension, `h = cbrt(eps) max(1, |x|)` to each side. As exact as two thirds of the digits.
    Central,
}

/// A constraint: a function that must be 0, or at least 0, as scipy has it.
///
/// ```
/// use gradus::search::{Constraint, MinimizeOptions, Minimizer};
///
/// let options = MinimizeOptions::new()
///     .method(Minimizer::Slsqp)
///     .constraint(Constraint::inequality(|x| 1.0 - x[0] * x[0])) // at least 0
///     .constraint(Constraint::equality(|x| x[0] - x[1])); // 0
/// ```
pub struct Constraint<'a> {
    pub(super) equality: bool,
    pub(super) function: Scalar<'a>,
    pub(super) gradient: Option<Vector<'a>>,
}

impl<'a> Constraint<'a> {
    /// `function(x) >= 0`.
    pub fn inequality(function: impl FnMut(&[f64]) -> f64 + Send + Sync + 'a) -> Self {
        Self { equality: false, function: Box::new(function), gradient: None }
    }

    /// `function(x) == 0`.
    pub fn equality(function: impl FnMut(&[f64]) -> f64 + Send + Sync + 'a) -> Self {
        Self { equality: true, function: Box::new(function), gradient: None }
    }

    /// With the gradient of the function, in place of finite differences. SLSQP uses it.
    #[must_use]
    pub fn gradient(mut self, gradient: impl FnMut(&[f64]) -> Vec<f64> + Send + Sync + 'a) -> Self {
        self.gradient = Some(Box::new(gradient));
        self
    }
}

impl fmt::Debug for Constraint<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.equality { "function(x) == 0" } else { "function(x) >= 0" })
    }
}

/// What [`minimize_scalar_function`](super::minimize_scalar_function) is told besides the objective and where to start.
///
/// ```
/// use gradus::search::{Constraint, MinimizeOptions, Minimizer};
///
/// let options = MinimizeOptions::new()
///     .method(Minimizer::Slsqp)
///     .bounds(&[(0.0, 5.0), (f64::NEG_INFINITY, 3.0)])
///     .constraint(Constraint::inequality(|x| 1.0 - x[0] - x[1]))
///     .max_evaluations(500);
/// ```
pub struct MinimizeOptions<'a> {
    pub(super) method: Option<Minimizer>,
    pub(super) bounds: Option<Vec<(f64, f64)>>,
    pub(super) constraints: Vec<Constraint<'a>>,
    pub(super) gradient: Option<Vector<'a>>,
    pub(super) hessian_product: Option<Product<'a>>,
    pub(super) differences: Differences,
    pub(super) tol: Option<f64>,
    pub(super) max_evaluations: Option<u64>,
    pub(super) max_iterations: Option<u64>,
    pub(super) multi_start: Option<MultiStart>,
    pub(super) callback: Option<Callback<'a>>,
}

#[derive(Clone, Debug)]
pub(super) struct MultiStart {
    pub(super) starts: usize,
    pub(super) region: Vec<(f64, f64)>,
    pub(super) seed: u64,
}

impl Default for MinimizeOptions<'_> {
    fn default() -> Self {
        Self::new()
    }
}

impl<'a> MinimizeOptions<'a> {
    /// The defaults.
    pub fn new() -> Self {
        Self {
            method: None,
            bounds: None,
            constraints: Vec::new(),
            gradient: None,
            hessian_product: None,
            differences: Differences::default(),
            tol: None,
            max_evaluations: None,
            max_iterations: None,
            multi_start: None,
            callback: None,
        }
    }

    /// The method. Default, as scipy's: SLSQP with constraints, else L-BFGS-B with bounds, else BFGS.
    #[must_use]
    pub fn method(mut self, method: Minimizer) -> Self {
        self.method = Some(method);
        self
    }

    /// Least and greatest value of each variable; infinite where there is none. The objective is never evaluated
    /// outside, other than by COBYLA, which may step out on its way. Default: none.
    #[must_use]
    pub fn bounds(mut self, bounds: &[(f64, f64)]) -> Self {
        self.bounds = Some(bounds.to_vec());
        self
    }

    /// One more constraint. Of a result that [succeeded](super::OptimizeResult::success), each holds to within 1e-6, or
    /// [`tol`](Self::tol) where that is more.
    #[must_use]
    pub fn constraint(mut self, constraint: Constraint<'a>) -> Self {
        self.constraints.push(constraint);
        self
    }

    /// The gradient of the objective: as many numbers as there are variables. Default: finite
    /// [`differences`](Self::differences). Methods without gradients do not call it.
    #[must_use]
    pub fn gradient(mut self, gradient: impl FnMut(&[f64]) -> Vec<f64> + Send + Sync + 'a) -> Self {
        self.gradient = Some(Box::new(gradient));
        self
    }

    /// The Hessian at the first argument times the second, for Newton-CG and trust-ncg. Default: differences of
    /// gradients.
    #[must_use]
    pub fn hessian_product(
        mut self,
        product: impl FnMut(&[f64], &[f64]) -> Vec<f64> + Send + Sync + 'a,
    ) -> Self {
        self.hessian_product = Some(Box::new(product));
        self
    }

    /// How gradients are approximated where none are given. Default: forward.
    #[must_use]
    pub fn differences(mut self, differences: Differences) -> Self {
        self.differences = differences;
        self
    }

    /// When to stop, positive and finite: for BFGS, CG (1e-5) and trust-ncg (1e-4) the largest component of the
    /// gradient; for L-BFGS-B (1e-5) the same of the projected gradient, or a relative decrease of less than 2.2e-4
    /// times as much; for Newton-CG (1e-5) the mean size of a step; for Nelder-Mead (1e-4) the size of the simplex and
    /// the spread of its values; for Powell (1e-4) the relative decrease of an iteration, and a hundred times as much
    /// the exactness of its line searches; for COBYLA (1e-6) the last radius; for SLSQP (1e-6) the change of the
    /// objective and the violation. In parentheses the defaults.
    #[must_use]
    pub fn tol(mut self, tol: f64) -> Self {
        self.tol = Some(tol);
        self
    }

    /// How often the objective may be called, finite differences included; never once more. Calls of the gradient and
    /// of Hessian products are bounded by the same number each. Default: 1,000 for each variable, and at least 15,000.
    #[must_use]
    pub fn max_evaluations(mut self, max: u64) -> Self {
        self.max_evaluations = Some(max);
        self
    }

    /// How many iterations there may be. Default: as many as evaluations.
    #[must_use]
    pub fn max_iterations(mut self, max: u64) -> Self {
        self.max_iterations = Some(max);
        self
    }

    /// Starts `starts` times: from `x0`, then from random points in `region`, and returns the best result. The
    /// evaluations are shared out: what one start leaves over goes to the later ones. The same seed gives the same
    /// points. The region only says where to start, so that methods without bounds can be started so as well; it must
    /// be finite, and within the bounds where there are some.
    #[must_use]
    pub fn multi_start(mut self, starts: usize, region: &[(f64, f64)], seed: u64) -> Self {
        self.multi_start = Some(MultiStart { starts, region: region.to_vec(), seed });
        self
    }

    /// Called after each iteration; [`ControlFlow::Break`] stops.
    #[must_use]
    pub fn callback(
        mut self,
        callback: impl FnMut(&MinimizeProgress<'_>) -> ControlFlow<()> + Send + Sync + 'a,
    ) -> Self {
        self.callback = Some(Box::new(callback));
        self
    }
}

impl fmt::Debug for MinimizeOptions<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MinimizeOptions")
            .field("method", &self.method)
            .field("bounds", &self.bounds)
            .field("constraints", &self.constraints)
            .field("gradient", &self.gradient.is_some())
            .field("hessian_product", &self.hessian_product.is_some())
            .field("differences", &self.differences)
            .field("tol", &self.tol)
            .field("max_evaluations", &self.max_evaluations)
            .field("max_iterations", &self.max_iterations)
            .field("multi_start", &self.multi_start)
            .field("callback", &self.callback.is_some())
            .finish()
    }
}
