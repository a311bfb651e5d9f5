//! Data sets: file formats, normalisation, splits, and the batches of a run, in order and resumable at any batch.
//!
//! A [`Dataset`] is in memory, with labels or with numbers as targets. A [`BatchSource`] is a stream of batches over
//! epochs: a [`DataLoader`] over a data set, with a [`Sampler`] for its order, or a source of one's own.

mod batches;
#[cfg(feature = "csv")]
mod csv;
mod dataset;
mod file;
mod from_fn;
pub mod idx;
mod kfold;
mod loader;
mod normalization;
pub mod npy;
pub mod npz;
mod prefetch;
mod random;
mod resident;
mod sampler;
mod source;
mod split;
mod target;
#[cfg(test)]
mod tests;
mod values;
mod weighted;
mod zip;

pub use batches::{Batch, Batches, Shuffled};
#[cfg(feature = "csv")]
pub use csv::{Column, Csv};
pub use dataset::Dataset;
pub use from_fn::{EpochSource, FnSource, from_epochs, from_fn};
pub use kfold::{KFold, Split, StratifiedKFold};
pub use loader::{DataLoader, ResidentBatch, ResidentLoader};
pub use normalization::Normalization;
pub use prefetch::Prefetch;
pub use random::Random;
pub use resident::ResidentDataset;
pub use sampler::{RandomSampler, Sampler, SequentialSampler, SubsetRandomSampler};
pub use source::{BatchSource, Inputs, Position};
pub use split::{TestSize, TrainTestSplit, stratified_split};
pub use target::Target;
pub use values::Values;
pub use weighted::WeightedRandomSampler;
