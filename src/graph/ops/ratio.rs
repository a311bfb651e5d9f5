use super::{Op, same_shapes};
use crate::Error;
use crate::gpu::{Binding, uniform};
use crate::graph::lowering::{Lowering, Operand, source};

/// The ratio of two scalars, without a gradient for the second one: a weighted sum divided by the sum of its weights.
#[derive(Debug)]
pub(crate) struct Ratio;

uniform! {
    pub(crate) struct Shape { accumulate: u32 }
}

fn divide(lowering: &mut Lowering, id: usize, operands: [Operand; 3], accumulate: bool) {
    let wgsl = include_str!("../../../shaders/ops/ratio.wgsl");
    let kernel = source::<Shape>("ratio", wgsl, &[Binding::Read, Binding::Read, Binding::ReadWrite]);
    let shape = Shape { accumulate: u32::from(accumulate) };
    lowering.emit(&lowering.name(id), kernel, [1; 3], &operands, shape);
}

impl Op for Ratio {
    fn kind(&self) -> &'static str {
        "weighted_mean"
    }

    fn infer(&self, layer: &str, inputs: &[&[usize]]) -> Result<Vec<usize>, Error> {
        same_shapes(layer, inputs)
    }

    fn of_scalars(&self, inputs: &[f64]) -> Option<f64> {
        Some(inputs[0] / inputs[1])
    }

    fn forward(&self, lowering: &mut Lowering, id: usize) -> Result<(), Error> {
        let operands = [lowering.argument(id, 0), lowering.argument(id, 1), lowering.define(id)];
        divide(lowering, id, operands, false);
        Ok(())
    }

    fn backward(&self, lowering: &mut Lowering, id: usize) -> Result<(), Error> {
        let Some((dx, accumulate)) = lowering.gradient_into(id, 0) else { return Ok(()) };
        let operands = [lowering.gradient(id), lowering.argument(id, 1), dx];
        divide(lowering, id, operands, accumulate);
        Ok(())
    }
}
