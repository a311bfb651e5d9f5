//! Reports of the norms of gradients, parameters and updates.

pub(crate) mod in_flight;
pub(crate) mod measured;
pub(crate) mod report;
