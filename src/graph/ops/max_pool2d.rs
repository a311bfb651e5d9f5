use super::{Op, Windows, grid};
use crate::Error;
use crate::gpu::{Binding, KernelSource, uniform};
use crate::graph::lower::{Lowering, Operand, source};
use crate::graph::shape::{Matrix, u};
use crate::graph::template::expand;

/// The largest of each window.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MaxPool2d {
    pub(crate) windows: Windows,
}

uniform! {
    pub(crate) struct Shape { images: u32, relu: u32, accumulate: u32 }
}

impl MaxPool2d {
    fn source(&self, name: &str, wgsl: &str, storage: &[Binding], x: &[usize], y: &[usize]) -> KernelSource {
        source::<Shape>(name, expand(wgsl, &self.windows.constants(x, y), &[]), storage)
    }

    /// Makes the value that tells the backward pass which elements were the largest.
    pub(super) fn places(lowering: &mut Lowering, id: usize) -> Operand {
        let quads = Matrix::of(lowering.shape(id)).quads();
        lowering.save(id, "places", 2 * quads)
    }
}

impl Op for MaxPool2d {
    fn kind(&self) -> &'static str {
        "max_pool2d"
    }

    fn infer(&self, layer: &str, inputs: &[&[usize]]) -> Result<Vec<usize>, Error> {
        let shape = self.windows.infer(layer, inputs[0])?;
        let kernel = self.windows.kernel;
        if kernel[0] * kernel[1] >= 0xffff {
            let window = format!("{}x{}", kernel[0], kernel[1]);
            return Err(Error::constant(format!("{layer}: kernel"), "of fewer than 65535 elements", window));
        }
        let empty = |axis| self.windows.empty(axis, inputs[0][2 + axis]);
        if (0..2).any(|axis| empty(axis).is_some_and(|first| first < shape[2 + axis])) {
            let expected = "an image of which every dilated window holds an element".into();
            return Err(Error::Shape { layer: layer.into(), expected, got: inputs[0].to_vec() });
        }
        Ok(shape)
    }

    fn forward(&self, lowering: &mut Lowering, id: usize) -> Result<(), Error> {
        let (input, output) = (lowering.input_shape(id, 0).to_vec(), lowering.shape(id).to_vec());
        let quads = Matrix::of(&output).quads();
        let relu = u32::from(lowering.relu_before(id));
        let x = lowering.argument(id, 0);
        let y = lowering.define(id);
        let places = Self::places(lowering, id);
        let wgsl = include_str!("../../../shaders/ops/max_pool2d.wgsl");
        let storage = [Binding::Read, Binding::ReadWrite, Binding::ReadWrite];
        let kernel = self.source("max_pool2d", wgsl, &storage, &input, &output);
        let shape = Shape { images: u(input[0]), relu, accumulate: 0 };
        lowering.emit(&lowering.name(id), kernel, grid(quads), &[x, y, places], shape);
        Ok(())
    }

    fn backward(&self, lowering: &mut Lowering, id: usize) -> Result<(), Error> {
        let Some((dx, accumulate)) = lowering.gradient_into(id, 0) else { return Ok(()) };
        let (input, output) = (lowering.input_shape(id, 0).to_vec(), lowering.shape(id).to_vec());
        let (dy, places) = (lowering.gradient(id), lowering.saved(id));
        let (name, wgsl, work) = if self.windows.tile(&input) {
            let wgsl = include_str!("../../../shaders/ops/max_pool2d_spread.wgsl");
            ("max_pool2d_spread", wgsl, Matrix::of(&output).quads())
        } else {
            let wgsl = include_str!("../../../shaders/ops/max_pool2d_grad.wgsl");
            ("max_pool2d_grad", wgsl, Matrix::of(&input).quads())
        };
        let storage = [Binding::Read, Binding::Read, Binding::ReadWrite];
        let kernel = self.source(name, wgsl, &storage, &input, &output);
        let shape = Shape { images: u(input[0]), relu: 0, accumulate: u32::from(accumulate) };
        lowering.emit(&lowering.name(id), kernel, grid(work), &[dy, places, dx], shape);
        Ok(())
    }

    fn halves(&self) -> bool {
        let Windows { kernel, stride, padding, dilation, ceil_mode } = self.windows;
        (kernel, stride, padding, dilation) == ([2, 2], [2, 2], [0, 0], [1, 1]) && !ceil_mode
    }

    fn takes_relu_before(&self) -> bool {
        true
    }
}
