//! The device layer: adapters, buffers, kernels, command recording, uniform rings, read-backs and counters.
//!
//! Functions here only create or record. Only those named `submit`, `wait`, `read` or `read_*` submit work or
//! wait for it. The exception is `Gpu::warm_up`, which submits a dispatch of no workgroups.
//!
//! # Waiting
//! A function that waits for the device has two forms that share one implementation. The blocking form polls the
//! device on the caller's thread. The form named `*_async` returns a future that suspends instead, is `Send` and
//! runs on any executor. The device's callback wakes the future. Outside a browser, callbacks run only while
//! somebody polls the device, so this crate keeps one polling thread for each device. The thread starts when a
//! future first suspends, and sleeps while none waits. Callbacks of a program that shares its device may
//! therefore run on that thread too.

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
#[cfg(target_arch = "wasm32")]
mod page;
#[cfg(not(target_arch = "wasm32"))]
mod polling;
mod read_buffer;
mod readback;
mod recorder;
mod ring;
mod signal;
mod staging;
mod timestamps;
mod trial;
mod uniform;
mod warm_up;

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
