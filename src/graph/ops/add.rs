use super::{Made, Op, Reads, grid, rearrange, same_shapes};
use crate::Error;
use crate::gpu::{Binding, uniform};
use crate::graph::Var;
use crate::graph::lower::{Lowering, source};
use crate::graph::shape::u;
use crate::graph::view::View;

uniform! {
    pub(crate) struct Shape { quads: u32, relu: u32 }
}

#[derive(Debug)]
struct Add;

impl Var {
    /// The sum of two values of one shape, as of a residual connection.
    #[must_use]
    pub fn add(&self, other: &Var) -> Var {
        self.graph().push(Add, None, &[self, other], &[], None)
    }
}

impl Op for Add {
    fn kind(&self) -> &'static str {
        "add"
    }

    fn infer(&self, layer: &str, inputs: &[&[usize]]) -> Result<Vec<usize>, Error> {
        same_shapes(layer, inputs)
    }

    fn of_scalars(&self, inputs: &[f64]) -> Option<f64> {
        Some(inputs[0] + inputs[1])
    }

    fn reads(&self, _: usize) -> Reads {
        Reads::AsMade
    }

    fn makes(&self) -> Made {
        Made::AsInputs
    }

    fn forward(&self, lowering: &mut Lowering, id: usize) -> Result<(), Error> {
        let quads = lowering.matrix(id).quads();
        let (a, b) = (lowering.argument(id, 0), lowering.argument(id, 1));
        let y = lowering.define(id);
        let shape = Shape { quads: u(quads), relu: u32::from(lowering.relu_after(id)) };
        let wgsl = include_str!("../../../shaders/ops/add.wgsl");
        let kernel = source::<Shape>("add", wgsl, &[Binding::Read, Binding::Read, Binding::ReadWrite]);
        lowering.emit(&lowering.name(id), kernel, grid(quads), &[a, b, y], shape);
        Ok(())
    }

    fn backward(&self, lowering: &mut Lowering, id: usize) -> Result<(), Error> {
        pass_gradient(lowering, id, 0);
        pass_gradient(lowering, id, 1);
        Ok(())
    }

    fn takes_relu_after(&self) -> bool {
        true
    }
}

/// Sends the gradient of a node unchanged to one of its inputs: without a dispatch where it is the only
/// gradient of that input, by a copy or a sum otherwise.
pub(super) fn pass_gradient(lowering: &mut Lowering, id: usize, input: usize) {
    if lowering.share_gradient(id, input) {
        return;
    }
    let Some((dx, accumulate)) = lowering.gradient_into(id, input) else { return };
    let view = |of| View::packed(of, lowering.shape(id), lowering.order(id));
    let (from, to) = (view(lowering.gradient(id)), view(dx));
    rearrange(lowering, &lowering.name(id), &from, &to, accumulate);
}
