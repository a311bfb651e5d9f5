mod classes;
mod differences;
mod probabilities;

pub use classes::{CrossEntropy, NllLoss};
pub use differences::{CosineEmbeddingLoss, HuberLoss, SmoothL1Loss};
pub use probabilities::{BCEWithLogitsLoss, KLDivLoss};

use crate::graph::Var;

/// How a loss combines the losses of its samples or elements.
///
/// ```
/// use gradus::graph::Graph;
/// use gradus::nn::Reduction;
///
/// let graph = Graph::new();
/// let (x, y) = (graph.input("x", [8, 3]), graph.input("y", [8, 3]));
/// assert_eq!(x.mse_loss_with(Reduction::Sum, &y).shape(), [1]);
/// assert_eq!(x.mse_loss_with(Reduction::None, &y).shape(), [8, 3]);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reduction {
    /// The mean, of shape `[1]`.
    #[default]
    Mean,
    /// The sum, of shape `[1]`.
    Sum,
    /// No reduction: one loss per sample or element.
    None,
    /// The sum divided by the number of samples (the first dimension), of shape `[1]`; `batchmean` of torch's
    /// `kl_div`.
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
