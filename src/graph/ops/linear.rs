use super::product::{self, Operands, Product};
use super::split::Sum;
use super::{Anchor, Op, column_sum};
use crate::Error;
use crate::graph::lower::{Lowering, Operand};
use crate::graph::shape::{pitch, u};

/// `y = x W^T + b` over the last dimension.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Linear {
    pub(crate) weight: [usize; 2],
}

/// Rows, input features and output features: the matrices of the three products.
#[derive(Clone, Copy, Debug)]
struct Sizes {
    rows: u32,
    features: u32,
    out: u32,
}

impl Sizes {
    /// `y = x * transpose(weight) + bias`.
    fn forward(self, has_bias: bool) -> Product {
        let Self { rows, features, out } = self;
        Product {
            rows,
            columns: out,
            inner: features,
            left: [pitch(features), 1],
            right: [1, features],
            out_row: pitch(out),
            has_bias,
        }
    }

    /// `dx = dy * weight`.
    fn input_grad(self) -> Product {
        let Self { rows, features, out } = self;
        Product {
            rows,
            columns: features,
            inner: out,
            left: [pitch(out), 1],
            right: [features, 1],
            out_row: pitch(features),
            has_bias: false,
        }
    }

    /// `dw = transpose(dy) * x`.
    fn weight_grad(self) -> Product {
        let Self { rows, features, out } = self;
        Product {
            rows: out,
            columns: features,
            inner: rows,
            left: [1, pitch(out)],
            right: [pitch(features), 1],
            out_row: features,
            has_bias: false,
        }
    }
}

impl Linear {
    fn sizes(&self, lowering: &Lowering, id: usize) -> Sizes {
        let [out, features] = self.weight.map(u);
        Sizes { rows: u(lowering.matrix(id).rows), features, out }
    }
}

impl Op for Linear {
    fn kind(&self) -> &'static str {
        "linear"
    }

    fn infer(&self, layer: &str, inputs: &[&[usize]]) -> Result<Vec<usize>, Error> {
        let [out, features] = self.weight;
        match inputs[0] {
            [leading @ .., last] if *last == features => Ok([leading, &[out]].concat()),
            got => {
                let expected = format!("[.., {features}] for a weight {:?}", self.weight);
                Err(Error::Shape { layer: layer.into(), expected, got: got.to_vec() })
            }
        }
    }

    fn forward(&self, lowering: &mut Lowering, id: usize) -> Result<(), Error> {
        let (name, sizes) = (lowering.name(id), self.sizes(lowering, id));
        let parameters = lowering.parameters(id).to_vec();
        let bias = parameters.get(1).map(|&bias| Operand::Parameter(bias));
        let operands = Operands {
            left: lowering.argument(id, 0),
            right: Operand::Parameter(parameters[0]),
            bias,
            output: lowering.define(id),
        };
        let len = lowering.matrix(id).len();
        let sum = Sum { len, finish: lowering.finish(id), ..Sum::default() };
        product::emit(lowering, &name, &sizes.forward(bias.is_some()), operands, sum);
        Ok(())
    }

    fn backward(&self, lowering: &mut Lowering, id: usize) -> Result<(), Error> {
        let (name, sizes) = (lowering.name(id), self.sizes(lowering, id));
        let parameters = lowering.parameters(id).to_vec();
        let (x, dy) = (lowering.argument(id, 0), lowering.gradient(id));
        weight_grad(lowering, &name, (sizes.rows, self.weight), [dy, x], parameters[0]);
        if let Some(&bias) = parameters.get(1) {
            column_sum::emit(lowering, &name, sizes.rows, sizes.out, dy, bias);
        }
        let Some((dx, accumulate)) = lowering.gradient_into(id, 0) else { return Ok(()) };
        let weight = Operand::Parameter(parameters[0]);
        let operands = Operands { left: dy, right: weight, bias: None, output: dx };
        let sum = Sum { len: lowering.input_matrix(id, 0).len(), accumulate, ..Sum::default() };
        product::emit(lowering, &name, &sizes.input_grad(), operands, sum);
        Ok(())
    }

    fn anchor(&self, _: &Lowering, _: usize) -> Option<Anchor> {
        Some(Anchor { buffers: 4, lanes: 4 })
    }
}

/// Emits the gradient of a parameter `[out, in]` that `rows` of inputs `x` were multiplied with: the product of the
/// gradients `dy` of the results with them.
pub(super) fn weight_grad(
    lowering: &mut Lowering,
    layer: &str,
    (rows, weight): (u32, [usize; 2]),
    [dy, x]: [Operand; 2],
    parameter: usize,
) {
    let [out, features] = weight.map(u);
    let Some((dw, accumulate)) = lowering.parameter_gradient(parameter) else { return };
    let operands = Operands { left: dy, right: x, bias: None, output: dw };
    let sum = Sum { len: weight.iter().product(), accumulate, ..Sum::default() };
    product::emit(lowering, layer, &Sizes { rows, features, out }.weight_grad(), operands, sum);
}
