use serde::{Deserialize, Serialize};

use super::ga::check_scale;
use crate::error::{Error, closed};
use crate::gpu::uniform;
use crate::search::method::{Algorithm, Hyper, Memory, Over, Shape, Stage, narrow, scale};

/// Simulated annealing, a chain for each member.
///
/// Each chain steps by normal numbers of width `sigma` and takes a step that is worse by `d` with probability
/// `exp(-d / T)`. Over the generations of the budget, `T` is multiplied by `final_temperature` and `sigma` by
/// `final_scale`, in equal factors; without a budget by 0.95 a generation and not at all. Members by default: 10.
///
/// Source: Kirkpatrick, Gelatt and Vecchi 1983, Optimization by simulated annealing. Steps become narrower as in
/// Ingber 1989, Very fast simulated re-annealing.
///
/// ```
/// use gradus::search::{Method, SimulatedAnnealing};
///
/// let method: Method = SimulatedAnnealing { sigma: 0.1, ..SimulatedAnnealing::default() }.into();
/// assert_eq!(Method::named("SimulatedAnnealing")?, SimulatedAnnealing::default().into());
/// # Ok::<(), gradus::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SimulatedAnnealing {
    /// First temperature, in units of the objective, above 0. Default: by how much the first members are worse than the
    /// best of them, on average.
    pub temperature: Option<f64>,
    /// Share of the temperature that is left at the end of the budget, in `[1e-30, 1]`. Default 1e-4.
    pub final_temperature: f64,
    /// First standard deviation of steps, in half widths of the box (in units of a dimension without bounds)
    /// Default 0.5.
    pub sigma: f64,
    /// Share of it that is left at the end of the budget, in `[1e-9, 1]`. Default 1e-3.
    pub final_scale: f64,
}

impl Default for SimulatedAnnealing {
    fn default() -> Self {
        Self { temperature: None, final_temperature: 1e-4, sigma: 0.5, final_scale: 1e-3 }
    }
}

uniform! {
    struct AnnealingHyper { cooling: f32, sigma: f32, narrowing: f32, temperature: f32, starts: u32 }
}

impl Algorithm for SimulatedAnnealing {
    fn text(&self) -> &'static str {
        include_str!("../../../shaders/search/methods/annealing.wgsl")
    }

    fn check(&self) -> Result<(), Error> {
        if let Some(temperature) = self.temperature {
            closed("temperature", temperature, 1e-30, 1e30)?;
        }
        closed("final_temperature", self.final_temperature, 1e-30, 1.0)?;
        scale("sigma", self.sigma)?;
        check_scale(self.final_scale)
    }

    fn default_members(&self, _: usize, _: Option<u64>) -> usize {
        10
    }

    fn hyper(&self, shape: Shape, starts: bool) -> Hyper {
        let cooling = match shape.generations {
            Some(generations) => -self.final_temperature.ln() / generations as f64,
            None => -f64::ln(0.95),
        };
        Hyper::of(AnnealingHyper {
            cooling: narrow(cooling),
            sigma: narrow(self.sigma),
            narrowing: super::ga::decay(self.final_scale, shape.generations),
            temperature: narrow(self.temperature.unwrap_or(0.0)),
            starts: starts.into(),
        })
    }

    fn memory(&self, shape: Shape, start: &[f32]) -> Memory {
        let words = shape.members * (shape.dimensions + 2) + 1;
        Memory::default().zeros(words).floats(start.iter().copied())
    }

    fn after(&self) -> &'static [Stage] {
        const AFTER: &[Stage] =
            &[Stage::new("warm", Over::Total).first_only(), Stage::new("accept", Over::Elements)];
        AFTER
    }
}
