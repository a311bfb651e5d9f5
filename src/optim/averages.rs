//! Averages of the weights: their options, what they add to kernels, and what is kept of them.

pub(crate) mod average;
pub(crate) mod buffers;
pub(crate) mod options;
pub(crate) mod text;
