//! Reduction tiles for rules that need sums over each tensor.

pub(crate) mod shape;
pub(crate) mod tiles;
