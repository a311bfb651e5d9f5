//! Layers, initialisers and losses: thin builders of graph nodes, with torch's names and defaults.

mod convolutions;
mod layers;
mod listing;
mod losses;
mod norms;
mod pooling;
mod resizing;
#[cfg(test)]
mod trips;

pub use crate::graph::{Fan, Init, Nonlinearity, Spread};
pub use convolutions::{Conv1d, ConvTranspose2d};
pub use layers::{Conv2d, Linear, Padding, Pair};
pub(crate) use listing::kernel_listings;
pub use losses::{
    BCEWithLogitsLoss, CosineEmbeddingLoss, CrossEntropy, HuberLoss, KLDivLoss, NllLoss, Reduction,
    SmoothL1Loss,
};
pub use norms::{BatchNorm, GroupNorm, LayerNorm, NormalizedShape, RMSNorm};
pub use pooling::{AvgPool2d, MaxPool2d};
pub use resizing::{OutputSize, Scale, Upsample};
