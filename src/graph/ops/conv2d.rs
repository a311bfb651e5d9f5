mod launch;
mod weight_grad;

use launch::{Geometry, Pack};
use weight_grad::Adds;

use super::split::{self, Epilogue, Sum};
use super::{Made, MaxPool2d, Op, Reads, check_window};
use crate::Error;
use crate::gpu::Binding::{Read, ReadWrite};
use crate::gpu::KernelClass;
use crate::graph::lower::{Lowering, Operand};
use crate::graph::shape::{self, image, u};

/// A cross-correlation with zero padding.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Conv2d {
    pub(crate) stride: [usize; 2],
    pub(crate) padding: [usize; 2],
    pub(crate) dilation: [usize; 2],
    pub(crate) weight: [usize; 4],
}

impl Conv2d {
    /// The kernels to use of those that the adapter can run: the tiles of a CPU adapter unroll a row of the
    /// kernel and all that it steps over, so one that is very wide would take for ever to compile, and they know
    /// no gaps in it.
    fn class(&self, available: KernelClass) -> KernelClass {
        const WIDEST: usize = 32;
        let dilated = (0..2).any(|axis| self.dilation[axis] > 1 && self.weight[2 + axis] > 1);
        if dilated || self.weight[3].max(self.stride[1]) > WIDEST { KernelClass::Plain } else { available }
    }

    fn geometry(&self, lowering: &Lowering, id: usize) -> Geometry {
        let [images, channels, height, width] =
            lowering.input_shape(id, 0).try_into().expect("checked by infer");
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

    /// Emits the weight (and the bias) in the order of the kernels, padded with zeros.
    fn pack(&self, lowering: &mut Lowering, id: usize, pack: Pack) -> Operand {
        let (name, geometry, class) =
            (lowering.name(id), self.geometry(lowering, id), self.class(lowering.class));
        let parameters = lowering.parameters(id).to_vec();
        let weight = Operand::Parameter(parameters[0]);
        let bias = parameters.get(1).map(|&bias| Operand::Parameter(bias));
        let packed = lowering.scratch("packed weight", launch::packed_len(&geometry, class, pack) as usize);
        // A binding needs a buffer even where there is no bias to read.
        let operands = [weight, bias.unwrap_or(weight), packed];
        lowering.launch(
            &name,
            &[Read, Read, ReadWrite],
            &operands,
            launch::pack(&geometry, class, pack, bias.is_some()),
        );
        packed
    }

    fn weight_grad(&self, lowering: &mut Lowering, id: usize) {
        let (name, geometry, class) =
            (lowering.name(id), self.geometry(lowering, id), self.class(lowering.class));
        let (x, dy) = (lowering.argument(id, 0), lowering.gradient(id));
        let parameters = lowering.parameters(id).to_vec();
        let partials = match class {
            KernelClass::CpuSubgroup8 => weight_grad::broadcast(&geometry, 0).1,
            KernelClass::Plain => weight_grad::plain(&geometry, 0).1,
        };
        let len = partials.at_once as usize * partials.len as usize;
        let partial = lowering.scratch("partial weight gradients", len);
        let (weight, adds) = lowering.parameter_gradient(parameters[0]);
        let bias = parameters.get(1).map(|&bias| lowering.parameter_gradient(bias));
        let adds = Adds { weight: adds, bias: bias.map(|(_, adds)| adds) };
        // A binding needs a buffer even where there is no bias to write.
        let bias = bias.map_or_else(|| lowering.scratch("no bias", 4), |(bias, _)| bias);
        for first in (0..partials.parts).step_by(partials.at_once as usize) {
            let (storage, operands) = ([Read, Read, ReadWrite], [x, dy, partial]);
            match class {
                KernelClass::CpuSubgroup8 => {
                    lowering.launch(&name, &storage, &operands, weight_grad::broadcast(&geometry, first).0);
                }
                KernelClass::Plain => {
                    lowering.launch(&name, &storage, &operands, weight_grad::plain(&geometry, first).0);
                }
            }
            let launch = weight_grad::finish(&geometry, &partials, first, adds);
            lowering.launch(&name, &[Read, ReadWrite, ReadWrite], &[partial, weight, bias], launch);
        }
    }

    fn input_grad(&self, lowering: &mut Lowering, id: usize) {
        let Some((dx, accumulate)) = lowering.gradient_into(id, 0) else { return };
        let (name, geometry) = (lowering.name(id), self.geometry(lowering, id));
        let packed = self.pack(lowering, id, Pack::InputGrad);
        let operands = [lowering.gradient(id), packed, dx];
        let bound = (&[Read, Read, ReadWrite][..], &operands[..]);
        let broadcast = self.class(lowering.class) == KernelClass::CpuSubgroup8 && self.stride == [1, 1];
        let class = if broadcast { KernelClass::CpuSubgroup8 } else { KernelClass::Plain };
        let sum = Sum {
            parts: launch::input_grad_parts(&geometry, class),
            len: lowering.input_matrix(id, 0).len(),
            epilogue: Epilogue { accumulate, relu: false },
        };
        match class {
            KernelClass::CpuSubgroup8 => split::emit(lowering, &name, bound, sum, |first, epilogue| {
                launch::input_grad(&geometry, first, epilogue)
            }),
            KernelClass::Plain => split::emit(lowering, &name, bound, sum, |first, epilogue| {
                launch::input_grad_plain(&geometry, first, epilogue)
            }),
        }
    }
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
        let (name, geometry, class) =
            (lowering.name(id), self.geometry(lowering, id), self.class(lowering.class));
        let packed = self.pack(lowering, id, Pack::Forward);
        if let Some(pool) = lowering.pool_after(id) {
            let relu = lowering.relu_before(pool);
            let places = MaxPool2d::places(lowering, pool, false);
            let operands = [lowering.argument(id, 0), packed, lowering.define(pool), places];
            let storage = [Read, Read, ReadWrite, ReadWrite];
            lowering.launch(&name, &storage, &operands, launch::forward_pooled(&geometry, relu));
            return Ok(());
        }
        let operands = [lowering.argument(id, 0), packed, lowering.define(id)];
        let bound = (&[Read, Read, ReadWrite][..], &operands[..]);
        let sum = Sum {
            parts: launch::forward_parts(geometry.kernel, geometry.in_channels, class),
            len: lowering.matrix(id).len(),
            epilogue: Epilogue { accumulate: false, relu: lowering.relu_after(id) },
        };
        match class {
            KernelClass::CpuSubgroup8 => split::emit(lowering, &name, bound, sum, |first, epilogue| {
                launch::forward(&geometry, first, epilogue)
            }),
            KernelClass::Plain => split::emit(lowering, &name, bound, sum, |first, epilogue| {
                launch::forward_plain(&geometry, first, epilogue)
            }),
        }
        Ok(())
    }

    fn backward(&self, lowering: &mut Lowering, id: usize) -> Result<(), Error> {
        self.weight_grad(lowering, id);
        self.input_grad(lowering, id);
        Ok(())
    }

    fn takes_relu_after(&self) -> bool {
        true
    }

    fn takes_pool_after(&self, class: KernelClass) -> bool {
        let [out_channels, in_channels, height, width] = self.weight.map(u);
        self.class(class) == KernelClass::CpuSubgroup8
            && launch::takes_pool([height, width], in_channels, out_channels)
    }
}
