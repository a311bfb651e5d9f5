//! Gradus: a training backend that runs on any GPU, through wgpu.

mod config;
pub mod error;
pub mod schedule;
/// Data for training.
pub mod train {
    pub mod data;
}

pub use error::Error;
pub use wgpu;
