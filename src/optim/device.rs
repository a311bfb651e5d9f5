//! What an optimizer holds on the device: slots of state, kernels and what they bind.

pub(crate) mod bindings;
pub(crate) mod block_kernel;
pub(crate) mod blocks;
pub(crate) mod codes;
pub(crate) mod kernels;
pub(crate) mod memory;
pub(crate) mod options;
pub(crate) mod orthogonal;
pub(crate) mod packed;
pub(crate) mod pick;
pub(crate) mod resets;
pub(crate) mod slots;
pub(crate) mod stage;
