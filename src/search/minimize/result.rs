//! What a minimization returns.

/// Why a minimization ended.
///
/// ```
/// use gradus::search::{MinimizeOptions, MinimizeStatus, minimize_scalar_function};
///
/// let found = minimize_scalar_function(|x| x[0] * x[0], &[3.0], MinimizeOptions::new())?;
/// assert_eq!(found.status, MinimizeStatus::Converged);
/// # Ok::<(), gradus::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MinimizeStatus {
    /// The method's own test was met, and the constraints hold.
    Converged,
    /// The evaluations were used up.
    MaxEvaluations,
    /// The iterations were used up.
    MaxIterations,
    /// The callback asked for it.
    Stopped,
    /// No better point was found before the method's test was met, often since differences are not exact enough.
    Stalled,
    /// The objective was `-inf` at the returned point.
    Unbounded,
    /// The method ended where constraints are violated.
    Infeasible,
}

/// How far a minimization is, for a callback.
///
/// ```
/// use gradus::search::MinimizeProgress;
///
/// fn print(progress: &MinimizeProgress<'_>) {
///     println!("{}: {} at {:?}", progress.nit, progress.fun, progress.x);
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct MinimizeProgress<'p> {
    /// Iterations so far, of all starts.
    pub nit: u64,
    /// Calls of the objective so far.
    pub nfev: u64,
    /// The best point so far.
    pub x: &'p [f64],
    /// Its value.
    pub fun: f64,
}

/// The best value after so many evaluations.
///
/// ```
/// use gradus::search::{MinimizeOptions, minimize_scalar_function};
///
/// let found = minimize_scalar_function(|x| x[0] * x[0], &[3.0], MinimizeOptions::new())?;
/// let last = found.history.last().expect("one at least");
/// assert!(last.fun <= 9.0 && last.nfev <= found.nfev);
/// # Ok::<(), gradus::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HistoryPoint {
    /// Calls of the objective until then.
    pub nfev: u64,
    /// The best value until then; of constrained problems, that of the best point in the sense of
    /// [`OptimizeResult::x`].
    pub fun: f64,
}

/// The result of [`minimize_scalar_function`](super::minimize_scalar_function), with scipy's names.
///
/// ```
/// use gradus::search::{MinimizeOptions, minimize_scalar_function};
///
/// let found = minimize_scalar_function(|x| (x[0] - 2.0).powi(2), &[3.0], MinimizeOptions::new())?;
/// assert!(found.success && (found.x[0] - 2.0).abs() < 1e-4);
/// # Ok::<(), gradus::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct OptimizeResult {
    /// The best point that the method evaluated: with the least value, and with constraints the least value of where
    /// these hold, or where none was found, the least violation.
    pub x: Vec<f64>,
    /// The objective there; never NaN.
    pub fun: f64,
    /// The gradient that was last computed at that point, if one was.
    pub jac: Option<Vec<f64>>,
    /// Calls of the objective, finite differences included.
    pub nfev: u64,
    /// Calls of the gradient closure.
    pub njev: u64,
    /// Iterations.
    pub nit: u64,
    /// Evaluations that were NaN or `+inf`. They are ranked last and never returned.
    pub not_finite: u64,
    /// The largest violation of a constraint at `x`; 0 without constraints.
    pub max_violation: f64,
    /// Whether the method's own test was met.
    pub success: bool,
    /// Why it ended.
    pub status: MinimizeStatus,
    /// The same in words.
    pub message: String,
    /// The best value after the start and after each iteration.
    pub history: Vec<HistoryPoint>,
}
