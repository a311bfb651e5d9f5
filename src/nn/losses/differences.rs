use super::Reduction;
use crate::Error;
use crate::graph::Var;

/// The difference `d` to a target: squared if small, linear otherwise, like torch's `SmoothL1Loss`.
///
/// The loss of an element is `d^2 / (2 * beta)` if `|d| < beta`, and `|d| - beta / 2` otherwise.
///
/// Source: <https://docs.pytorch.org/docs/stable/generated/torch.nn.SmoothL1Loss.html>; Girshick 2015,
/// arXiv:1504.08083.
///
/// ```
/// use gradus::graph::Graph;
/// use gradus::nn::SmoothL1Loss;
///
/// let graph = Graph::new();
/// let (x, y) = (graph.input("x", [8, 3]), graph.input("y", [8, 3]));
/// let loss = x.smooth_l1_loss_with(SmoothL1Loss::new().beta(0.5), &y);
/// ```
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

    /// Difference up to which the loss is quadratic; finite and at least 0. With 0 it is [`Var::l1_loss`]. Default 1.
    pub fn beta(mut self, beta: f64) -> Self {
        self.beta = beta;
        self
    }

    /// Mean, sum, or the loss of each element. Default mean.
    pub fn reduction(mut self, reduction: Reduction) -> Self {
        self.reduction = reduction;
        self
    }
}

/// The difference `d` to a target: half its square if small, linear otherwise, like torch's `HuberLoss`.
///
/// The loss of an element is `d^2 / 2` if `|d| < delta`, and `delta * (|d| - delta / 2)` otherwise.
///
/// Source: <https://docs.pytorch.org/docs/stable/generated/torch.nn.HuberLoss.html>.
///
/// ```
/// use gradus::graph::Graph;
/// use gradus::nn::HuberLoss;
///
/// let graph = Graph::new();
/// let (x, y) = (graph.input("x", [8, 3]), graph.input("y", [8, 3]));
/// let loss = x.huber_loss_with(HuberLoss::new().delta(2.0), &y);
/// ```
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

    /// Difference up to which the loss is quadratic; finite and above 0. Default 1.
    pub fn delta(mut self, delta: f64) -> Self {
        self.delta = delta;
        self
    }

    /// Mean, sum, or the loss of each element. Default mean.
    pub fn reduction(mut self, reduction: Reduction) -> Self {
        self.reduction = reduction;
        self
    }
}

/// Pulls pairs of rows to the same direction or pushes them apart, like torch's `CosineEmbeddingLoss`.
///
/// For rows with cosine similarity `c`, the loss is `1 - c` if the target is 1, `max(c - margin, 0)` if it is -1, and
/// 0 otherwise. `1e-12` is added to the squared length of each row.
///
/// Source: <https://docs.pytorch.org/docs/stable/generated/torch.nn.CosineEmbeddingLoss.html>.
///
/// ```
/// use gradus::graph::Graph;
/// use gradus::nn::CosineEmbeddingLoss;
///
/// let graph = Graph::new();
/// let (x, other, y) = (graph.input("x", [8, 3]), graph.input("other", [8, 3]), graph.input("y", [8]));
/// let loss = x.cosine_embedding_loss_with(CosineEmbeddingLoss::new().margin(0.5), &other, &y);
/// ```
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

    /// Cosine similarity up to which rows with target -1 have no loss, in `[-1, 1]`. Default 0.
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

/// torch adds this to squared lengths.
const EPSILON: f64 = 1e-12;

impl Var {
    /// The mean absolute difference to a target of the same shape; of shape `[1]`, like torch's `L1Loss`.
    ///
    /// The target may be any value of the graph, and gets a gradient if it is trained. Where both are equal, the
    /// gradient is 0.
    ///
    /// Source: <https://docs.pytorch.org/docs/stable/generated/torch.nn.L1Loss.html>.
    #[must_use]
    pub fn l1_loss(&self, target: &Var) -> Var {
        self.l1_loss_with(Reduction::Mean, target)
    }

    /// Absolute differences to a target of the same shape, reduced as `reduction` says.
    #[must_use]
    pub fn l1_loss_with(&self, reduction: Reduction, target: &Var) -> Var {
        reduction.of(&self.absolute_error(target))
    }

    /// The mean squared difference to a target of the same shape; of shape `[1]`, like torch's `MSELoss`.
    ///
    /// The target may be any value of the graph, and gets a gradient if it is trained.
    ///
    /// Source: <https://docs.pytorch.org/docs/stable/generated/torch.nn.MSELoss.html>.
    #[must_use]
    pub fn mse_loss(&self, target: &Var) -> Var {
        self.mse_loss_with(Reduction::Mean, target)
    }

    /// Squared differences to a target of the same shape, reduced as `reduction` says.
    #[must_use]
    pub fn mse_loss_with(&self, reduction: Reduction, target: &Var) -> Var {
        reduction.of(&self.squared_error(target))
    }

    /// The mean [`SmoothL1Loss`] with `beta` 1 to a target of the same shape; of shape `[1]`.
    ///
    /// Source: <https://docs.pytorch.org/docs/stable/generated/torch.nn.SmoothL1Loss.html>.
    #[must_use]
    pub fn smooth_l1_loss(&self, target: &Var) -> Var {
        self.smooth_l1_loss_with(SmoothL1Loss::new(), target)
    }

    /// Like [`Var::smooth_l1_loss`], with options.
    ///
    /// Refused if `beta`, as f32, is negative or not finite.
    #[must_use]
    pub fn smooth_l1_loss_with(&self, options: SmoothL1Loss, target: &Var) -> Var {
        options.reduction.of(&self.smooth_error(target, options.beta))
    }

    /// The mean [`HuberLoss`] with `delta` 1 to a target of the same shape; of shape `[1]`.
    ///
    /// Source: <https://docs.pytorch.org/docs/stable/generated/torch.nn.HuberLoss.html>.
    #[must_use]
    pub fn huber_loss(&self, target: &Var) -> Var {
        self.huber_loss_with(HuberLoss::new(), target)
    }

    /// Like [`Var::huber_loss`], with options.
    ///
    /// Refused if `delta`, as f32, is not above 0 or not finite.
    #[must_use]
    pub fn huber_loss_with(&self, options: HuberLoss, target: &Var) -> Var {
        options.reduction.of(&self.huber_error(target, options.delta))
    }

    /// The mean [`CosineEmbeddingLoss`] with margin 0 between these rows `[N, D]` and `other`; of shape `[1]`.
    /// `target` `[N]` is 1 for rows that should be similar and -1 for rows that should not.
    ///
    /// The target holds numbers, not labels, and has no gradient.
    ///
    /// Source: <https://docs.pytorch.org/docs/stable/generated/torch.nn.CosineEmbeddingLoss.html>.
    #[must_use]
    pub fn cosine_embedding_loss(&self, other: &Var, target: &Var) -> Var {
        self.cosine_embedding_loss_with(CosineEmbeddingLoss::new(), other, target)
    }

    /// Like [`Var::cosine_embedding_loss`], with options.
    ///
    /// Refused if `margin` is outside `[-1, 1]`.
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
