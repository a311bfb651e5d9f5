mod launch;

use launch::{Geometry, Product};

use super::split::{self, Epilogue, Sum};
use super::{Op, column_sum};
use crate::Error;
use crate::gpu::Binding::{Read, ReadWrite};
use crate::gpu::KernelClass;
use crate::graph::lower::{Lowering, Operand};
use crate::graph::shape::u;

/// `y = x W^T + b` over the last dimension.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Linear {
    pub(crate) weight: [usize; 2],
}

impl Linear {
    fn geometry(&self, lowering: &Lowering, id: usize) -> Geometry {
        let [out_features, in_features] = self.weight.map(u);
        Geometry { rows: u(lowering.matrix(id).rows), in_features, out_features }
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
        let (name, geometry) = (lowering.name(id), self.geometry(lowering, id));
        let class = launch::class(&geometry, lowering.class);
        let parameters = lowering.parameters(id).to_vec();
        let weight = Operand::Parameter(parameters[0]);
        let bias = parameters.get(1).map(|&bias| Operand::Parameter(bias));
        let has_bias = bias.is_some();
        let sum = Sum {
            parts: launch::parts(&geometry, class, Product::Forward).count,
            len: lowering.matrix(id).len(),
            epilogue: Epilogue { accumulate: false, relu: lowering.relu_after(id) },
        };
        // A binding needs a buffer even where there is no bias to read.
        let operands = [lowering.argument(id, 0), weight, bias.unwrap_or(weight), lowering.define(id)];
        let bound = (&[Read, Read, Read, ReadWrite][..], &operands[..]);
        match class {
            KernelClass::CpuSubgroup8 => split::emit(lowering, &name, bound, sum, |first, epilogue| {
                launch::forward(&geometry, has_bias, first, epilogue)
            }),
            KernelClass::Plain => split::emit(lowering, &name, bound, sum, |first, epilogue| {
                launch::forward_plain(&geometry, has_bias, first, epilogue)
            }),
        }
        Ok(())
    }

    fn backward(&self, lowering: &mut Lowering, id: usize) -> Result<(), Error> {
        let (name, geometry) = (lowering.name(id), self.geometry(lowering, id));
        let parameters = lowering.parameters(id).to_vec();
        let (x, dy) = (lowering.argument(id, 0), lowering.gradient(id));
        let (dw, adds) = lowering.parameter_gradient(parameters[0]);
        let [out_features, in_features] = self.weight;
        product(
            lowering,
            &name,
            &geometry,
            Product::WeightGrad,
            ([dy, x, dw], out_features * in_features),
            adds,
        );
        if let Some(&bias) = parameters.get(1) {
            column_sum::emit(lowering, &name, geometry.rows, geometry.out_features, dy, bias);
        }
        let Some((dx, adds)) = lowering.gradient_into(id, 0) else { return Ok(()) };
        let weight = Operand::Parameter(parameters[0]);
        let len = lowering.input_matrix(id, 0).len();
        product(lowering, &name, &geometry, Product::InputGrad, ([dy, weight, dx], len), adds);
        Ok(())
    }

    fn takes_relu_after(&self) -> bool {
        true
    }
}

/// Emits one of the two products of the backward pass: left, right and output, with the elements of the output.
fn product(
    lowering: &mut Lowering,
    layer: &str,
    geometry: &Geometry,
    product: Product,
    ([left, right, output], len): ([Operand; 3], usize),
    accumulate: bool,
) {
    let class = launch::class(geometry, lowering.class);
    let parts = launch::parts(geometry, class, product).count;
    let sum = Sum { parts, len, epilogue: Epilogue { accumulate, relu: false } };
    match class {
        KernelClass::CpuSubgroup8 => {
            let bound = (&[Read, Read, ReadWrite][..], &[left, right, output][..]);
            split::emit(lowering, layer, bound, sum, |first, epilogue| match product {
                Product::WeightGrad => launch::weight_grad(geometry, first, epilogue),
                _ => launch::input_grad(geometry, first, epilogue),
            });
        }
        KernelClass::Plain => {
            // The kernel has a bias, which is nothing here.
            let bound = (&[Read, Read, Read, ReadWrite][..], &[left, right, right, output][..]);
            split::emit(lowering, layer, bound, sum, |first, epilogue| match product {
                Product::WeightGrad => launch::weight_grad_plain(geometry, first, epilogue),
                _ => launch::input_grad_plain(geometry, first, epilogue),
            });
        }
    }
}
