use super::Pair;
use crate::graph::{Var, ops};

/// The size of an adaptive pooling's output: one number for both axes, or `[height, width]`, in which `None` is the input's.
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

/// Nearest-neighbour upsampling, as torch's `Upsample` with `mode='nearest'`: output `i` of an axis is a copy of input
/// `floor(i / scale_factor)`, or with a size of input `floor(i * inputs / outputs)`, both computed in f32 as torch does.
///
/// The gradient of an input is the sum of those of its copies. Shapes: `[N, C, H, W]` to `[N, C, H', W']`, or `[N, C, L]` to
/// `[N, C, L']`, with `H' = floor(H * scale_factor)`. Scales below 1 leave inputs out.
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
    /// One that scales by a factor, positive and finite: torch's `scale_factor`.
    pub fn new(scale_factor: impl Into<Scale>) -> Self {
        Self { target: ops::UpsampleTarget::Scale(scale_factor.into().0) }
    }

    /// One that makes an image, or a sequence, of this size, at least 1: torch's `size`.
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
    /// The mean of each of `output_size` windows of this image, as torch's `AdaptiveAvgPool2d`: row `i` of them goes from
    /// `floor(i * H / H')` to `ceil((i + 1) * H / H')`, so that neighbours may overlap in one element.
    ///
    /// Shapes: input `[N, C, H, W]`, output `[N, C, H', W']` with `output_size` of at least 1, smaller or larger than the
    /// input.
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
    /// Source: <https://docs.pytorch.org/docs/stable/generated/torch.nn.AdaptiveAvgPool2d.html>. Differs: an axis whose
    /// product with the other size, both in lowest terms, exceeds 32 bits is refused.
    #[must_use]
    pub fn adaptive_avg_pool2d(&self, output_size: impl Into<OutputSize>) -> Var {
        self.unary(ops::AdaptiveAvgPool2d { output: output_size.into().0 })
    }

    /// This image, or sequence, at another size.
    #[must_use]
    pub fn upsample(&self, layer: impl Into<Upsample>) -> Var {
        self.unary(ops::Upsample { target: layer.into().target })
    }
}
