use super::ScaledDotProductAttention;
use crate::Error;
use crate::graph::{Init, Var, ops, shown, within};

/// Multi-head attention with its projections, like torch's `MultiheadAttention` with `need_weights=False`.
///
/// Shapes: query `[T, N, embed_dim]`, key `[S, N, kdim]`, value `[S, N, vdim]`, output `[T, N, embed_dim]`. With
/// [`MultiheadAttention::batch_first`], `[N, T, embed_dim]` and so on; for a single sequence, without `N`. Parameters
/// have torch's names and initial values: `in_proj_weight` `[3 * embed_dim, embed_dim]` and `in_proj_bias` (if `kdim`
/// or `vdim` differs: `q_proj_weight`, `k_proj_weight` and `v_proj_weight`), `out_proj.weight` and `out_proj.bias`.
///
/// Masks are 1 where a key takes part and 0 where it is hidden, the opposite of torch's boolean masks for this layer.
///
/// ```
/// use gradus::graph::Graph;
/// use gradus::nn::MultiheadAttention;
///
/// let graph = Graph::new();
/// let x = graph.input("x", [8, 64, 128]);
/// let layer = MultiheadAttention::new(128, 4).batch_first(true).is_causal(true);
/// assert_eq!(x.multihead_attention(&x, &x, layer).shape(), [8, 64, 128]);
/// graph.check()?;
/// # Ok::<(), gradus::Error>(())
/// ```
///
/// Source: <https://docs.pytorch.org/docs/stable/generated/torch.nn.MultiheadAttention.html>.
#[derive(Clone, Debug)]
#[must_use]
pub struct MultiheadAttention {
    embed_dim: usize,
    num_heads: usize,
    dropout: f64,
    bias: bool,
    batch_first: bool,
    kdim: usize,
    vdim: usize,
    is_causal: bool,
    attn_mask: Option<Var>,
    key_padding_mask: Option<Var>,
    name: Option<String>,
}

impl MultiheadAttention {
    /// Attention of this width with this number of heads, which must divide the width. With biases; the batch is the
    /// second dimension.
    pub fn new(embed_dim: usize, num_heads: usize) -> Self {
        Self {
            embed_dim,
            num_heads,
            dropout: 0.0,
            bias: true,
            batch_first: false,
            kdim: embed_dim,
            vdim: embed_dim,
            is_causal: false,
            attn_mask: None,
            key_padding_mask: None,
            name: None,
        }
    }

    /// Probability with which an attention weight is dropped in training plans. Default 0.
    pub fn dropout(mut self, dropout: f64) -> Self {
        self.dropout = dropout;
        self
    }

    /// Omits all biases.
    pub fn without_bias(mut self) -> Self {
        self.bias = false;
        self
    }

    /// Whether the batch, not the sequence, is the first dimension. Default false.
    pub fn batch_first(mut self, batch_first: bool) -> Self {
        self.batch_first = batch_first;
        self
    }

    /// Number of features of a key. Default `embed_dim`.
    pub fn kdim(mut self, kdim: usize) -> Self {
        self.kdim = kdim;
        self
    }

    /// Number of features of a value. Default `embed_dim`.
    pub fn vdim(mut self, vdim: usize) -> Self {
        self.vdim = vdim;
        self
    }

    /// Query `i` attends only to keys `0..=i`; needs no mask. Default false.
    pub fn is_causal(mut self, is_causal: bool) -> Self {
        self.is_causal = is_causal;
        self
    }

    /// The keys that each query attends to, as 1 and 0. Its shape must broadcast to `[N, num_heads, T, S]`, such as
    /// `[T, S]`.
    pub fn attn_mask(mut self, mask: &Var) -> Self {
        self.attn_mask = Some(mask.clone());
        self
    }

    /// The keys of each sequence that take part, as 1 and 0: `[N, S]`, or `[S]` for a single sequence.
    pub fn key_padding_mask(mut self, mask: &Var) -> Self {
        self.key_padding_mask = Some(mask.clone());
        self
    }

    /// Names the layer; its parameters are `name.in_proj_weight` and so on.
    pub fn name(mut self, name: &str) -> Self {
        self.name = Some(name.into());
        self
    }

    fn check(&self, layer: &str, inputs: [&[usize]; 3]) -> Result<(), Error> {
        let Self { embed_dim, num_heads, kdim, vdim, .. } = *self;
        if num_heads == 0 || !embed_dim.is_multiple_of(num_heads) {
            let allowed = format!("a divisor of embed_dim {embed_dim}");
            return Err(Error::constant(format!("{layer}: num_heads"), allowed, num_heads));
        }
        let rank = inputs[0].len();
        for (what, shape, width) in
            [("query", inputs[0], embed_dim), ("key", inputs[1], kdim), ("value", inputs[2], vdim)]
        {
            if !(2..=3).contains(&rank) || shape.len() != rank || shape[rank - 1] != width {
                let order = if self.batch_first { "N, T" } else { "T, N" };
                let expected = format!("a {what} [{order}, {width}] or [T, {width}], all of one rank");
                return Err(Error::Shape { layer: layer.into(), expected, got: shape.to_vec() });
            }
        }
        let batch = if self.batch_first { 0 } else { 1 };
        let length = 1 - batch;
        let [query, key, value] = inputs;
        if rank == 3 && key[batch] != query[batch] || key[..rank - 1] != value[..rank - 1] {
            let expected = format!("a batch and a length as those of query {query:?} and key {key:?}");
            let got = if key[..rank - 1] == value[..rank - 1] { key } else { value };
            return Err(Error::Shape { layer: layer.into(), expected, got: got.to_vec() });
        }
        if let Some(mask) = &self.key_padding_mask {
            let want = if rank == 3 { vec![key[batch], key[length]] } else { vec![key[0]] };
            let got = mask.shape();
            if got != want {
                let expected = format!("a key_padding_mask {want:?} for the key {key:?}");
                return Err(Error::Shape { layer: layer.into(), expected, got });
            }
        }
        Ok(())
    }

    /// The masks in the form that the attention takes.
    fn masks(&self) -> impl Iterator<Item = Var> {
        let padding = self.key_padding_mask.as_ref().map(|mask| match mask.shape()[..] {
            [_, keys] => mask.reshape(&[-1, 1, 1, signed(keys)]),
            _ => mask.clone(),
        });
        self.attn_mask.clone().into_iter().chain(padding)
    }
}

/// The projections to queries, keys and values.
struct Projections<'a> {
    layer: &'a MultiheadAttention,
    name: &'a str,
    weights: Vec<usize>,
    bias: Option<usize>,
}

impl<'a> Projections<'a> {
    fn declare(layer: &'a MultiheadAttention, name: &'a str, query: &Var) -> Self {
        let graph = query.graph();
        let MultiheadAttention { embed_dim, kdim, vdim, .. } = *layer;
        let init = Init::XavierUniform { gain: 1.0 };
        let declare =
            |what: &str, rows, columns| graph.declare(&within(name, what), vec![rows, columns], init);
        let weights = if kdim == embed_dim && vdim == embed_dim {
            vec![declare("in_proj_weight", 3 * embed_dim, embed_dim)]
        } else {
            let sizes = [("q_proj_weight", embed_dim), ("k_proj_weight", kdim), ("v_proj_weight", vdim)];
            sizes.map(|(what, columns)| declare(what, embed_dim, columns)).into()
        };
        let zeros = |what: &str| graph.declare(&within(name, what), vec![3 * embed_dim], Init::Constant(0.0));
        Self { layer, name, weights, bias: layer.bias.then(|| zeros("in_proj_bias")) }
    }

    /// Projections of one input to several consecutive ones of query, key and value; one product if they share a
    /// weight.
    fn map(&self, input: &Var, parts: std::ops::Range<usize>) -> Vec<Var> {
        let (graph, width) = (input.graph(), self.layer.embed_dim);
        let node = within(self.name, &format!("in_proj{}", ["_q", "_k", "_v"][parts.start]));
        let narrow = |of: &Var, dim, part| of.narrow(dim, signed(part * width), width);
        if let [weight] = self.weights[..] {
            let op = ops::Linear { weight: [3 * width, width] };
            let parameters: Vec<usize> = [weight].into_iter().chain(self.bias).collect();
            let all = graph.push(op, Some(&node), &[input], &parameters, None);
            return parts.map(|part| narrow(&all, -1, part)).collect();
        }
        let part = parts.start;
        let op = ops::Linear { weight: [width, *input.shape().last().unwrap_or(&1)] };
        let mapped = graph.push(op, Some(&node), &[input], &[self.weights[part]], None);
        match self.bias {
            Some(bias) => {
                let of = graph.push(
                    ops::Tensor,
                    Some(&format!("{node}_bias")),
                    &[],
                    &[bias],
                    Some(vec![3 * width]),
                );
                vec![mapped.add(&narrow(&of, 0, part))]
            }
            None => vec![mapped],
        }
    }
}

fn signed(extent: usize) -> isize {
    isize::try_from(extent).expect("shapes are far below this")
}

impl Var {
    /// Attends with this query to `key` and `value`. If all three are the same value (self-attention), the
    /// projections are one product. Key and value can also be the same value.
    ///
    /// If the query is not the key, each product is as wide as `in_proj_weight`, and the unused part is discarded.
    #[must_use]
    pub fn multihead_attention(&self, key: &Var, value: &Var, layer: MultiheadAttention) -> Var {
        let graph = self.graph();
        let name = graph.layer_name("multihead_attention", layer.name.as_deref());
        let shapes = [self, key, value].map(Var::shape);
        let checked = graph.check().and_then(|()| {
            layer.check(shown("multihead_attention", &name), [&shapes[0], &shapes[1], &shapes[2]])
        });
        if let Err(error) = checked {
            graph.refuse(error);
            return self.clone();
        }
        let maps = Projections::declare(&layer, &name, self);
        let one_weight = maps.weights.len() == 1;
        let mut mapped = Vec::new();
        let same = [self.id() == key.id(), key.id() == value.id()];
        match same {
            [true, true] if one_weight => mapped = maps.map(self, 0..3),
            [_, true] if one_weight => {
                mapped.extend(maps.map(self, 0..1));
                mapped.extend(maps.map(key, 1..3));
            }
            _ => {
                for (part, input) in [self, key, value].into_iter().enumerate() {
                    mapped.extend(maps.map(input, part..part + 1));
                }
            }
        }
        let (width, rank) = (layer.embed_dim, shapes[0].len());
        // At any batch size, with the batch first or second.
        let split = |of: &Var| {
            let split = of.unflatten(-1, &[signed(layer.num_heads), -1]);
            match (rank, layer.batch_first) {
                (2, _) => split.permute(&[1, 0, 2]),
                (_, true) => split.permute(&[0, 2, 1, 3]),
                (_, false) => split.permute(&[1, 2, 0, 3]),
            }
        };
        let mut options =
            ScaledDotProductAttention::new().is_causal(layer.is_causal).dropout_p(layer.dropout);
        for mask in layer.masks() {
            options = options.attn_mask(&mask);
        }
        let [query, key, value] = [0, 1, 2].map(|part| split(&mapped[part]));
        let attended = query.attend(&key, &value, options, Some(&within(&name, "attention")));
        let joined = match (rank, layer.batch_first) {
            (2, _) => attended.permute(&[1, 0, 2]),
            (_, true) => attended.permute(&[0, 2, 1, 3]),
            (_, false) => attended.permute(&[2, 0, 1, 3]),
        };
        let out = within(&name, "out_proj");
        let init = Init::KaimingUniform { a: 5f64.sqrt() };
        let mut parameters = vec![graph.declare(&within(&out, "weight"), vec![width, width], init)];
        if layer.bias {
            parameters.push(graph.declare(&within(&out, "bias"), vec![width], Init::Constant(0.0)));
        }
        let op = ops::Linear { weight: [width, width] };
        graph.push(op, Some(&out), &[&joined.flatten_dims(-2, -1)], &parameters, None)
    }
}
