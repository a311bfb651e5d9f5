mod launch;

use launch::Geometry;

use super::{Op, column_sum};
use crate::Error;
use crate::gpu::Binding::{Read, ReadWrite};
use crate::gpu::KernelClass;
use crate::graph::lower::{Lowering, Operand};
use crate::graph::shape::{Matrix, u};

/// `y = x W^T + b` over the last dimension.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Linear {
    pub(crate) weight: [usize; 2],
}

impl Linear {
    fn geometry(&self, lowering: &Lowering, id: usize) -> Geometry {
        let [out_features, in_features] = self.weight.map(u);
        Geometry { rows: u(Matrix::of(lowering.shape(id)).rows), in_features, out_features }
    }
}

impl Op for Linear {
    fn kind(&self) -> &'static str {
        "linear"
    }

    fn infer(&self, layer: &str, inputs: &[&[usize]]) -> Result<Vec<usize>, Error> {
        let [out, features] = self.weight;
        match inputs[0] {
            // The rows of an image are its pixels, not its last dimension.
            got if got.len() == 4 => {
                let expected = "features, not an image: flatten it first".into();
                Err(Error::Shape { layer: layer.into(), expected, got: got.to_vec() })
            }
            [leading @ .., last] if *last == features => Ok([leading, &[out]].concat()),
            got => {
                let expected = format!("[.., {features}] for a weight {:?}", self.weight);
                Err(Error::Shape { layer: layer.into(), expected, got: got.to_vec() })
            }
        }
    }

    fn forward(&self, lowering: &mut Lowering, id: usize) -> Result<(), Error> {
        let (name, geometry) = (lowering.name(id), self.geometry(lowering, id));
        let relu = lowering.relu_after(id);
        let parameters = lowering.parameters(id).to_vec();
        let weight = Operand::Parameter(parameters[0]);
        let bias = parameters.get(1).map(|&bias| Operand::Parameter(bias));
        // A binding needs a buffer even where there is no bias to read.
        let operands = [lowering.argument(id, 0), weight, bias.unwrap_or(weight), lowering.define(id)];
        let (storage, has_bias) = ([Read, Read, Read, ReadWrite], bias.is_some());
        match launch::class(&geometry, lowering.class) {
            KernelClass::CpuSubgroup8 => {
                lowering.launch(&name, &storage, &operands, launch::forward(&geometry, has_bias, relu));
            }
            KernelClass::Plain => {
                lowering.launch(&name, &storage, &operands, launch::forward_plain(&geometry, has_bias, relu));
            }
        }
        Ok(())
    }

    fn backward(&self, lowering: &mut Lowering, id: usize) -> Result<(), Error> {
        let (name, geometry) = (lowering.name(id), self.geometry(lowering, id));
        let class = launch::class(&geometry, lowering.class);
        let parameters = lowering.parameters(id).to_vec();
        let (x, dy) = (lowering.argument(id, 0), lowering.gradient(id));
        let (dw, adds) = lowering.parameter_gradient(parameters[0]);
        match class {
            KernelClass::CpuSubgroup8 => {
                let (storage, launch) = ([Read, Read, ReadWrite], launch::weight_grad(&geometry, adds));
                lowering.launch(&name, &storage, &[dy, x, dw], launch);
            }
            KernelClass::Plain => {
                let (storage, launch) =
                    ([Read, Read, Read, ReadWrite], launch::weight_grad_plain(&geometry, adds));
                lowering.launch(&name, &storage, &[dy, x, x, dw], launch);
            }
        }
        if let Some(&bias) = parameters.get(1) {
            column_sum::emit(lowering, &name, geometry.rows, geometry.out_features, dy, bias);
        }
        let Some((dx, adds)) = lowering.gradient_into(id, 0) else { return Ok(()) };
        let weight = Operand::Parameter(parameters[0]);
        match class {
            KernelClass::CpuSubgroup8 => {
                let (storage, launch) = ([Read, Read, ReadWrite], launch::input_grad(&geometry, adds));
                lowering.launch(&name, &storage, &[dy, weight, dx], launch);
            }
            KernelClass::Plain => {
                let (storage, launch) =
                    ([Read, Read, Read, ReadWrite], launch::input_grad_plain(&geometry, adds));
                lowering.launch(&name, &storage, &[dy, weight, weight, dx], launch);
            }
        }
        Ok(())
    }

    fn takes_relu_after(&self) -> bool {
        true
    }
}
