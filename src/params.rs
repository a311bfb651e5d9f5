//! The fused store: parameters and gradients of all tensors in flat buffers over one
//! [`Layout`](crate::layout::Layout), and the gate that the optimizer's frame reads. And [`Weights`]: tensors by name on the
//! host, as files have them.

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
