use std::fmt;

use super::Module;
use crate::graph::Var;

/// Applies modules one after the other, like torch's `Sequential`.
///
/// Each module is named by its index from 0, counting modules without parameters too, or by an explicit name.
///
/// ```
/// use gradus::graph::{Graph, Var};
/// use gradus::nn::{Conv2d, Linear, MaxPool2d, Sequential};
///
/// let network = Sequential::new()
///     .add_module("conv", Conv2d::new(16, 3).padding(1))
///     .append(Var::relu)
///     .append(MaxPool2d::new(2))
///     .append(|h: &Var| h.dropout(0.1))
///     .append(Var::flatten)
///     .append(Linear::new(10));
/// let graph = Graph::new();
/// let logits = graph.input("x", [8, 1, 28, 28]).apply("", &network);
/// assert_eq!(logits.shape(), [8, 10]);
/// assert_eq!(graph.parameters()[2].name, "5.weight");
/// ```
///
/// Source: <https://docs.pytorch.org/docs/stable/generated/torch.nn.Sequential.html>.
#[derive(Default)]
#[must_use]
pub struct Sequential {
    modules: Vec<(String, Box<dyn Module + Send + Sync>)>,
}

impl fmt::Debug for Sequential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.modules.iter().map(|(name, _)| name);
        f.debug_tuple("Sequential").field(&names.collect::<Vec<_>>()).finish()
    }
}

impl Sequential {
    /// No modules: returns its input.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends a module, named by its index.
    pub fn append(self, module: impl Module + Send + Sync + 'static) -> Self {
        let name = self.modules.len().to_string();
        self.add_module(&name, module)
    }

    /// Appends a module with a name, like torch's `Sequential` of an `OrderedDict`.
    pub fn add_module(mut self, name: &str, module: impl Module + Send + Sync + 'static) -> Self {
        self.modules.push((name.into(), Box::new(module)));
        self
    }
}

impl Module for Sequential {
    fn forward(&self, x: &Var) -> Var {
        self.modules.iter().fold(x.clone(), |h, (name, module)| h.apply(name, &**module))
    }
}
