//! The network (a body and a head), and loading weights into its body.

use std::path::Path;

use anyhow::{Result, bail};
use gradus::ParamStore;
use gradus::graph::{Parameter, Var};
use gradus::nn::{Conv2d, Linear, Module};
use gradus::params::Weights;

/// Two convolutions with pooling and a hidden layer of 64, as in `train_cnn`.
struct Body;

impl Module for Body {
    fn forward(&self, x: &Var) -> Var {
        let h = x.apply("conv1", &Conv2d::new(16, 3).padding(1)).relu().max_pool2d(2);
        let h = h.apply("conv2", &Conv2d::new(32, 3).padding(1)).relu().max_pool2d(2);
        h.flatten().apply("fc1", &Linear::new(64)).relu()
    }
}

pub(crate) fn logits(x: &Var, classes: usize) -> Var {
    x.apply("body", &Body).apply("head", &Linear::new(classes))
}

/// The group of a parameter, `body` or `head`: the name of its module.
pub(crate) fn group(parameter: &Parameter) -> String {
    parameter.name.split('.').next().unwrap_or_default().into()
}

/// The names of the body's layers in `train_cnn`.
const OF_TRAIN_CNN: [(&str, &str); 3] =
    [("conv2d_1.", "body.conv1."), ("conv2d_2.", "body.conv2."), ("linear1.", "body.fc1.")];

/// The weights of a body, renamed to the names used here, without the head.
pub(crate) fn body_of(weights: Weights) -> Result<Weights> {
    Ok(weights.rename(|name| {
        let renamed = |(theirs, ours)| name.strip_prefix(theirs).map(|rest| format!("{ours}{rest}"));
        let known = name.starts_with("body.").then(|| name.to_owned());
        known.or_else(|| OF_TRAIN_CNN.into_iter().find_map(renamed))
    })?)
}

/// CRC-32 of names and values, to identify a body.
pub(crate) fn checksum(body: &Weights) -> u32 {
    let mut sum = crc32fast::Hasher::new();
    for (name, tensor) in body.iter() {
        sum.update(name.as_bytes());
        sum.update(bytemuck::cast_slice(&tensor.values));
    }
    sum.finalize()
}

/// Loads a body completely or not at all. The head keeps its initial values.
pub(crate) fn load(params: &mut ParamStore, body: &Weights, from: Option<&Path>) -> Result<()> {
    let missing = |name: &String| name.starts_with("body.") && !body.names().any(|given| given == name);
    let missing: Vec<String> = params.tensors().map(|span| span.name.clone()).filter(missing).collect();
    if let (Some(first), Some(path)) = (missing.first(), from) {
        bail!("--from {}: {first} is missing, and {} others", path.display(), missing.len() - 1);
    }
    let report = params.load_state_dict(body, false)?;
    if let (Some(first), Some(path)) = (report.unexpected_keys.first(), from) {
        bail!("--from {}: {first} is not of this network", path.display());
    }
    Ok(())
}
