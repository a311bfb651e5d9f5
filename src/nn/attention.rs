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
    /// All keys take part, nothing is dropped.
    pub fn new() -> Self {
        Self::default()
    }

    /// Which keys take part for each query: those where this is not 0, of a shape that is broadcast to `[.., T, S]`. It
    /// gets no gradient. As torch's mask of booleans; masks that are added to the scores are not supported. Where several are
    /// given, a key takes part where all let it.
    pub fn attn_mask(mut self, mask: &Var) -> Self {
        self.attn_masks.push(mask.clone());
        self
    }

    /// Query `i` sees the keys `0..=i` only, also where there are more or fewer keys than queries, as torch's
    /// `ones(T, S).tril()`. With a mask, a key takes part where both let it. Default false.
    pub fn is_causal(mut self, is_causal: bool) -> Self {
        self.is_causal = is_causal;
        self
    }

    /// What the products of queries and keys are multiplied with. Default `1 / sqrt(D)`.
    pub fn scale(mut self, scale: impl Into<Option<f64>>) -> Self {
        self.scale = scale.into();
        self
    }

    /// The probability with which a weight is dropped in plans that train, the others being scaled by
    /// `1 / (1 - dropout_p)`. Default 0.
    ///
    /// Which weights is as [`Var::dropout`] says, with the weights counted as a value `[.., T, S]`, modulo 2^32 quads, and
    /// the number of this attention among those of its graph plus 2^31 in place of that of the dropout.
    pub fn dropout_p(mut self, dropout_p: f64) -> Self {
        self.dropout_p = dropout_p;
        self
    }
}

impl Var {
    /// `softmax(query key^T * scale) value` for this query `[.., T, D]`, a key `[.., S, D]` and a value `[.., S, E]` with
    /// the same leading dimensions; of shape `[.., T, E]`, as torch's `scaled_dot_product_attention`.
    ///
    /// The weights are not stored: they are computed again for the gradients. Queries, keys and values may be views, such
    /// as the heads of a wide linear map, and are read where they lie. A query that sees no key has zeros, and gives no
    /// gradient, where torch has NaN for some of its kernels. D and E are at most 16,384.
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

    /// As [`Var::scaled_dot_product_attention`], under a name.
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
