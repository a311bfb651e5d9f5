mod band;
mod candidates;
mod cpu;
mod depthwise;
mod emit;
mod gather;
mod geometry;
mod gpu;
mod pack;
mod parts;
mod plain;
mod transpose;
mod weight_grad;

pub(crate) use transpose::ConvTranspose2d;

use band::Band;
use candidates::{PLANAR, POOLED, Pooled};
use emit::PooledGradient;
use geometry::Geometry;

use super::split::Epilogue;
use super::{Anchor, Cast, Made, MaxPool2d, Op, Reads, check_window};
use crate::Error;
use crate::gpu::Binding::{Read, ReadWrite};
use crate::gpu::{Candidate, Capabilities, Work};
use crate::graph::lowering::{Lowering, Operand};
use crate::graph::shape::{self, image, u};
use crate::graph::view::Order;

/// A two-dimensional cross-correlation with zero padding. A sequence is treated as an image with one row.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Conv2d {
    /// 2 for images, 1 for sequences.
    pub(crate) axes: usize,
    pub(crate) stride: [usize; 2],
    pub(crate) padding: Padding,
    pub(crate) dilation: [usize; 2],
    pub(crate) groups: usize,
    /// Output channels, input channels per group, rows and columns of the kernel.
    pub(crate) weight: [usize; 4],
}

/// Zeros around the input of a convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Padding {
    /// The number of zeros above and below, and on the left and right.
    Zeros([usize; 2]),
    /// As many as make the output as large as the input. An odd one is at the end.
    Same,
}

impl Conv2d {
    /// The sizes for an input shape that [`Op::infer`] has accepted.
    fn geometry(&self, input: &[usize]) -> Geometry {
        let [images, channels, height, width] = as_image(input);
        let [out_channels, _, kernel_height, kernel_width] = self.weight;
        let output = [0, 1].map(|axis| self.output(axis, [height, width][axis]).expect("checked by infer"));
        Geometry {
            images: u(images),
            in_channels: u(channels),
            out_channels: u(out_channels),
            groups: u(self.groups),
            input: [u(height), u(width)],
            output: output.map(u),
            kernel: [u(kernel_height), u(kernel_width)],
            stride: self.stride.map(u),
            padding: [0, 1].map(|axis| u(self.before(axis))),
            dilation: self.dilation.map(u),
            planar: false,
        }
    }

    fn geometry_of(&self, lowering: &Lowering, id: usize) -> Geometry {
        self.geometry(lowering.input_shape(id, 0))
    }

    /// The input operand, and the sizes with the input's layout.
    fn source(&self, lowering: &mut Lowering, id: usize) -> (Operand, Geometry) {
        let (geometry, view) = (self.geometry_of(lowering, id), lowering.argument_view(id, 0));
        let planar = Candidate::first(PLANAR, &geometry, &lowering.capabilities).is_some();
        if planar && view.is_packed(Order::Natural) {
            return (view.of, Geometry { planar, ..geometry });
        }
        (lowering.argument(id, 0), geometry)
    }

    /// Extent of the dilated kernel along an axis.
    fn reach(&self, axis: usize) -> usize {
        self.dilation[axis] * (self.weight[2 + axis] - 1) + 1
    }

    /// Number of zeros before the input.
    fn before(&self, axis: usize) -> usize {
        match self.padding {
            Padding::Zeros(zeros) => zeros[axis],
            Padding::Same => (self.reach(axis) - 1) / 2,
        }
    }

    /// The output extent of an axis; `None` if the kernel is larger than the padded input.
    fn output(&self, axis: usize, len: usize) -> Option<usize> {
        match self.padding {
            Padding::Zeros(zeros) => {
                let room = (len + 2 * zeros[axis]).checked_sub(self.reach(axis))?;
                Some(room / self.stride[axis] + 1)
            }
            Padding::Same => Some(len),
        }
    }

    /// Refuses sizes that overflow the kernels' integers.
    fn check_sizes(&self, layer: &str) -> Result<(), Error> {
        let [_, _, kernel_height, kernel_width] = self.weight;
        check_window(layer, "kernel", [kernel_height, kernel_width], 1)?;
        check_window(layer, "stride", self.stride, 1)?;
        if let Padding::Zeros(zeros) = self.padding {
            check_window(layer, "padding", zeros, 0)?;
        } else if let Some(stride) = self.stride.into_iter().find(|stride| *stride > 1) {
            return Err(Error::constant(format!("{layer}: stride"), "1 with the padding `same`", stride));
        }
        check_window(layer, "dilation", self.dilation, 1)
    }
}

/// Emits all gradients from that of the pooled output, if there are kernels for them. Returns whether there are.
fn pooled_backward(
    lowering: &mut Lowering,
    id: usize,
    (way, pool): (&Pooled, usize),
    (x, geometry): (Operand, Geometry),
) -> bool {
    let parameters = lowering.parameters(id).to_vec();
    let bias = parameters.get(1).copied();
    let trains_weight = lowering.is_trained(parameters[0]);
    let sums_bias_alone = !trains_weight && bias.is_some_and(|bias| lowering.is_trained(bias));
    let trains_input = lowering.trains_input(id, 0);
    let offered = lowering.capabilities;
    if sums_bias_alone
        || trains_weight && !(way.fits_weight_grad)(&geometry, &offered)
        || trains_input && !(way.fits_input_grad)(&geometry, &offered)
    {
        return false;
    }
    let dy = PooledGradient { windows: lowering.gradient(pool), places: lowering.saved(pool) };
    emit::pooled_weight_grad(lowering, id, &geometry, (way, x, dy), (parameters[0], bias));
    if let Some(dx) = lowering.gradient_into(id, 0) {
        emit::pooled_input_grad(lowering, id, &geometry, (way, dy), dx);
    }
    true
}

/// The shape as an image. A sequence has one row.
fn as_image(shape: &[usize]) -> [usize; 4] {
    match *shape {
        [n, c, height, width] => [n, c, height, width],
        [n, c, length] => [n, c, 1, length],
        _ => unreachable!("checked by infer"),
    }
}

/// Refuses numbers of channels that groups do not divide.
///
/// `weight` has the shape that users see.
pub(crate) fn check_groups(
    layer: &str,
    groups: usize,
    input: &[usize],
    out_channels: usize,
) -> Result<(), Error> {
    if groups == 0 {
        return Err(Error::constant(format!("{layer}: groups"), "at least 1", groups));
    }
    let in_channels = input.get(1).copied().unwrap_or(groups);
    if !in_channels.is_multiple_of(groups) {
        let expected = format!(
            "input channels that {groups} groups divide, for a weight of {out_channels} output channels"
        );
        return Err(Error::Shape { layer: layer.into(), expected, got: input.to_vec() });
    }
    if !out_channels.is_multiple_of(groups) {
        let allowed = format!("a divisor of its {out_channels} output channels, for an input {input:?}");
        return Err(Error::constant(format!("{layer}: groups"), allowed, groups));
    }
    Ok(())
}

/// Refuses a weight whose packed form no device could hold.
fn check_packed(layer: &str, weight: [usize; 4], geometry: &Geometry) -> Result<(), Error> {
    let [in_channels, out_channels] = [geometry.in_channels, geometry.out_channels].map(|n| n as usize);
    let [kernel_height, kernel_width] = [weight[2], weight[3]];
    let packed = |outer: usize, band: Band| {
        [outer.next_multiple_of(32), 4 * band.vectors as usize, kernel_height, kernel_width]
    };
    let all =
        [packed(out_channels, Band::of_inputs(geometry)), packed(in_channels, Band::of_outputs(geometry))];
    let all = match geometry.groups {
        1 => &all[..1],
        _ if geometry.is_depthwise() => &[[out_channels.next_multiple_of(4), 1, kernel_height, kernel_width]],
        _ => &all[..],
    };
    match all.iter().find(|packed| shape::check(layer, &packed[..]).is_err()) {
        None => Ok(()),
        Some(packed) => {
            let expected = format!("a weight that is small enough when packed as {packed:?}");
            Err(Error::Shape { layer: layer.into(), expected, got: weight.to_vec() })
        }
    }
}

impl Op for Conv2d {
    fn kind(&self) -> &'static str {
        if self.axes == 1 { "conv1d" } else { "conv2d" }
    }

    fn cast(&self) -> Cast {
        Cast::Half
    }

    fn infer(&self, layer: &str, inputs: &[&[usize]]) -> Result<Vec<usize>, Error> {
        let refuse =
            |expected: String| Err(Error::Shape { layer: layer.into(), expected, got: inputs[0].to_vec() });
        if self.axes == 1 && inputs[0].len() != 3 {
            return refuse("a sequence [N, C, L]".into());
        }
        if self.axes == 2 {
            image(layer, inputs[0])?;
        }
        let [n, c, height, width] = as_image(inputs[0]);
        check_groups(layer, self.groups, inputs[0], self.weight[0])?;
        let channels = self.weight[1] * self.groups;
        if c != channels {
            return refuse(format!("{channels} channels for a weight {:?}", self.weight));
        }
        self.check_sizes(layer)?;
        let (Some(rows), Some(columns)) = (self.output(0, height), self.output(1, width)) else {
            let [rows, columns] = [0, 1].map(|axis| self.reach(axis));
            return refuse(match self.axes {
                1 => format!("a sequence of at least {columns} with its padding"),
                _ => format!("an image of at least {rows}x{columns} with its padding"),
            });
        };
        check_packed(layer, self.weight, &self.geometry(inputs[0]))?;
        let shape = [n, self.weight[0], rows, columns];
        Ok(if self.axes == 1 { vec![shape[0], shape[1], shape[3]] } else { shape.to_vec() })
    }

    fn reads(&self, _: usize) -> Reads {
        Reads::ChannelsLast
    }

    fn makes(&self) -> Made {
        Made::ChannelsLast
    }

    fn forward(&self, lowering: &mut Lowering, id: usize) -> Result<(), Error> {
        let (x, geometry) = self.source(lowering, id);
        let has_bias = lowering.parameters(id).len() > 1;
        if let Some(pool) = lowering.pool_after(id) {
            let offered = lowering.capabilities;
            let way = Candidate::first(POOLED, &geometry, &offered).expect("takes_pool_after found one");
            let packed = emit::pack(lowering, id, (way.pack)(&geometry, &offered, has_bias));
            let relu = lowering.relu_before(pool);
            let places = MaxPool2d::blocks_of_places(lowering, pool, (way.block)(&geometry));
            let operands = [x, packed, lowering.define(pool), places];
            let storage = [Read, Read, ReadWrite, ReadWrite];
            let launch = (way.launch)(&geometry, &offered, relu);
            lowering.next_does(Work::of_flops(geometry.flops()));
            lowering.launch(&lowering.name(id), &storage, &operands, launch);
            return Ok(());
        }
        let operands = [x, lowering.define(id)];
        let epilogue = Epilogue { accumulate: false, finish: lowering.finish(id) };
        emit::forward(lowering, id, &geometry, operands, (has_bias, epilogue));
        Ok(())
    }

    fn backward(&self, lowering: &mut Lowering, id: usize) -> Result<(), Error> {
        let (x, geometry) = self.source(lowering, id);
        let parameters = lowering.parameters(id).to_vec();
        let dy = match lowering.pool_after(id) {
            None => lowering.gradient(id),
            Some(pool) => {
                let way = Candidate::first(POOLED, &geometry, &lowering.capabilities);
                let way = way.expect("takes_pool_after found one");
                if pooled_backward(lowering, id, (way, pool), (x, geometry)) {
                    return Ok(());
                }
                MaxPool2d::halved_grad(lowering, pool, (way.block)(&geometry))
            }
        };
        emit::weight_grad(lowering, id, &geometry, [x, dy], (parameters[0], parameters.get(1).copied()));
        if let Some((dx, accumulate)) = lowering.gradient_into(id, 0) {
            emit::input_grad(lowering, id, &geometry, [dy, dx], (false, accumulate));
        }
        Ok(())
    }

    fn anchor(&self, lowering: &Lowering, id: usize) -> Option<Anchor> {
        Some(Anchor { buffers: 3, lanes: emit::lanes(lowering, &self.geometry_of(lowering, id)) })
    }

    fn takes_pool_after(&self, input: &[usize], capabilities: &Capabilities) -> bool {
        Candidate::first(POOLED, &self.geometry(input), capabilities).is_some()
    }
}
