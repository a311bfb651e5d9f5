use super::matmul::{gradient_into, readable};
use super::product::{Factor, contract, contract_summing};
use super::split::Epilogue;
use super::{Anchor, Cast, Op, Reads, column_sum};
use crate::Error;
use crate::graph::lowering::{Lowering, Operand};
use crate::graph::shape::u;
use crate::graph::view::{Order, View};

/// `y = x W^T + b` over the last dimension.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Linear {
    pub(crate) weight: [usize; 2],
}

/// The rows of a value whose quads lie along its last axis.
fn rows(view: &View) -> Factor {
    if view.shape.len() == 1 { Factor::row(view) } else { Factor::of(view) }
}

impl Op for Linear {
    fn kind(&self) -> &'static str {
        "linear"
    }

    fn cast(&self) -> Cast {
        Cast::Half
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

    fn reads(&self, _: usize) -> Reads {
        Reads::Strided
    }

    fn forward(&self, lowering: &mut Lowering, id: usize) -> Result<(), Error> {
        let parameters = lowering.parameters(id).to_vec();
        let bias = parameters.get(1).map(|&bias| Operand::Parameter(bias));
        let weight = Factor::dense(Operand::Parameter(parameters[0]), self.weight);
        let x = readable(lowering, id, 0, 1);
        let y = View::packed(lowering.define(id), lowering.shape(id), Order::Natural);
        let epilogue = Epilogue { accumulate: false, finish: lowering.finish(id) };
        let factors = [&rows(&x), &weight.transposed(), &rows(&y)];
        contract(lowering, &lowering.name(id), factors, bias, epilogue);
        Ok(())
    }

    fn backward(&self, lowering: &mut Lowering, id: usize) -> Result<(), Error> {
        let (name, parameters) = (lowering.name(id), lowering.parameters(id).to_vec());
        let gradient = lowering.gradient(id);
        let dy = rows(&View::packed(gradient, lowering.shape(id), Order::Natural));
        let x = readable(lowering, id, 0, 1);
        let bias = parameters.get(1).map(|&bias| (bias, gradient));
        weight_grad(lowering, &name, [&dy, &rows(&x)], (parameters[0], self.weight), bias);
        let weight = Factor::dense(Operand::Parameter(parameters[0]), self.weight);
        gradient_into(lowering, id, (0, 1), |lowering, dx, epilogue| {
            contract(lowering, &name, [&dy, &weight, &rows(dx)], None, epilogue);
        });
        Ok(())
    }

    fn anchor(&self, _: &Lowering, _: usize) -> Option<Anchor> {
        Some(Anchor { buffers: 4, lanes: 4 })
    }
}

/// Emits the gradient of a parameter `[out, in]` by which the rows `x` were multiplied: the product of the upstream
/// gradients `dy` with `x`. Also emits the gradient of a bias, if there is one, from packed upstream gradients in the
/// operand that comes with it.
pub(super) fn weight_grad(
    lowering: &mut Lowering,
    layer: &str,
    [dy, x]: [&Factor; 2],
    (parameter, weight): (usize, [usize; 2]),
    bias: Option<(usize, Operand)>,
) {
    let gradient = lowering.parameter_gradient(parameter);
    let bias = bias.and_then(|(bias, dy)| lowering.parameter_gradient(bias).map(|sums| (sums, dy)));
    if let Some((dw, accumulate)) = gradient {
        let factors = [&dy.transposed(), x, &Factor::dense(dw, weight)];
        if let Some((sums, _)) = bias
            && contract_summing(lowering, layer, factors, accumulate, sums)
        {
            return;
        }
        contract(lowering, layer, factors, None, Epilogue { accumulate, finish: None });
    }
    if let Some((sums, of)) = bias {
        column_sum::emit(lowering, layer, u(dy.rows()), u(weight[0]), of, sums);
    }
}
