//! How a statistic is gathered of elements: which terms each output has, and in how many pieces.

use super::sizes::FINISH_LANES;
use crate::gpu::MAX_TRIPS;

/// What a vector of four holds, as in frame/factored.wgsl.
pub(super) const ONE: u32 = 0;
pub(super) const FOUR_OUTPUTS: u32 = 1;
pub(super) const FOUR_TERMS: u32 = 2;
/// Terms, or vectors of four terms, that one invocation gathers.
const TERMS: usize = 128;
/// Maximum number of pieces, unless a sum is so long that it needs more.
const MOST_PIECES: usize = 1024;
/// Terms of one window that an invocation gathers, however long the sum is: with noise each takes eleven iterations.
const MOST_TERMS: usize = MAX_TRIPS / 16;
/// Few enough to be joined by one workgroup.
const MOST_ALL_PIECES: usize = FINISH_LANES * (MAX_TRIPS / 4 * 3);

/// `x / by * outer + x % by * inner`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Map {
    pub(super) by: usize,
    pub(super) outer: usize,
    pub(super) inner: usize,
}

/// How outputs are gathered of terms, four at once where four follow each other.
pub(super) struct Gathering {
    pub(super) outputs: usize,
    pub(super) output: Map,
    /// Outputs, or vectors of four outputs.
    pub(super) units: usize,
    /// Terms of an output, or vectors of four terms.
    pub(super) terms: usize,
    pub(super) term: Map,
    pub(super) four: u32,
}

impl Gathering {
    pub(super) fn new([output, term]: [Map; 2], outputs: usize, elements: usize) -> Self {
        let terms = elements / outputs;
        let output = if terms == 1 { Map { by: 1, outer: 1, inner: 0 } } else { output };
        let four = fours(output, outputs, term, terms);
        let in_fours = |map: Map| match map {
            Map { by: 1, outer, .. } => Map { by: 1, outer: 4 * outer, inner: 0 },
            Map { by, outer, .. } => Map { by: by / 4, outer, inner: 4 },
        };
        match four {
            FOUR_OUTPUTS => {
                let (units, padded) = (outputs.div_ceil(4), outputs.next_multiple_of(4));
                Self { outputs: padded, output: in_fours(output), units, terms, term, four }
            }
            FOUR_TERMS => {
                Self { outputs, output, units: outputs, terms: terms / 4, term: in_fours(term), four }
            }
            _ => Self { outputs, output, units: outputs, terms, term, four },
        }
    }
}

/// The number of pieces in which each window gathers an output.
pub(super) fn pieces(terms: usize, windows: usize, window_len: usize) -> usize {
    let least = terms.min(window_len).div_ceil(MOST_TERMS);
    let pieces = terms.div_ceil(TERMS * windows).min(MOST_PIECES).max(least);
    pieces.min(MOST_ALL_PIECES / windows).max(1)
}

/// Of what there are always four that follow each other on a multiple of four.
fn fours(output: Map, outputs: usize, term: Map, terms: usize) -> u32 {
    let follow = |map: Map, len: usize| match map {
        Map { by: 1, outer: 1, .. } => len.is_multiple_of(4),
        Map { by, inner: 1, .. } => by.is_multiple_of(4),
        _ => false,
    };
    let aligned = |map: Map, len: usize| {
        len == 1 || (map.outer.is_multiple_of(4) && (map.by == 1 || map.inner.is_multiple_of(4)))
    };
    // Values are padded to fours, as elements are.
    if terms == 1 {
        return FOUR_OUTPUTS;
    }
    if follow(output, outputs) && aligned(term, terms) {
        FOUR_OUTPUTS
    } else if follow(term, terms) && aligned(output, outputs) {
        FOUR_TERMS
    } else {
        ONE
    }
}
