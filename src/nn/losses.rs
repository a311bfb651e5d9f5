use crate::graph::{Var, ops};

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
}

impl Reduction {
    fn of(self, parts: &Var) -> Var {
        match self {
            Self::Mean => parts.mean(),
            Self::Sum => parts.sum(),
            Self::None => parts.clone(),
        }
    }
}

/// The cross-entropy of logits `[N, classes]`, with the softmax taken of them, against class numbers `[N]`, as
/// torch's `CrossEntropyLoss`.
///
/// The loss of a sample is `-sum(t[c] * weight[c] * ln(softmax[c]))` with targets `t` of
/// `1 - label_smoothing` at the label, and of `label_smoothing / classes` more at every class.
///
/// ```
/// use gradus::graph::Graph;
/// use gradus::nn::{CrossEntropy, Reduction};
///
/// let graph = Graph::new();
/// let (logits, labels) = (graph.input("logits", [8, 3]), graph.labels("labels", 8));
/// let options = CrossEntropy::new().label_smoothing(0.1).weight(&[1.0, 2.0, 0.5]);
/// assert_eq!(logits.cross_entropy_with(options.clone(), &labels).shape(), [1]);
/// assert_eq!(logits.cross_entropy_with(options.reduction(Reduction::None), &labels).shape(), [8]);
/// graph.check()?;
/// # Ok::<(), gradus::Error>(())
/// ```
///
/// Source: <https://docs.pytorch.org/docs/stable/generated/torch.nn.CrossEntropyLoss.html>.
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct CrossEntropy {
    label_smoothing: f64,
    weight: Option<Vec<f32>>,
    ignore_index: Option<u32>,
    reduction: Reduction,
}

impl CrossEntropy {
    /// The mean without smoothing and weights.
    pub fn new() -> Self {
        Self::default()
    }

    /// The part of a target that is spread over all classes, in `[0, 1]`. Default 0.
    pub fn label_smoothing(mut self, label_smoothing: f64) -> Self {
        self.label_smoothing = label_smoothing;
        self
    }

    /// A weight for each class, finite and at least 0. A mean is then divided by the sum of the weights of the
    /// labels, and is NaN if that is 0. Default 1 for each.
    pub fn weight(mut self, weight: &[f32]) -> Self {
        self.weight = Some(weight.to_vec());
        self
    }

    /// A label whose samples have no loss, no gradient and no part in the mean; it need not name a class.
    /// Default none.
    pub fn ignore_index(mut self, label: impl Into<Option<u32>>) -> Self {
        self.ignore_index = label.into();
        self
    }

    /// Mean, sum, or the loss of each sample, of shape `[N]`. Default mean.
    pub fn reduction(mut self, reduction: Reduction) -> Self {
        self.reduction = reduction;
        self
    }
}

impl Var {
    /// The mean cross-entropy of these logits `[N, classes]` with the softmax taken of them, against class
    /// numbers `[N]`; of shape `[1]`, as torch's `CrossEntropyLoss`.
    ///
    /// Source: <https://docs.pytorch.org/docs/stable/generated/torch.nn.CrossEntropyLoss.html>.
    #[must_use]
    pub fn cross_entropy(&self, labels: &Var) -> Var {
        self.cross_entropy_with(CrossEntropy::new(), labels)
    }

    /// The cross-entropy of these logits `[N, classes]` against class numbers `[N]`, with options.
    #[must_use]
    pub fn cross_entropy_with(&self, options: CrossEntropy, labels: &Var) -> Var {
        let CrossEntropy { label_smoothing, weight, ignore_index, reduction } = options;
        let op = ops::CrossEntropy { label_smoothing, weight, ignore_index };
        let losses = self.graph().push(op.clone(), None, &[self, labels], &[], None);
        if reduction != Reduction::Mean || !op.weighs() {
            return reduction.of(&losses);
        }
        let classes = self.shape().last().copied().unwrap_or(1);
        let weights = labels.unary(ops::LabelWeights { losses: op, classes });
        self.graph().push(ops::Ratio, None, &[&losses.sum(), &weights.sum()], &[], None)
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
}
