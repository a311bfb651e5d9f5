use serde::{Deserialize, Serialize};

use super::random_search::one_shot;
use crate::gpu::uniform;
use crate::search::method::{Algorithm, Hyper, Shape};

/// Latin hypercube search (nevergrad's `LHSSearch`): of all points of the budget, each layer of each dimension has one.
///
/// Without a budget each generation is a hypercube of its own. Members by default: the whole budget, at most 4,096.
///
/// Source: McKay, Beckman and Conover 1979, A comparison of three methods for selecting values of input variables.
///
/// ```
/// use gradus::search::{LHSSearch, Method};
///
/// assert_eq!(Method::named("LHSSearch")?, LHSSearch::default().into());
/// # Ok::<(), gradus::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LHSSearch {}

uniform! {
    struct LhsHyper { count: u32 }
}

impl Algorithm for LHSSearch {
    fn text(&self) -> &'static str {
        include_str!("../../../shaders/search/methods/strata.wgsl")
    }

    fn default_members(&self, _: usize, budget: Option<u64>) -> usize {
        one_shot(budget)
    }

    fn needs_bounds(&self) -> bool {
        true
    }

    fn hyper(&self, shape: Shape, _: bool) -> Hyper {
        let count = shape.generations.unwrap_or(1).saturating_mul(shape.members as u64);
        // Beyond 2^24 layers f32 does not tell neighbours apart.
        let count = u32::try_from(count.clamp(1, 1 << 24)).unwrap_or(1 << 24);
        Hyper::of(LhsHyper { count })
    }
}
