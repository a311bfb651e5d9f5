use serde::{Deserialize, Serialize};

use crate::error::{Error, closed};
use crate::gpu::uniform;
use crate::search::method::{Algorithm, Hyper, MOST, Memory, Over, Shape, Stage, narrow, scale};

/// Separable natural evolution strategy (nevergrad's `SNES`): a normal distribution with a width for each dimension.
///
/// `mean <- mean + mean_rate * sigma * sum(u * z)`, `sigma <- sigma * exp(width_rate / 2 * sum(u * (z^2 - 1)))` with
/// utilities `u` by rank. Members by default: `4 + 3 ln(dimensions)`; at least 2.
///
/// Source: Schaul, Glasmachers and Schmidhuber 2011, High dimensions and heavy tails for natural evolution strategies,
/// Alg. 2.
///
/// ```
/// use gradus::search::{Method, SNES};
///
/// let method: Method = SNES { sigma: 0.2, ..SNES::default() }.into();
/// assert_eq!(Method::named("SNES")?, SNES::default().into());
/// # Ok::<(), gradus::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SNES {
    /// First width, in half widths of the box (in units of a dimension without bounds), above 0. Default 0.5.
    pub sigma: f64,
    /// Rate of the mean, above 0. Default 1.
    pub mean_rate: f64,
    /// Rate of the widths, at least 0. Default `(3 + ln d) / (5 sqrt d)` of `d` dimensions.
    pub width_rate: Option<f64>,
}

impl Default for SNES {
    fn default() -> Self {
        Self { sigma: 0.5, mean_rate: 1.0, width_rate: None }
    }
}

uniform! {
    struct SNESHyper { mean_rate: f32, width_rate: f32 }
}

/// Weights of ranks that sum to 1: the better half by the logarithms of their ranks.
pub(super) fn log_weights(members: usize) -> Vec<f64> {
    let half = (members as f64 / 2.0 + 1.0).ln();
    let raw: Vec<f64> = (1..=members).map(|rank| (half - (rank as f64).ln()).max(0.0)).collect();
    let sum: f64 = raw.iter().sum();
    raw.into_iter().map(|weight| weight / sum).collect()
}

/// As CMA-ES and others have it by default.
pub(super) fn few_members(dimensions: usize) -> usize {
    // As whole numbers: e^(n / 3) is the first of n more.
    4 + (1..64).take_while(|n| (f64::from(*n) / 3.0).exp() <= dimensions as f64).count()
}

impl Algorithm for SNES {
    fn text(&self) -> &'static str {
        include_str!("../../../shaders/search/methods/snes.wgsl")
    }

    fn check(&self) -> Result<(), Error> {
        scale("sigma", self.sigma)?;
        scale("mean_rate", self.mean_rate)?;
        self.width_rate.map_or(Ok(()), |rate| closed("width_rate", rate, 0.0, MOST))
    }

    fn default_members(&self, dimensions: usize, _: Option<u64>) -> usize {
        few_members(dimensions)
    }

    fn least_members(&self) -> usize {
        2
    }

    fn hyper(&self, shape: Shape, _: bool) -> Hyper {
        let d = shape.dimensions as f64;
        let width_rate = self.width_rate.unwrap_or((3.0 + d.ln()) / (5.0 * d.sqrt()));
        Hyper::of(SNESHyper { mean_rate: narrow(self.mean_rate), width_rate: narrow(width_rate) })
    }

    fn memory(&self, shape: Shape, start: &[f32]) -> Memory {
        let even = 1.0 / shape.members as f64;
        let weights = log_weights(shape.members).into_iter().map(|weight| narrow(weight - even));
        let memory = Memory::default().floats(start.iter().copied()).numbers(self.sigma, shape.dimensions);
        memory.floats(weights).zeros(shape.members * shape.dimensions)
    }

    fn after(&self) -> &'static [Stage] {
        const AFTER: &[Stage] = &[Stage::RANKS, Stage::new("follow", Over::Sums)];
        AFTER
    }
}
