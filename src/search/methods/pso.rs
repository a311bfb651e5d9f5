use serde::{Deserialize, Serialize};

use crate::error::{Error, closed};
use crate::gpu::uniform;
use crate::search::method::{Algorithm, Hyper, Memory, Shape, Stage, narrow};

/// Particle swarm (nevergrad's `PSO`).
///
/// `v <- omega * v + phip * r1 * (own best - x) + phig * r2 * (best - x)`, `x <- x + v`, with random `r1` and `r2` in
/// `[0, 1)` for each dimension. At a wall a particle stops and turns back at half its speed. Members by default: 40.
///
/// Source: Kennedy and Eberhart 1995; constants of SPSO 2011 (Zambrano-Bigiarini, Clerc and Rojas 2013), as in nevergrad.
/// Differs from nevergrad in that the box is not bent, and in that a generation is told at once.
///
/// ```
/// use gradus::search::{Method, PSO};
///
/// let method: Method = PSO { omega: 0.6, ..PSO::default() }.into();
/// assert_eq!(Method::named("PSO")?, PSO::default().into());
/// # Ok::<(), gradus::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PSO {
    /// Inertia, in `[0, 1]`. Default `0.5 / ln 2`.
    pub omega: f64,
    /// Pull of a particle's own best, in `[0, 4]`. Default `0.5 + ln 2`.
    pub phip: f64,
    /// Pull of the best of all, in `[0, 4]`. Default `0.5 + ln 2`.
    pub phig: f64,
}

impl Default for PSO {
    fn default() -> Self {
        let ln_2 = std::f64::consts::LN_2;
        Self { omega: 0.5 / ln_2, phip: 0.5 + ln_2, phig: 0.5 + ln_2 }
    }
}

uniform! {
    struct PSOHyper { omega: f32, phip: f32, phig: f32, starts: u32 }
}

impl Algorithm for PSO {
    fn text(&self) -> &'static str {
        include_str!("../../../shaders/search/methods/pso.wgsl")
    }

    fn check(&self) -> Result<(), Error> {
        closed("omega", self.omega, 0.0, 1.0)?;
        closed("phip", self.phip, 0.0, 4.0)?;
        closed("phig", self.phig, 0.0, 4.0)
    }

    fn default_members(&self, _: usize, _: Option<u64>) -> usize {
        40
    }

    fn hyper(&self, _: Shape, starts: bool) -> Hyper {
        Hyper::of(PSOHyper {
            omega: narrow(self.omega),
            phip: narrow(self.phip),
            phig: narrow(self.phig),
            starts: starts.into(),
        })
    }

    fn memory(&self, shape: Shape, start: &[f32]) -> Memory {
        let Shape { members, dimensions, .. } = shape;
        Memory::default().zeros(2 * members * (dimensions + 1)).floats(start.iter().copied())
    }

    fn after(&self) -> &'static [Stage] {
        // A particle's own best is kept as it moves on.
        &[]
    }
}
