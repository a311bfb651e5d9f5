use super::{Made, Op, Reads, grid};
use crate::Error;
use crate::gpu::{Binding, uniform};
use crate::graph::Var;
use crate::graph::lower::{Lowering, source};
use crate::graph::shape::u;

uniform! {
    pub(crate) struct Shape { quads: u32 }
}
uniform! {
    pub(crate) struct GradShape { quads: u32, accumulate: u32 }
}

#[derive(Debug)]
struct Relu;

impl Var {
    /// `max(x, 0)`; the gradient at 0 is 0, as torch's `relu`.
    #[must_use]
    pub fn relu(&self) -> Var {
        self.unary(Relu)
    }
}

impl Op for Relu {
    fn kind(&self) -> &'static str {
        "relu"
    }

    fn infer(&self, _: &str, inputs: &[&[usize]]) -> Result<Vec<usize>, Error> {
        Ok(inputs[0].to_vec())
    }

    fn of_scalars(&self, inputs: &[f64]) -> Option<f64> {
        // NaN stays.
        Some(if inputs[0] < 0.0 { 0.0 } else { inputs[0] })
    }

    fn reads(&self, _: usize) -> Reads {
        Reads::AsMade
    }

    fn makes(&self) -> Made {
        Made::AsInputs
    }

    fn forward(&self, lowering: &mut Lowering, id: usize) -> Result<(), Error> {
        let quads = lowering.matrix(id).quads();
        let x = lowering.argument(id, 0);
        let y = lowering.define(id);
        let wgsl = include_str!("../../../shaders/ops/relu.wgsl");
        let kernel = source::<Shape>("relu", wgsl, &[Binding::Read, Binding::ReadWrite]);
        lowering.emit(&lowering.name(id), kernel, grid(quads), &[x, y], Shape { quads: u(quads) });
        Ok(())
    }

    fn backward(&self, lowering: &mut Lowering, id: usize) -> Result<(), Error> {
        let Some((dx, accumulate)) = lowering.gradient_into(id, 0) else { return Ok(()) };
        let quads = lowering.matrix(id).quads();
        let (y, dy) = (lowering.result(id), lowering.gradient(id));
        let wgsl = include_str!("../../../shaders/ops/relu_grad.wgsl");
        let storage = [Binding::Read, Binding::Read, Binding::ReadWrite];
        let kernel = source::<GradShape>("relu_grad", wgsl, &storage);
        let shape = GradShape { quads: u(quads), accumulate: u32::from(accumulate) };
        lowering.emit(&lowering.name(id), kernel, grid(quads), &[y, dy, dx], shape);
        Ok(())
    }

    fn is_relu(&self) -> bool {
        true
    }
}
