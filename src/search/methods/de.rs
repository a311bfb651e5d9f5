use serde::{Deserialize, Serialize};

use crate::error::{Error, closed};
use crate::gpu::uniform;
use crate::search::method::{Algorithm, Hyper, Memory, Over, Shape, Stage, narrow};

/// What a trial of [`DE`] is made of.
///
/// ```
/// use gradus::search::{DE, DEStrategy};
///
/// let method = DE { strategy: DEStrategy::Rand1, ..DE::default() };
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum DEStrategy {
    /// `p + f1 * (a - b) + f2 * (best - p)`, which is nevergrad's.
    #[default]
    CurrentToBest1,
    /// `best + f1 * (a - b)`.
    Best1,
    /// `c + f1 * (a - b)`.
    Rand1,
}

/// Which dimensions a trial of [`DE`] has of its donor.
///
/// ```
/// use gradus::search::{DE, DECrossover};
///
/// let method = DE { crossover: DECrossover::Binomial(0.9), ..DE::default() };
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum DECrossover {
    /// Each with this probability, and one for certain.
    Binomial(f64),
    /// Those between two points, or all others, each as likely; [`Binomial`](Self::Binomial) of 0.5 below four dimensions.
    TwoPoints,
}

/// Differential evolution (nevergrad's `DE`; with [`DECrossover::TwoPoints`] its `TwoPointsDE`).
///
/// Each member has a trial, made of itself, the best and two or three others, which takes its place unless it is worse.
/// Members by default: 30, or, where the budget has no 100 generations of them, a hundredth of it, but no fewer
/// than 10. The least that may be set is 4.
///
/// Source: Storn and Price 1997, Differential evolution. Constants as in nevergrad. Differs from nevergrad in that a
/// generation is told at once, and in that a trial outside the box is put on its wall.
///
/// ```
/// use gradus::search::{DE, Method};
///
/// let method: Method = DE { f1: 0.5, ..DE::default() }.into();
/// assert_eq!(Method::named("DE")?, DE::default().into());
/// # Ok::<(), gradus::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DE {
    /// What a trial is made of. Default [`DEStrategy::CurrentToBest1`].
    pub strategy: DEStrategy,
    /// Which dimensions a trial has of it. Default binomial of 0.5.
    pub crossover: DECrossover,
    /// Weight of the difference of two members, in `[0, 2]`. Default 0.8.
    pub f1: f64,
    /// Weight of the way to the best, in `[0, 2]`, of [`DEStrategy::CurrentToBest1`] alone. Default 0.8.
    pub f2: f64,
}

impl Default for DE {
    fn default() -> Self {
        Self { strategy: DEStrategy::CurrentToBest1, crossover: DECrossover::Binomial(0.5), f1: 0.8, f2: 0.8 }
    }
}

impl DE {
    /// nevergrad's `TwoPointsDE`.
    pub fn two_points() -> Self {
        Self { crossover: DECrossover::TwoPoints, ..Self::default() }
    }
}

uniform! {
    struct DEHyper { strategy: u32, two_points: u32, crossover: f32, f1: f32, f2: f32, starts: u32 }
}

impl Algorithm for DE {
    fn text(&self) -> &'static str {
        include_str!("../../../shaders/search/methods/de.wgsl")
    }

    fn check(&self) -> Result<(), Error> {
        closed("f1", self.f1, 0.0, 2.0)?;
        closed("f2", self.f2, 0.0, 2.0)?;
        match self.crossover {
            DECrossover::Binomial(rate) => closed("crossover", rate, 0.0, 1.0),
            DECrossover::TwoPoints => Ok(()),
        }
    }

    fn default_members(&self, _: usize, budget: Option<u64>) -> usize {
        usize::try_from(budget.map_or(30, |budget| (budget / 100).clamp(10, 30))).unwrap_or(30)
    }

    fn least_members(&self) -> usize {
        4
    }

    fn hyper(&self, _: Shape, starts: bool) -> Hyper {
        let (two_points, crossover) = match self.crossover {
            DECrossover::Binomial(rate) => (0, rate),
            DECrossover::TwoPoints => (1, 0.5),
        };
        Hyper::of(DEHyper {
            strategy: self.strategy as u32,
            two_points,
            crossover: narrow(crossover),
            f1: narrow(self.f1),
            f2: narrow(self.f2),
            starts: starts.into(),
        })
    }

    fn memory(&self, shape: Shape, start: &[f32]) -> Memory {
        Memory::default().zeros(shape.members * (shape.dimensions + 2)).floats(start.iter().copied())
    }

    fn after(&self) -> &'static [Stage] {
        const AFTER: &[Stage] = &[Stage::new("choose", Over::Elements)];
        AFTER
    }
}
