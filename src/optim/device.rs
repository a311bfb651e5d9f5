//! What an optimizer holds on the device: slots of state, kernels and what they bind.

pub(crate) mod bindings;
pub(crate) mod kernels;
pub(crate) mod orthogonal;
pub(crate) mod resets;
pub(crate) mod slots;
pub(crate) mod stage;
