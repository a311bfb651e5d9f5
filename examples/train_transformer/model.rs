//! The network in training, and its logits.

use anyhow::{Context, Result};
use gradus::Gpu;
use gradus::graph::{Graph, Parameter, Var};
use gradus::nn::CrossEntropy;
use gradus::optim;

use crate::args::Config;
use crate::network::Transformer;
use crate::options::Length;
use crate::run::Trainer;

/// The label of positions that are not part of the loss.
pub(crate) const IGNORED: u32 = u32::MAX;

/// The input `tokens`, and the logits of the next characters.
pub(crate) fn network(graph: &Graph, config: &Config, kinds: usize) -> Var {
    let tokens = graph.labels("tokens", [config.training.batch_size, config.context]);
    let Config { width, layers, heads, context, dropout, .. } = *config;
    tokens.apply("", &Transformer { width, layers, heads, context, dropout, kinds })
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
    let mut trainer = training
        .average(training.cast(graph.trainer(&loss, training.optimizer()?)))?
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

/// Whether the parameter is the matrix of a linear layer, to which weight decay applies; not to embeddings, biases
/// and norm weights.
fn is_matrix(parameter: &Parameter) -> bool {
    parameter.shape.len() == 2 && !parameter.name.ends_with("_emb.weight") && parameter.name != "pos_emb"
}

/// Disables weight decay for other parameters, and scales down the initial values of the projections that add to the
/// residual stream, depending on their number.
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
