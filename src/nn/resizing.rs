use super::Pair;
use crate::graph::{Var, ops};

/// Output size of an adaptive pooling: one number for both axes, or `[height, width]` with `None` for the input's
/// size.
///
/// ```
/// use gradus::graph::Graph;
///
/// let x = Graph::new().input("x", [1, 8, 7, 7]);
/// assert_eq!(x.adaptive_avg_pool2d(1).shape(), [1, 8, 1, 1]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutputSize([Option<usize>; 2]);

impl<T: Into<Pair>> From<T> for OutputSize {
    fn from(pair: T) -> Self {
        Self(pair.into().0.map(Some))
    }
}

impl From<[Option<usize>; 2]> for OutputSize {
    fn from(size: [Option<usize>; 2]) -> Self {
        Self(size)
    }
}

/// Nearest-neighbour upsampling, like torch's `Upsample` with `mode='nearest'`: output `i` along an axis is input
/// `floor(i / scale_factor)` or, for a given output size, input `floor(i * inputs / outputs)`. Both are computed in
/// f32 as in torch.
///
/// The gradient of an input is the sum of its copies' gradients. Shapes: `[N, C, H, W]` to `[N, C, H', W']`, or `[N,
/// C, L]` to `[N, C, L']`, with `H' = floor(H * scale_factor)`. Scales below 1 skip inputs.
///
/// ```
/// use gradus::graph::Graph;
/// use gradus::nn::Upsample;
///
/// let graph = Graph::new();
/// let x = graph.input("x", [8, 3, 32, 30]);
/// assert_eq!(x.upsample(2).shape(), [8, 3, 64, 60]);
/// assert_eq!(x.upsample(Upsample::new([1.5, 0.5])).shape(), [8, 3, 48, 15]);
/// assert_eq!(x.upsample(Upsample::to_size([40, 31])).shape(), [8, 3, 40, 31]);
/// graph.check()?;
/// # Ok::<(), gradus::Error>(())
/// ```
///
/// Source: <https://docs.pytorch.org/docs/stable/generated/torch.nn.Upsample.html>.
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct Upsample {
    target: ops::UpsampleTarget,
}

/// One factor for all axes, or `[vertical, horizontal]`.
///
/// ```
/// use gradus::graph::Graph;
/// use gradus::nn::Upsample;
///
/// let x = Graph::new().input("x", [1, 8, 7, 7]);
/// assert_eq!(x.upsample(Upsample::new(2)).shape(), [1, 8, 14, 14]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scale([f64; 2]);

impl From<usize> for Scale {
    fn from(all: usize) -> Self {
        Self([all as f64; 2])
    }
}

impl From<[usize; 2]> for Scale {
    fn from(factors: [usize; 2]) -> Self {
        Self(factors.map(|factor| factor as f64))
    }
}

impl From<f64> for Scale {
    fn from(all: f64) -> Self {
        Self([all; 2])
    }
}

impl From<[f64; 2]> for Scale {
    fn from(factors: [f64; 2]) -> Self {
        Self(factors)
    }
}

impl Upsample {
    /// Scales by a positive, finite factor: torch's `scale_factor`.
    pub fn new(scale_factor: impl Into<Scale>) -> Self {
        Self { target: ops::UpsampleTarget::Scale(scale_factor.into().0) }
    }

    /// Resizes an image or a sequence to this size, at least 1: torch's `size`.
    pub fn to_size(size: impl Into<Pair>) -> Self {
        Self { target: ops::UpsampleTarget::Size(size.into().0) }
    }
}

impl<T: Into<Scale>> From<T> for Upsample {
    fn from(scale_factor: T) -> Self {
        Self::new(scale_factor)
    }
}

impl Var {
    /// Averages this image over `output_size` windows, like torch's `AdaptiveAvgPool2d`: window row `i` covers the
    /// rows from `floor(i * H / H')` to `ceil((i + 1) * H / H')`, so neighbouring windows can share one row.
    ///
    /// Shapes: input `[N, C, H, W]`, output `[N, C, H', W']`. `output_size` is at least 1 and can be smaller or
    /// larger than the input.
    ///
    /// ```
    /// use gradus::graph::Graph;
    ///
    /// let graph = Graph::new();
    /// let x = graph.input("x", [8, 3, 32, 30]);
    /// assert_eq!(x.adaptive_avg_pool2d(1).shape(), [8, 3, 1, 1]);
    /// assert_eq!(x.adaptive_avg_pool2d([Some(7), None]).shape(), [8, 3, 7, 30]);
    /// graph.check()?;
    /// # Ok::<(), gradus::Error>(())
    /// ```
    ///
    /// Source: <https://docs.pytorch.org/docs/stable/generated/torch.nn.AdaptiveAvgPool2d.html>. Differs: an axis is
    /// refused if the product of its input and output sizes, reduced to lowest terms, exceeds 32 bits.
    #[must_use]
    pub fn adaptive_avg_pool2d(&self, output_size: impl Into<OutputSize>) -> Var {
        self.unary(ops::AdaptiveAvgPool2d { output: output_size.into().0 })
    }

    /// Resizes this image or sequence.
    #[must_use]
    pub fn upsample(&self, layer: impl Into<Upsample>) -> Var {
        self.unary(ops::Upsample { target: layer.into().target })
    }
}
