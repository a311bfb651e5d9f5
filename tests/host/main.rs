//! What can be tested without an adapter: kernels against their Rust declarations, translation to every
//! backend's language, a device that does nothing but check, files and pictures.

mod blocks;
mod compare;
mod configurations;
mod custom_op;
mod custom_rule;
mod data_bounds;
mod data_files;
mod data_refusals;
mod docs;
mod examples;
mod files;
#[path = "../shared/folder.rs"]
mod folder;
mod inspect;
mod lists;
mod modules;
mod noop;
mod npz;
mod preview;
mod report;
mod run;
mod send_sync;
mod translate;
mod tutorials;
mod weights;
