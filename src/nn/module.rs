use super::{
    AvgPool2d, BatchNorm, Conv1d, Conv2d, ConvTranspose2d, Embedding, GroupNorm, LayerNorm, Linear,
    MaxPool2d, PReLU, RMSNorm, Upsample,
};
use crate::graph::Var;

/// A part of a network that builds its layers onto a value, like `forward` of torch's `Module`.
///
/// It holds sizes and options, not tensors. [`Var::apply`] builds it under a name. Names nest as in torch, so
/// parameters get torch's names: `blocks.0.attn.in_proj_weight`. Layers with one input,
/// [`Sequential`](super::Sequential) and functions such as [`Var::relu`] are modules. For several inputs, write a
/// function or method and call it within [`Graph::scope`](crate::graph::Graph::scope).
///
/// ```
/// use gradus::graph::{Graph, Var};
/// use gradus::nn::{LayerNorm, Linear, Module, Sequential};
///
/// struct Block {
///     width: usize,
/// }
///
/// impl Module for Block {
///     fn forward(&self, x: &Var) -> Var {
///         let mlp = Sequential::new()
///             .append(Linear::new(4 * self.width))
///             .append(Var::gelu)
///             .append(Linear::new(self.width));
///         x + &x.apply("ln", &LayerNorm::new(self.width)).apply("mlp", &mlp)
///     }
/// }
///
/// let graph = Graph::new();
/// let mut h = graph.input("x", [8, 32]);
/// for block in 0..2 {
///     h = h.apply(&format!("blocks.{block}"), &Block { width: 32 });
/// }
/// let logits = h.apply("head", &Linear::new(10));
/// let names: Vec<String> = graph.parameters().into_iter().map(|parameter| parameter.name).collect();
/// assert_eq!(names[..3], ["blocks.0.ln.weight", "blocks.0.ln.bias", "blocks.0.mlp.0.weight"]);
/// assert_eq!(names.last().map(String::as_str), Some("head.bias"));
/// graph.check()?;
/// # Ok::<(), gradus::Error>(())
/// ```
///
/// Source: <https://docs.pytorch.org/docs/stable/generated/torch.nn.Module.html>. Differs: there is no eager mode;
/// building a module twice gives two sets of parameters, which [`Graph::tie`](crate::graph::Graph::tie) can share.
pub trait Module {
    /// Builds its layers onto `x`, with names relative to the module. [`Var::apply`] adds the names of the enclosing
    /// modules.
    #[must_use]
    fn forward(&self, x: &Var) -> Var;
}

impl Var {
    /// Builds a module onto this value, with all names nested under `name`: a layer's weight is called `name.weight`,
    /// and so on. An empty name adds nothing; use it for the outermost module.
    #[must_use]
    pub fn apply(&self, name: &str, module: &(impl Module + ?Sized)) -> Var {
        self.graph().scope(name, || module.forward(self))
    }
}

impl<F: Fn(&Var) -> Var> Module for F {
    fn forward(&self, x: &Var) -> Var {
        self(x)
    }
}

/// A layer that is used as a module gets the name under which it is applied.
macro_rules! named_layers {
    ($($layer:ident: $call:ident),+ $(,)?) => {$(
        impl Module for $layer {
            fn forward(&self, x: &Var) -> Var {
                let mut layer = self.clone();
                layer.name.get_or_insert_default();
                x.$call(layer)
            }
        }
    )+};
}

named_layers! {
    Conv1d: conv1d,
    Conv2d: conv2d,
    ConvTranspose2d: conv_transpose2d,
    Embedding: embedding,
    GroupNorm: group_norm,
    LayerNorm: layer_norm,
    Linear: linear,
    PReLU: prelu,
    RMSNorm: rms_norm,
}

/// Layers without parameters.
macro_rules! layers {
    ($($layer:ident: $call:ident),+ $(,)?) => {$(
        impl Module for $layer {
            fn forward(&self, x: &Var) -> Var {
                x.$call(*self)
            }
        }
    )+};
}

layers! {
    AvgPool2d: avg_pool2d,
    MaxPool2d: max_pool2d,
    Upsample: upsample,
}

impl Module for BatchNorm {
    /// Like `BatchNorm2d` for images `[N, C, H, W]`, and like `BatchNorm1d` otherwise.
    fn forward(&self, x: &Var) -> Var {
        let mut layer = self.clone();
        layer.name.get_or_insert_default();
        if x.shape().len() == 4 { x.batch_norm2d(layer) } else { x.batch_norm1d(layer) }
    }
}

#[cfg(test)]
mod tests;
