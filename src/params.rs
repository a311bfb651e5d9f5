//! The parameter store: parameters and gradients of all tensors in flat buffers with one
//! [`Layout`](crate::layout::Layout), and the gate that optimizer kernels read. Also [`Weights`]: named
//! tensors on the host, as files hold them.

mod add;
mod adopt;
mod buffers;
mod builder;
mod flat;
mod freeze;
mod gate;
mod grow;
mod load;
mod store;
mod weights;

pub(crate) use add::kernel_listing;
pub use builder::{GroupBuilder, ParamStoreBuilder};
pub use flat::Flat;
pub use gate::{Gate, GateValues};
pub use load::LoadReport;
pub use store::ParamStore;
pub use weights::{Tensor, Weights};
