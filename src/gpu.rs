//! The device: adapters, buffers, kernels, recording, the uniform ring, read-backs and counters.
//!
//! Everything here records or creates; only functions called `submit`, `read` or `read_*` submit or wait.

mod adapter;
mod autotune;
mod buffer;
mod capabilities;
mod context;
mod cost;
mod counters;
mod deferred;
mod fault;
mod kernel;
mod needs;
mod read_buffer;
mod readback;
mod recorder;
mod ring;
mod staging;
mod timestamps;
mod trial;
mod uniform;

pub use adapter::{GpuOptions, adapters};
pub use autotune::Autotune;
pub(crate) use autotune::{Found, Tuned};
pub use buffer::{Buffer, Region};
pub(crate) use capabilities::Candidate;
pub use capabilities::{Capabilities, KernelKind};
pub use context::{Gpu, KernelChoice};
pub(crate) use cost::Work;
pub use cost::{Dispatch, Phase};
pub use counters::Counters;
pub(crate) use deferred::Deferral;
pub use kernel::{Binding, Kernel, KernelSource};
#[doc(hidden)]
pub use kernel::{Block, KernelListing};
pub(crate) use kernel::{Checks, MAX_TRIPS};
pub(crate) use read_buffer::ReadBuffer;
pub use readback::ReadRing;
pub use recorder::{Recorder, grid};
pub(crate) use ring::Held;
pub use ring::{Ticket, UniformRing};
pub(crate) use staging::Staging;
pub use timestamps::Timestamps;
#[doc(hidden)]
pub use trial::{Kept, TileSize, Trial};
pub(crate) use uniform::uniform;
pub use uniform::{Field, Uniform};
