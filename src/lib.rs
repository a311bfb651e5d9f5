//! Gradus: a training backend that runs on any GPU, through wgpu.

mod config;
pub mod error;
pub mod schedule;

pub use error::Error;
pub use wgpu;
