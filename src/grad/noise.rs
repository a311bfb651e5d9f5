use serde::{Deserialize, Serialize};

use super::fused::at_least_in_32_bits;
use crate::Error;
use crate::error::at_least;

/// Adds Gaussian noise with the annealed standard deviation `eta / (1 + t)^gamma`, where `t` is the step, counted from
/// 0 and including skipped steps.
///
/// The noise is a pure function of `seed`, `t` and the element's position in the store (Philox 4x32-10 and Box-Muller),
/// so a repeated run gets the same noise. optax's `add_noise` has the variance `eta / t^gamma` instead.
///
/// Source: Neelakantan et al. 2015, arXiv:1511.06807, whose `gamma` is 0.55.
///
/// ```
/// use gradus::grad::{Noise, Transforms};
///
/// let noise = Noise { eta: 0.01, seed: 7, ..Noise::default() };
/// Transforms { noise: Some(noise), ..Transforms::default() }.check()?;
/// # Ok::<(), gradus::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Noise {
    /// Standard deviation at the first step, at least 0. Default 1e-3.
    pub eta: f64,
    /// Rate of the annealing, at least 0. Default 0.55.
    pub gamma: f64,
    /// Seed of the noise. Default 0.
    pub seed: u64,
}

impl Default for Noise {
    fn default() -> Self {
        Self { eta: 1e-3, gamma: 0.55, seed: 0 }
    }
}

impl Noise {
    pub(super) fn check(&self) -> Result<(), Error> {
        at_least_in_32_bits("noise.eta", self.eta, 0.0)?;
        at_least("noise.gamma", self.gamma, 0.0)
    }

    pub(crate) fn deviation(&self, step: u64) -> f64 {
        self.eta / (1.0 + step as f64).powf(self.gamma)
    }
}
