//! Norms of gradients, parameters and updates, of steps that report them.

pub(crate) mod in_flight;
pub(crate) mod measured;
pub(crate) mod report;
