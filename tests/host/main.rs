//! What can be tested without an adapter: kernels against their Rust declarations, translation to every
//! backend's language, a device that does nothing but check, and files of data.

mod blocks;
mod data_files;
mod data_refusals;
mod folder;
mod modules;
mod noop;
mod translate;
