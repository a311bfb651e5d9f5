use super::{Op, Windows, grid};
use crate::Error;
use crate::gpu::{Binding, KernelSource, uniform};
use crate::graph::lower::{Lowering, source};
use crate::graph::shape::{Matrix, u};
use crate::graph::template::expand;

/// The mean of each window.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AvgPool2d {
    pub(crate) windows: Windows,
    pub(crate) count_include_pad: bool,
    pub(crate) divisor_override: Option<usize>,
}

uniform! {
    pub(crate) struct Shape { images: u32, accumulate: u32 }
}

impl AvgPool2d {
    fn source(&self, name: &str, wgsl: &str, storage: &[Binding], x: &[usize], y: &[usize]) -> KernelSource {
        let mut constants = self.windows.constants(x, y);
        constants.push(("COUNT_PADDING", u32::from(self.count_include_pad)));
        constants.push(("DIVISOR", self.divisor_override.map_or(0, u)));
        source::<Shape>(name, expand(wgsl, &constants, &[]), storage)
    }
}

impl Op for AvgPool2d {
    fn kind(&self) -> &'static str {
        "avg_pool2d"
    }

    fn infer(&self, layer: &str, inputs: &[&[usize]]) -> Result<Vec<usize>, Error> {
        const MOST: usize = 1 << 24; // f32 counts no further
        match self.divisor_override.filter(|divisor| !(1..=MOST).contains(divisor)) {
            None => self.windows.infer(layer, inputs[0]),
            Some(divisor) => {
                let name = format!("{layer}: divisor_override");
                Err(Error::constant(name, format!("in [1, {MOST}]"), divisor))
            }
        }
    }

    fn forward(&self, lowering: &mut Lowering, id: usize) -> Result<(), Error> {
        let (input, output) = (lowering.input_shape(id, 0).to_vec(), lowering.shape(id).to_vec());
        let operands = [lowering.argument(id, 0), lowering.define(id)];
        let wgsl = concat!(
            include_str!("../../../shaders/ops/avg_pool2d.wgsl"),
            include_str!("../../../shaders/shared/avg_divisor.wgsl")
        );
        let storage = [Binding::Read, Binding::ReadWrite];
        let kernel = self.source("avg_pool2d", wgsl, &storage, &input, &output);
        let work = grid(Matrix::of(&output).quads());
        let shape = Shape { images: u(input[0]), accumulate: 0 };
        lowering.emit(&lowering.name(id), kernel, work, &operands, shape);
        Ok(())
    }

    fn backward(&self, lowering: &mut Lowering, id: usize) -> Result<(), Error> {
        let Some((dx, accumulate)) = lowering.gradient_into(id, 0) else { return Ok(()) };
        let (input, output) = (lowering.input_shape(id, 0).to_vec(), lowering.shape(id).to_vec());
        let operands = [lowering.gradient(id), dx];
        let wgsl = concat!(
            include_str!("../../../shaders/ops/avg_pool2d_grad.wgsl"),
            include_str!("../../../shaders/shared/avg_divisor.wgsl")
        );
        let storage = [Binding::Read, Binding::ReadWrite];
        let kernel = self.source("avg_pool2d_grad", wgsl, &storage, &input, &output);
        let work = grid(Matrix::of(&input).quads());
        let shape = Shape { images: u(input[0]), accumulate: u32::from(accumulate) };
        lowering.emit(&lowering.name(id), kernel, work, &operands, shape);
        Ok(())
    }
}
