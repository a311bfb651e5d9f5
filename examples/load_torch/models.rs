//! The models of `make.py`, module by module, so that their parameters have torch's names.

use gradus::graph::{Graph, Init, Var};
use gradus::nn::{Embedding, LSTM, LayerNorm, Linear, Module, MultiheadAttention, Sequential};

pub(crate) const VOCABULARY: usize = 29;
pub(crate) const CONTEXT: usize = 24;
pub(crate) const CLASSES: usize = 5;

/// Two LSTM layers over tokens `[N, T]`, and a linear layer on the last step: logits `[N, CLASSES]`.
pub(crate) struct Lstm {
    pub(crate) width: usize,
}

impl Module for Lstm {
    fn forward(&self, tokens: &Var) -> Var {
        let x = tokens.apply("embedding", &Embedding::new(VOCABULARY, 12));
        let lstm = LSTM::new(self.width).num_layers(2).batch_first(true).name("lstm");
        let (output, _) = x.lstm(lstm, None);
        output.select(1, -1).apply("head", &Linear::new(CLASSES))
    }
}

/// A causal character model with pre-norm blocks: logits `[N, T, VOCABULARY]` of the next token at each position of
/// tokens `[N, T]`.
pub(crate) struct Transformer {
    pub(crate) width: usize,
    pub(crate) heads: usize,
    pub(crate) depth: usize,
}

impl Module for Transformer {
    fn forward(&self, tokens: &Var) -> Var {
        let positions =
            tokens.graph().parameter("positions", [CONTEXT, self.width], Init::Normal { std: 0.02 });
        let mut x = tokens.apply("tokens", &Embedding::new(VOCABULARY, self.width)).add(&positions);
        for block in 0..self.depth {
            x = x.apply(&format!("blocks.{block}"), &Block { width: self.width, heads: self.heads });
        }
        x.apply("norm", &LayerNorm::new(self.width)).apply("head", &Linear::new(VOCABULARY).without_bias())
    }
}

struct Block {
    width: usize,
    heads: usize,
}

impl Module for Block {
    fn forward(&self, x: &Var) -> Var {
        let h = x.apply("ln1", &LayerNorm::new(self.width));
        let attention = MultiheadAttention::new(self.width, self.heads).batch_first(true).is_causal(true);
        let x = x.add(&h.multihead_attention(&h, &h, attention.name("attn")));
        let mlp = Sequential::new()
            .append(Linear::new(4 * self.width))
            .append(Var::gelu)
            .append(Linear::new(self.width));
        x.add(&x.apply("ln2", &LayerNorm::new(self.width)).apply("mlp", &mlp))
    }
}

/// The logits of the model of this name for the input `tokens`, with the sizes of `make.py`.
pub(crate) fn logits(name: &str, graph: &Graph) -> Option<Var> {
    let tokens = graph.labels("tokens", [2, CONTEXT]);
    match name {
        "lstm" => Some(tokens.apply("", &Lstm { width: 20 })),
        "transformer" => Some(tokens.apply("", &Transformer { width: 24, heads: 3, depth: 2 })),
        _ => None,
    }
}
