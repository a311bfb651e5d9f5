//! Custom rules, written in WGSL.

pub(crate) mod builder;
pub(crate) mod declared;
pub(crate) mod inspect;
pub(crate) mod rule;
