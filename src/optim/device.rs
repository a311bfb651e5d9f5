//! What an optimizer holds on the device: slots of state, kernels and what they bind.

pub(crate) mod kernels;
pub(crate) mod plan;
pub(crate) mod resets;
pub(crate) mod slots;
pub(crate) mod stage;
