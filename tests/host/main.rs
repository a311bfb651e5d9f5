//! What can be tested without an adapter: kernels against their Rust declarations, translation to every
//! backend's language, and a device that does nothing but check.

mod blocks;
mod modules;
mod noop;
mod translate;
