//! Layers, initialisers and losses with torch's names and defaults. They only build graph nodes.

mod activations;
mod attention;
mod augment;
mod convolutions;
mod described;
mod embedding;
#[cfg(test)]
mod indices;
mod layers;
mod listing;
mod losses;
mod module;
mod multihead;
mod norms;
mod pooling;
mod recurrent;
mod resizing;
mod sequential;
#[cfg(test)]
mod trips;
#[cfg(test)]
mod tune;

pub use crate::graph::{Fan, Init, Nonlinearity, Spread};
pub use activations::PReLU;
pub use attention::ScaledDotProductAttention;
pub use augment::{RandomCrop, RandomErasing};
pub use convolutions::{Conv1d, ConvTranspose2d};
pub use embedding::Embedding;
pub use layers::{Conv2d, Linear, Padding, Pair};
pub(crate) use listing::kernel_listings;
pub use losses::{
    BCEWithLogitsLoss, CosineEmbeddingLoss, CrossEntropy, HuberLoss, KLDivLoss, NllLoss, Reduction,
    SmoothL1Loss,
};
pub use module::Module;
pub use multihead::MultiheadAttention;
pub use norms::{BatchNorm, GroupNorm, LayerNorm, NormalizedShape, RMSNorm};
pub use pooling::{AvgPool2d, MaxPool2d};
pub use recurrent::{GRU, LSTM, RNN, RnnNonlinearity};
pub use resizing::{OutputSize, Scale, Upsample};
pub use sequential::Sequential;
