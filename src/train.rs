//! The loop around a step: a trainer that never waits for its loss, its checkpoints, and data in memory.

mod builder;
mod checkpoint;
pub mod data;
mod evaluate;
pub mod files;
mod metrics;
mod resume;
mod trainer;

pub use builder::TrainerBuilder;
pub use checkpoint::{Checkpoint, Tensor};
pub use evaluate::Evaluation;
pub use metrics::{Confusion, classes_of};
pub use trainer::{StepReport, Trainer};
