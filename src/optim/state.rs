//! State dicts, and conversion from torch's.

pub(crate) mod averages;
mod deserialize;
pub(crate) mod dict;
mod load;
mod read;
pub(crate) mod torch;
