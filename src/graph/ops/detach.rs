use super::{Cast, Made, Op, Reads};
use crate::Error;
use crate::graph::Var;
use crate::graph::lowering::Lowering;

#[derive(Debug)]
struct Detach;

impl Var {
    /// The same value as a constant: no gradient passes through it. It costs nothing, and values that only it needs
    /// have no backward pass.
    ///
    /// ```
    /// use gradus::graph::Graph;
    ///
    /// let x = Graph::new().input("x", [8, 4]).linear(3);
    /// // Its gradient is that of the first part alone.
    /// let loss = x.add(&x.detach()).mean();
    /// assert_eq!(loss.shape(), [1]);
    /// ```
    ///
    /// Source: <https://docs.pytorch.org/docs/stable/generated/torch.Tensor.detach.html>.
    #[must_use]
    pub fn detach(&self) -> Var {
        self.unary(Detach)
    }
}

impl Op for Detach {
    fn kind(&self) -> &'static str {
        "detach"
    }

    fn cast(&self) -> Cast {
        Cast::AsInputs
    }

    fn infer(&self, _: &str, inputs: &[&[usize]]) -> Result<Vec<usize>, Error> {
        Ok(inputs[0].to_vec())
    }

    fn of_scalars(&self, inputs: &[f64]) -> Option<f64> {
        Some(inputs[0])
    }

    fn reads(&self, _: usize) -> Reads {
        Reads::Strided
    }

    fn makes(&self) -> Made {
        Made::AsInputs
    }

    fn forward(&self, lowering: &mut Lowering, id: usize) -> Result<(), Error> {
        // Not `define_views`, which would share the gradient of the input.
        lowering.define_spread(id, lowering.argument_view(id, 0));
        Ok(())
    }

    fn backward(&self, _: &mut Lowering, _: usize) -> Result<(), Error> {
        Ok(())
    }

    fn stops_gradient(&self) -> bool {
        true
    }
}
