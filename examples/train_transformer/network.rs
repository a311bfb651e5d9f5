//! A causal transformer with pre-norm blocks, like GPT-2 (Radford et al. 2019), with the names common in torch code.

use gradus::graph::Var;
use gradus::nn::{Embedding, Init, LayerNorm, Linear, Module, MultiheadAttention, Sequential};

/// `x + attn(ln1(x))`, and then `x + mlp(ln2(x))`.
struct Block {
    width: usize,
    heads: usize,
    dropout: f64,
}

impl Module for Block {
    fn forward(&self, x: &Var) -> Var {
        let Self { width, heads, dropout } = *self;
        let attention = MultiheadAttention::new(width, heads).batch_first(true).is_causal(true);
        let attn = |h: &Var| h.multihead_attention(h, h, attention.clone().name(""));
        let mlp =
            Sequential::new().append(Linear::new(4 * width)).append(Var::gelu).append(Linear::new(width));
        let x = x + &x.apply("ln1", &LayerNorm::new(width)).apply("attn", &attn).dropout(dropout);
        &x + &x.apply("ln2", &LayerNorm::new(width)).apply("mlp", &mlp).dropout(dropout)
    }
}

/// Logits `[N, T, kinds]` of the next character after each of `[N, T]`.
pub(crate) struct Transformer {
    pub(crate) width: usize,
    pub(crate) layers: usize,
    pub(crate) heads: usize,
    /// Context length T, in characters.
    pub(crate) context: usize,
    pub(crate) dropout: f64,
    /// Size of the vocabulary.
    pub(crate) kinds: usize,
}

impl Module for Transformer {
    fn forward(&self, tokens: &Var) -> Var {
        let Self { width, layers, heads, context, dropout, kinds } = *self;
        let first = Init::Normal { std: 0.1 };
        let places = tokens.graph().parameter("pos_emb", [context, width], first);
        let mut h = &tokens.apply("tok_emb", &Embedding::new(kinds, width).init(first)) + &places;
        for number in 0..layers {
            h = h.apply(&format!("blocks.{number}"), &Block { width, heads, dropout });
        }
        h.apply("ln_f", &LayerNorm::new(width)).apply("head", &Linear::new(kinds))
    }
}
