use super::emit;
use super::geometry::Geometry;
use super::{check_groups, check_packed};
use crate::Error;
use crate::graph::lowering::Lowering;
use crate::graph::ops::split::Epilogue;
use crate::graph::ops::{Cast, Made, Op, Reads, check_window, column_sum};
use crate::graph::shape::{image, u};

/// The input gradient of a convolution as an operation: its output is that convolution's input.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ConvTranspose2d {
    pub(crate) stride: [usize; 2],
    pub(crate) padding: [usize; 2],
    /// Additional rows and columns at the end of the output, to select among the sizes that the convolution maps to
    /// the input size.
    pub(crate) output_padding: [usize; 2],
    pub(crate) dilation: [usize; 2],
    pub(crate) groups: usize,
    pub(crate) out_channels: usize,
    /// Input channels, output channels per group, rows and columns of the kernel.
    pub(crate) weight: [usize; 4],
}

impl ConvTranspose2d {
    /// The sizes of the convolution whose gradient this is, for an input shape that [`Op::infer`] has accepted.
    fn geometry(&self, input: &[usize]) -> Geometry {
        let [images, channels, height, width] = input.try_into().expect("checked by infer");
        let made = [0, 1].map(|axis| self.output(axis, [height, width][axis]).expect("checked by infer"));
        Geometry {
            images: u(images),
            in_channels: u(self.out_channels),
            out_channels: u(channels),
            groups: u(self.groups),
            input: made.map(u),
            output: [u(height), u(width)],
            kernel: [u(self.weight[2]), u(self.weight[3])],
            stride: self.stride.map(u),
            padding: self.padding.map(u),
            dilation: self.dilation.map(u),
            planar: false,
        }
    }

    /// The output extent of an axis, if it is positive.
    fn output(&self, axis: usize, len: usize) -> Option<usize> {
        let reach = self.dilation[axis] * (self.weight[2 + axis] - 1) + 1;
        let whole =
            (len - 1).saturating_mul(self.stride[axis]).saturating_add(reach + self.output_padding[axis]);
        whole.checked_sub(2 * self.padding[axis]).filter(|len| *len > 0)
    }

    /// Refuses sizes that overflow the kernels' integers, and an output padding that torch refuses.
    fn check_sizes(&self, layer: &str) -> Result<(), Error> {
        check_window(layer, "kernel", [self.weight[2], self.weight[3]], 1)?;
        check_window(layer, "stride", self.stride, 1)?;
        check_window(layer, "padding", self.padding, 0)?;
        check_window(layer, "dilation", self.dilation, 1)?;
        for axis in 0..2 {
            let most = self.stride[axis].max(self.dilation[axis]);
            if self.output_padding[axis] >= most {
                let (stride, dilation) = (self.stride[axis], self.dilation[axis]);
                let allowed = format!("less than its stride of {stride} or its dilation of {dilation}");
                return Err(Error::constant(
                    format!("{layer}: output_padding"),
                    allowed,
                    self.output_padding[axis],
                ));
            }
        }
        Ok(())
    }
}

impl Op for ConvTranspose2d {
    fn kind(&self) -> &'static str {
        "conv_transpose2d"
    }

    fn cast(&self) -> Cast {
        Cast::Half
    }

    fn infer(&self, layer: &str, inputs: &[&[usize]]) -> Result<Vec<usize>, Error> {
        let [n, c, height, width] = image(layer, inputs[0])?;
        let refuse =
            |expected: String| Err(Error::Shape { layer: layer.into(), expected, got: inputs[0].to_vec() });
        check_groups(layer, self.groups, inputs[0], self.out_channels)?;
        if c != self.weight[0] {
            return refuse(format!("{} channels for a weight {:?}", self.weight[0], self.weight));
        }
        self.check_sizes(layer)?;
        let (Some(rows), Some(columns)) = (self.output(0, height), self.output(1, width)) else {
            return refuse(format!("an image of which its padding of {:?} leaves something", self.padding));
        };
        let made = vec![n, self.out_channels, rows, columns];
        // Checks the sizes before computing with them.
        crate::graph::shape::check(layer, &made)?;
        check_packed(layer, self.weight, &self.geometry(inputs[0]))?;
        Ok(made)
    }

    fn reads(&self, _: usize) -> Reads {
        Reads::ChannelsLast
    }

    fn makes(&self) -> Made {
        Made::ChannelsLast
    }

    fn forward(&self, lowering: &mut Lowering, id: usize) -> Result<(), Error> {
        let geometry = self.geometry(lowering.input_shape(id, 0));
        let has_bias = lowering.parameters(id).len() > 1;
        let operands = [lowering.argument(id, 0), lowering.define(id)];
        emit::input_grad(lowering, id, &geometry, operands, (has_bias, false));
        Ok(())
    }

    fn backward(&self, lowering: &mut Lowering, id: usize) -> Result<(), Error> {
        let geometry = self.geometry(lowering.input_shape(id, 0));
        let (x, dy) = (lowering.argument(id, 0), lowering.gradient(id));
        let parameters = lowering.parameters(id).to_vec();
        emit::weight_grad(lowering, id, &geometry, [dy, x], (parameters[0], None));
        let bias = parameters.get(1);
        if let Some(sums) = bias.and_then(|&bias| lowering.parameter_gradient(bias)) {
            let (name, matrix) = (lowering.name(id), lowering.matrix(id));
            column_sum::emit(lowering, &name, u(matrix.rows), u(matrix.columns), dy, sums);
        }
        if let Some((dx, accumulate)) = lowering.gradient_into(id, 0) {
            let epilogue = Epilogue { accumulate, finish: None };
            emit::forward(lowering, id, &geometry, [dy, dx], (false, epilogue));
        }
        Ok(())
    }
}
