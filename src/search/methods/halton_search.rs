use serde::{Deserialize, Serialize};

use super::random_search::one_shot;
use crate::gpu::uniform;
use crate::search::method::{Algorithm, Hyper, Memory, Shape};

/// Quasi-random search along Halton's sequence (nevergrad's `HaltonSearch` and `ScrHaltonSearch`).
///
/// Members by default: the whole budget, at most 4,096.
///
/// Source: Halton 1960, On the efficiency of certain quasi-random sequences of points; scrambled by linear permutations of
/// digits, each place of each base by its own, as in Owen 2017, A randomized Halton algorithm in R, which takes any.
///
/// ```
/// use gradus::search::{HaltonSearch, Method};
///
/// assert_eq!(Method::named("HaltonSearch")?, HaltonSearch { scramble: false }.into());
/// # Ok::<(), gradus::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HaltonSearch {
    /// Whether digits are permuted at random, which unties dimensions of large bases. Default true.
    pub scramble: bool,
}

impl Default for HaltonSearch {
    fn default() -> Self {
        Self { scramble: true }
    }
}

uniform! {
    struct HaltonHyper { scrambles: u32 }
}

impl Algorithm for HaltonSearch {
    fn text(&self) -> &'static str {
        include_str!("../../../shaders/search/methods/halton.wgsl")
    }

    fn default_members(&self, _: usize, budget: Option<u64>) -> usize {
        one_shot(budget)
    }

    fn needs_bounds(&self) -> bool {
        true
    }

    fn hyper(&self, _: Shape, _: bool) -> Hyper {
        Hyper::of(HaltonHyper { scrambles: self.scramble.into() })
    }

    fn memory(&self, shape: Shape, _: &[f32]) -> Memory {
        Memory::default().words(primes(shape.dimensions))
    }
}

/// The first primes.
fn primes(count: usize) -> Vec<u32> {
    let mut found: Vec<u32> = Vec::with_capacity(count);
    let mut next = 2;
    while found.len() < count {
        let mut below = found.iter().take_while(|prime| *prime * *prime <= next);
        if below.all(|prime| next % prime != 0) {
            found.push(next);
        }
        next += 1;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::primes;

    #[test]
    fn bases_are_the_first_primes() {
        assert_eq!(primes(10), [2, 3, 5, 7, 11, 13, 17, 19, 23, 29]);
        assert_eq!(primes(1000)[999], 7919);
    }
}
