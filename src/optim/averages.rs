//! Averages of the weights: their options, kernels and state.

pub(crate) mod average;
pub(crate) mod buffers;
pub(crate) mod options;
pub(crate) mod text;
