//! Search without gradients: populations on the device, and the classical minimizers behind one call.
//!
//! - [`Space`] is the box: real numbers, whole numbers, choices, and dimensions that are searched by their logarithms.
//! - [`Method`] is a way to search, as [`CMA`], [`DE`] or [`PSO`]; names are nevergrad's where it has them.
//! - [`Objective`] is what is minimized: a function of WGSL, a closure on the host, or what records its own work.
//! - [`Search`] asks for members and is told their losses, or drives it all by [`Search::minimize`].
//! - [`TestFunction`] and [`OptimizationAdvisor`] try methods and recommend them; with the feature `minimize`,
//!   `minimize_scalar_function` is the call for the classical ones.
//!
//! Points of a population are f32, and so are losses: two that f32 does not tell apart are equal, and the lower member wins.

mod advisor;
mod builder;
mod device;
mod drive;
mod functions;
mod kernels;
mod listing;
mod method;
mod methods;
#[cfg(feature = "minimize")]
mod minimize;
pub mod objective;
mod options;
mod population;
mod ranking;
mod saved;
mod space;

pub use advisor::{Advice, Approach, OptimizationAdvisor, ProblemDescription, Property, Reason};
pub use builder::SearchBuilder;
pub use functions::{TestFunction, TestProblem};
pub(crate) use listing::kernel_listings;
pub use methods::{
    CMA, DE, DECrossover, DEStrategy, DiagonalCMA, ElitistES, GA, HaltonSearch, LHSSearch, Method,
    OnePlusOne, OpenAIES, PSO, RandomSearch, RankWeights, SNES, SimulatedAnnealing, SobolSearch,
};
#[cfg(feature = "minimize")]
pub use minimize::{
    Constraint, Differences, HistoryPoint, MinimizeOptions, MinimizeProgress, MinimizeStatus, Minimizer,
    OptimizeResult, minimize_scalar_function,
};
pub use objective::{DeviceObjective, Objective, Population};
pub use population::{Search, SearchResult};
pub use saved::SavedSearch;
pub use space::{Dimension, Space};
