use crate::graph::ops::conv2d::geometry::Geometry;
use crate::graph::shape::pitch;

/// A convolution with drawn tensors.
pub(super) struct Case {
    pub(super) geometry: Geometry,
    pub(super) name: String,
}

/// Sizes along one axis: input, kernel, stride, padding, dilation.
type Along = [u32; 5];

fn case(images: u32, [inputs, outputs, groups]: [u32; 3], y: Along, x: Along) -> Case {
    let axis = |at: usize| [y[at], x[at]];
    let output = [y, x].map(|[len, kernel, stride, padding, dilation]| {
        (len + 2 * padding - dilation * (kernel - 1) - 1) / stride + 1
    });
    let geometry = Geometry {
        images,
        in_channels: inputs,
        out_channels: outputs,
        groups,
        input: axis(0),
        output,
        kernel: axis(1),
        stride: axis(2),
        padding: axis(3),
        dilation: axis(4),
        planar: false,
    };
    Case { geometry, name: format!("{geometry:?}") }
}

/// Strides, dilations, paddings, groups and kernels of all kinds, and sizes around the borders of tiles.
pub(super) fn cases() -> Vec<Case> {
    vec![
        case(2, [3, 16, 1], [7, 3, 1, 1, 1], [9, 3, 1, 1, 1]),
        case(1, [9, 33, 1], [6, 2, 1, 0, 1], [5, 3, 1, 2, 1]),
        // Strides with fewer taps for some phases, with none, beyond the kernel; phases without positions.
        case(2, [12, 20, 1], [9, 3, 2, 1, 1], [8, 3, 2, 1, 1]),
        case(1, [10, 9, 1], [11, 5, 3, 2, 1], [10, 4, 2, 3, 1]),
        case(3, [16, 12, 1], [7, 1, 2, 0, 1], [6, 1, 3, 0, 1]),
        case(1, [9, 10, 1], [3, 2, 8, 3, 1], [2, 2, 5, 2, 1]),
        case(5, [12, 12, 1], [1, 1, 2, 0, 1], [1, 1, 2, 0, 1]),
        // Dilations, alone and with strides: without a common divisor, with one, multiples of each other.
        case(1, [9, 12, 1], [9, 3, 1, 2, 2], [11, 2, 1, 3, 3]),
        case(2, [12, 9, 1], [13, 3, 2, 2, 3], [12, 3, 3, 1, 2]),
        case(1, [10, 11, 1], [17, 4, 4, 3, 2], [14, 3, 6, 2, 4]),
        case(1, [9, 9, 1], [9, 3, 2, 2, 2], [16, 4, 3, 3, 3]),
        // Groups of whole quads.
        case(2, [24, 36, 3], [5, 3, 1, 1, 1], [6, 2, 1, 1, 1]),
        case(1, [32, 24, 2], [8, 3, 2, 1, 1], [7, 3, 2, 1, 1]),
        // Padding beyond the kernel; one output; a sequence; long pixels.
        case(1, [4, 9, 1], [2, 2, 1, 3, 1], [3, 2, 1, 2, 1]),
        case(1, [13, 17, 1], [3, 3, 1, 0, 1], [4, 4, 1, 0, 1]),
        case(2, [5, 9, 1], [1, 1, 1, 0, 1], [70, 5, 2, 1, 1]),
        case(1, [16, 64, 1], [1, 1, 1, 0, 1], [64, 1, 1, 0, 1]),
        // On both sides of the border of a tile: rows and columns of 31 to 33, 63 to 65, 127 to 129.
        case(1, [31, 32, 1], [1, 1, 1, 0, 1], [33, 1, 1, 0, 1]),
        case(1, [33, 31, 1], [1, 2, 1, 1, 1], [32, 1, 1, 0, 1]),
        case(1, [65, 63, 1], [8, 1, 1, 0, 1], [8, 1, 1, 0, 1]),
        case(1, [128, 129, 1], [1, 1, 1, 0, 1], [127, 1, 1, 0, 1]),
        case(3, [16, 128, 1], [43, 1, 1, 0, 1], [1, 1, 1, 0, 1]),
    ]
}

/// Long sums of few tiles, and weight gradients over more pixels than one part takes.
pub(super) fn split_cases() -> Vec<Case> {
    vec![
        case(1, [160, 130, 1], [4, 3, 1, 1, 1], [5, 3, 1, 1, 1]),
        case(1, [264, 300, 1], [7, 3, 2, 1, 1], [7, 3, 2, 1, 1]),
        case(1, [512, 512, 2], [2, 2, 1, 0, 1], [5, 2, 1, 1, 1]),
        case(1, [1_100, 1_030, 1], [1, 1, 1, 0, 1], [13, 1, 1, 0, 1]),
    ]
}

/// A number in [-1, 1) that is exact in f32.
fn noises(stream: u64, len: usize) -> Vec<f32> {
    let mut state = stream;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((state >> 44) as f32) / (1 << 19) as f32 - 1.0
    };
    (0..len).map(|_| next()).collect()
}

impl Case {
    /// Input, weight, bias and the output's gradient, as torch has them.
    pub(super) fn tensors(&self) -> (Vec<f32>, Vec<f32>, Vec<f32>, Vec<f32>) {
        let Geometry { images, in_channels, out_channels, input, output, .. } = self.geometry;
        let len = |channels: u32, size: [u32; 2]| (images * channels * size[0] * size[1]) as usize;
        let weights = (out_channels * self.geometry.group()[0] * self.geometry.taps()) as usize;
        let bias = noises(3, out_channels as usize);
        (noises(1, len(in_channels, input)), noises(2, weights), bias, noises(4, len(out_channels, output)))
    }

    /// From torch's order to rows of pixels, with zeros behind the channels.
    fn padded<T: Copy + Default>(&self, values: &[T], channels: u32, size: [u32; 2]) -> Vec<T> {
        let (pixels, channels) = ((size[0] * size[1]) as usize, channels as usize);
        let pitch = channels.next_multiple_of(4);
        let mut padded = vec![T::default(); values.len() / channels * pitch];
        for (at, value) in values.iter().enumerate() {
            let (image, channel, pixel) = (at / pixels / channels, at / pixels % channels, at % pixels);
            padded[(image * pixels + pixel) * pitch + channel] = *value;
        }
        padded
    }

    pub(super) fn padded_input<T: Copy + Default>(&self, values: &[T]) -> Vec<T> {
        self.padded(values, self.geometry.in_channels, self.geometry.input)
    }

    pub(super) fn padded_output<T: Copy + Default>(&self, values: &[T]) -> Vec<T> {
        self.padded(values, self.geometry.out_channels, self.geometry.output)
    }

    /// The bias of an element of the padded output.
    pub(super) fn bias_at(&self, bias: &[f32], at: usize) -> f32 {
        bias.get(at % pitch(self.geometry.out_channels) as usize).copied().unwrap_or(0.0)
    }

    /// Calls `each` with the places of every product: in the input, in the weight and in the output.
    fn products(&self, mut each: impl FnMut(usize, usize, usize)) {
        let g = &self.geometry;
        let [inputs, outputs] = g.group();
        let source = |axis: usize, o: u32, k: u32| {
            let at = (o * g.stride[axis] + k * g.dilation[axis]).checked_sub(g.padding[axis])?;
            (at < g.input[axis]).then_some(at)
        };
        for (image, o) in (0..g.images).flat_map(|image| (0..g.out_channels).map(move |o| (image, o))) {
            for (oy, ox) in (0..g.output[0]).flat_map(|y| (0..g.output[1]).map(move |x| (y, x))) {
                let y_at = ((image * g.out_channels + o) * g.output[0] + oy) * g.output[1] + ox;
                for (ky, kx) in (0..g.kernel[0]).flat_map(|ky| (0..g.kernel[1]).map(move |kx| (ky, kx))) {
                    let (Some(iy), Some(ix)) = (source(0, oy, ky), source(1, ox, kx)) else { continue };
                    for i in 0..inputs {
                        let channel = o / outputs * inputs + i;
                        let x_at = ((image * g.in_channels + channel) * g.input[0] + iy) * g.input[1] + ix;
                        let w_at = ((o * inputs + i) * g.kernel[0] + ky) * g.kernel[1] + kx;
                        each(x_at as usize, w_at as usize, y_at as usize);
                    }
                }
            }
        }
    }

    fn channel(&self, at: usize) -> usize {
        let g = &self.geometry;
        at / (g.output[0] * g.output[1]) as usize % g.out_channels as usize
    }

    /// The padded output.
    pub(super) fn forward(&self, x: &[f32], weight: &[f32], bias: &[f32]) -> Vec<f64> {
        let mut y: Vec<f64> =
            (0..self.tensors().3.len()).map(|at| f64::from(bias[self.channel(at)])).collect();
        self.products(|x_at, w_at, y_at| y[y_at] += f64::from(x[x_at]) * f64::from(weight[w_at]));
        self.padded_output(&y)
    }

    /// The padded gradient of the input.
    pub(super) fn input_grad(&self, weight: &[f32], dy: &[f32]) -> Vec<f64> {
        let mut dx = vec![0.0; self.tensors().0.len()];
        self.products(|x_at, w_at, y_at| dx[x_at] += f64::from(dy[y_at]) * f64::from(weight[w_at]));
        self.padded_input(&dx)
    }

    /// The gradients of weight and bias.
    pub(super) fn weight_grad(&self, x: &[f32], dy: &[f32]) -> (Vec<f64>, Vec<f64>) {
        let mut dw = vec![0.0; self.tensors().1.len()];
        self.products(|x_at, w_at, y_at| dw[w_at] += f64::from(dy[y_at]) * f64::from(x[x_at]));
        let mut db = vec![0.0; self.geometry.out_channels as usize];
        dy.iter().enumerate().for_each(|(at, dy)| db[self.channel(at)] += f64::from(*dy));
        (dw, db)
    }
}
