use super::{Made, Op, layout};
use crate::Error;
use crate::graph::lowering::{Keep, Lowering, Operand};
use crate::graph::shape::{Matrix, Planes};
use crate::graph::view::{Order, View};

/// An input that the host writes.
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

    fn makes(&self) -> Made {
        Made::AsInputs
    }

    fn forward(&self, lowering: &mut Lowering, id: usize) -> Result<(), Error> {
        let (name, shape) = (lowering.name(id), lowering.shape(id).to_vec());
        if lowering.order(id) == Order::ChannelsLast && shape[1] == 1 && is_read_raw(&shape, Order::Natural) {
            // For a single channel, the host's layout suits most kernels. Readers that need another layout make a
            // copy.
            let value = receive(lowering, &name, shape.clone(), Order::Natural, self.labels);
            lowering.define_laid(id, View::packed(value, &shape, Order::Natural));
            return Ok(());
        }
        let value = receive(lowering, &name, shape, lowering.order(id), self.labels);
        lowering.define_as(id, value);
        Ok(())
    }

    fn backward(&self, _: &mut Lowering, _: usize) -> Result<(), Error> {
        Ok(())
    }
}

/// Whether the host's row-major layout is what kernels read in this order of axes.
fn is_read_raw(shape: &[usize], order: Order) -> bool {
    let planes = Planes::of(shape, order);
    planes.is_flat() && planes.channels.is_multiple_of(4)
}

/// Allocates a value that the host writes in row-major order, and emits its conversion to the layout that kernels
/// read.
pub(crate) fn receive(
    lowering: &mut Lowering,
    name: &str,
    shape: Vec<usize>,
    order: Order,
    labels: bool,
) -> Operand {
    let (matrix, planes) = (Matrix::of(&shape, order), Planes::of(&shape, order));
    let (len, is_raw) = (shape.iter().product::<usize>(), is_read_raw(&shape, order));
    let keep = Keep::Input { name: name.into(), labels, shape, classes: None, ignored: Vec::new() };
    let raw = Operand::Value(lowering.value_kept(name.into(), len, keep));
    if labels || is_raw {
        return raw;
    }
    let rows = lowering.scratch(name, matrix.len());
    layout::to_rows(lowering, name, planes, len / planes.images, raw, rows, false);
    rows
}

/// A parameter used as a value.
#[derive(Debug)]
pub(crate) struct Tensor;

impl Tensor {
    /// Whether the store's layout of the parameter is what kernels read. The store pads tensors, but not rows.
    fn lies_packed(lowering: &Lowering, id: usize) -> bool {
        let planes = Planes::of(lowering.shape(id), lowering.order(id));
        planes.is_flat() && (planes.images == 1 || planes.channels.is_multiple_of(4))
    }
}

impl Op for Tensor {
    fn kind(&self) -> &'static str {
        "parameter"
    }

    fn infer(&self, _: &str, _: &[&[usize]]) -> Result<Vec<usize>, Error> {
        unreachable!("parameters are given their shape")
    }

    fn makes(&self) -> Made {
        Made::AsInputs
    }

    fn forward(&self, lowering: &mut Lowering, id: usize) -> Result<(), Error> {
        let planes = Planes::of(lowering.shape(id), lowering.order(id));
        let len: usize = lowering.shape(id).iter().product();
        let parameter = Operand::Parameter(lowering.parameters(id)[0]);
        if Self::lies_packed(lowering, id) {
            lowering.define_as(id, parameter);
            return Ok(());
        }
        let rows = lowering.define(id);
        let name = lowering.name(id);
        layout::to_rows(lowering, &name, planes, len / planes.images, parameter, rows, false);
        Ok(())
    }

    fn backward(&self, lowering: &mut Lowering, id: usize) -> Result<(), Error> {
        if Self::lies_packed(lowering, id) {
            // The gradient has already been written to its destination.
            return Ok(());
        }
        let planes = Planes::of(lowering.shape(id), lowering.order(id));
        let len = lowering.shape(id).iter().product::<usize>();
        let rows = lowering.gradient(id);
        let parameter = lowering.parameters(id)[0];
        let Some((target, accumulate)) = lowering.parameter_gradient(parameter) else { return Ok(()) };
        let name = lowering.name(id);
        layout::to_planes(lowering, &name, planes, len / planes.images, rows, target, accumulate);
        Ok(())
    }
}
