use crate::graph::{Var, ops};

/// Options of [`Var::scaled_dot_product_attention`], with torch's defaults.
///
/// ```
/// use gradus::graph::Graph;
/// use gradus::nn::ScaledDotProductAttention;
///
/// let graph = Graph::new();
/// let [query, key, value] = ["q", "k", "v"].map(|name| graph.input(name, [8, 4, 64, 32]));
/// let options = ScaledDotProductAttention::new().is_causal(true);
/// let y = query.scaled_dot_product_attention(&key, &value, options);
/// assert_eq!(y.shape(), [8, 4, 64, 32]);
/// graph.check()?;
/// # Ok::<(), gradus::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct ScaledDotProductAttention {
    attn_masks: Vec<Var>,
    is_causal: bool,
    scale: Option<f64>,
    dropout_p: f64,
}

impl ScaledDotProductAttention {
    /// No mask, no dropout, scale `1 / sqrt(D)`.
    pub fn new() -> Self {
        Self::default()
    }

    /// Selects the keys that each query attends to: those where the mask is not 0. Its shape must broadcast to `[..,
    /// T, S]`. It gets no gradient. Equivalent to torch's boolean mask; additive masks are not supported. With
    /// several masks, a key takes part where all of them are not 0.
    pub fn attn_mask(mut self, mask: &Var) -> Self {
        self.attn_masks.push(mask.clone());
        self
    }

    /// Query `i` attends only to keys `0..=i`, also if the numbers of keys and queries differ, like torch's `ones(T,
    /// S).tril()`. Combined with a mask, both must allow a key. Default false.
    pub fn is_causal(mut self, is_causal: bool) -> Self {
        self.is_causal = is_causal;
        self
    }

    /// Factor of the products of queries and keys. Default `1 / sqrt(D)`.
    pub fn scale(mut self, scale: impl Into<Option<f64>>) -> Self {
        self.scale = scale.into();
        self
    }

    /// Probability with which an attention weight is dropped in training plans; the other weights are multiplied by
    /// `1 / (1 - dropout_p)`. Default 0.
    ///
    /// The dropped weights are chosen as [`Var::dropout`] describes. The weights count as one value `[.., T, S]`,
    /// with quads counted modulo 2^32. The number of the attention among those of its graph, plus 2^31, takes the
    /// place of the dropout's number.
    pub fn dropout_p(mut self, dropout_p: f64) -> Self {
        self.dropout_p = dropout_p;
        self
    }
}

impl Var {
    /// `softmax(query key^T * scale) value` for this query `[.., T, D]`, `key` `[.., S, D]` and `value` `[.., S, E]`
    /// with equal leading dimensions. The result has the shape `[.., T, E]`, as for torch's
    /// `scaled_dot_product_attention`.
    ///
    /// The attention weights are not stored but recomputed for the gradients. Query, key and value may be views, such
    /// as the heads of one wide projection; they are not copied. A query that attends to no key gives zeros and no
    /// gradient, where some of torch's kernels give NaN. D and E are at most 16,384.
    ///
    /// Source: <https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.scaled_dot_product_attention.html>.
    #[must_use]
    pub fn scaled_dot_product_attention(
        &self,
        key: &Var,
        value: &Var,
        options: ScaledDotProductAttention,
    ) -> Var {
        self.attend(key, value, options, None)
    }

    /// Like [`Var::scaled_dot_product_attention`], with a name.
    pub(super) fn attend(
        &self,
        key: &Var,
        value: &Var,
        options: ScaledDotProductAttention,
        name: Option<&str>,
    ) -> Var {
        let ScaledDotProductAttention { attn_masks, is_causal, scale, dropout_p } = options;
        let inputs: Vec<&Var> = [self, key, value].into_iter().chain(&attn_masks).collect();
        self.graph().push(ops::Attention { is_causal, scale, dropout_p }, name, &inputs, &[], None)
    }
}
