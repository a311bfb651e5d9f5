mod rates;

use serde::{Deserialize, Serialize};

use super::snes::{few_members, log_weights};
use crate::error::Error;
use crate::gpu::uniform;
use crate::search::method::{Algorithm, Hyper, Memory, Over, Shape, Stage, narrow, scale};
use rates::Rates;

/// The most dimensions of which [`CMA`] keeps a full covariance.
const MOST_FULL: usize = 300;

/// CMA-ES (nevergrad's `CMA`): a normal distribution whose covariance follows the steps that paid.
///
/// Up to 300 dimensions the covariance is full; beyond, it is [`DiagonalCMA`]. All of it runs on the device, which keeps a
/// triangular factor of the covariance and multiplies it by that of what was learned, so that no eigenvectors are taken.
/// Members by default: `4 + 3 ln(dimensions)`, or `4 + ln(dimensions)` for a budget below 200 evaluations a dimension; at
/// least 4.
///
/// Source: Hansen 2016, The CMA evolution strategy: a tutorial, arXiv:1604.00772, with weights of the better half alone; by
/// a triangular factor as in Krause, Arbonès and Igel 2016, CMA-ES with optimal covariance update and storage complexity;
/// elitist by injection, Hansen 2011, arXiv:1110.4181. Differs in that points outside the box are mirrored at its walls.
///
/// ```
/// use gradus::search::{CMA, Method};
///
/// let method: Method = CMA { sigma: Some(0.2), elitist: Some(false) }.into();
/// assert_eq!(Method::named("CMA")?, CMA::default().into());
/// # Ok::<(), gradus::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CMA {
    /// First step size, in half widths of the box (in units of a dimension without bounds), above 0. Default
    /// `0.55 dimensions^-0.75`.
    pub sigma: Option<f64>,
    /// Whether the best point so far, where it is better than all members of a generation, takes part as its best member:
    /// finds a minimum sooner, and sooner stays in one that is not the lowest. Default: for a budget below 60 evaluations a
    /// dimension. Has no effect beyond 300 dimensions.
    pub elitist: Option<bool>,
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
/// let method: Method = DiagonalCMA { sigma: Some(0.2), ..DiagonalCMA::default() }.into();
/// assert_eq!(Method::named("DiagonalCMA")?, DiagonalCMA::default().into());
/// # Ok::<(), gradus::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DiagonalCMA {
    /// As [`CMA::sigma`], by default at most 0.1.
    pub sigma: Option<f64>,
}

/// Evaluations a dimension below which there is no time to leave a minimum that was found.
const HASTY: f64 = 60.0;
/// Evaluations a dimension below which many small generations are better than a few of the usual size.
const SHORT: f64 = 200.0;

/// Whether a budget has fewer evaluations a dimension.
fn is_below(evaluations: Option<f64>, dimensions: usize, bound: f64) -> bool {
    evaluations.is_some_and(|evaluations| evaluations < bound * dimensions as f64)
}

/// The first step size: such that steps are shorter in more dimensions.
fn first_sigma(dimensions: usize) -> f64 {
    0.55 * (dimensions as f64).powf(-0.75)
}

uniform! {
    struct PathsHyper {
        c_sigma: f32, d_sigma: f32, c_c: f32, c_1: f32, c_mu: f32, mu_eff: f32, expected_norm: f32, threshold: f32,
        log_keep: f32, period: u32, elitist: u32, most_norm: f32
    }
}

/// Constants of the evolution paths and rates, of either method.
fn paths_hyper(rates: Rates, dimensions: usize, period: u32, elitist: bool) -> Hyper {
    let d = dimensions as f64;
    Hyper::of(PathsHyper {
        c_sigma: narrow(rates.c_sigma),
        d_sigma: narrow(rates.d_sigma),
        c_c: narrow(rates.c_c),
        c_1: narrow(rates.c_1),
        c_mu: narrow(rates.c_mu),
        mu_eff: narrow(rates.mu_eff),
        expected_norm: narrow(rates.expected_norm),
        threshold: narrow((1.4 + 2.0 / (d + 1.0)) * rates.expected_norm),
        log_keep: narrow(2.0 * (1.0 - rates.c_sigma).ln()),
        period,
        elitist: elitist.into(),
        // As far as a member may lie that was injected.
        most_norm: narrow(rates.expected_norm * (1.0 + 2.0 / (d + 2.0))),
    })
}

/// Memory behind the parts of either method: the step size and its kin, weights, and a zero for the last of a generation
/// with an elite.
fn steps(memory: Memory, sigma: f64, weights: Vec<f64>) -> Memory {
    let memory = memory.numbers(sigma, 1).zeros(1).numbers(1.0, 2);
    memory.floats(weights.into_iter().map(narrow)).zeros(1)
}

impl CMA {
    /// Whether the covariance is full in so many dimensions.
    pub(crate) fn is_full(dimensions: usize) -> bool {
        dimensions <= MOST_FULL
    }

    /// Weights of ranks, which sum to 1: the tutorial's, without the negative ones.
    fn weights(members: usize) -> Vec<f64> {
        let half = (members as f64 / 2.0 + 0.5).ln();
        let raw: Vec<f64> = (1..=members).map(|rank| (half - (rank as f64).ln()).max(0.0)).collect();
        let sum: f64 = raw.iter().sum();
        raw.into_iter().map(|weight| weight / sum).collect()
    }

    fn rates(shape: Shape) -> Rates {
        Rates::new(&Self::weights(shape.members), shape.dimensions)
    }

    fn is_elitist(&self, shape: Shape) -> bool {
        let evaluations = shape.generations.map(|generations| generations as f64 * shape.members as f64);
        self.elitist.unwrap_or(is_below(evaluations, shape.dimensions, HASTY))
    }
}

impl Algorithm for CMA {
    fn text(&self) -> &'static str {
        concat!(
            include_str!("../../../shaders/search/methods/paths.wgsl"),
            include_str!("../../../shaders/search/methods/cma.wgsl")
        )
    }

    fn check(&self) -> Result<(), Error> {
        self.sigma.map_or(Ok(()), |sigma| scale("sigma", sigma))
    }

    fn default_members(&self, dimensions: usize, budget: Option<u64>) -> usize {
        let is_short = is_below(budget.map(|budget| budget as f64), dimensions, SHORT);
        let many = few_members(dimensions);
        // The first with a third of what the dimensions add.
        if is_short { 4 + (many - 4) / 3 } else { many }
    }

    fn least_members(&self) -> usize {
        4
    }

    fn hyper(&self, shape: Shape, _: bool) -> Hyper {
        let rates = Self::rates(shape);
        paths_hyper(rates, shape.dimensions, rates.period(shape.dimensions), self.is_elitist(shape))
    }

    fn memory(&self, shape: Shape, start: &[f32]) -> Memory {
        let d = shape.dimensions;
        let identity = (0..d * d).map(|at| f32::from(u8::from(at % (d + 1) == 0)));
        let memory = Memory::default().floats(start.iter().copied()).zeros(5 * d);
        let memory = steps(memory, self.sigma.unwrap_or(first_sigma(d)), Self::weights(shape.members))
            .floats(identity);
        memory.zeros(2 * d * d + shape.members * d)
    }

    fn before(&self) -> &'static [Stage] {
        const BEFORE: &[Stage] = &[Stage::new("draw", Over::Elements), Stage::new("propose", Over::Elements)];
        BEFORE
    }

    fn after(&self) -> &'static [Stage] {
        const AFTER: &[Stage] = &[
            Stage::RANKS,
            Stage::new("gather", Over::Sums),
            Stage::new("settle", Over::Total),
            Stage::new("follow_of", Over::Dimensions),
            Stage::new("learn", Over::Pairs),
            Stage::new("factor", Over::Workgroup).periodic(),
            Stage::new("turn", Over::Matrix).periodic(),
        ];
        AFTER
    }

    fn period(&self, shape: Shape) -> u64 {
        Self::rates(shape).period(shape.dimensions).into()
    }
}

impl Algorithm for DiagonalCMA {
    fn text(&self) -> &'static str {
        concat!(
            include_str!("../../../shaders/search/methods/paths.wgsl"),
            include_str!("../../../shaders/search/methods/diagonal_cma.wgsl")
        )
    }

    fn check(&self) -> Result<(), Error> {
        self.sigma.map_or(Ok(()), |sigma| scale("sigma", sigma))
    }

    fn default_members(&self, dimensions: usize, _: Option<u64>) -> usize {
        few_members(dimensions)
    }

    fn least_members(&self) -> usize {
        4
    }

    fn hyper(&self, shape: Shape, _: bool) -> Hyper {
        let rates = Rates::new(&log_weights(shape.members), shape.dimensions).separable(shape.dimensions);
        paths_hyper(rates, shape.dimensions, 1, false)
    }

    fn memory(&self, shape: Shape, start: &[f32]) -> Memory {
        let Shape { members, dimensions, .. } = shape;
        let memory = Memory::default().floats(start.iter().copied()).zeros(3 * dimensions);
        let memory = memory.numbers(1.0, dimensions).zeros(dimensions);
        let sigma = first_sigma(dimensions).min(0.1);
        steps(memory, self.sigma.unwrap_or(sigma), log_weights(members)).zeros(members * dimensions)
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

#[cfg(test)]
mod tests {
    use super::MOST_FULL;
    use crate::gpu::MAX_TRIPS;

    /// Rounds of all loops of the busiest lane of `factor`, in so many dimensions.
    fn rounds(dimensions: usize) -> usize {
        let count = |from: usize, by: usize| dimensions.saturating_sub(from).div_ceil(by);
        let of = |lane: usize| -> usize {
            let (row, column) = (lane % 16, lane / 16);
            let step = |step: usize| {
                let next = |from: usize, own: usize| from + (own + 16 - from % 16) % 16;
                let own = if column == step % 16 { 2 * count(next(step, row), 16) } else { 0 };
                let columns = (next(step + 1, column)..dimensions).step_by(16);
                let pairs: usize = columns.map(|column| 1 + count(next(column, row), 64)).sum();
                1 + own + pairs + count(lane, 256)
            };
            count(lane, 256) + (0..dimensions).map(step).sum::<usize>()
        };
        (0..256).map(of).max().unwrap_or(0)
    }

    #[test]
    fn no_lane_goes_round_too_often_in_most_dimensions() {
        assert!(rounds(MOST_FULL) <= MAX_TRIPS, "{}", rounds(MOST_FULL));
        assert!(rounds(MOST_FULL) > 1000);
        let text = include_str!("../../../shaders/search/methods/cma.wgsl");
        assert!(
            text.contains("const MOST_DIMENSIONS = 304u;") && MOST_FULL <= 304,
            "columns and path have room"
        );
    }
}
