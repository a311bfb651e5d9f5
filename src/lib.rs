//! Gradus: a training backend written for any GPU, through wgpu.
//!
//! - [`ParamStore`] holds named tensors and their gradients, fused into flat buffers.
//! - [`optim`] updates them: typed rules with torch's names and defaults, one dispatch for all tensors.
//! - [`grad`] clips, scales, averages and skips gradients on their way there.
//! - [`schedule`] gives the learning rate of each step, in f64 on the host.
//! - [`graph`] and [`nn`] describe a network and compile it to a list of dispatches.
//! - [`train`] runs it: one submit a step.
//! - [`search`] minimizes without gradients: populations on the device, classical methods, advice on methods.
//! - [`predict`] evaluates outputs for requests of any size, without a trainer.
//! - [`gpu`] is the device under all of them; it can be the host's own.

mod config;
pub mod error;
mod files;
pub mod gpu;
pub mod grad;
pub mod graph;
pub mod layout;
pub mod nn;
pub mod optim;
pub mod params;
pub mod predict;
pub mod schedule;
pub mod search;
pub mod train;
mod wgsl;

pub use error::Error;
pub use gpu::{Gpu, GpuOptions};
pub use params::ParamStore;
pub use wgpu;

/// Every kernel of the crate, for tests.
#[doc(hidden)]
pub fn kernel_listings() -> Vec<gpu::KernelListing> {
    let mut listings = optim::kernel_listings();
    listings.push(params::kernel_listing());
    listings.extend(grad::kernel_listings());
    listings.extend(nn::kernel_listings());
    listings.extend(search::kernel_listings());
    listings
}

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

#[cfg(doctest)]
#[doc = include_str!("../docs/search.md")]
struct SearchGuide;
