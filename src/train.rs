//! The loop around a step: a trainer that never waits for its loss, and data in memory.

pub mod data;
mod trainer;

pub use trainer::{Evaluation, StepReport, Trainer, TrainerBuilder};
