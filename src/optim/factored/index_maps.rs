use super::gathering::{Gathering, Map, pieces};
use super::sizes::HALF_OF_ADDED;
use crate::optim::rule::{Reduced, Statistic};

/// Constants of a division by a known number: Granlund and Montgomery 1994, figure 4.1.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
pub(crate) struct Divisor {
    pub(crate) by: u32,
    magic: u32,
    shift: u32,
}

impl Divisor {
    fn new(by: usize) -> Self {
        let wide = by as u64;
        let shift = u64::BITS - (wide - 1).leading_zeros();
        Self { by: count(by), magic: low((((1 << shift) - wide) << 32) / wide + 1), shift }
    }
}

/// As in frame/factored.wgsl.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
pub(crate) struct IndexMap {
    pub(crate) first: u32,
    len: u32,
    pub(crate) first_map: u32,
    pub(crate) index_maps: u32,
    pub(crate) ratio: u32,
    pub(crate) means: u32,
    mean_stride: Divisor,
    pub(crate) values: u32,
    pub(crate) size: Divisor,
    stride: Divisor,
    pub(crate) outputs: u32,
    pub(crate) units: u32,
    pub(crate) terms: u32,
    pub(crate) pieces: u32,
    pub(crate) all_pieces: u32,
    pub(crate) four: u32,
    output_by: u32,
    output_outer: u32,
    output_inner: u32,
    term: Divisor,
    term_outer: u32,
    term_inner: u32,
}

pub(crate) const NONE: u32 = u32::MAX;
/// Means over this many values or fewer are not stored, as in frame/matrix.wgsl.
const SHORT: usize = 8;

/// The axes of a tensor, as the kernels see them.
pub(crate) struct Axes<'a> {
    shape: &'a [usize],
    statistics: &'a [Statistic],
}

impl<'a> Axes<'a> {
    pub(crate) fn new(shape: &'a [usize], statistics: &'a [Statistic]) -> Self {
        Self { shape, statistics }
    }

    pub(crate) fn elements(&self) -> usize {
        self.shape.iter().product()
    }

    /// Size of an axis, and of the axes within it.
    fn axis(&self, axis: usize) -> (usize, usize) {
        let size = self.shape.get(axis).copied().unwrap_or(1);
        (size, self.shape.iter().skip(axis + 1).product())
    }

    /// Rows and columns: the axes that the means of the first and the second index map reduce.
    fn matrix(&self) -> Option<[usize; 2]> {
        match self.statistics {
            [
                Statistic { reduced: Reduced::Axis(first), .. },
                Statistic { reduced: Reduced::Axis(second), .. },
            ] => Some([*first, *second]),
            _ => None,
        }
    }

    /// Whether each statistic holds the maxima of one axis.
    pub(crate) fn hold_maxima(&self) -> bool {
        self.statistics.iter().all(|statistic| matches!(statistic.reduced, Reduced::AllBut(_)))
    }

    /// Whether the last axis has a multiple of four and is what the first index map leaves out, or the index maps hold axes.
    fn quads(&self) -> bool {
        let last = self.shape.len().saturating_sub(1);
        let whole = self.axis(last).0.is_multiple_of(4);
        whole
            && match self.matrix() {
                Some([columns, rows]) => columns == last && rows + 1 == last,
                None => self.hold_maxima(),
            }
    }

    /// Whether four neighbours have one row, and all else is found without a loop.
    pub(crate) fn are_plain(&self) -> bool {
        match self.statistics {
            // Each row of a tile leaves norms of its own there: not too many.
            [Statistic { reduced: Reduced::None, .. }] => self.elements().div_ceil(4) <= 2 * HALF_OF_ADDED,
            [_] => self.shape.len() <= 1,
            // Each matrix leaves norms of its own: not too many.
            [_, _] if self.matrix().is_some() => {
                self.quads()
                    && self.kept_mean().is_some()
                    && self.elements() / 4 / self.rows()[1] <= HALF_OF_ADDED
            }
            statistics => self.quads() && statistics.len() == 2,
        }
    }

    /// Of a plain tensor: vectors of four in a row, and rows in a matrix.
    pub(crate) fn rows(&self) -> [usize; 2] {
        match self.statistics {
            [_, _] => [self.axis(self.shape.len() - 1).0 / 4, self.axis(self.shape.len() - 2).0],
            _ => [self.elements().div_ceil(4), 1],
        }
    }

    /// Iterations at most that a row of a tile takes of an invocation, with those inside it: noise has ten rounds.
    pub(crate) fn trips_of_a_row(&self) -> usize {
        const NOISE: usize = 10;
        match self.matrix() {
            Some(_) => 1 + SHORT + NOISE,
            // The least over all axes, and the maxima of four neighbours.
            None => 1 + NOISE + self.statistics.len() + 4 * (1 + self.statistics.len()),
        }
    }

    /// Of the means of the first index map's values over the second index map's axis: how many values a mean has, what lies
    /// within the axis among the values, and how many means there are.
    fn means(&self, index_map: usize) -> Option<[usize; 3]> {
        let matrix = self.matrix()?;
        let (axis, other) = (matrix[index_map], matrix[1 - index_map]);
        let ((size, _), (across, stride)) = (self.axis(axis), self.axis(other));
        let within = if other > axis { stride } else { stride / size };
        Some([across, within, self.elements() / size / across])
    }

    /// The index map of which means are kept, and as [`Axes::means`] has them: where a loop over them would be long. Rows and
    /// columns of a matrix have the same mean, so that the shorter ones may be taken.
    pub(crate) fn kept_mean(&self) -> Option<(usize, [usize; 3])> {
        const LONG: usize = 4096;
        let first = self.means(0).filter(|[count, ..]| *count > SHORT)?;
        let other = self.means(1).filter(|[other, ..]| first[0] > LONG && *other < first[0]);
        Some(other.map_or((0, first), |other| (1, other)))
    }

    /// The places of values whose means are kept, as first, stride and count.
    pub(crate) fn kept_means(&self, values: [usize; 2]) -> Vec<[usize; 3]> {
        let Some((index_map, [count, within, means])) = self.kept_mean() else { return Vec::new() };
        (0..means)
            .map(|mean| [values[index_map] + mean / within * within * count + mean % within, within, count])
            .collect()
    }

    /// The index map of one statistic of a tensor that begins at `first` of the flat space and lies in so many windows of some
    /// length; where values lie and what all index maps of a tensor share is filled in later.
    pub(crate) fn index_map(
        &self,
        statistic: &Statistic,
        first: usize,
        (windows, window_len): (usize, usize),
    ) -> IndexMap {
        let elements = self.elements();
        let (size, stride) = match statistic.reduced {
            Reduced::None => (1, elements),
            Reduced::Axis(axis) | Reduced::AllBut(axis) => self.axis(axis),
        };
        let Gathering { outputs, output, units, terms, term, four } =
            Gathering::new(self.gathering(statistic.reduced), statistic.len(self.shape), elements);
        let pieces = pieces(terms, windows, window_len);
        IndexMap {
            first: low(first as u64 / 4),
            len: count(elements),
            first_map: 0,
            index_maps: count(self.statistics.len()),
            ratio: NONE,
            means: NONE,
            mean_stride: Divisor::new(self.means(0).map_or(1, |[_, within, _]| within)),
            values: 0,
            size: Divisor::new(size),
            stride: Divisor::new(stride),
            outputs: count(outputs),
            units: count(units),
            terms: count(terms),
            pieces: count(pieces),
            all_pieces: count(pieces * windows),
            four,
            output_by: count(output.by),
            output_outer: count(output.outer),
            output_inner: count(output.inner),
            term: Divisor::new(term.by),
            term_outer: count(term.outer),
            term_inner: count(term.inner),
        }
    }

    /// The elements of the outputs' first terms, and how far from it an output's other terms lie.
    fn gathering(&self, reduced: Reduced) -> [Map; 2] {
        let elements = self.elements();
        match reduced {
            Reduced::None => {
                [Map { by: elements, outer: elements, inner: 1 }, Map { by: 1, outer: 0, inner: 0 }]
            }
            Reduced::Axis(axis) => {
                let (size, stride) = self.axis(axis);
                [Map { by: stride, outer: size * stride, inner: 1 }, Map { by: 1, outer: stride, inner: 0 }]
            }
            Reduced::AllBut(axis) => {
                let (size, stride) = self.axis(axis);
                // Of the first axis all terms follow each other.
                let term = match elements / size {
                    all if all == stride => Map { by: 1, outer: 1, inner: 0 },
                    _ => Map { by: stride, outer: size * stride, inner: 1 },
                };
                [Map { by: 1, outer: stride, inner: 0 }, term]
            }
        }
    }
}

/// The lower 32 bits.
fn low(n: u64) -> u32 {
    u32::try_from(n & u64::from(u32::MAX)).expect("a half")
}

pub(crate) fn count(n: usize) -> u32 {
    u32::try_from(n).expect("what a tensor holds is counted in 32 bits")
}

#[cfg(test)]
mod tests;
