use serde::{Deserialize, Serialize};

use crate::Error;
use crate::config::Variant;

/// Scales all gradients down together where their norm is too large; those of frozen tensors do not count.
///
/// The norm is that of the gradients after accumulation and unscaling, as where torch's `unscale_` comes first, and right
/// for all finite gradients: the sums have an exponent of their own, so that squares neither overflow nor vanish.
///
/// Smaller gradients keep their bits. Of gradients with an infinity all finite ones become zero, as in torch;
/// where the norm is NaN nothing is scaled (torch makes all of them NaN). Where finite gradients have a norm above the
/// largest f32, it reads as infinity and they are scaled by what it is (torch makes zeros of them).
///
/// Source: <https://docs.pytorch.org/docs/stable/generated/torch.nn.utils.clip_grad_norm_.html>.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClipGradNorm {
    /// The largest norm, at least 0. Required. With infinity, in JSON `"inf"`, nothing is clipped and the norm is
    /// computed all the same, to be read.
    #[serde(with = "bound")]
    pub max_norm: f64,
    /// Default [`NormType::Two`].
    #[serde(default)]
    pub norm_type: NormType,
    /// Whose formula: torch's `min(1, max_norm / (norm + 1e-6))`, or optax's `max_norm / norm` where
    /// `norm >= max_norm`. They differ where the norm is within 1e-6 of the largest. Default torch's.
    #[serde(default)]
    pub variant: Variant,
    /// Whether each group is clipped by its own norm. Default false: one norm over all.
    #[serde(default)]
    pub per_group: bool,
    /// Whether [`Optimizer::read_norm`](crate::optim::Optimizer::read_norm) refuses a norm that is not finite.
    /// Default false.
    #[serde(default)]
    pub error_if_nonfinite: bool,
}

/// The order of a norm.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Order", into = "Order")]
pub enum NormType {
    /// The sum of the magnitudes.
    One,
    /// The root of the sum of the squares.
    #[default]
    Two,
    /// The largest magnitude.
    Infinity,
}

/// How the orders are written: 1, 2 and `"inf"`.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Order {
    Number(f64),
    Name(String),
}

impl TryFrom<Order> for NormType {
    type Error = String;

    fn try_from(order: Order) -> Result<Self, String> {
        match order {
            Order::Number(1.0) => Ok(Self::One),
            Order::Number(2.0) => Ok(Self::Two),
            Order::Name(name) if name == "inf" => Ok(Self::Infinity),
            Order::Number(other) => Err(format!("norm_type must be 1, 2 or \"inf\", got {other}")),
            Order::Name(other) => Err(format!("norm_type must be 1, 2 or \"inf\", got {other:?}")),
        }
    }
}

impl From<NormType> for Order {
    fn from(norm: NormType) -> Self {
        match norm {
            NormType::One => Self::Number(1.0),
            NormType::Two => Self::Number(2.0),
            NormType::Infinity => Self::Name("inf".into()),
        }
    }
}

impl ClipGradNorm {
    /// torch's clip to the 2-norm `max_norm` over all gradients.
    #[must_use]
    pub fn new(max_norm: f64) -> Self {
        Self {
            max_norm,
            norm_type: NormType::default(),
            variant: Variant::default(),
            per_group: false,
            error_if_nonfinite: false,
        }
    }

    /// Clips nothing: for the norm that [`Optimizer::read_norm`](crate::optim::Optimizer::read_norm) and
    /// [`StepResult::norm`](crate::optim::StepResult) report.
    #[must_use]
    pub fn report_only() -> Self {
        Self::new(f64::INFINITY)
    }

    pub(super) fn check(&self) -> Result<(), Error> {
        if self.max_norm >= 0.0 {
            return Ok(());
        }
        Err(Error::constant("clip_grad_norm.max_norm", "at least 0", self.max_norm))
    }
}

/// A number, or `"inf"`, which JSON has no number for.
mod bound {
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::Order;

    pub(super) fn serialize<S: Serializer>(bound: &f64, serializer: S) -> Result<S::Ok, S::Error> {
        if *bound == f64::INFINITY {
            return serializer.serialize_str("inf");
        }
        bound.serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
        let refuse = |got: &str| D::Error::custom(format!("max_norm must be a number or \"inf\", got {got}"));
        match Order::deserialize(deserializer) {
            Ok(Order::Number(bound)) => Ok(bound),
            Ok(Order::Name(name)) if name == "inf" => Ok(f64::INFINITY),
            Ok(Order::Name(name)) => Err(refuse(&format!("{name:?}"))),
            Err(_) => Err(refuse("something else")),
        }
    }
}
