mod candidates;
mod cpu;
mod geometry;
mod pack;
mod parts;
mod plain;
mod weight_grad;

use candidates::{FORWARD, INPUT_GRAD, POOLED, WEIGHT_GRAD};
use geometry::Geometry;
use pack::Packed;
use weight_grad::Adds;

use super::split::{self, Sum};
use super::{Anchor, Made, MaxPool2d, Op, Reads, check_window, column_sum};
use crate::Error;
use crate::gpu::Binding::{Read, ReadWrite};
use crate::gpu::{Candidate, Capabilities};
use crate::graph::lower::{Lowering, Operand};
use crate::graph::shape::{self, Matrix, image, u};

/// A cross-correlation with zero padding.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Conv2d {
    pub(crate) stride: [usize; 2],
    pub(crate) padding: [usize; 2],
    pub(crate) dilation: [usize; 2],
    pub(crate) weight: [usize; 4],
}

impl Conv2d {
    /// Its sizes for an input of a shape that [`Op::infer`] took.
    fn geometry(&self, input: &[usize]) -> Geometry {
        let [images, channels, height, width] = input.try_into().expect("checked by infer");
        let [out_channels, _, kernel_height, kernel_width] = self.weight.map(u);
        Geometry {
            images: u(images),
            in_channels: u(channels),
            out_channels,
            input: [u(height), u(width)],
            kernel: [kernel_height, kernel_width],
            stride: self.stride.map(u),
            padding: self.padding.map(u),
            dilation: self.dilation.map(u),
        }
    }

    fn geometry_of(&self, lowering: &Lowering, id: usize) -> Geometry {
        self.geometry(lowering.input_shape(id, 0))
    }

    fn weight_grad(&self, lowering: &mut Lowering, id: usize) {
        let (name, geometry) = (lowering.name(id), self.geometry_of(lowering, id));
        let way = Candidate::choose(WEIGHT_GRAD, &geometry, &lowering.capabilities);
        let (x, dy) = (lowering.argument(id, 0), lowering.gradient(id));
        let parameters = lowering.parameters(id).to_vec();
        let Some((weight, adds)) = lowering.parameter_gradient(parameters[0]) else {
            if let Some(&bias) = parameters.get(1) {
                let Matrix { rows, columns, .. } = lowering.matrix(id);
                column_sum::emit(lowering, &name, u(rows), u(columns), dy, bias);
            }
            return;
        };
        let (_, partials) = way(&geometry, 0);
        let len = partials.at_once as usize * partials.len as usize;
        let partial = lowering.scratch("partial weight gradients", len);
        let bias = parameters.get(1).and_then(|&bias| lowering.parameter_gradient(bias));
        let adds = Adds { weight: adds, bias: bias.map(|(_, adds)| adds) };
        // A binding needs a buffer even where there is no bias to write, or it is frozen.
        let bias = bias.map_or_else(|| lowering.scratch("no bias", 4), |(bias, _)| bias);
        for first in (0..partials.parts).step_by(partials.at_once as usize) {
            let (launch, _) = way(&geometry, first);
            lowering.launch(&name, &[Read, Read, ReadWrite], &[x, dy, partial], launch);
            let launch = weight_grad::finish(&geometry, &partials, first, adds);
            lowering.launch(&name, &[Read, ReadWrite, ReadWrite], &[partial, weight, bias], launch);
        }
    }

    fn input_grad(&self, lowering: &mut Lowering, id: usize) {
        let Some((dx, accumulate)) = lowering.gradient_into(id, 0) else { return };
        let (name, geometry) = (lowering.name(id), self.geometry_of(lowering, id));
        let way = Candidate::choose(INPUT_GRAD, &geometry, &lowering.capabilities);
        let packed = pack(lowering, id, (way.pack)(&geometry));
        let operands = [lowering.gradient(id), packed, dx];
        let sum = Sum {
            parts: (way.parts)(&geometry),
            len: lowering.input_matrix(id, 0).len(),
            accumulate,
            finish: None,
        };
        split::emit(lowering, &name, (&[Read, Read, ReadWrite], &operands), sum, |first, accumulate| {
            (way.launch)(&geometry, first, accumulate)
        });
    }
}

/// Emits the weight (and the bias) in the order of a kernel, padded with zeros.
fn pack(lowering: &mut Lowering, id: usize, packed: Packed) -> Operand {
    let (name, parameters) = (lowering.name(id), lowering.parameters(id).to_vec());
    let weight = Operand::Parameter(parameters[0]);
    // A binding needs a buffer even where there is no bias to read.
    let bias = parameters.get(1).map_or(weight, |&bias| Operand::Parameter(bias));
    let into = lowering.scratch("packed weight", packed.len as usize);
    lowering.launch(&name, &[Read, Read, ReadWrite], &[weight, bias, into], packed.launch);
    into
}

impl Op for Conv2d {
    fn kind(&self) -> &'static str {
        "conv2d"
    }

    fn infer(&self, layer: &str, inputs: &[&[usize]]) -> Result<Vec<usize>, Error> {
        let [n, c, h, w] = image(layer, inputs[0])?;
        let [out, channels, kh, kw] = self.weight;
        if c != channels {
            let expected = format!("{channels} channels for a weight {:?}", self.weight);
            return Err(Error::Shape { layer: layer.into(), expected, got: inputs[0].to_vec() });
        }
        check_window(layer, "kernel", [kh, kw], 1)?;
        check_window(layer, "stride", self.stride, 1)?;
        check_window(layer, "padding", self.padding, 0)?;
        check_window(layer, "dilation", self.dilation, 1)?;
        let packed = [out.next_multiple_of(32), channels.next_multiple_of(4), kh, kw];
        if shape::check(layer, &packed).is_err() {
            let expected = format!("a weight that is small enough when packed as {packed:?}");
            return Err(Error::Shape { layer: layer.into(), expected, got: self.weight.to_vec() });
        }
        let reach = [0, 1].map(|axis| self.dilation[axis] * (self.weight[2 + axis] - 1) + 1);
        let size = |axis: usize, len: usize| {
            (len + 2 * self.padding[axis]).checked_sub(reach[axis]).map(|room| room / self.stride[axis] + 1)
        };
        match (size(0, h), size(1, w)) {
            (Some(height), Some(width)) => Ok(vec![n, out, height, width]),
            _ => {
                let expected = format!("an image of at least {}x{} with its padding", reach[0], reach[1]);
                Err(Error::Shape { layer: layer.into(), expected, got: inputs[0].to_vec() })
            }
        }
    }

    fn reads(&self, _: usize) -> Reads {
        Reads::ChannelsLast
    }

    fn makes(&self) -> Made {
        Made::ChannelsLast
    }

    fn forward(&self, lowering: &mut Lowering, id: usize) -> Result<(), Error> {
        let (name, geometry) = (lowering.name(id), self.geometry_of(lowering, id));
        let has_bias = lowering.parameters(id).len() > 1;
        if let Some(pool) = lowering.pool_after(id) {
            let way = Candidate::first(POOLED, &geometry, &lowering.capabilities);
            let way = way.expect("takes_pool_after found one");
            let packed = pack(lowering, id, (way.pack)(&geometry, has_bias));
            let relu = lowering.relu_before(pool);
            let places = MaxPool2d::places(lowering, pool, false);
            let operands = [lowering.argument(id, 0), packed, lowering.define(pool), places];
            let storage = [Read, Read, ReadWrite, ReadWrite];
            lowering.launch(&name, &storage, &operands, (way.launch)(&geometry, relu));
            return Ok(());
        }
        let way = Candidate::choose(FORWARD, &geometry, &lowering.capabilities);
        let packed = pack(lowering, id, (way.pack)(&geometry, has_bias));
        let operands = [lowering.argument(id, 0), packed, lowering.define(id)];
        let sum = Sum {
            parts: (way.parts)(&geometry),
            len: lowering.matrix(id).len(),
            accumulate: false,
            finish: lowering.finish(id),
        };
        split::emit(lowering, &name, (&[Read, Read, ReadWrite], &operands), sum, |first, accumulate| {
            (way.launch)(&geometry, first, accumulate)
        });
        Ok(())
    }

    fn backward(&self, lowering: &mut Lowering, id: usize) -> Result<(), Error> {
        self.weight_grad(lowering, id);
        self.input_grad(lowering, id);
        Ok(())
    }

    fn anchor(&self, lowering: &Lowering, id: usize) -> Option<Anchor> {
        let geometry = self.geometry_of(lowering, id);
        let way = Candidate::choose(FORWARD, &geometry, &lowering.capabilities);
        Some(Anchor { buffers: 3, lanes: (way.lanes)(&geometry) })
    }

    fn takes_pool_after(&self, input: &[usize], capabilities: &Capabilities) -> bool {
        Candidate::first(POOLED, &self.geometry(input), capabilities).is_some()
    }
}
