use crate::graph::{Init, Var, ops, within};

/// A lookup table of vectors, like torch's `Embedding`.
///
/// Shapes: indices `[..]` ([`Graph::labels`](crate::graph::Graph::labels)), output `[.., embedding_dim]`, weight
/// `[num_embeddings, embedding_dim]`, initialised from the standard normal distribution.
///
/// The gradient of a row sums over all positions with its index, in their order, so it has the same bits in each run.
///
/// ```
/// use gradus::graph::Graph;
/// use gradus::nn::Embedding;
///
/// let graph = Graph::new();
/// let tokens = graph.labels("tokens", [8, 20]);
/// assert_eq!(tokens.embedding(Embedding::new(100, 32).padding_idx(0)).shape(), [8, 20, 32]);
/// graph.check()?;
/// # Ok::<(), gradus::Error>(())
/// ```
///
/// Source: <https://docs.pytorch.org/docs/stable/generated/torch.nn.Embedding.html>.
#[derive(Clone, Debug)]
#[must_use]
pub struct Embedding {
    num_embeddings: usize,
    embedding_dim: usize,
    padding_idx: Option<usize>,
    init: Option<Init>,
    pub(super) name: Option<String>,
}

impl Embedding {
    /// A table with this number of vectors of this length.
    pub fn new(num_embeddings: usize, embedding_dim: usize) -> Self {
        Self { num_embeddings, embedding_dim, padding_idx: None, init: None, name: None }
    }

    /// A row that is initialised to zero and gets no gradient. Default none.
    pub fn padding_idx(mut self, row: impl Into<Option<usize>>) -> Self {
        self.padding_idx = row.into();
        self
    }

    /// Initial values of the weight, including the row `padding_idx`. Default: as in torch.
    pub fn init(mut self, init: Init) -> Self {
        self.init = Some(init);
        self
    }

    /// Names the layer; its parameter is `name.weight`.
    pub fn name(mut self, name: &str) -> Self {
        self.name = Some(name.into());
        self
    }
}

impl Var {
    /// The vectors for these indices.
    ///
    /// An index from the host that is not below `num_embeddings` is refused. If only the device sees the index, its
    /// vector is NaN and its gradient is dropped. A plan takes at most 16,777,216 indices.
    #[must_use]
    pub fn embedding(&self, layer: Embedding) -> Var {
        let graph = self.graph();
        let name = graph.layer_name("embedding", layer.name.as_deref());
        let Embedding { num_embeddings, embedding_dim, padding_idx, init, .. } = layer;
        let init = init.unwrap_or(match padding_idx {
            Some(row) => Init::NormalWithZeroRow { std: 1.0, row },
            None => Init::Normal { std: 1.0 },
        });
        let shape = vec![num_embeddings, embedding_dim];
        let parameter = graph.declare(&within(&name, "weight"), shape, init);
        let op = ops::Embedding { weight: [num_embeddings, embedding_dim], padding_idx };
        graph.push(op, Some(&name), &[self], &[parameter], None)
    }
}
