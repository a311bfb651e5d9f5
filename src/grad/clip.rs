use serde::{Deserialize, Serialize};

use crate::Error;
use crate::config::Variant;

/// Scales all gradients down together if their norm is larger than `max_norm`. Gradients of frozen tensors do not
/// count.
///
/// The norm is taken after accumulation and unscaling, as in torch after `unscale_`. It is right for all finite
/// gradients: sums have an exponent of their own, so squares neither overflow nor underflow.
///
/// Gradients with a smaller norm keep their bits. If a gradient is infinite, all finite ones become zero, as in torch.
/// If the norm is NaN, nothing is scaled (torch makes all gradients NaN). If finite gradients have a norm above the
/// largest f32, it is reported as infinity but they are scaled by its true value (torch makes them zero).
///
/// Source: <https://docs.pytorch.org/docs/stable/generated/torch.nn.utils.clip_grad_norm_.html>.
///
/// ```
/// use gradus::grad::{ClipGradNorm, Transforms};
///
/// let transforms = Transforms { clip_grad_norm: Some(ClipGradNorm::new(1.0)), ..Transforms::default() };
/// transforms.check()?;
/// # Ok::<(), gradus::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClipGradNorm {
    /// Largest norm, at least 0. Required. With infinity, in JSON `"inf"`, nothing is clipped but the norm is still
    /// computed for reading.
    #[serde(with = "bound")]
    pub max_norm: f64,
    /// Order of the norm. Default [`NormType::Two`].
    #[serde(default)]
    pub norm_type: NormType,
    /// Which formula: torch's `min(1, max_norm / (norm + 1e-6))`, or optax's `max_norm / norm` if `norm >= max_norm`.
    /// The 1e-6 is the only difference. Default torch's.
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
///
/// ```
/// use gradus::grad::{ClipGradNorm, NormType};
///
/// let clip = ClipGradNorm { norm_type: NormType::Infinity, ..ClipGradNorm::new(1.0) };
/// ```
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

/// Orders as JSON values: 1, 2 and `"inf"`.
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
    /// torch's clip to the 2-norm `max_norm` of all gradients together.
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

    /// Clips nothing, but computes the norm for [`Optimizer::read_norm`](crate::optim::Optimizer::read_norm) and
    /// [`StepResult::norm`](crate::optim::StepResult).
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

/// A number, or `"inf"`, because JSON has no infinity.
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
