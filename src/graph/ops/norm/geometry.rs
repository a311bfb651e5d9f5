//! The layout of the elements that are normalised together, and how they are split between invocations.

use crate::gpu::{Capabilities, MAX_TRIPS};
use crate::graph::shape::{Matrix, u};
use crate::graph::team::{Shared, Team, Walk};

/// Longest line that one invocation processes whole, in up to three loops; in quads.
const SHORT: usize = 1024;

/// Longest column that one invocation processes whole, in rows. There are few columns.
const SHORT_COLUMNS: usize = 256;

/// Number of quads, or of parts, that one invocation reduces to one part, in up to two loops.
const PART: usize = 4096;

/// Number of parts that one invocation joins.
const JOINED: usize = 1024;

/// Number of quads that are summed separately before being added to the total.
const RUN: usize = 128;

const _: () = assert!(3 * (SHORT + SHORT / RUN) <= MAX_TRIPS && 2 * (PART + PART / RUN) <= MAX_TRIPS);

/// A matrix of images with `rows` rows each, and its lines, which are normalised together. A line is the columns of
/// one group in all rows of one image, or one of four adjacent columns over all rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Geometry {
    matrix: Matrix,
    rows: usize,
    groups: usize,
    group_columns: usize,
    /// Number of quads in a row of a line.
    width: usize,
    /// Whether the columns of a line are normalised together.
    pub(super) joined: bool,
    /// Number of consecutive quads with different weights; weights repeat after them.
    pub(super) affine: usize,
    pub(super) lines: usize,
    /// Number of quads in a line.
    pub(super) count: usize,
    /// Number of elements that are normalised together.
    pub(super) elements: usize,
    offered: Capabilities,
}

/// One dispatch of a reduction: splits the `count` quads or parts of each line into `parts` of `length`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Level {
    pub(super) count: usize,
    pub(super) length: usize,
    pub(super) parts: usize,
    pub(super) team: Team,
}

impl Geometry {
    /// Groups of columns of images with `rows` rows. Weights repeat for every image, or for every row with
    /// `weighs_rows`.
    pub(super) fn lines(matrix: Matrix, rows: usize, groups: usize, weighs_rows: bool) -> Self {
        let (row_quads, images) = (matrix.pitch / 4, matrix.rows / rows);
        let group_columns = matrix.columns / groups;
        // A group that starts inside a quad can touch one more quad.
        let touched = |group: usize| ((group + 1) * group_columns).div_ceil(4) - group * group_columns / 4;
        let width = (0..groups.min(4)).map(touched).max().unwrap_or(1);
        Self {
            matrix,
            rows,
            groups,
            group_columns,
            width,
            joined: true,
            affine: if weighs_rows { rows * row_quads } else { row_quads },
            lines: images * groups,
            count: rows * width,
            elements: rows * group_columns,
            offered: Capabilities::PLAIN,
        }
    }

    /// The columns of a matrix.
    pub(super) fn columns(matrix: Matrix) -> Self {
        let row_quads = matrix.pitch / 4;
        Self {
            matrix,
            // The kernels do not use the number of rows, so they serve all batch sizes.
            rows: 1,
            groups: row_quads,
            group_columns: 4,
            width: 1,
            joined: false,
            affine: row_quads,
            lines: row_quads,
            count: matrix.rows,
            elements: matrix.rows,
            offered: Capabilities::PLAIN,
        }
    }

    /// For a device.
    pub(super) fn on(self, offered: Capabilities) -> Self {
        Self { offered, ..self }
    }

    pub(super) fn quads(&self) -> usize {
        self.matrix.quads()
    }

    /// Whether each quad belongs to one line only.
    pub(super) fn is_aligned(&self) -> bool {
        self.groups == 1 || self.group_columns.is_multiple_of(4)
    }

    /// Number of elements of the statistics of all lines.
    pub(super) fn statistics(&self) -> usize {
        self.lines * if self.joined { 4 } else { 12 }
    }

    /// The dispatches that reduce the lines.
    pub(super) fn levels(&self) -> Vec<Level> {
        let side = if self.joined { 1 } else { self.lines };
        let walk = Walk { lines: self.lines, count: self.count, side };
        let short = if self.joined { SHORT } else { SHORT_COLUMNS };
        self.shared(walk).unwrap_or_else(|| levels(self.count, (short, 256), Team::alone(64)))
    }

    /// The dispatches that sum the rows with the same weights.
    pub(super) fn affine_levels(&self) -> Vec<Level> {
        let count = self.quads() / self.affine;
        // Compared with a loop, a dispatch is expensive on a CPU and cheap on a GPU.
        let short = if self.offered.is_cpu { SHORT } else { 128 };
        let short = if self.joined { short } else { SHORT_COLUMNS };
        let walk = Walk { lines: self.affine, count, side: self.affine };
        self.shared(walk).unwrap_or_else(|| levels(count, (short, 32), Team::alone(8)))
    }

    /// The dispatches for lines shared by several lanes; `None` if each line has its own lane.
    fn shared(&self, walk: Walk) -> Option<Vec<Level>> {
        let Shared { team, parts } = Shared::choose(&walk, &self.offered)?;
        let level = |count: usize, parts: usize, team| {
            let length = count.div_ceil(parts);
            Level { count, length, parts: count.div_ceil(length), team }
        };
        let mut found = vec![level(walk.count, parts, team)];
        while found[found.len() - 1].parts > 1 {
            let count = found[found.len() - 1].parts;
            let alone = Shared { team: Team::alone(64), parts: 1 };
            let next = Shared::choose(&Walk { count, ..walk }, &self.offered).unwrap_or(alone);
            found.push(level(count, next.parts, next.team));
        }
        Some(found)
    }

    /// Whether the lanes that share a line process all of it, so that they can also write it.
    pub(super) fn is_whole(&self) -> bool {
        self.is_aligned() && self.levels().len() == 1
    }

    pub(super) fn constants(&self) -> Vec<(&'static str, u32)> {
        let Matrix { columns, pitch, .. } = self.matrix;
        let masked = self.joined && (columns != pitch || !self.is_aligned());
        let gathered = self.affine > pitch / 4 && columns != pitch;
        vec![
            ("ROW_QUADS", u(pitch / 4)),
            ("COLUMNS", u(columns)),
            ("ROWS", u(self.rows)),
            ("GROUPS", u(self.groups)),
            ("GROUP_COLUMNS", u(self.group_columns)),
            ("WIDTH", u(self.width)),
            ("JOINED", u32::from(self.joined)),
            ("MASKED", u32::from(masked)),
            ("ALIGNED", u32::from(self.is_aligned())),
            ("AFFINE", u(self.affine)),
            ("GATHERED", u32::from(gathered)),
            ("RUN", u(RUN)),
        ]
    }
}

/// For one lane per part: splits `count`, unless it is at most `short`, into parts of at least `least`, and repeats
/// with these until one is left.
fn levels(count: usize, (short, least): (usize, usize), team: Team) -> Vec<Level> {
    if count <= short {
        return vec![Level { count, length: count, parts: 1, team }];
    }
    let part = count.isqrt().max(count.div_ceil(JOINED)).clamp(least, PART);
    let length = count.div_ceil(count.div_ceil(part));
    let mut levels = vec![Level { count, length, parts: count.div_ceil(length), team }];
    loop {
        let count = levels[levels.len() - 1].parts;
        if count == 1 {
            return levels;
        }
        let length = count.div_ceil(count.div_ceil(JOINED));
        levels.push(Level { count, length, parts: count.div_ceil(length), team });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::view::Order;

    fn groups(shape: &[usize], groups: usize) -> Geometry {
        let matrix = Matrix::of(shape, Order::ChannelsLast);
        Geometry::lines(matrix, matrix.rows / shape[0], groups, false)
    }

    #[test]
    fn lines_are_rows_images_groups_or_columns() {
        let of = |geometry: Geometry| (geometry.lines, geometry.count, geometry.elements, geometry.width);
        let natural =
            |shape: &[usize], rows| Geometry::lines(Matrix::of(shape, Order::Natural), rows, 1, true);
        assert_eq!(of(natural(&[5, 3, 9], 1)), (15, 3, 9, 3));
        assert_eq!(of(natural(&[5, 3, 9], 3)), (5, 9, 27, 3));
        assert_eq!(of(groups(&[2, 8, 3, 5], 2)), (4, 15, 60, 1));
        // Groups of 3 begin within quads: columns 3 to 5 are in two.
        assert_eq!(of(groups(&[2, 9, 3, 5], 3)), (6, 30, 45, 2));
        assert_eq!(of(groups(&[2, 5], 5)), (10, 1, 1, 1));
        assert_eq!(of(Geometry::columns(Matrix::of(&[6, 5], Order::Natural))), (2, 6, 6, 1));
        let aligned = [(8, 2), (9, 3), (5, 1), (6, 3)].map(|(c, g)| groups(&[1, c, 2], g).is_aligned());
        assert_eq!(aligned, [true, false, true, false]);
    }

    #[test]
    fn every_line_is_cut_until_one_part_is_left() {
        let alone = Team::alone(64);
        let of = |count| {
            levels(count, (SHORT, 256), alone).iter().map(|l| [l.length, l.parts]).collect::<Vec<_>>()
        };
        assert_eq!(of(SHORT), [[SHORT, 1]]);
        assert_eq!(of(SHORT + 1), [[205, 5], [5, 1]]);
        assert_eq!(of(100_000), [[316, 317], [317, 1]]);
        assert_eq!(of(1 << 27), [[PART, 1 << 15], [1024, 32], [32, 1]]);
        for count in (0..30).flat_map(|power| [1 << power, (1 << power) + 1]) {
            for level in levels(count, (SHORT, 32), alone) {
                assert_eq!(level.parts, level.count.div_ceil(level.length));
                assert!(level.length <= PART.max(SHORT));
            }
        }
    }
}
