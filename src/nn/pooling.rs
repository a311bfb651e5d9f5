use super::Pair;
use crate::graph::{Var, ops};

/// Max pooling, like torch's `MaxPool2d`. Of equal elements, the first in row-major order gets the gradient.
///
/// Shapes: input `[N, C, H, W]`, output `[N, C, H', W']` with
/// `H' = (H + 2 * padding - dilation * (kernel - 1) - 1) / stride + 1`, rounded down or, with
/// [`MaxPool2d::ceil_mode`], up.
///
/// Source: <https://docs.pytorch.org/docs/stable/generated/torch.nn.MaxPool2d.html>.
///
/// ```
/// use gradus::graph::Graph;
/// use gradus::nn::MaxPool2d;
///
/// let x = Graph::new().input("x", [1, 8, 28, 28]);
/// assert_eq!(x.max_pool2d(2).shape(), [1, 8, 14, 14]);
/// assert_eq!(x.max_pool2d(MaxPool2d::new(3).stride(2).padding(1)).shape(), [1, 8, 14, 14]);
/// ```
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct MaxPool2d {
    kernel: [usize; 2],
    stride: [usize; 2],
    padding: [usize; 2],
    dilation: [usize; 2],
    ceil_mode: bool,
}

impl MaxPool2d {
    /// Pooling with this window size; the stride equals the window size, no padding.
    pub fn new(kernel: impl Into<Pair>) -> Self {
        let kernel = kernel.into().0;
        Self { kernel, stride: kernel, padding: [0; 2], dilation: [1; 2], ceil_mode: false }
    }

    /// Distance between windows. Default: the window's size.
    pub fn stride(mut self, stride: impl Into<Pair>) -> Self {
        self.stride = stride.into().0;
        self
    }

    /// Padding on each side, which is never the maximum; at most half of the dilated window. Default 0.
    pub fn padding(mut self, padding: impl Into<Pair>) -> Self {
        self.padding = padding.into().0;
        self
    }

    /// Spacing between window elements. Default 1.
    pub fn dilation(mut self, dilation: impl Into<Pair>) -> Self {
        self.dilation = dilation.into().0;
        self
    }

    /// Whether the last window may extend past the right or lower edge, if it starts before the padding there.
    /// Default false.
    pub fn ceil_mode(mut self, ceil_mode: bool) -> Self {
        self.ceil_mode = ceil_mode;
        self
    }
}

impl<T: Into<Pair>> From<T> for MaxPool2d {
    fn from(kernel: T) -> Self {
        Self::new(kernel)
    }
}

/// Average pooling, like torch's `AvgPool2d`.
///
/// Shapes: input `[N, C, H, W]`, output `[N, C, H', W']` with `H' = (H + 2 * padding - kernel) / stride + 1`,
/// rounded down or, with [`AvgPool2d::ceil_mode`], up.
///
/// ```
/// use gradus::graph::Graph;
/// use gradus::nn::AvgPool2d;
///
/// let graph = Graph::new();
/// let x = graph.input("x", [8, 3, 32, 32]);
/// assert_eq!(x.avg_pool2d(2).shape(), [8, 3, 16, 16]);
/// assert_eq!(x.avg_pool2d(AvgPool2d::new(3).stride(2).padding(1)).shape(), [8, 3, 16, 16]);
/// ```
///
/// Source: <https://docs.pytorch.org/docs/stable/generated/torch.nn.AvgPool2d.html>.
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct AvgPool2d {
    kernel: [usize; 2],
    stride: [usize; 2],
    padding: [usize; 2],
    ceil_mode: bool,
    count_include_pad: bool,
    divisor_override: Option<usize>,
}

impl AvgPool2d {
    /// Pooling with this window size; the stride equals the window size, no padding.
    pub fn new(kernel: impl Into<Pair>) -> Self {
        let kernel = kernel.into().0;
        Self {
            kernel,
            stride: kernel,
            padding: [0; 2],
            ceil_mode: false,
            count_include_pad: true,
            divisor_override: None,
        }
    }

    /// Distance between windows. Default: the window's size.
    pub fn stride(mut self, stride: impl Into<Pair>) -> Self {
        self.stride = stride.into().0;
        self
    }

    /// Zero padding on each side; at most half the window. Default 0.
    pub fn padding(mut self, padding: impl Into<Pair>) -> Self {
        self.padding = padding.into().0;
        self
    }

    /// Whether the last window may extend past the right or lower edge, if it starts before the padding there.
    /// Elements beyond the padding are never counted. Default false.
    pub fn ceil_mode(mut self, ceil_mode: bool) -> Self {
        self.ceil_mode = ceil_mode;
        self
    }

    /// Whether the mean counts padding. Default true.
    pub fn count_include_pad(mut self, count_include_pad: bool) -> Self {
        self.count_include_pad = count_include_pad;
        self
    }

    /// Divisor of every window's sum, at least 1. Default none: the number of elements.
    pub fn divisor_override(mut self, divisor: impl Into<Option<usize>>) -> Self {
        self.divisor_override = divisor.into();
        self
    }
}

impl<T: Into<Pair>> From<T> for AvgPool2d {
    fn from(kernel: T) -> Self {
        Self::new(kernel)
    }
}

impl Var {
    /// The maximum of each window of this image.
    #[must_use]
    pub fn max_pool2d(&self, layer: impl Into<MaxPool2d>) -> Var {
        let MaxPool2d { kernel, stride, padding, dilation, ceil_mode } = layer.into();
        self.unary(ops::MaxPool2d { windows: ops::Windows { kernel, stride, padding, dilation, ceil_mode } })
    }

    /// The mean of each window of this image.
    #[must_use]
    pub fn avg_pool2d(&self, layer: impl Into<AvgPool2d>) -> Var {
        let AvgPool2d { kernel, stride, padding, ceil_mode, count_include_pad, divisor_override } =
            layer.into();
        let windows = ops::Windows { kernel, stride, padding, dilation: [1; 2], ceil_mode };
        self.unary(ops::AvgPool2d { windows, count_include_pad, divisor_override })
    }
}
