use serde::{Deserialize, Serialize};

use super::snes::{few_members, log_weights};
use crate::error::Error;
use crate::gpu::uniform;
use crate::search::cma::{HostStep, Rates};
use crate::search::method::{Algorithm, Hyper, Memory, Over, Shape, Stage, narrow, scale};

/// The most dimensions of which [`CMA`] keeps a full covariance.
const MOST_FULL: usize = 300;

/// CMA-ES (nevergrad's `CMA`): a normal distribution whose covariance follows the steps that paid.
///
/// Up to 300 dimensions the covariance is full: the device samples and evaluates, and after each generation the host moves
/// mean, step size and covariance in f64. Beyond, it is [`DiagonalCMA`]. Members by default: `4 + 3 ln(dimensions)`; at
/// least 4.
///
/// Source: Hansen 2016, The CMA evolution strategy: a tutorial, arXiv:1604.00772, with weights of the better half alone.
/// Differs in that points outside the box are mirrored at its walls.
///
/// ```
/// use gradus::search::{CMA, Method};
///
/// let method: Method = CMA { sigma: 0.2, ..CMA::default() }.into();
/// assert_eq!(Method::named("CMA")?, CMA::default().into());
/// # Ok::<(), gradus::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CMA {
    /// First step size, in half widths of the box (in units of a dimension without bounds), above 0. Default 0.6.
    pub sigma: f64,
}

impl Default for CMA {
    fn default() -> Self {
        Self { sigma: 0.6 }
    }
}

/// Separable CMA-ES (nevergrad's `DiagonalCMA`): a variance for each dimension and no covariances, all on the device.
///
/// Members by default: `4 + 3 ln(dimensions)`; at least 4.
///
/// Source: Ros and Hansen 2008, A simple modification in CMA-ES achieving linear time and space complexity. Rates as there:
/// those of the full covariance times `(dimensions + 2) / 3`.
///
/// ```
/// use gradus::search::{DiagonalCMA, Method};
///
/// let method: Method = DiagonalCMA { sigma: 0.2, ..DiagonalCMA::default() }.into();
/// assert_eq!(Method::named("DiagonalCMA")?, DiagonalCMA::default().into());
/// # Ok::<(), gradus::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DiagonalCMA {
    /// As [`CMA::sigma`]. Default 0.6.
    pub sigma: f64,
}

impl Default for DiagonalCMA {
    fn default() -> Self {
        Self { sigma: 0.6 }
    }
}

uniform! {
    struct DiagonalHyper {
        c_sigma: f32, d_sigma: f32, c_c: f32, c_1: f32, c_mu: f32, mu_eff: f32, expected_norm: f32, threshold: f32,
        log_keep: f32
    }
}

impl CMA {
    /// Whether the covariance is full in so many dimensions.
    pub(crate) fn is_full(dimensions: usize) -> bool {
        dimensions <= MOST_FULL
    }
}

impl Algorithm for CMA {
    fn text(&self) -> &'static str {
        include_str!("../../../shaders/search/methods/cma.wgsl")
    }

    fn check(&self) -> Result<(), Error> {
        scale("sigma", self.sigma)
    }

    fn default_members(&self, dimensions: usize, _: Option<u64>) -> usize {
        few_members(dimensions)
    }

    fn least_members(&self) -> usize {
        4
    }

    fn memory(&self, shape: Shape, start: &[f32]) -> Memory {
        let d = shape.dimensions;
        let identity = (0..d * d).map(|at| if at % (d + 1) == 0 { narrow(self.sigma) } else { 0.0 });
        let memory = Memory::default().floats(start.iter().copied()).floats(identity);
        memory.zeros(shape.members * d)
    }

    fn before(&self) -> &'static [Stage] {
        const BEFORE: &[Stage] = &[Stage::new("draw", Over::Elements), Stage::new("propose", Over::Elements)];
        BEFORE
    }

    fn after(&self) -> &'static [Stage] {
        const AFTER: &[Stage] = &[Stage::RANKS];
        AFTER
    }

    fn host_step(&self, shape: Shape, start: &[f32]) -> Option<HostStep> {
        Some(HostStep::new(shape, start, self.sigma))
    }
}

impl Algorithm for DiagonalCMA {
    fn text(&self) -> &'static str {
        include_str!("../../../shaders/search/methods/diagonal_cma.wgsl")
    }

    fn check(&self) -> Result<(), Error> {
        scale("sigma", self.sigma)
    }

    fn default_members(&self, dimensions: usize, _: Option<u64>) -> usize {
        few_members(dimensions)
    }

    fn least_members(&self) -> usize {
        4
    }

    fn hyper(&self, shape: Shape, _: bool) -> Hyper {
        let rates = Rates::new(&log_weights(shape.members), shape.dimensions).separable(shape.dimensions);
        let d = shape.dimensions as f64;
        Hyper::of(DiagonalHyper {
            c_sigma: narrow(rates.c_sigma),
            d_sigma: narrow(rates.d_sigma),
            c_c: narrow(rates.c_c),
            c_1: narrow(rates.c_1),
            c_mu: narrow(rates.c_mu),
            mu_eff: narrow(rates.mu_eff),
            expected_norm: narrow(rates.expected_norm),
            threshold: narrow((1.4 + 2.0 / (d + 1.0)) * rates.expected_norm),
            log_keep: narrow(2.0 * (1.0 - rates.c_sigma).ln()),
        })
    }

    fn memory(&self, shape: Shape, start: &[f32]) -> Memory {
        let Shape { members, dimensions, .. } = shape;
        let weights = log_weights(members).into_iter().map(narrow);
        let memory = Memory::default().floats(start.iter().copied()).numbers(1.0, dimensions);
        let memory = memory.zeros(4 * dimensions).numbers(self.sigma, 1).zeros(1);
        memory.floats(weights).zeros(members * dimensions)
    }

    fn after(&self) -> &'static [Stage] {
        const AFTER: &[Stage] = &[
            Stage::RANKS,
            Stage::new("gather", Over::Sums),
            Stage::new("settle", Over::Total),
            Stage::new("follow_of", Over::Dimensions),
        ];
        AFTER
    }
}
