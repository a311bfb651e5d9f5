use super::{Op, layout};
use crate::Error;
use crate::graph::lower::{Keep, Lowering, Operand};
use crate::graph::shape::{Matrix, Planes};

/// Data of the host.
#[derive(Debug)]
pub(crate) struct Input {
    pub(crate) labels: bool,
}

impl Op for Input {
    fn kind(&self) -> &'static str {
        "input"
    }

    fn infer(&self, _: &str, _: &[&[usize]]) -> Result<Vec<usize>, Error> {
        unreachable!("inputs are given their shape")
    }

    fn is_labels(&self) -> bool {
        self.labels
    }

    fn forward(&self, lowering: &mut Lowering, id: usize) -> Result<(), Error> {
        let (name, shape) = (lowering.name(id), lowering.shape(id).to_vec());
        let value = receive(lowering, &name, shape, self.labels);
        lowering.define_as(id, Operand::Value(value));
        Ok(())
    }

    fn backward(&self, _: &mut Lowering, _: usize) -> Result<(), Error> {
        Ok(())
    }
}

/// Makes a value that the host writes in torch's order, and emits its way to the matrix that kernels read.
pub(crate) fn receive(lowering: &mut Lowering, name: &str, shape: Vec<usize>, labels: bool) -> usize {
    let (matrix, planes) = (Matrix::of(&shape), Planes::of(&shape));
    let len: usize = shape.iter().product();
    let keep = Keep::Input { name: name.into(), labels, shape, classes: None, ignored: Vec::new() };
    let raw = lowering.value_kept(name.into(), len, keep);
    if labels || (planes.is_flat() && planes.channels.is_multiple_of(4)) {
        return raw;
    }
    let rows = lowering.value(name, matrix.len());
    let (raw, to) = (Operand::Value(raw), Operand::Value(rows));
    layout::to_rows(lowering, name, planes, len / planes.images, raw, to, false);
    rows
}

/// A parameter as a value of its own.
#[derive(Debug)]
pub(crate) struct Tensor;

impl Op for Tensor {
    fn kind(&self) -> &'static str {
        "parameter"
    }

    fn infer(&self, _: &str, _: &[&[usize]]) -> Result<Vec<usize>, Error> {
        unreachable!("parameters are given their shape")
    }

    fn forward(&self, lowering: &mut Lowering, id: usize) -> Result<(), Error> {
        let planes = Planes::of(lowering.shape(id));
        let len: usize = lowering.shape(id).iter().product();
        let parameter = Operand::Parameter(lowering.parameters(id)[0]);
        let rows = lowering.define(id);
        let name = lowering.name(id);
        layout::to_rows(lowering, &name, planes, len / planes.images, parameter, rows, false);
        Ok(())
    }

    fn backward(&self, lowering: &mut Lowering, id: usize) -> Result<(), Error> {
        let planes = Planes::of(lowering.shape(id));
        let len = lowering.shape(id).iter().product::<usize>();
        let rows = lowering.gradient(id);
        let parameter = lowering.parameters(id)[0];
        let Some((target, accumulate)) = lowering.parameter_gradient(parameter) else { return Ok(()) };
        let name = lowering.name(id);
        layout::to_planes(lowering, &name, planes, len / planes.images, rows, target, accumulate);
        Ok(())
    }
}
