//! Labelled data sets in memory: file formats, normalisation, splits, shuffling and batches.

mod batches;
mod dataset;
mod file;
pub mod idx;
mod normalization;
pub mod npy;
mod resident;
mod split;
#[cfg(test)]
mod tests;
mod values;

pub use batches::{Batch, Batches, Shuffled};
pub use dataset::Dataset;
pub use normalization::Normalization;
pub use resident::ResidentDataset;
pub use split::stratified_split;
pub use values::Values;
