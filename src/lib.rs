//! Gradus: a training backend on wgpu, with fused optimizers, schedules and a small static graph in WGSL.
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

mod clock;
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
pub use {serde_json, wgpu};

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

/// The Rust blocks of each page are compiled as doctests.
#[cfg(doctest)]
mod pages {
    macro_rules! pages {
        ($($name:ident: $path:literal,)+) => {
            $(#[doc = include_str!($path)] struct $name;)+
        };
    }

    pages! {
        Readme: "../README.md",
        ApiGuidelines: "../docs/api-guidelines.md",
        AveragesAndPrecision: "../docs/averages-and-precision.md",
        Compare: "../docs/compare.md",
        Contents: "../docs/contents.md",
        CustomRules: "../docs/custom-rules.md",
        Determinism: "../docs/determinism.md",
        Embedding: "../docs/embedding.md",
        KeepingARun: "../docs/keeping-a-run.md",
        Lbfgs: "../docs/lbfgs.md",
        Networks: "../docs/networks.md",
        Performance: "../docs/performance.md",
        Replay: "../docs/replay.md",
        RunFiles: "../docs/run-files.md",
        Search: "../docs/search.md",
        Torch: "../docs/torch.md",
        Transforms: "../docs/transforms.md",
        Tutorials: "../docs/tutorials.md",
    }
}
