//! Networks for sequences.

use anyhow::Result;
use burn::module::{Module, Param};
use burn::nn::attention::{
    MhaInput, MultiHeadAttention, MultiHeadAttentionConfig, generate_autoregressive_mask,
};
use burn::nn::{Embedding, EmbeddingConfig, LayerNorm, Linear, Lstm, LstmConfig};
use burn::tensor::activation::gelu;
use burn::tensor::{Device, Int, Tensor};
use protocol::Tensors;

use crate::weights::{gate, layer_norm, linear, param, projection};

/// Two layers of an LSTM and a linear one over the last state.
#[derive(Module, Debug)]
pub struct Sums {
    layers: Vec<Lstm>,
    head: Linear,
}

impl Sums {
    pub fn new(weights: &Tensors, device: &Device) -> Result<Self> {
        let layers = (0..2).map(|number| {
            let hidden = weights.get(&format!("rnn.weight_hh_l{number}"))?.0[1];
            let inputs = weights.get(&format!("rnn.weight_ih_l{number}"))?.0[1];
            let mut layer = LstmConfig::new(inputs, hidden, true).init(device);
            let set = |at, controller| gate(weights, "rnn", number, at, controller, device);
            // torch's order: input, forget, cell, output.
            set(0, &mut layer.input_gate)?;
            set(1, layer.forget_gate.as_mut().expect("an LSTM with all gates"))?;
            set(2, &mut layer.cell_gate)?;
            set(3, &mut layer.output_gate)?;
            Ok(layer)
        });
        Ok(Self { layers: layers.collect::<Result<_>>()?, head: linear(weights, "head", device)? })
    }

    pub fn forward(&self, x: Tensor<3>) -> Tensor<2> {
        let states = self.layers.iter().fold(x, |h, layer| layer.forward(h, None).0);
        let [batch, steps, hidden] = states.dims();
        self.head.forward(states.slice([0..batch, steps - 1..steps, 0..hidden]).flatten(1, 2))
    }
}

#[derive(Module, Debug)]
struct Block {
    ln1: LayerNorm,
    ln2: LayerNorm,
    attn: MultiHeadAttention,
    up: Linear,
    down: Linear,
}

impl Block {
    fn new(weights: &Tensors, name: &str, heads: usize, device: &Device) -> Result<Self> {
        let ln1 = layer_norm(weights, &format!("{name}.ln1"), device)?;
        let width = ln1.gamma.dims()[0];
        let mut attn = MultiHeadAttentionConfig::new(width, heads).with_dropout(0.0).init(device);
        let part = |at| projection(weights, &format!("{name}.attn.in_proj"), at, 3, device);
        (attn.query, attn.key, attn.value) = (part(0)?, part(1)?, part(2)?);
        attn.output = linear(weights, &format!("{name}.attn.out_proj"), device)?;
        Ok(Self {
            ln1,
            ln2: layer_norm(weights, &format!("{name}.ln2"), device)?,
            attn,
            up: linear(weights, &format!("{name}.mlp.0"), device)?,
            down: linear(weights, &format!("{name}.mlp.2"), device)?,
        })
    }

    fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let h = self.ln1.forward(x.clone());
        let [batch, steps, _] = h.dims();
        let mask = generate_autoregressive_mask(batch, steps, &h.device());
        let x = x + self.attn.forward(MhaInput::self_attn(h).mask_attn(mask)).context;
        x.clone() + self.down.forward(gelu(self.up.forward(self.ln2.forward(x))))
    }
}

/// A causal transformer of pre-norm blocks with four heads.
#[derive(Module, Debug)]
pub struct Transformer {
    tok_emb: Embedding,
    pos_emb: Param<Tensor<2>>,
    blocks: Vec<Block>,
    ln_f: LayerNorm,
    head: Linear,
}

impl Transformer {
    pub fn new(weights: &Tensors, device: &Device) -> Result<Self> {
        let &[kinds, width] = weights.get("tok_emb.weight")?.0 else { anyhow::bail!("tok_emb is no matrix") };
        let mut tok_emb = EmbeddingConfig::new(kinds, width).init(device);
        tok_emb.weight = param(weights, "tok_emb.weight", device)?;
        let blocks = (0..2).map(|number| Block::new(weights, &format!("blocks.{number}"), 4, device));
        Ok(Self {
            tok_emb,
            pos_emb: param(weights, "pos_emb", device)?,
            blocks: blocks.collect::<Result<_>>()?,
            ln_f: layer_norm(weights, "ln_f", device)?,
            head: linear(weights, "head", device)?,
        })
    }

    /// A row of logits for each character of each text.
    pub fn forward(&self, tokens: Tensor<2, Int>) -> Tensor<2> {
        let h = self.tok_emb.forward(tokens) + self.pos_emb.val().unsqueeze();
        let h = self.blocks.iter().fold(h, |h, block| block.forward(h));
        self.head.forward(self.ln_f.forward(h)).flatten(0, 1)
    }
}
