use serde::{Deserialize, Serialize};

use super::random_search::one_shot;
use crate::gpu::uniform;
use crate::search::method::{Algorithm, Hyper, Memory, Shape};

/// Quasi-random search along Sobol's sequence, in up to 1,024 dimensions.
///
/// Points fill the box most evenly where their number is a power of two; after 2^32 they repeat. Members by default: the whole budget, at most 4,096.
///
/// Source: Sobol' 1967, with direction numbers of Joe and Kuo 2008, Constructing Sobol sequences with better two-dimensional
/// projections, in the order of Antonov and Saleev 1979; scrambled as in Burley 2020, Practical hash-based Owen scrambling.
///
/// ```
/// use gradus::search::{Method, SobolSearch};
///
/// let plain: Method = SobolSearch { scramble: false }.into();
/// assert_ne!(plain, SobolSearch::default().into());
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SobolSearch {
    /// Whether digits are permuted at random, each by all before it, so that seeds differ and the first point is no corner.
    /// Default true.
    pub scramble: bool,
}

impl Default for SobolSearch {
    fn default() -> Self {
        Self { scramble: true }
    }
}

uniform! {
    struct SobolHyper { scrambles: u32 }
}

/// Rows of dimensions after the first.
const TABLE: &str = include_str!("sobol_search/joe_kuo.txt");

/// Dimensions that the table has, the first among them.
const MOST_DIMENSIONS: usize = 1024;

/// Digits of a number.
const DIGITS: usize = 32;

impl Algorithm for SobolSearch {
    fn text(&self) -> &'static str {
        include_str!("../../../shaders/search/methods/sobol.wgsl")
    }

    fn default_members(&self, _: usize, budget: Option<u64>) -> usize {
        one_shot(budget)
    }

    fn most_dimensions(&self) -> usize {
        MOST_DIMENSIONS
    }

    fn needs_bounds(&self) -> bool {
        true
    }

    fn hyper(&self, _: Shape, _: bool) -> Hyper {
        Hyper::of(SobolHyper { scrambles: self.scramble.into() })
    }

    fn memory(&self, shape: Shape, _: &[f32]) -> Memory {
        Memory::default().words(directions(shape.dimensions))
    }
}

/// Direction numbers of the first dimensions, 32 for each.
fn directions(dimensions: usize) -> Vec<u32> {
    // The first dimension has one digit after the other.
    let first: Vec<u32> = (0..DIGITS).map(|digit| 1 << (DIGITS - 1 - digit)).collect();
    let rows = TABLE.lines().filter(|line| !line.starts_with('#'));
    let others = rows.take(dimensions.saturating_sub(1)).flat_map(|line| {
        let mut numbers = line.split(' ').map(|word| word.parse().expect("the table has numbers alone"));
        let polynomial = numbers.next().expect("a row begins with a polynomial");
        of_polynomial(polynomial, &numbers.collect::<Vec<u32>>())
    });
    first.into_iter().chain(others).collect()
}

/// Direction numbers of a dimension, by the coefficients of its polynomial as bits and its first numbers.
fn of_polynomial(polynomial: u32, first: &[u32]) -> Vec<u32> {
    let degree = first.len();
    let mut found: Vec<u32> =
        first.iter().enumerate().map(|(digit, m)| m << (DIGITS - 1 - digit)).take(DIGITS).collect();
    for digit in degree..DIGITS {
        let mut next = found[digit - degree] ^ (found[digit - degree] >> degree);
        for back in 1..degree {
            if polynomial >> (degree - back) & 1 == 1 {
                next ^= found[digit - back];
            }
        }
        found.push(next);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_the_recurrence() {
        // x^3 + x + 1 with 1, 3, 1: the next is 4 * 3 ^ 8 * 1 ^ 1, by Bratley and Fox 1988.
        let found = of_polynomial(0b1011, &[1, 3, 1]);
        assert_eq!(found[..4], [1 << 31, 3 << 30, 1 << 29, ((4 * 3) ^ 8 ^ 1) << 28]);
    }

    #[test]
    fn the_table_has_a_triangle_for_each_dimension() {
        let all = directions(MOST_DIMENSIONS);
        assert_eq!(all.len(), MOST_DIMENSIONS * DIGITS);
        // Each digit decides on its own place and on none behind it.
        for own in all.chunks(DIGITS) {
            assert!(own.iter().zip(0..).all(|(word, digit)| word.trailing_zeros() == 31 - digit));
        }
    }
}
