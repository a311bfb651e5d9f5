mod classes;
mod differences;
mod probabilities;

pub use classes::{CrossEntropy, NllLoss};
pub use differences::{CosineEmbeddingLoss, HuberLoss, SmoothL1Loss};
pub use probabilities::{BCEWithLogitsLoss, KLDivLoss};

use crate::graph::Var;

/// What a loss makes of its parts, one for each sample or element.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reduction {
    /// Their mean, of shape `[1]`.
    #[default]
    Mean,
    /// Their sum, of shape `[1]`.
    Sum,
    /// Nothing: the loss has their shape.
    None,
    /// Their sum divided by the samples, the first extent, of shape `[1]`: what torch's `kl_div` calls `batchmean`.
    BatchMean,
}

impl Reduction {
    fn of(self, parts: &Var) -> Var {
        match self {
            Self::Mean => parts.mean(),
            Self::Sum => parts.sum(),
            Self::None => parts.clone(),
            Self::BatchMean => {
                let of_sample: usize = parts.shape().iter().skip(1).product();
                let mean = parts.mean();
                if of_sample == 1 { mean } else { mean * of_sample as f64 }
            }
        }
    }
}
