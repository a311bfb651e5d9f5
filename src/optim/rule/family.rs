/// What the update of an element must know beside the element, its gradient and its state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// Nothing: one dispatch a window.
    Element,
    /// A ratio of sums over its tensor: they are measured, made a ratio, and applied, in three dispatches. With
    /// `early_state` the first writes the state, so that the last needs no gradient.
    Tensor {
        /// Whether state is written where sums are measured, rather than in the update.
        early_state: bool,
    },
    /// A direction that is made orthogonal over its tensor, a matrix, as
    /// [`Rule::newton_schulz`](super::Rule::newton_schulz) says: it is measured, which writes the state, divided by its
    /// norm, goes through products, and is applied.
    Matrix,
    /// What the rule knows that it is around.
    Around,
    /// Values that stand for many elements: those that the rule's [`Rule::statistics`](super::Rule::statistics) name are gathered over each tensor.
    Factored {
        /// Whether they are means, renewed before the update, which also has a ratio of sums over the tensor. Otherwise
        /// they are maxima, and the update is made with the old ones.
        ratio: bool,
    },
}
