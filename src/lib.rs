//! Gradus: a training backend that runs on any GPU, through wgpu.

mod config;
pub mod error;
pub mod gpu;
pub mod graph;
pub mod layout;
pub mod nn;
pub mod optim;
pub mod params;
pub mod schedule;
pub mod train;

pub use error::Error;
pub use gpu::{Gpu, GpuOptions};
pub use params::ParamStore;
pub use wgpu;

/// Every kernel of the crate, for tests.
#[doc(hidden)]
pub fn kernel_listings() -> Vec<gpu::KernelListing> {
    let mut listings = optim::kernel_listings();
    listings.extend(nn::kernel_listings());
    listings
}
