//! What rules need that know their tensor: the reduction tiles of sums over each tensor.

pub(crate) mod shape;
pub(crate) mod tiles;
