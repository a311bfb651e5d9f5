//! The loop around a step: a trainer that never waits for its loss, data in memory, and what is kept of a run.

mod averages;
mod builder;
mod checkpoint;
pub mod data;
mod early_stopping;
mod evaluate;
mod frozen;
mod group;
mod history;
mod metrics;
#[cfg(feature = "report")]
pub mod report;
mod resume;
mod trainer;

pub use crate::params::Tensor;
pub use builder::TrainerBuilder;
pub use checkpoint::{Checkpoint, GateState};
pub use early_stopping::{EarlyStopping, EarlyStoppingState, StopRule};
pub use evaluate::Evaluation;
pub use history::{EpochRecord, History};
pub use metrics::{Confusion, classes_of};
pub use trainer::{StepReport, Trainer};

/// Files that are whole: each is written beside its place and then renamed to it.
pub mod files {
    pub use crate::files::{FolderLock, sweep, write_atomic};
}
