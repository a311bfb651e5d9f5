use serde::{Deserialize, Serialize};

use crate::error::{Error, closed};
use crate::gpu::uniform;
use crate::search::method::{Algorithm, Hyper, Memory, Over, Shape, Stage, narrow, scale};

/// A genetic algorithm: tournaments, blend crossover, normal mutations and elites.
///
/// The `elites` best members stay as they are and are evaluated again. Each other place goes to a child: a blend of two
/// winners of tournaments, each dimension with a weight of its own, or a copy of one; then, with probability `mutation`,
/// all its dimensions are mutated. Members by default: 100.
///
/// Source: Goldberg and Deb 1991, A comparative analysis of selection schemes; Radcliffe 1991 for the crossover. Defaults
/// differ from the textbook's in that mutations become narrower.
///
/// ```
/// use gradus::search::{GA, Method};
///
/// let method: Method = GA { elites: 2, ..GA::default() }.into();
/// assert_eq!(Method::named("GA")?, GA::default().into());
/// # Ok::<(), gradus::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GA {
    /// Best members that stay, at least 0 and below the members. Default 10.
    pub elites: usize,
    /// Members of a tournament, in 1 to 64. Default 3.
    pub tournament: usize,
    /// Probability that a child has two parents, in `[0, 1]`. Default 0.7.
    pub crossover: f64,
    /// Probability that a child is mutated, in `[0, 1]`. Default 0.7.
    pub mutation: f64,
    /// First standard deviation of mutations, in half widths of the box (in units of a dimension without bounds)
    /// Default 0.3.
    pub sigma: f64,
    /// What `sigma` is multiplied by over the generations of the budget, in `(0, 1]`; without a budget it does not change.
    /// Default 0.01.
    pub final_scale: f64,
}

impl Default for GA {
    fn default() -> Self {
        Self { elites: 10, tournament: 3, crossover: 0.7, mutation: 0.7, sigma: 0.3, final_scale: 0.01 }
    }
}

/// The parallel evolution strategy with elites: the best members stay, all others are mutations of one of them.
///
/// Members by default: 100.
///
/// Source: the (mu + lambda) strategy of Schwefel 1981, Numerical optimization of computer models, without recombination.
///
/// ```
/// use gradus::search::{ElitistES, Method};
///
/// let method: Method = ElitistES { elites: 4, ..ElitistES::default() }.into();
/// assert_eq!(Method::named("ElitistES")?, ElitistES::default().into());
/// # Ok::<(), gradus::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ElitistES {
    /// Best members that stay and have children, at least 1 and below the members. Default 5.
    pub elites: usize,
    /// As [`GA::sigma`]. Default 0.3.
    pub sigma: f64,
    /// As [`GA::final_scale`]. Default 0.01.
    pub final_scale: f64,
}

impl Default for ElitistES {
    fn default() -> Self {
        Self { elites: 5, sigma: 0.3, final_scale: 0.01 }
    }
}

uniform! {
    struct GAHyper {
        elites: u32, tournament: u32, crossover: f32, mutation: f32, sigma: f32, decay: f32, starts: u32
    }
}

const TEXT: &str = include_str!("../../../shaders/search/methods/ga.wgsl");
const AFTER: &[Stage] = &[Stage::RANKS, Stage::new("keep", Over::Elements)];

/// The rate of an exponential that comes to `final_scale` at the end of the budget.
pub(super) fn decay(final_scale: f64, generations: Option<u64>) -> f32 {
    generations.map_or(0.0, |generations| narrow(-final_scale.ln() / generations as f64))
}

fn memory(shape: Shape, start: &[f32]) -> Memory {
    Memory::default().zeros(shape.members * shape.dimensions).floats(start.iter().copied())
}

impl GA {
    fn block(&self, shape: Shape, starts: bool) -> GAHyper {
        let word = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        GAHyper {
            elites: word(self.elites),
            tournament: word(self.tournament),
            crossover: narrow(self.crossover),
            mutation: narrow(self.mutation),
            sigma: narrow(self.sigma),
            decay: decay(self.final_scale, shape.generations),
            starts: starts.into(),
        }
    }
}

impl Algorithm for GA {
    fn text(&self) -> &'static str {
        TEXT
    }

    fn check(&self) -> Result<(), Error> {
        if !(1..=64).contains(&self.tournament) {
            return Err(Error::constant("tournament", "in 1 to 64", self.tournament));
        }
        closed("crossover", self.crossover, 0.0, 1.0)?;
        closed("mutation", self.mutation, 0.0, 1.0)?;
        scale("sigma", self.sigma)?;
        check_scale(self.final_scale)
    }

    fn default_members(&self, _: usize, _: Option<u64>) -> usize {
        100
    }

    fn least_members(&self) -> usize {
        self.elites.saturating_add(1).max(2)
    }

    fn hyper(&self, shape: Shape, starts: bool) -> Hyper {
        Hyper::of(self.block(shape, starts))
    }

    fn memory(&self, shape: Shape, start: &[f32]) -> Memory {
        memory(shape, start)
    }

    fn after(&self) -> &'static [Stage] {
        AFTER
    }
}

/// Refuses what is no share of a width.
pub(super) fn check_scale(final_scale: f64) -> Result<(), Error> {
    closed("final_scale", final_scale, 1e-9, 1.0)
}

impl Algorithm for ElitistES {
    fn text(&self) -> &'static str {
        TEXT
    }

    fn check(&self) -> Result<(), Error> {
        if self.elites == 0 {
            return Err(Error::constant("elites", "at least 1", self.elites));
        }
        scale("sigma", self.sigma)?;
        check_scale(self.final_scale)
    }

    fn default_members(&self, _: usize, _: Option<u64>) -> usize {
        100
    }

    fn least_members(&self) -> usize {
        self.elites.saturating_add(1)
    }

    fn hyper(&self, shape: Shape, starts: bool) -> Hyper {
        let ga = GA {
            elites: self.elites,
            tournament: 0,
            crossover: 0.0,
            mutation: 1.0,
            sigma: self.sigma,
            final_scale: self.final_scale,
        };
        Hyper::of(ga.block(shape, starts))
    }

    fn memory(&self, shape: Shape, start: &[f32]) -> Memory {
        memory(shape, start)
    }

    fn after(&self) -> &'static [Stage] {
        AFTER
    }
}
