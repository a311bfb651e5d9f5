use super::Reduction;
use crate::Error;
use crate::graph::{Var, ops};

/// Cross-entropy of logits `[N, classes, ..]` against class indices `[N, ..]`, or against probabilities of the
/// logits' shape, like torch's `CrossEntropyLoss`. It includes the softmax over the classes.
///
/// The loss of one position is `-sum(t[c] * weight[c] * ln(softmax[c]))`. The targets `t` are `1 - label_smoothing`
/// at the label (or times the probabilities), plus `label_smoothing / classes` for every class.
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
    /// The mean, without label smoothing and class weights.
    pub fn new() -> Self {
        Self::default()
    }

    /// Fraction of each target that is distributed evenly over all classes, in `[0, 1]`. Default 0.
    pub fn label_smoothing(mut self, label_smoothing: f64) -> Self {
        self.label_smoothing = label_smoothing;
        self
    }

    /// One weight per class, finite and at least 0. For labels, the mean divides by the sum of the labels' weights
    /// and is NaN if that is 0; for probabilities, it divides by the number of losses. Default 1 for each class.
    pub fn weight(mut self, weight: &[f32]) -> Self {
        self.weight = Some(weight.to_vec());
        self
    }

    /// A label whose positions have no loss and no gradient and are left out of the mean. It need not be a valid
    /// class. Refused with probabilities. Default none.
    pub fn ignore_index(mut self, label: impl Into<Option<u32>>) -> Self {
        self.ignore_index = label.into();
        self
    }

    /// Mean, sum, or one loss per position, of shape `[N, ..]`. Default mean.
    pub fn reduction(mut self, reduction: Reduction) -> Self {
        self.reduction = reduction;
        self
    }
}

/// Negative log-likelihood: minus the log-probabilities `[N, classes, ..]` at the class indices `[N, ..]`, times the
/// class weights, like torch's `NLLLoss`.
///
/// ```
/// use gradus::graph::Graph;
/// use gradus::nn::NllLoss;
///
/// let graph = Graph::new();
/// let (x, labels) = (graph.input("x", [8, 3]).log_softmax(1), graph.labels("labels", 8));
/// assert_eq!(x.nll_loss(&labels).shape(), [1]);
/// assert_eq!(x.nll_loss_with(NllLoss::new().weight(&[1.0, 2.0, 0.5]), &labels).shape(), [1]);
/// graph.check()?;
/// # Ok::<(), gradus::Error>(())
/// ```
///
/// Source: <https://docs.pytorch.org/docs/stable/generated/torch.nn.NLLLoss.html>.
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct NllLoss {
    weight: Option<Vec<f32>>,
    ignore_index: Option<u32>,
    reduction: Reduction,
}

impl NllLoss {
    /// The mean, without class weights.
    pub fn new() -> Self {
        Self::default()
    }

    /// One weight per class, finite and at least 0. The mean divides by the sum of the labels' weights, and is NaN if
    /// that is 0. Default 1 for each class.
    pub fn weight(mut self, weight: &[f32]) -> Self {
        self.weight = Some(weight.to_vec());
        self
    }

    /// A label whose positions have no loss and no gradient and are left out of the mean. It need not be a valid
    /// class. Default none.
    pub fn ignore_index(mut self, label: impl Into<Option<u32>>) -> Self {
        self.ignore_index = label.into();
        self
    }

    /// Mean, sum, or one loss per label, of shape `[N, ..]`. Default mean.
    pub fn reduction(mut self, reduction: Reduction) -> Self {
        self.reduction = reduction;
        self
    }
}

/// Reduces the losses of labels. The mean is weighted.
fn reduced(reduction: Reduction, losses: &Var, of: ops::CrossEntropy, classes: usize, labels: &Var) -> Var {
    if reduction != Reduction::Mean || !of.weighs() {
        return reduction.of(losses);
    }
    let weights = labels.unary(ops::LabelWeights { losses: of, classes });
    labels.graph().push(ops::Ratio, None, &[&losses.sum(), &weights.sum()], &[], None)
}

impl Var {
    /// The mean cross-entropy of these logits `[N, classes]` or `[N, classes, ..]`, of shape `[1]`, like torch's
    /// `CrossEntropyLoss`. The target is class indices `[N]` or `[N, ..]`, or probabilities of the logits' shape.
    /// Includes the softmax over the classes.
    ///
    /// Refused if the shapes do not match.
    ///
    /// Source: <https://docs.pytorch.org/docs/stable/generated/torch.nn.CrossEntropyLoss.html>.
    #[must_use]
    pub fn cross_entropy(&self, target: &Var) -> Var {
        self.cross_entropy_with(CrossEntropy::new(), target)
    }

    /// Like [`Var::cross_entropy`], with options.
    ///
    /// Also refused: `label_smoothing` outside `[0, 1]`; a number of weights other than the number of classes; a
    /// weight that is negative or not finite; `ignore_index` with probabilities.
    #[must_use]
    pub fn cross_entropy_with(&self, options: CrossEntropy, target: &Var) -> Var {
        let CrossEntropy { label_smoothing, weight, ignore_index, reduction } = options;
        let op = ops::CrossEntropy { label_smoothing, weight, ignore_index };
        if !target.is_labels() && target.shape().len() == self.shape().len() {
            return self.soft_cross_entropy(op, reduction, target);
        }
        let losses = self.graph().push(op.clone(), None, &[self, target], &[], None);
        reduced(reduction, &losses, op, self.classes(), target)
    }

    /// The mean negative log-likelihood of these log-probabilities `[N, classes]` or `[N, classes, ..]` at the class
    /// indices `[N]` or `[N, ..]`; of shape `[1]`, like torch's `NLLLoss`.
    ///
    /// Refused if the shapes do not match.
    ///
    /// Source: <https://docs.pytorch.org/docs/stable/generated/torch.nn.NLLLoss.html>.
    #[must_use]
    pub fn nll_loss(&self, labels: &Var) -> Var {
        self.nll_loss_with(NllLoss::new(), labels)
    }

    /// Like [`Var::nll_loss`], with options.
    ///
    /// Also refused: a number of weights other than the number of classes; a weight that is negative or not finite.
    #[must_use]
    pub fn nll_loss_with(&self, options: NllLoss, labels: &Var) -> Var {
        let NllLoss { weight, ignore_index, reduction } = options;
        let op = ops::CrossEntropy { label_smoothing: 0.0, weight, ignore_index };
        let losses = self.graph().push(ops::Nll { losses: op.clone() }, None, &[self, labels], &[], None);
        reduced(reduction, &losses, op, self.classes(), labels)
    }

    /// The extent of axis 1.
    fn classes(&self) -> usize {
        self.shape().get(1).copied().unwrap_or(1)
    }

    /// The cross-entropy against probabilities.
    fn soft_cross_entropy(&self, op: ops::CrossEntropy, reduction: Reduction, target: &Var) -> Var {
        let ignored = op.ignore_index;
        let mut parts = self.log_softmax(1).soft_cross_entropies(target, op.label_smoothing, self.classes());
        if let Some(label) = ignored {
            let name = format!("{}: ignore_index", parts.name());
            self.graph().refuse(Error::constant(name, "none where the target holds probabilities", label));
        }
        if op.weight.is_some() {
            parts = parts.mul(&target.unary(ops::ClassWeights { losses: op }));
        }
        reduction.of(&parts.sum_dim(&[1], false))
    }
}
