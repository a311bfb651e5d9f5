use super::Tensor;
use super::function::ADD;
use crate::graph::{Init, Var};

impl Var {
    /// Adds a trained bias: one element per channel of an image `[N, C, H, W]`, or per element of the last dimension
    /// of any other value.
    ///
    /// The parameter is called `bias1`, `bias2`, … and is initialised to 0.
    /// The parameter is `bias1`, `bias2`, … and starts at 0.
    #[must_use]
    pub fn bias(&self) -> Var {
        let (graph, shape) = (self.graph(), self.shape());
        let name = graph.layer_name("bias", None);
        let is_image = shape.len() == 4;
        let len = if is_image { shape[1] } else { shape.last().copied().unwrap_or(1) };
        let parameter = graph.declare(&name, vec![len], Init::Constant(0.0));
        let tensor = graph.push(Tensor, Some(&format!("{name}.tensor")), &[], &[parameter], Some(vec![len]));
        let tensor = if is_image { tensor.reshape(&[-1, 1, 1]) } else { tensor };
        self.function_named(&name, ADD, &[&tensor])
    }
}
