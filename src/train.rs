//! The loop around a step: a trainer that never waits for its loss, data in memory, and what is kept of a run.

pub mod data;
pub mod files;
mod history;
#[cfg(feature = "report")]
pub mod report;
mod trainer;

pub use history::{EpochRecord, History};
pub use trainer::{Evaluation, StepReport, Trainer, TrainerBuilder};
