//! The methods: one file for each, and a row here.

mod annealing;
mod cma;
mod de;
mod ga;
mod halton_search;
mod lhs_search;
mod one_plus_one;
mod open_ai_es;
mod pso;
mod random_search;
mod snes;
mod sobol_search;

use serde::{Deserialize, Serialize};

use super::method::Algorithm;
use crate::error::Error;
pub use annealing::SimulatedAnnealing;
pub use cma::{CMA, DiagonalCMA};
pub use de::{DE, DECrossover, DEStrategy};
pub use ga::{ElitistES, GA};
pub use halton_search::HaltonSearch;
pub use lhs_search::LHSSearch;
pub use one_plus_one::OnePlusOne;
pub use open_ai_es::{OpenAIES, RankWeights};
pub use pso::PSO;
pub use random_search::RandomSearch;
pub use snes::SNES;
pub use sobol_search::SobolSearch;

/// Declares [`Method`] and what is said of each.
macro_rules! methods {
    ($($(#[$meta:meta])* $name:ident),* $(,)?) => {
        /// A way to search, with its constants.
        ///
        /// ```
        /// use gradus::search::{DE, Method};
        ///
        /// assert_eq!(Method::named("TwoPointsDE").unwrap(), DE::two_points().into());
        /// assert!(Method::named("TwoPoints").unwrap_err().to_string().contains("did you mean \"TwoPointsDE\"?"));
        /// ```
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        #[serde(tag = "method")]
        #[non_exhaustive]
        pub enum Method {
            $($(#[$meta])* $name($name)),*
        }

        $(impl From<$name> for Method {
            fn from(method: $name) -> Self {
                Self::$name(method)
            }
        })*

        impl Method {
            fn boxed(&self) -> Box<dyn Algorithm> {
                match self {
                    $(Self::$name(method) => Box::new(method.clone())),*
                }
            }

            /// The name of its struct.
            pub fn name(&self) -> &'static str {
                match self {
                    $(Self::$name(_) => stringify!($name)),*
                }
            }

            /// One of each, with its defaults.
            pub fn all() -> Vec<Self> {
                vec![$($name::default().into()),*]
            }
        }
    };
}

methods! {
    /// Points anywhere in the box.
    RandomSearch,
    /// Latin hypercubes.
    LHSSearch,
    /// Quasi-random points, along Halton's sequence.
    HaltonSearch,
    /// Quasi-random points, along Sobol's sequence.
    SobolSearch,
    /// The (1 + 1) evolution strategy.
    OnePlusOne,
    /// Differential evolution.
    DE,
    /// Particle swarm.
    PSO,
    /// A genetic algorithm.
    GA,
    /// An evolution strategy with elites.
    ElitistES,
    /// Simulated annealing in many chains.
    SimulatedAnnealing,
    /// The evolution strategy of OpenAI.
    OpenAIES,
    /// Separable natural evolution strategy.
    SNES,
    /// CMA-ES.
    CMA,
    /// Separable CMA-ES.
    DiagonalCMA,
}

impl Method {
    /// The method of this name, with its defaults; names are nevergrad's where it has them.
    ///
    /// # Errors
    /// [`Error::UnknownName`].
    pub fn named(name: &str) -> Result<Self, Error> {
        let others: [(&str, Self); 2] = [
            ("TwoPointsDE", DE::two_points().into()),
            ("ScrHaltonSearch", HaltonSearch { scramble: true }.into()),
        ];
        let all = Self::all().into_iter().map(|method| match method {
            Self::HaltonSearch(_) => ("HaltonSearch", HaltonSearch { scramble: false }.into()),
            method => (method.name(), method),
        });
        let mut all: Vec<(&str, Self)> = all.chain(others).collect();
        match all.iter().position(|(known, _)| *known == name) {
            Some(found) => Ok(all.swap_remove(found).1),
            None => Err(Error::unknown("search method", name, all.iter().map(|(known, _)| *known))),
        }
    }

    /// The algorithm in so many dimensions.
    pub(crate) fn algorithm(&self, dimensions: usize) -> Box<dyn Algorithm> {
        match self {
            Self::CMA(method) if !CMA::is_full(dimensions) => Box::new(DiagonalCMA { sigma: method.sigma }),
            _ => self.boxed(),
        }
    }
}
