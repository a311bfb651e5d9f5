//! A causal transformer of pre-norm blocks, as GPT-2 (Radford et al. 2019), with the names that torch code gives them.

use anyhow::{Context, Result};
use gradus::Gpu;
use gradus::graph::{Graph, Parameter, Var};
use gradus::nn::{CrossEntropy, Embedding, Init, LayerNorm, Linear, Module, MultiheadAttention, Sequential};
use gradus::optim;

use crate::args::Config;
use crate::options::Length;
use crate::run::Trainer;

/// A label of what has no part in the loss.
pub(crate) const IGNORED: u32 = u32::MAX;

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
struct Transformer<'a> {
    config: &'a Config,
    kinds: usize,
}

impl Module for Transformer<'_> {
    fn forward(&self, tokens: &Var) -> Var {
        let Config { width, layers, heads, context, dropout, .. } = *self.config;
        let first = Init::Normal { std: 0.1 };
        let places = tokens.graph().parameter("pos_emb", [context, width], first);
        let mut h = &tokens.apply("tok_emb", &Embedding::new(self.kinds, width).init(first)) + &places;
        for number in 0..layers {
            h = h.apply(&format!("blocks.{number}"), &Block { width, heads, dropout });
        }
        h.apply("ln_f", &LayerNorm::new(width)).apply("head", &Linear::new(self.kinds))
    }
}

/// The characters `tokens` and the logits of what follows them, in batches of so many.
pub(crate) fn network(graph: &Graph, config: &Config, kinds: usize) -> Var {
    let tokens = graph.labels("tokens", [config.training.batch_size, config.context]);
    tokens.apply("", &Transformer { config, kinds })
}

/// A trainer, and the logits of its network.
pub(crate) fn trainer(gpu: &Gpu, config: &Config, kinds: usize, length: Length) -> Result<(Trainer, Var)> {
    let Config { width, heads, context, ref training, .. } = *config;
    let graph = Graph::new();
    let logits = network(&graph, config, kinds);
    let next = graph.labels("next", [training.batch_size, context]);
    let options = CrossEntropy::new().ignore_index(IGNORED);
    let loss = logits.permute(&[0, 2, 1]).cross_entropy_with(options, &next);
    let bits = &loss * std::f64::consts::LOG2_E;
    let mut trainer = graph
        .trainer(&loss, training.optimizer()?)
        .schedule(training.schedule(length)?)
        .steps_per_epoch(length.steps_per_epoch)
        .clip_grad_norm(1.0)
        .metric("bits", &bits)
        .groups(|parameter| if is_matrix(parameter) { "decay" } else { "no_decay" }.into())
        .seed(training.seed)
        .build(gpu)
        .with_context(|| format!("--width {width}, --heads {heads}, --context {context}"))?;
    begin_as_gpt2(&mut trainer, config.layers)?;
    Ok((trainer, logits))
}

/// Whether it is the matrix of a linear map, which decays; embeddings, biases and weights of norms do not.
fn is_matrix(parameter: &Parameter) -> bool {
    parameter.shape.len() == 2 && !parameter.name.ends_with("_emb.weight") && parameter.name != "pos_emb"
}

/// No decay where that is said above, and first values of the maps that add to the stream that are smaller the more there
/// are of them.
fn begin_as_gpt2(trainer: &mut Trainer, layers: usize) -> Result<()> {
    let rule = trainer.optimizer_mut().group_mut("no_decay")?;
    let mut options = rule.to_json();
    if let Some(decay) = options.get_mut("weight_decay") {
        *decay = 0.0.into();
        *rule = optim::from_json(&options)?;
    }
    let scale = 1.0 / (2.0 * layers as f32).sqrt();
    for (layer, map) in (0..layers).flat_map(|layer| [(layer, "attn.out_proj"), (layer, "mlp.2")]) {
        let name = format!("blocks.{layer}.{map}.weight");
        let values: Vec<f32> = trainer.params().read(&name)?.iter().map(|value| value * scale).collect();
        trainer.params_mut().write(&name, &values)?;
    }
    Ok(())
}
