//! Search without gradients, and the classical minimizers behind one call.

mod advisor;
mod functions;
#[cfg(feature = "minimize")]
mod minimize;

pub use advisor::{Advice, Approach, OptimizationAdvisor, ProblemDescription, Property, Reason};
pub use functions::{TestFunction, TestProblem};
#[cfg(feature = "minimize")]
pub use minimize::{
    Constraint, Differences, HistoryPoint, MinimizeOptions, MinimizeProgress, MinimizeStatus, Minimizer,
    OptimizeResult, minimize_scalar_function,
};
