//! Labelled samples in memory: splits, shuffles and batches.

mod batches;
mod dataset;
mod split;
#[cfg(test)]
mod tests;

pub use batches::{Batch, Batches, Shuffled};
pub use dataset::Dataset;
pub use split::stratified_split;
