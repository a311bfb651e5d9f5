//! Sizes of a convolution and of its kernels.

use crate::graph::shape::pitch;

/// Sizes of a convolution over NHWC activations, `y[n, oy, ox, o] = sum x[n, oy*s + ky*d - p, .., c] * w[o, c, ky,
/// kx]`. With groups, the sum is over the input channels of the group of `o`, and `c` is relative to that group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Geometry {
    pub(super) images: u32,
    pub(super) in_channels: u32,
    pub(super) out_channels: u32,
    pub(super) groups: u32,
    /// Height and width of the input, the output, the kernel, the stride, the padding before the input, and the
    /// dilation. Anything past the end of the input is padding too.
    pub(super) input: [u32; 2],
    pub(super) output: [u32; 2],
    pub(super) kernel: [u32; 2],
    pub(super) stride: [u32; 2],
    pub(super) padding: [u32; 2],
    pub(super) dilation: [u32; 2],
    /// Whether the input is a single channel in the natural order, so that its rows are in quads.
    pub(super) planar: bool,
}

impl Geometry {
    pub(super) fn taps(&self) -> u32 {
        self.kernel[0] * self.kernel[1]
    }

    /// Number of input and output channels per group.
    pub(super) fn group(&self) -> [u32; 2] {
        [self.in_channels, self.out_channels].map(|channels| channels / self.groups)
    }

    /// Whether each output channel depends on one input channel.
    pub(super) fn is_depthwise(&self) -> bool {
        self.groups > 1 && self.group() == [1, 1]
    }

    /// Number of elements of the padded input and output.
    pub(super) fn lens(&self) -> [usize; 2] {
        let len = |size: [u32; 2], channels: u32| {
            [self.images, size[0], size[1], pitch(channels)].map(|n| n as usize).iter().product()
        };
        [len(self.input, self.in_channels), len(self.output, self.out_channels)]
    }

    /// FLOP of one pass: two per tap and output, including taps on padding.
    pub(super) fn flops(&self) -> u64 {
        let [inputs, _] = self.group();
        let outputs = [self.images, self.output[0], self.output[1], self.out_channels];
        [&outputs[..], &[self.taps(), inputs]].concat().into_iter().map(u64::from).product::<u64>() * 2
    }

    /// Whether the dilation is more than 1.
    pub(super) fn is_dilated(&self) -> bool {
        (0..2).any(|axis| self.dilation[axis] > 1 && self.kernel[axis] > 1)
    }
}

/// The computation of a convolution kernel: the forward pass, or the input gradient at stride 1.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    pub(super) images: u32,
    pub(super) in_channels: u32,
    pub(super) out_channels: u32,
    pub(super) groups: u32,
    pub(super) input: [u32; 2],
    pub(super) output: [u32; 2],
    pub(super) kernel: [u32; 2],
    pub(super) stride: [u32; 2],
    /// Negative if the input is cropped.
    pub(super) padding: [i32; 2],
    pub(super) dilation: [u32; 2],
}

impl Window {
    pub(super) fn forward(geometry: &Geometry) -> Self {
        Self::of_images(geometry).joined()
    }

    /// The forward pass, image by image.
    pub(super) fn of_images(geometry: &Geometry) -> Self {
        Self {
            images: geometry.images,
            in_channels: geometry.in_channels,
            out_channels: geometry.out_channels,
            groups: geometry.groups,
            input: geometry.input,
            output: geometry.output,
            kernel: geometry.kernel,
            stride: geometry.stride,
            padding: geometry.padding.map(u32::cast_signed),
            dilation: geometry.dilation,
        }
    }

    /// The input gradient at stride 1: a convolution with a flipped weight.
    pub(super) fn input_grad(geometry: &Geometry) -> Self {
        Self::of_input_grads(geometry).joined()
    }

    /// The input gradient at stride 1, image by image.
    pub(super) fn of_input_grads(geometry: &Geometry) -> Self {
        let padding = [0, 1].map(|axis| {
            let reach = geometry.dilation[axis] * (geometry.kernel[axis] - 1);
            reach.wrapping_sub(geometry.padding[axis]).cast_signed()
        });
        Self {
            images: geometry.images,
            in_channels: geometry.out_channels,
            out_channels: geometry.in_channels,
            groups: geometry.groups,
            input: geometry.output,
            output: geometry.input,
            kernel: geometry.kernel,
            stride: [1, 1],
            padding,
            dilation: geometry.dilation,
        }
    }

    /// For a 1x1 kernel over all pixels, rows and images do not matter, so all pixels form one long row.
    fn joined(self) -> Self {
        let same_pixels = self.stride == [1, 1] && self.padding == [0, 0] && self.input == self.output;
        if self.kernel != [1, 1] || !same_pixels {
            return self;
        }
        let pixels = [1, self.images * self.input[0] * self.input[1]];
        Self { images: 1, input: pixels, output: pixels, ..self }
    }
}

/// The flag that tells a kernel whether to add to its output (1) or to overwrite it (0).
pub(super) fn flag(set: bool) -> u32 {
    u32::from(set)
}
