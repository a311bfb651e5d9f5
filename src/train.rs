//! Training loops: a trainer that never waits for the loss, data sets in memory, checkpoints, metrics and reports.

mod averages;
mod builder;
pub mod callbacks;
mod checkpoint;
pub mod data;
mod early_stopping;
mod evaluate;
mod fit;
mod frozen;
mod group;
mod history;
mod metrics;
mod norm_reports;
#[cfg(feature = "report")]
pub mod report;
mod resume;
mod search;
mod trainer;

pub use crate::params::Tensor;
pub use builder::TrainerBuilder;
pub use checkpoint::{Checkpoint, GateState};
pub use early_stopping::{EarlyStopping, EarlyStoppingState, StopRule};
pub use evaluate::Evaluation;
pub use fit::{FitOptions, FitReport, Validation};
pub use history::{EpochRecord, History};
pub use metrics::{Confusion, classes_of};
pub use search::GraphLoss;
pub use trainer::{StepReport, Trainer};

/// Atomic writes: each file is written beside its destination and then renamed to it.
pub mod files {
    pub use crate::files::{FolderLock, sweep, write_atomic};
}
