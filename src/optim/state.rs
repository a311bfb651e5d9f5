//! State dicts, and those that torch saved.

pub(crate) mod averages;
pub(crate) mod dict;
pub(crate) mod torch;
