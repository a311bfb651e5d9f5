use serde::{Deserialize, Serialize};

use super::fused::narrow;
use crate::Error;
use crate::error::above;

/// Loss scaling for half precision: multiplies the loss so that small gradients do not underflow in the backward pass,
/// and searches for the largest factor at which gradients do not overflow. A step whose gradients overflow is skipped.
///
/// The factor stays on the device, in the store's gate. Plans multiply the loss by it (`PlanOptions::scaled`), and the
/// optimizer divides the gradients by it.
///
/// Source: <https://docs.pytorch.org/docs/stable/amp.html#torch.amp.GradScaler>.
///
/// ```
/// use gradus::grad::{GradScaler, Transforms};
///
/// let scaler = GradScaler { init_scale: 1024.0, ..GradScaler::default() };
/// assert!(Transforms { grad_scaler: Some(scaler), ..Transforms::default() }.may_skip());
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GradScaler {
    /// Initial factor, in [2^-126, 2^126]. Default 65536.
    pub init_scale: f64,
    /// Multiplies the factor when it grows, above 1. Default 2.
    pub growth_factor: f64,
    /// Multiplies the factor at a skipped step, in (0, 1). Default 0.5.
    pub backoff_factor: f64,
    /// Steps in a row without a skipped one before the factor grows, at least 1. Default 2000.
    pub growth_interval: u32,
}

impl Default for GradScaler {
    fn default() -> Self {
        Self { init_scale: 65536.0, growth_factor: 2.0, backoff_factor: 0.5, growth_interval: 2000 }
    }
}

impl GradScaler {
    pub(super) fn check(&self) -> Result<(), Error> {
        // Gradients are multiplied by the reciprocal, which must be a normal number too.
        let scales = f64::from(f32::MIN_POSITIVE)..=1.0 / f64::from(f32::MIN_POSITIVE);
        if !scales.contains(&self.init_scale) {
            return Err(Error::constant("grad_scaler.init_scale", "in [2^-126, 2^126]", self.init_scale));
        }
        above("grad_scaler.growth_factor", self.growth_factor, 1.0)?;
        above("grad_scaler.backoff_factor", self.backoff_factor, 0.0)?;
        if self.backoff_factor >= 1.0 {
            return Err(Error::constant("grad_scaler.backoff_factor", "below 1", self.backoff_factor));
        }
        // Kernels use f32, in which a factor near 1 rounds to 1 and a tiny one to 0.
        if !(narrow(self.growth_factor).is_finite() && narrow(self.growth_factor) > 1.0) {
            let allowed = "finite and above 1 in 32 bits";
            return Err(Error::constant("grad_scaler.growth_factor", allowed, self.growth_factor));
        }
        if !(f32::MIN_POSITIVE..1.0).contains(&narrow(self.backoff_factor)) {
            let allowed = "at least 2^-126 and below 1 in 32 bits";
            return Err(Error::constant("grad_scaler.backoff_factor", allowed, self.backoff_factor));
        }
        if self.growth_interval == 0 {
            return Err(Error::constant("grad_scaler.growth_interval", "at least 1", 0));
        }
        Ok(())
    }
}
