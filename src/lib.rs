//! Gradus: a training backend that runs on any GPU, through wgpu.

pub mod error;
pub mod gpu;

pub use error::Error;
pub use gpu::{Gpu, GpuOptions};
pub use wgpu;
