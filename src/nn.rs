//! Layers, initialisers and losses: thin builders of graph nodes, with torch's names and defaults.

mod attention;
mod embedding;
mod layers;
mod listing;
mod losses;
mod multihead;
mod pooling;
#[cfg(test)]
mod trips;

pub use crate::graph::Init;
pub use attention::ScaledDotProductAttention;
pub use embedding::Embedding;
pub use layers::{Conv2d, Linear, Pair};
pub(crate) use listing::kernel_listings;
pub use losses::{CrossEntropy, Reduction};
pub use multihead::MultiheadAttention;
pub use pooling::{AvgPool2d, MaxPool2d};
