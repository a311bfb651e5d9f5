use crate::graph::{Var, ops};

impl Var {
    /// The mean cross-entropy of these logits `[N, classes]` with the softmax taken of them, against class
    /// numbers `[N]`; of shape `[1]`, as torch's `CrossEntropyLoss`.
    ///
    /// Source: <https://docs.pytorch.org/docs/stable/generated/torch.nn.CrossEntropyLoss.html>.
    #[must_use]
    pub fn cross_entropy(&self, labels: &Var) -> Var {
        self.graph().push(ops::CrossEntropy, None, &[self, labels], &[], None).mean()
    }
}
