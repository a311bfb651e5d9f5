//! The fields of [`Adafactor`](super::Adafactor) in JSON, where the variant decides which there are.

use serde::{Deserialize, Serialize};

use crate::config::{Variant, present};

/// What keeps [`Adafactor`](super::Adafactor) from dividing by zero.
///
/// ```
/// use gradus::optim::{Adafactor, AdafactorEps};
///
/// let torch = Adafactor { eps: AdafactorEps::Torch(None, 1e-3), ..Adafactor::default() };
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum AdafactorEps {
    /// torch's: the least mean and the root of the least second moment, where `None` is the epsilon of f32; and the least
    /// size of parameters. Each at least 0.
    Torch(Option<f64>, f64),
    /// optax's: added to squares, at least 0.
    Optax(f64),
}

/// Each as it was given: the variant has the defaults.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Fields {
    #[serde(default, deserialize_with = "present")]
    pub(super) lr: Option<f64>,
    #[serde(default, deserialize_with = "present")]
    pub(super) beta2_decay: Option<f64>,
    #[serde(default, deserialize_with = "present")]
    pub(super) eps: Option<AdafactorEps>,
    #[serde(default, deserialize_with = "present")]
    pub(super) d: Option<f64>,
    #[serde(default, deserialize_with = "present")]
    pub(super) weight_decay: Option<Option<f64>>,
    #[serde(default)]
    pub(super) maximize: bool,
    #[serde(default, deserialize_with = "present")]
    pub(super) decay_rate: Option<f64>,
    #[serde(default)]
    pub(super) decay_offset: u64,
    #[serde(default, deserialize_with = "present")]
    pub(super) clipping_threshold: Option<Option<f64>>,
    #[serde(default, deserialize_with = "present")]
    pub(super) multiply_by_parameter_scale: Option<bool>,
    #[serde(default, deserialize_with = "present")]
    pub(super) min_dim_size_to_factor: Option<usize>,
    #[serde(default)]
    pub(super) momentum: Option<f64>,
    #[serde(default, deserialize_with = "present")]
    pub(super) factored: Option<bool>,
    #[serde(default)]
    pub(super) variant: Variant,
}
