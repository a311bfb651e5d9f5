use super::{Op, check_window, grid};
use crate::Error;
use crate::gpu::{Binding, KernelSource, uniform};
use crate::graph::lower::{Lowering, Operand, source};
use crate::graph::shape::{Matrix, image, u};
use crate::graph::template::expand;

/// The largest of each window.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MaxPool2d {
    pub(crate) kernel: [usize; 2],
    pub(crate) stride: [usize; 2],
    pub(crate) padding: [usize; 2],
}

uniform! {
    pub(crate) struct Shape { images: u32, relu: u32, accumulate: u32 }
}

impl MaxPool2d {
    fn source(&self, name: &str, wgsl: &str, storage: &[Binding], x: &[usize], y: &[usize]) -> KernelSource {
        let constants = [
            ("QUADS", x[1].div_ceil(4)),
            ("IN_HEIGHT", x[2]),
            ("IN_WIDTH", x[3]),
            ("HEIGHT", y[2]),
            ("WIDTH", y[3]),
            ("KERNEL_HEIGHT", self.kernel[0]),
            ("KERNEL_WIDTH", self.kernel[1]),
            ("STRIDE_Y", self.stride[0]),
            ("STRIDE_X", self.stride[1]),
            ("PADDING_Y", self.padding[0]),
            ("PADDING_X", self.padding[1]),
        ];
        source::<Shape>(name, expand(wgsl, &constants.map(|(name, n)| (name, u(n))), &[]), storage)
    }

    /// Whether the windows cover each element of the input exactly once.
    fn tiles(&self, input: &[usize]) -> bool {
        let whole = (0..2).all(|axis| input[2 + axis].is_multiple_of(self.kernel[axis]));
        whole && self.stride == self.kernel && self.padding == [0, 0]
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
        let [n, c, h, w] = image(layer, inputs[0])?;
        let (kernel, stride, padding) = (self.kernel, self.stride, self.padding);
        check_window(layer, "kernel", kernel, 1)?;
        check_window(layer, "stride", stride, 1)?;
        for axis in 0..2 {
            if padding[axis] > kernel[axis] / 2 {
                let allowed = format!("at most half the kernel of {}", kernel[axis]);
                return Err(Error::constant(format!("{layer}: padding"), allowed, padding[axis]));
            }
        }
        if kernel[0] * kernel[1] >= 0xffff {
            let window = format!("{}x{}", kernel[0], kernel[1]);
            return Err(Error::constant(format!("{layer}: kernel"), "of fewer than 65535 elements", window));
        }
        let size = |axis: usize, len: usize| {
            (len + 2 * padding[axis]).checked_sub(kernel[axis]).map(|room| room / stride[axis] + 1)
        };
        match (size(0, h), size(1, w)) {
            (Some(height), Some(width)) => Ok(vec![n, c, height, width]),
            _ => {
                let expected = format!("an image of at least {}x{} with its padding", kernel[0], kernel[1]);
                Err(Error::Shape { layer: layer.into(), expected, got: inputs[0].to_vec() })
            }
        }
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
        let (name, wgsl, work) = if self.tiles(&input) {
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
        (self.kernel, self.stride, self.padding) == ([2, 2], [2, 2], [0, 0])
    }

    fn takes_relu_before(&self) -> bool {
        true
    }
}
