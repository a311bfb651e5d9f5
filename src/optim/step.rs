//! One step: what it covers and with which constants, and what became of it.

pub(crate) mod counters;
pub(crate) mod describe;
pub(crate) mod resets;
pub(crate) mod results;
pub(crate) mod segments;
pub(crate) mod spec;
