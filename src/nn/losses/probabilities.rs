use super::Reduction;
use crate::graph::Var;

/// Binary cross-entropy of logits, like torch's `BCEWithLogitsLoss`. It includes the sigmoid.
///
/// For a logit `x` and the probability `t`, it is `-(pos_weight * t * ln(sigmoid(x)) + (1 - t) * ln(1 -
/// sigmoid(x)))`.
///
/// ```
/// use gradus::graph::{Graph, Init};
/// use gradus::nn::BCEWithLogitsLoss;
///
/// let graph = Graph::new();
/// let (x, target) = (graph.input("x", [8, 3]), graph.input("target", [8, 3]));
/// let weight = graph.parameter("pos_weight", [3], Init::Constant(2.0)).detach();
/// let options = BCEWithLogitsLoss::new().pos_weight(&weight);
/// assert_eq!(x.binary_cross_entropy_with_logits_with(options, &target).shape(), [1]);
/// graph.check()?;
/// # Ok::<(), gradus::Error>(())
/// ```
///
/// Source: <https://docs.pytorch.org/docs/stable/generated/torch.nn.BCEWithLogitsLoss.html>.
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct BCEWithLogitsLoss {
    pos_weight: Option<Var>,
    reduction: Reduction,
}

impl BCEWithLogitsLoss {
    /// The mean, without weights.
    pub fn new() -> Self {
        Self::default()
    }

    /// Factor of the term of positive targets. Its shape must broadcast to the logits, for example one weight per
    /// entry of the last axis. It gets no gradient. Default 1.
    pub fn pos_weight(mut self, weight: &Var) -> Self {
        self.pos_weight = Some(weight.clone());
        self
    }

    /// Mean, sum, or the loss of each element. Default mean.
    pub fn reduction(mut self, reduction: Reduction) -> Self {
        self.reduction = reduction;
        self
    }
}

/// Kullback-Leibler divergence of a target from log-probabilities, like torch's `KLDivLoss`.
///
/// For a log-probability `x` and the target probability `t`, it is `t * (ln(t) - x)`, and 0 if `t` is 0.
///
/// ```
/// use gradus::graph::Graph;
/// use gradus::nn::{KLDivLoss, Reduction};
///
/// let graph = Graph::new();
/// let (x, target) = (graph.input("x", [8, 3]).log_softmax(1), graph.input("target", [8, 3]));
/// let options = KLDivLoss::new().reduction(Reduction::BatchMean);
/// assert_eq!(x.kl_div_with(options, &target).shape(), [1]);
/// graph.check()?;
/// # Ok::<(), gradus::Error>(())
/// ```
///
/// Source: <https://docs.pytorch.org/docs/stable/generated/torch.nn.KLDivLoss.html>.
#[derive(Clone, Copy, Debug, Default)]
#[must_use]
pub struct KLDivLoss {
    log_target: bool,
    reduction: Reduction,
}

impl KLDivLoss {
    /// The mean over all elements, for targets that are probabilities.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether the target holds log-probabilities. Default false.
    pub fn log_target(mut self, log_target: bool) -> Self {
        self.log_target = log_target;
        self
    }

    /// Mean, sum, the divergence of each element, or [`Reduction::BatchMean`], which is the mean divergence of the
    /// distributions. Default mean.
    pub fn reduction(mut self, reduction: Reduction) -> Self {
        self.reduction = reduction;
        self
    }
}

impl Var {
    /// The mean binary cross-entropy of these probabilities against a target of the same shape; of shape `[1]`, like
    /// torch's `BCELoss`.
    ///
    /// It is `-(t * ln(x) + (1 - t) * ln(1 - x))` with logarithms clamped to at least -100. The target gets a
    /// gradient if it is trained.
    ///
    /// Source: <https://docs.pytorch.org/docs/stable/generated/torch.nn.BCELoss.html>.
    #[must_use]
    pub fn binary_cross_entropy(&self, target: &Var) -> Var {
        self.binary_cross_entropy_with(Reduction::Mean, target)
    }

    /// Binary cross-entropies of these probabilities, reduced as `reduction` says.
    #[must_use]
    pub fn binary_cross_entropy_with(&self, reduction: Reduction, target: &Var) -> Var {
        reduction.of(&self.binary_cross_entropies(target))
    }

    /// The mean binary cross-entropy of these logits against a target of the same shape; of shape `[1]`, like torch's
    /// `BCEWithLogitsLoss`. Includes the sigmoid.
    ///
    /// Source: <https://docs.pytorch.org/docs/stable/generated/torch.nn.BCEWithLogitsLoss.html>.
    #[must_use]
    pub fn binary_cross_entropy_with_logits(&self, target: &Var) -> Var {
        self.binary_cross_entropy_with_logits_with(BCEWithLogitsLoss::new(), target)
    }

    /// Like [`Var::binary_cross_entropy_with_logits`], with options.
    ///
    /// Refused if `pos_weight` does not broadcast to the logits.
    #[must_use]
    pub fn binary_cross_entropy_with_logits_with(&self, options: BCEWithLogitsLoss, target: &Var) -> Var {
        options.reduction.of(&self.logit_cross_entropies(target, options.pos_weight.as_ref()))
    }

    /// The mean [`KLDivLoss`] of a target of probabilities from these log-probabilities of the same shape; of shape
    /// `[1]`. The mean is over all elements, as is torch's default.
    ///
    /// Source: <https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.kl_div.html>.
    #[must_use]
    pub fn kl_div(&self, target: &Var) -> Var {
        self.kl_div_with(KLDivLoss::new(), target)
    }

    /// Like [`Var::kl_div`], with options.
    #[must_use]
    pub fn kl_div_with(&self, options: KLDivLoss, target: &Var) -> Var {
        options.reduction.of(&self.divergences(target, options.log_target))
    }
}
