use super::{Op, layout};
use crate::Error;
use crate::graph::lower::Lowering;
use crate::graph::shape::Planes;

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
        let value = lowering.input(&lowering.name(id), lowering.shape(id).to_vec(), self.labels)?;
        lowering.define_as(id, crate::graph::lower::Operand::Value(value));
        Ok(())
    }

    fn backward(&self, _: &mut Lowering, _: usize) -> Result<(), Error> {
        Ok(())
    }
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
        let parameter = crate::graph::lower::Operand::Parameter(lowering.parameters(id)[0]);
        let rows = lowering.define(id);
        let name = lowering.name(id);
        layout::to_rows(lowering, &name, planes, len / planes.images, parameter, rows, false);
        Ok(())
    }

    fn backward(&self, lowering: &mut Lowering, id: usize) -> Result<(), Error> {
        let planes = Planes::of(lowering.shape(id));
        let len = lowering.shape(id).iter().product::<usize>();
        let rows = lowering.gradient(id);
        let (target, accumulate) = lowering.parameter_gradient(lowering.parameters(id)[0]);
        let name = lowering.name(id);
        layout::to_planes(lowering, &name, planes, len / planes.images, rows, target, accumulate);
        Ok(())
    }
}
