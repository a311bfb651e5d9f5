use super::Reduction;
use crate::Error;
use crate::graph::Var;

/// The error of each element: its square where it is small and its size where it is not, as torch's `SmoothL1Loss`.
///
/// Of a difference `d` it is `d^2 / (2 * beta)` where `|d| < beta` and `|d| - beta / 2` elsewhere.
///
/// Source: <https://docs.pytorch.org/docs/stable/generated/torch.nn.SmoothL1Loss.html>; Girshick 2015,
/// arXiv:1504.08083.
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct SmoothL1Loss {
    beta: f64,
    reduction: Reduction,
}

impl Default for SmoothL1Loss {
    fn default() -> Self {
        Self { beta: 1.0, reduction: Reduction::Mean }
    }
}

impl SmoothL1Loss {
    /// The mean with a `beta` of 1.
    pub fn new() -> Self {
        Self::default()
    }

    /// Where squares end, finite and at least 0; with 0 there are none, as [`Var::l1_loss`]. Default 1.
    pub fn beta(mut self, beta: f64) -> Self {
        self.beta = beta;
        self
    }

    /// Mean, sum, or the error of each element. Default mean.
    pub fn reduction(mut self, reduction: Reduction) -> Self {
        self.reduction = reduction;
        self
    }
}

/// The error of each element: half of its square where it is small, and linear where it is not, as torch's
/// `HuberLoss`.
///
/// Of a difference `d` it is `d^2 / 2` where `|d| < delta` and `delta * (|d| - delta / 2)` elsewhere.
///
/// Source: <https://docs.pytorch.org/docs/stable/generated/torch.nn.HuberLoss.html>.
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct HuberLoss {
    delta: f64,
    reduction: Reduction,
}

impl Default for HuberLoss {
    fn default() -> Self {
        Self { delta: 1.0, reduction: Reduction::Mean }
    }
}

impl HuberLoss {
    /// The mean with a `delta` of 1.
    pub fn new() -> Self {
        Self::default()
    }

    /// Where squares end, finite and above 0. Default 1.
    pub fn delta(mut self, delta: f64) -> Self {
        self.delta = delta;
        self
    }

    /// Mean, sum, or the error of each element. Default mean.
    pub fn reduction(mut self, reduction: Reduction) -> Self {
        self.reduction = reduction;
        self
    }
}

/// How far pairs of rows are from pointing the same way, or from not doing so, as torch's `CosineEmbeddingLoss`.
///
/// Of rows with the cosine `c` between them it is `1 - c` where the target is 1, `max(c - margin, 0)` where it is -1,
/// and 0 elsewhere. To the squared length of each row `1e-12` is added.
///
/// Source: <https://docs.pytorch.org/docs/stable/generated/torch.nn.CosineEmbeddingLoss.html>.
#[derive(Clone, Copy, Debug, Default)]
#[must_use]
pub struct CosineEmbeddingLoss {
    margin: f64,
    reduction: Reduction,
}

impl CosineEmbeddingLoss {
    /// The mean with a margin of 0.
    pub fn new() -> Self {
        Self::default()
    }

    /// The cosine from which on rows with target -1 are too near, in `[-1, 1]`. Default 0.
    pub fn margin(mut self, margin: f64) -> Self {
        self.margin = margin;
        self
    }

    /// Mean, sum, or the loss of each pair, of shape `[N]`. Default mean.
    pub fn reduction(mut self, reduction: Reduction) -> Self {
        self.reduction = reduction;
        self
    }
}

/// What torch adds to squared lengths.
const EPSILON: f64 = 1e-12;

impl Var {
    /// The mean of the sizes of the differences to a target of the same shape; of shape `[1]`, as torch's `L1Loss`.
    ///
    /// The target may be an input, or anything else of the graph: it has a gradient if it is trained. Between equals the
    /// gradient is 0.
    ///
    /// Source: <https://docs.pytorch.org/docs/stable/generated/torch.nn.L1Loss.html>.
    #[must_use]
    pub fn l1_loss(&self, target: &Var) -> Var {
        self.l1_loss_with(Reduction::Mean, target)
    }

    /// The sizes of the differences to a target of the same shape: their mean, their sum, or all of them.
    #[must_use]
    pub fn l1_loss_with(&self, reduction: Reduction, target: &Var) -> Var {
        reduction.of(&self.absolute_error(target))
    }

    /// The mean of the squared differences to a target of the same shape; of shape `[1]`, as torch's `MSELoss`.
    ///
    /// The target may be an input, or anything else of the graph: it has a gradient if it is trained.
    ///
    /// Source: <https://docs.pytorch.org/docs/stable/generated/torch.nn.MSELoss.html>.
    #[must_use]
    pub fn mse_loss(&self, target: &Var) -> Var {
        self.mse_loss_with(Reduction::Mean, target)
    }

    /// The squared differences to a target of the same shape: their mean, their sum, or all of them.
    #[must_use]
    pub fn mse_loss_with(&self, reduction: Reduction, target: &Var) -> Var {
        reduction.of(&self.squared_error(target))
    }

    /// The mean of [`SmoothL1Loss`] with a `beta` of 1 to a target of the same shape; of shape `[1]`.
    ///
    /// Source: <https://docs.pytorch.org/docs/stable/generated/torch.nn.SmoothL1Loss.html>.
    #[must_use]
    pub fn smooth_l1_loss(&self, target: &Var) -> Var {
        self.smooth_l1_loss_with(SmoothL1Loss::new(), target)
    }

    /// As [`Var::smooth_l1_loss`], with options.
    ///
    /// Refused where `beta` is negative or not finite, in 32 bits.
    #[must_use]
    pub fn smooth_l1_loss_with(&self, options: SmoothL1Loss, target: &Var) -> Var {
        options.reduction.of(&self.smooth_error(target, options.beta))
    }

    /// The mean of [`HuberLoss`] with a `delta` of 1 to a target of the same shape; of shape `[1]`.
    ///
    /// Source: <https://docs.pytorch.org/docs/stable/generated/torch.nn.HuberLoss.html>.
    #[must_use]
    pub fn huber_loss(&self, target: &Var) -> Var {
        self.huber_loss_with(HuberLoss::new(), target)
    }

    /// As [`Var::huber_loss`], with options.
    ///
    /// Refused where `delta` is not above 0, or not finite in 32 bits.
    #[must_use]
    pub fn huber_loss_with(&self, options: HuberLoss, target: &Var) -> Var {
        options.reduction.of(&self.huber_error(target, options.delta))
    }

    /// The mean of [`CosineEmbeddingLoss`] without a margin between these rows `[N, D]` and others, with targets `[N]`
    /// that are 1 for rows that should be alike and -1 for rows that should not; of shape `[1]`.
    ///
    /// The targets are numbers and have no gradient.
    ///
    /// Source: <https://docs.pytorch.org/docs/stable/generated/torch.nn.CosineEmbeddingLoss.html>.
    #[must_use]
    pub fn cosine_embedding_loss(&self, other: &Var, target: &Var) -> Var {
        self.cosine_embedding_loss_with(CosineEmbeddingLoss::new(), other, target)
    }

    /// As [`Var::cosine_embedding_loss`], with options.
    ///
    /// Refused where `margin` is outside `[-1, 1]`.
    #[must_use]
    pub fn cosine_embedding_loss_with(&self, options: CosineEmbeddingLoss, other: &Var, target: &Var) -> Var {
        let products = self.cosine_products(other);
        if self.shape().len() != 2 {
            let expected = "rows [N, D]".into();
            self.graph().refuse(Error::Shape { layer: products.name(), expected, got: self.shape() });
        }
        let length = |x: &Var| x.square().sum_dim(&[1], false) + EPSILON;
        let lengths = length(self).mul(&length(other)).sqrt();
        let cosines = products.sum_dim(&[1], false).div(&lengths);
        options.reduction.of(&cosines.cosine_errors(target, options.margin))
    }
}
