//! Layers, initialisers and losses: thin builders of graph nodes, with torch's names and defaults.

mod layers;
mod listing;
mod losses;
mod norms;
mod pooling;
mod recurrent;
#[cfg(test)]
mod trips;

pub use crate::graph::{Fan, Init, Nonlinearity, Spread};
pub use layers::{Conv2d, Linear, Pair};
pub(crate) use listing::kernel_listings;
pub use losses::{CrossEntropy, Reduction};
pub use norms::{BatchNorm, GroupNorm, LayerNorm, NormalizedShape, RMSNorm};
pub use pooling::{AvgPool2d, MaxPool2d};
pub use recurrent::{GRU, LSTM, RNN, RnnNonlinearity};
