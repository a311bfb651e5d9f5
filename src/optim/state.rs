//! State dicts, and those that torch saved.

pub(crate) mod averages;
mod deserialize;
pub(crate) mod dict;
mod load;
mod read;
pub(crate) mod torch;
