use super::{Op, grid};
use crate::Error;
use crate::gpu::{Binding, uniform};
use crate::graph::lower::{Lowering, source};
use crate::graph::shape::{Matrix, image, u};

/// The largest of each window.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MaxPool2d {
    pub(crate) kernel: [usize; 2],
    pub(crate) stride: [usize; 2],
    pub(crate) padding: [usize; 2],
}

uniform! {
    pub(crate) struct Shape {
        images: u32,
        in_height: u32,
        in_width: u32,
        height: u32,
        width: u32,
        kernel_height: u32,
        kernel_width: u32,
        stride_y: u32,
        stride_x: u32,
        padding_y: u32,
        padding_x: u32,
        quads: u32,
        relu: u32,
        accumulate: u32,
    }
}
impl MaxPool2d {
    fn shape(&self, lowering: &Lowering, id: usize) -> Shape {
        let [images, channels, in_height, in_width] =
            image("", lowering.input_shape(id, 0)).expect("checked by infer");
        let (height, width) = (lowering.shape(id)[2], lowering.shape(id)[3]);
        Shape {
            images: u(images),
            in_height: u(in_height),
            in_width: u(in_width),
            height: u(height),
            width: u(width),
            kernel_height: u(self.kernel[0]),
            kernel_width: u(self.kernel[1]),
            stride_y: u(self.stride[0]),
            stride_x: u(self.stride[1]),
            padding_y: u(self.padding[0]),
            padding_x: u(self.padding[1]),
            quads: u(channels.div_ceil(4)),
            relu: u32::from(lowering.relu_before(id)),
            accumulate: 0,
        }
    }
}

impl Op for MaxPool2d {
    fn kind(&self) -> &'static str {
        "max_pool2d"
    }

    fn infer(&self, layer: &str, inputs: &[&[usize]]) -> Result<Vec<usize>, Error> {
        let [n, c, h, w] = image(layer, inputs[0])?;
        let (kernel, stride, padding) = (self.kernel, self.stride, self.padding);
        for axis in 0..2 {
            if kernel[axis] == 0 || stride[axis] == 0 {
                return Err(Error::constant(format!("{layer}: kernel and stride"), "at least 1", 0));
            }
            if padding[axis] * 2 > kernel[axis] {
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
        let shape = self.shape(lowering, id);
        let quads = Matrix::of(lowering.shape(id)).quads();
        let x = lowering.argument(id, 0);
        let y = lowering.define(id);
        let places = lowering.save(id, "places", 2 * quads);
        let wgsl = include_str!("../../../shaders/ops/max_pool2d.wgsl");
        let storage = [Binding::Read, Binding::ReadWrite, Binding::ReadWrite];
        let kernel = source::<Shape>("max_pool2d", wgsl, &storage);
        lowering.emit(&lowering.name(id), kernel, grid(quads), &[x, y, places], shape);
        Ok(())
    }

    fn backward(&self, lowering: &mut Lowering, id: usize) -> Result<(), Error> {
        let Some((dx, accumulate)) = lowering.gradient_into(id, 0) else { return Ok(()) };
        let shape = Shape { accumulate: u32::from(accumulate), ..self.shape(lowering, id) };
        let quads = Matrix::of(lowering.input_shape(id, 0)).quads();
        let (dy, places) = (lowering.gradient(id), lowering.saved(id));
        let wgsl = include_str!("../../../shaders/ops/max_pool2d_grad.wgsl");
        let storage = [Binding::Read, Binding::Read, Binding::ReadWrite];
        let kernel = source::<Shape>("max_pool2d_grad", wgsl, &storage);
        lowering.emit(&lowering.name(id), kernel, grid(quads), &[dy, places, dx], shape);
        Ok(())
    }

    fn takes_relu_before(&self) -> bool {
        true
    }
}
