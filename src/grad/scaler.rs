use serde::{Deserialize, Serialize};

use super::fused::narrow;
use crate::Error;
use crate::error::above;

/// Multiplies the loss, so that small gradients survive a backward pass in half precision, and finds the largest
/// factor that does not overflow. A step whose gradients did is skipped.
///
/// The factor lives on the device, in the store's gate: plans multiply by it
/// (`PlanOptions::scaled`), and the optimizer divides by it.
///
/// Source: <https://docs.pytorch.org/docs/stable/amp.html#torch.amp.GradScaler>.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GradScaler {
    /// The first factor, in [2^-126, 2^126]. Default 65536.
    pub init_scale: f64,
    /// What it grows by, above 1. Default 2.
    pub growth_factor: f64,
    /// What it shrinks by at a step that is skipped, in (0, 1). Default 0.5.
    pub backoff_factor: f64,
    /// Steps in a row without a skipped one before it grows, at least 1. Default 2000.
    pub growth_interval: u32,
}

impl Default for GradScaler {
    fn default() -> Self {
        Self { init_scale: 65536.0, growth_factor: 2.0, backoff_factor: 0.5, growth_interval: 2000 }
    }
}

impl GradScaler {
    pub(super) fn check(&self) -> Result<(), Error> {
        // The reciprocal divides gradients.
        let scales = f64::from(f32::MIN_POSITIVE)..=1.0 / f64::from(f32::MIN_POSITIVE);
        if !scales.contains(&self.init_scale) {
            return Err(Error::constant("grad_scaler.init_scale", "in [2^-126, 2^126]", self.init_scale));
        }
        above("grad_scaler.growth_factor", self.growth_factor, 1.0)?;
        above("grad_scaler.backoff_factor", self.backoff_factor, 0.0)?;
        if self.backoff_factor >= 1.0 {
            return Err(Error::constant("grad_scaler.backoff_factor", "below 1", self.backoff_factor));
        }
        // Kernels take them in 32 bits, where one that is nearly 1 is 1, and a tiny one 0.
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
