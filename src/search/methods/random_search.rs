use serde::{Deserialize, Serialize};

use crate::search::method::Algorithm;

/// Points anywhere in the box, all as likely (nevergrad's `RandomSearch`).
///
/// Members by default: the whole budget, at most 4,096.
///
/// Source: Bergstra and Bengio 2012, Random search for hyper-parameter optimization.
///
/// ```
/// use gradus::search::{Method, RandomSearch};
///
/// assert_eq!(Method::named("RandomSearch")?, RandomSearch::default().into());
/// # Ok::<(), gradus::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RandomSearch {}

/// Members of a method that learns nothing from one generation to the next.
pub(super) fn one_shot(budget: Option<u64>) -> usize {
    usize::try_from(budget.unwrap_or(1024).clamp(1, 4096)).unwrap_or(4096)
}

impl Algorithm for RandomSearch {
    fn text(&self) -> &'static str {
        include_str!("../../../shaders/search/methods/random_search.wgsl")
    }

    fn default_members(&self, _: usize, budget: Option<u64>) -> usize {
        one_shot(budget)
    }

    fn needs_bounds(&self) -> bool {
        true
    }
}
