use super::{Made, Op, Reads, grid, same_shapes};
use crate::Error;
use crate::gpu::{Binding, uniform};
use crate::graph::lower::{Lowering, source};
use crate::graph::shape::u;

/// The squares of the differences of two values of one shape.
#[derive(Debug)]
pub(crate) struct SquaredError;

uniform! {
    pub(crate) struct Shape { quads: u32 }
}
uniform! {
    pub(crate) struct GradShape { quads: u32, scale: f32, accumulate: u32 }
}

impl Op for SquaredError {
    fn kind(&self) -> &'static str {
        "mse_loss"
    }

    fn infer(&self, layer: &str, inputs: &[&[usize]]) -> Result<Vec<usize>, Error> {
        same_shapes(layer, inputs)
    }

    fn of_scalars(&self, inputs: &[f64]) -> Option<f64> {
        Some((inputs[0] - inputs[1]).powi(2))
    }

    fn reads(&self, _: usize) -> Reads {
        Reads::AsMade
    }

    fn makes(&self) -> Made {
        Made::AsInputs
    }

    fn forward(&self, lowering: &mut Lowering, id: usize) -> Result<(), Error> {
        let quads = lowering.matrix(id).quads();
        let operands = [lowering.argument(id, 0), lowering.argument(id, 1), lowering.define(id)];
        let wgsl = include_str!("../../../shaders/ops/squared_error.wgsl");
        let storage = [Binding::Read, Binding::Read, Binding::ReadWrite];
        let kernel = source::<Shape>("squared_error", wgsl, &storage);
        lowering.emit(&lowering.name(id), kernel, grid(quads), &operands, Shape { quads: u(quads) });
        Ok(())
    }

    fn backward(&self, lowering: &mut Lowering, id: usize) -> Result<(), Error> {
        let quads = lowering.matrix(id).quads();
        for (input, scale) in [(0, 2.0), (1, -2.0)] {
            let Some((dx, accumulate)) = lowering.gradient_into(id, input) else { continue };
            let operands = [lowering.argument(id, 0), lowering.argument(id, 1), lowering.gradient(id), dx];
            let wgsl = include_str!("../../../shaders/ops/squared_error_grad.wgsl");
            let storage = [Binding::Read, Binding::Read, Binding::Read, Binding::ReadWrite];
            let kernel = source::<GradShape>("squared_error_grad", wgsl, &storage);
            let shape = GradShape { quads: u(quads), scale, accumulate: u32::from(accumulate) };
            lowering.emit(&lowering.name(id), kernel, grid(quads), &operands, shape);
        }
        Ok(())
    }
}
