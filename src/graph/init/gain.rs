//! Scale factors of initialisers.

use crate::Error;

/// A distribution around 0.
///
/// ```
/// use gradus::graph::{Fan, Init, Nonlinearity, Spread};
///
/// let init = Init::kaiming_normal(Fan::Out, Nonlinearity::Relu);
/// assert!(matches!(init, Init::Kaiming { spread: Spread::Normal, .. }));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spread {
    /// Uniform in an interval.
    Uniform,
    /// Normal.
    Normal,
}

/// Which number of connections determines the scale: torch's `mode`.
///
/// ```
/// use gradus::graph::{Fan, Init, Nonlinearity};
///
/// let init = Init::kaiming_uniform(Fan::In, Nonlinearity::LeakyRelu(0.2));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fan {
    /// `fan_in`: keeps the variance in the forward pass. For a weight `[out, in, ...]`, `in` times the number of
    /// kernel elements.
    #[default]
    In,
    /// `fan_out`: keeps the variance in the backward pass. `out` times the number of kernel elements.
    Out,
}

/// The nonlinearity after a layer, which determines the scale of its weight: the names of torch's `calculate_gain`.
///
/// ```
/// use gradus::nn::Nonlinearity;
///
/// assert_eq!(Nonlinearity::Tanh.gain(), 5.0 / 3.0);
/// assert_eq!(Nonlinearity::named("leaky_relu", Some(1.0))?.gain(), 1.0);
/// # Ok::<(), gradus::Error>(())
/// ```
///
/// Source: <https://docs.pytorch.org/docs/stable/nn.init.html#torch.nn.init.calculate_gain>.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Nonlinearity {
    /// None, `linear` or the name of a convolution: 1.
    Linear,
    /// `sigmoid`: 1.
    Sigmoid,
    /// `tanh`: 5 / 3.
    Tanh,
    /// `relu`: the square root of 2.
    Relu,
    /// `leaky_relu` with this negative slope, 0.01 by default: `sqrt(2 / (1 + slope^2))`.
    LeakyRelu(f64),
    /// `selu`: 3 / 4.
    Selu,
}

impl Nonlinearity {
    /// The recommended gain.
    pub fn gain(self) -> f64 {
        match self {
            Self::Linear | Self::Sigmoid => 1.0,
            Self::Tanh => 5.0 / 3.0,
            Self::Relu => 2.0_f64.sqrt(),
            Self::LeakyRelu(slope) => 2.0_f64.sqrt() / 1.0_f64.hypot(slope),
            Self::Selu => 0.75,
        }
    }

    /// By torch's name. `param` is the slope of `leaky_relu`, default 0.01; ignored for others, as in torch.
    ///
    /// # Errors
    /// [`Error::UnknownName`] with the most similar name.
    pub fn named(name: &str, param: Option<f64>) -> Result<Self, Error> {
        const CONVOLUTIONS: [&str; 6] =
            ["conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d"];
        const NAMES: [&str; 6] = ["linear", "sigmoid", "tanh", "relu", "leaky_relu", "selu"];
        Ok(match name {
            "linear" => Self::Linear,
            _ if CONVOLUTIONS.contains(&name) => Self::Linear,
            "sigmoid" => Self::Sigmoid,
            "tanh" => Self::Tanh,
            "relu" => Self::Relu,
            "leaky_relu" => Self::LeakyRelu(param.unwrap_or(0.01)),
            "selu" => Self::Selu,
            _ => return Err(Error::unknown("nonlinearity", name, NAMES.into_iter().chain(CONVOLUTIONS))),
        })
    }
}
