//! State dicts, and those that torch saved.

mod deserialize;
pub(crate) mod dict;
mod load;
mod read;
pub(crate) mod torch;
