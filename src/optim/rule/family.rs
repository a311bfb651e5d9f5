/// What a rule's update of an element depends on, besides the element, its gradient and its state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// Nothing else: one dispatch for each window.
    Element,
    /// A ratio of sums over the tensor: three dispatches measure the sums, compute the ratio and apply it. With
    /// `early_state`, the first dispatch writes the state, so the last one needs no gradient.
    Tensor {
        /// Whether the state is written when sums are measured, not in the update.
        early_state: bool,
    },
    /// A direction that is orthogonalized over its tensor, a matrix, see
    /// [`Rule::newton_schulz`](super::Rule::newton_schulz). It is measured (which writes the state), divided by its
    /// norm, multiplied in the iteration, and applied.
    Matrix,
    /// The family of the inner rule, which this rule wraps.
    Around,
    /// Statistics of rows and columns, or other axes, of the tensor: those in
    /// [`Rule::statistics`](super::Rule::statistics).
    Factored {
        /// Whether the statistics are means, computed before the update, which then also needs a ratio of sums over the
        /// tensor. Otherwise they are maxima, and the update uses those of the previous step.
        ratio: bool,
    },
}
