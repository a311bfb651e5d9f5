//! Sizes of a convolution, and of what its kernels compute.

/// Sizes of a convolution over NHWC activations, `y[n, oy, ox, o] = sum x[n, oy*s + ky*d - p, .., c] * w[o, c, ky, kx]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Geometry {
    pub(super) images: u32,
    pub(super) in_channels: u32,
    pub(super) out_channels: u32,
    /// Height and width of the input, the kernel, its stride, the padding on each side, and the distance between
    /// neighbours in the kernel.
    pub(super) input: [u32; 2],
    pub(super) kernel: [u32; 2],
    pub(super) stride: [u32; 2],
    pub(super) padding: [u32; 2],
    pub(super) dilation: [u32; 2],
}

impl Geometry {
    /// Height and width of the output.
    pub(super) fn output(&self) -> [u32; 2] {
        [0, 1].map(|axis| {
            let reach = self.dilation[axis] * (self.kernel[axis] - 1) + 1;
            (self.input[axis] + 2 * self.padding[axis] - reach) / self.stride[axis] + 1
        })
    }

    pub(super) fn taps(&self) -> u32 {
        self.kernel[0] * self.kernel[1]
    }

    /// Whether there are gaps between neighbours in the kernel.
    pub(super) fn is_dilated(&self) -> bool {
        (0..2).any(|axis| self.dilation[axis] > 1 && self.kernel[axis] > 1)
    }
}

/// What a convolution kernel computes, forward or as the input gradient at stride 1.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    pub(super) images: u32,
    pub(super) in_channels: u32,
    pub(super) out_channels: u32,
    pub(super) input: [u32; 2],
    pub(super) output: [u32; 2],
    pub(super) kernel: [u32; 2],
    pub(super) stride: [u32; 2],
    /// Negative when the input is cropped.
    pub(super) padding: [i32; 2],
    pub(super) dilation: [u32; 2],
}

impl Window {
    pub(super) fn forward(geometry: &Geometry) -> Self {
        Self::of_images(geometry).joined()
    }

    /// The forward pass image by image.
    pub(super) fn of_images(geometry: &Geometry) -> Self {
        Self {
            images: geometry.images,
            in_channels: geometry.in_channels,
            out_channels: geometry.out_channels,
            input: geometry.input,
            output: geometry.output(),
            kernel: geometry.kernel,
            stride: geometry.stride,
            padding: geometry.padding.map(u32::cast_signed),
            dilation: geometry.dilation,
        }
    }

    pub(super) fn input_grad(geometry: &Geometry) -> Self {
        let padding =
            [0, 1].map(|axis| geometry.kernel[axis].cast_signed() - 1 - geometry.padding[axis].cast_signed());
        let window = Self {
            images: geometry.images,
            in_channels: geometry.out_channels,
            out_channels: geometry.in_channels,
            input: geometry.output(),
            output: geometry.input,
            kernel: geometry.kernel,
            stride: [1, 1],
            padding,
            dilation: [1, 1],
        };
        window.joined()
    }

    /// A 1x1 kernel over all pixels sees no rows and no images, so all are one long row.
    fn joined(self) -> Self {
        if self.kernel != [1, 1] || self.stride != [1, 1] || self.padding != [0, 0] {
            return self;
        }
        let pixels = [1, self.images * self.input[0] * self.input[1]];
        Self { images: 1, input: pixels, output: pixels, ..self }
    }
}

/// Whether a gradient kernel writes its result or adds it to what is there.
pub(super) fn flag(set: bool) -> u32 {
    u32::from(set)
}
