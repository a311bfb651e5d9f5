//! Initial values of parameters.

mod gain;
mod orthogonal;
mod truncated;

use rand::SeedableRng;
use rand_distr::{Distribution, StandardNormal, StandardUniform};
use rand_pcg::Pcg64;

pub use self::gain::{Fan, Nonlinearity, Spread};
use crate::Error;

/// Initial values of a parameter. They depend only on the seed, the shape and the parameter's index in its graph.
///
/// Fan-in and fan-out are torch's: for a weight `[out, in, ...]`, `in` and `out` times the number of kernel elements.
///
/// ```
/// use gradus::graph::{Graph, Init};
/// use gradus::nn::Linear;
///
/// let x = Graph::new().input("x", [8, 784]);
/// let h = x.linear(Linear::new(128).init(Init::trunc_normal(0.02)));
/// assert_eq!(h.shape(), [8, 128]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Init {
    /// All elements have this value.
    Constant(f64),
    /// Uniform in `[-bound, bound)`.
    Uniform {
        /// Largest magnitude.
        bound: f64,
    },
    /// Normal around 0.
    Normal {
        /// Standard deviation.
        std: f64,
    },
    /// Normal with this mean and standard deviation, truncated to `[a, b]`, like `torch.nn.init.trunc_normal_`;
    /// [`Init::trunc_normal`] has its defaults. The bounds are absolute values, not multiples of `std`, and may be
    /// infinite. The mean may be far outside of the bounds.
    ///
    /// Range: `std` above 0, `a` at most `b`.
    ///
    /// Source: Robert 1995, arXiv:0907.4010, for the sampling method; torch inverts the distribution function.
    TruncatedNormal {
        /// Mean before truncation.
        mean: f64,
        /// Standard deviation before truncation.
        std: f64,
        /// Smallest value.
        a: f64,
        /// Largest value.
        b: f64,
    },
    /// Orthogonal rows of length `gain` of the weight as a matrix `[out, rest]`; orthogonal columns if there are more
    /// rows than columns. Like `torch.nn.init.orthogonal_` (Saxe et al. 2013, arXiv:1312.6120): uniformly distributed
    /// over all such matrices. Takes `4 * n^2 * m` operations on the host, with `n` the smaller and `m` the larger of
    /// the two sizes.
    Orthogonal {
        /// Factor of the length; 1 for orthonormal rows.
        gain: f64,
    },
    /// Standard deviation `gain / sqrt(fan)`, like `torch.nn.init.kaiming_uniform_` and `kaiming_normal_` with `mode`
    /// and `nonlinearity`: see [`Init::kaiming_uniform`] and [`Init::kaiming_normal`].
    Kaiming {
        /// The distribution.
        spread: Spread,
        /// Whether the forward or the backward pass keeps its variance.
        fan: Fan,
        /// Scale factor, see [`Nonlinearity::gain`].
        gain: f64,
    },
    /// Normal around 0 with one row of zeros, like `torch.nn.Embedding` with a `padding_idx`.
    NormalWithZeroRow {
        /// Standard deviation.
        std: f64,
        /// Index of the row, along the first dimension.
        row: usize,
    },
    /// Uniform with bound `gain * sqrt(3 / fan_in)`, `gain = sqrt(2 / (1 + a^2))`, as
    /// `torch.nn.init.kaiming_uniform_` (He et al. 2015, arXiv:1502.01852). torch's layers use `a = sqrt(5)`.
    KaimingUniform {
        /// Negative slope of the leaky ReLU that follows; 0 for ReLU.
        a: f64,
    },
    /// Normal with deviation `gain / sqrt(fan_in)`, as `torch.nn.init.kaiming_normal_`.
    KaimingNormal {
        /// Negative slope of the leaky ReLU that follows; 0 for ReLU.
        a: f64,
    },
    /// Uniform with bound `gain * sqrt(6 / (fan_in + fan_out))`, as `torch.nn.init.xavier_uniform_`
    /// (Glorot and Bengio 2010).
    XavierUniform {
        /// Scale factor; 1 for none.
        gain: f64,
    },
    /// Normal with deviation `gain * sqrt(2 / (fan_in + fan_out))`, as `torch.nn.init.xavier_normal_`.
    XavierNormal {
        /// Scale factor; 1 for none.
        gain: f64,
    },
}

impl Init {
    /// [`Init::TruncatedNormal`] with torch's defaults: mean 0 and bounds -2 and 2. The bounds are absolute values,
    /// so for a small `std` they cut nothing off.
    pub fn trunc_normal(std: f64) -> Self {
        Self::TruncatedNormal { mean: 0.0, std, a: -2.0, b: 2.0 }
    }

    /// Uniform with bound `gain * sqrt(3 / fan)`, as `torch.nn.init.kaiming_uniform_` with these options.
    ///
    /// ```
    /// use gradus::nn::{Conv2d, Fan, Init, Nonlinearity};
    ///
    /// let layer = Conv2d::new(16, 3).init(Init::kaiming_uniform(Fan::Out, Nonlinearity::Relu));
    /// # let _ = layer;
    /// ```
    pub fn kaiming_uniform(fan: Fan, nonlinearity: Nonlinearity) -> Self {
        Self::Kaiming { spread: Spread::Uniform, fan, gain: nonlinearity.gain() }
    }

    /// Normal with deviation `gain / sqrt(fan)`, as `torch.nn.init.kaiming_normal_` with these options.
    pub fn kaiming_normal(fan: Fan, nonlinearity: Nonlinearity) -> Self {
        Self::Kaiming { spread: Spread::Normal, fan, gain: nonlinearity.gain() }
    }

    /// [`Init::XavierUniform`] with the gain for this nonlinearity.
    pub fn xavier_uniform(nonlinearity: Nonlinearity) -> Self {
        Self::XavierUniform { gain: nonlinearity.gain() }
    }

    /// [`Init::XavierNormal`] with the gain for this nonlinearity.
    pub fn xavier_normal(nonlinearity: Nonlinearity) -> Self {
        Self::XavierNormal { gain: nonlinearity.gain() }
    }

    /// Refuses a shape without the fans that are needed, and a scale whose values would not be finite in f32. Values
    /// too small for f32 become 0.
    pub(crate) fn check(self, name: &str, shape: &[usize]) -> Result<(), Error> {
        let option = match self {
            Self::TruncatedNormal { mean, std, a, b } => return truncated::check(name, mean, std, [a, b]),
            Self::Constant(x) => x,
            Self::Uniform { bound: x } | Self::Normal { std: x } | Self::NormalWithZeroRow { std: x, .. } => {
                x
            }
            Self::KaimingUniform { a: x } | Self::KaimingNormal { a: x } => x,
            Self::XavierUniform { gain: x } | Self::XavierNormal { gain: x } => x,
            Self::Orthogonal { gain: x } | Self::Kaiming { gain: x, .. } => x,
        };
        let refuse = |allowed: &str| {
            Err(Error::constant(format!("{name}: the scale of its initialiser"), allowed, option))
        };
        if !option.is_finite() {
            return refuse("finite");
        }
        let fanless = matches!(
            self,
            Self::Constant(_) | Self::Uniform { .. } | Self::Normal { .. } | Self::NormalWithZeroRow { .. }
        );
        if shape.len() < 2 && !fanless {
            let needs =
                if matches!(self, Self::Orthogonal { .. }) { "that is orthogonal" } else { "with fans" };
            let expected = format!("two dimensions or more for an initialiser {needs}");
            return Err(Error::Shape { layer: name.into(), expected, got: shape.to_vec() });
        }
        let scale = self.scale(shape);
        let (most, allowed) = match self.spread() {
            Some(Spread::Normal) => {
                (scale * MOST_DEVIATIONS, "such that 16 deviations are finite in 32 bits")
            }
            _ => (scale, "such that all values are finite in 32 bits"),
        };
        if narrow(most).is_finite() { Ok(()) } else { refuse(allowed) }
    }

    /// The distribution, if elements are drawn independently around 0.
    fn spread(self) -> Option<Spread> {
        match self {
            Self::Uniform { .. } | Self::KaimingUniform { .. } | Self::XavierUniform { .. } => {
                Some(Spread::Uniform)
            }
            Self::Normal { .. }
            | Self::NormalWithZeroRow { .. }
            | Self::KaimingNormal { .. }
            | Self::XavierNormal { .. } => Some(Spread::Normal),
            Self::Kaiming { spread, .. } => Some(spread),
            Self::Constant(_) | Self::TruncatedNormal { .. } | Self::Orthogonal { .. } => None,
        }
    }

    /// The constant, bound or standard deviation for a shape.
    fn scale(self, shape: &[usize]) -> f64 {
        let receptive = shape.iter().skip(2).map(|extent| *extent as f64).product::<f64>();
        let fan = |axis: usize| shape.get(axis).map_or(1.0, |extent| *extent as f64) * receptive;
        let (fan_out, fan_in) = (fan(0), fan(1));
        let leaky = |a: f64| Nonlinearity::LeakyRelu(a).gain();
        match self {
            Self::Constant(x)
            | Self::Uniform { bound: x }
            | Self::Normal { std: x }
            | Self::NormalWithZeroRow { std: x, .. } => x,
            Self::TruncatedNormal { std, .. } => std,
            Self::Orthogonal { gain } => gain,
            Self::KaimingUniform { a } => leaky(a) * (3.0 / fan_in).sqrt(),
            Self::KaimingNormal { a } => leaky(a) / fan_in.sqrt(),
            Self::Kaiming { spread, fan, gain } => {
                let fan = if fan == Fan::In { fan_in } else { fan_out };
                gain * (if spread == Spread::Uniform { 3.0 } else { 1.0 } / fan).sqrt()
            }
            Self::XavierUniform { gain } => gain * (6.0 / (fan_in + fan_out)).sqrt(),
            Self::XavierNormal { gain } => gain * (2.0 / (fan_in + fan_out)).sqrt(),
        }
    }

    pub(crate) fn values(self, shape: &[usize], seed: u64, stream: u64) -> Vec<f32> {
        let len = shape.iter().product();
        let mut random = Pcg64::seed_from_u64(seed);
        // Streams are far apart in one sequence of length 2^128, so a parameter's values do not depend on the sizes
        // of other parameters.
        random.advance(u128::from(stream) << 64);
        let scale = self.scale(shape);
        match (self, self.spread()) {
            (Self::NormalWithZeroRow { std, row }, _) => {
                let mut values = Self::Normal { std }.values(shape, seed, stream);
                let columns = shape[1..].iter().product::<usize>();
                values.iter_mut().skip(row.saturating_mul(columns)).take(columns).for_each(|x| *x = 0.0);
                values
            }
            (Self::TruncatedNormal { mean, std, a, b }, _) => {
                (0..len).map(|_| narrow(truncated::draw(&mut random, mean, std, [a, b]))).collect()
            }
            (Self::Orthogonal { gain }, _) => {
                let rows = shape[0];
                let matrix =
                    orthogonal::matrix(rows, len / rows.max(1), || StandardNormal.sample(&mut random));
                matrix.into_iter().map(|x| narrow(x * gain)).collect()
            }
            (_, None) => vec![narrow(scale); len],
            (_, Some(Spread::Uniform)) => {
                let draws = StandardUniform.sample_iter(&mut random).take(len);
                draws.map(|x: f64| narrow((2.0 * x - 1.0) * scale)).collect()
            }
            (_, Some(Spread::Normal)) => {
                let draws = StandardNormal.sample_iter(&mut random).take(len);
                draws.map(|x: f64| narrow(x * scale)).collect()
            }
        }
    }
}

/// Normal numbers drawn from 64 random bits never exceed this.
const MOST_DEVIATIONS: f64 = 16.0;

#[expect(clippy::cast_possible_truncation, reason = "parameters are f32")]
fn narrow(x: f64) -> f32 {
    x as f32
}

#[cfg(test)]
mod tests;
