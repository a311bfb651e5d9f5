//! Lines of a matrix. Long lines are reduced to parts, which are joined until one part is left per line.

use super::column_constants;
use crate::gpu::{Binding, Capabilities, MAX_TRIPS, uniform};
use crate::graph::lowering::{Lowering, Operand, source};
use crate::graph::shape::{Matrix, u};
use crate::graph::team::{Join, LARGEST as LARGEST_OF, SUM, Shared, Team, Walk};
use crate::graph::template::expand;
use crate::graph::view::Order;

/// Longest line that one invocation processes whole, in up to three loops; in quads.
const SHORT: usize = 1024;

/// Number of quads, or of parts, that one invocation reduces to one part, in up to two loops.
const PART: usize = 256;

/// Number of quads that are summed separately before being added to the total.
pub(super) const RUN: usize = 128;

const _: () = assert!(3 * (SHORT + SHORT / RUN) <= MAX_TRIPS && 2 * PART <= MAX_TRIPS);

uniform! {
    pub(super) struct Parts { pub(super) parts: u32 }
}

/// The lines of a matrix along one dimension, as invocations process them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lines {
    /// Number of lines. Four adjacent lines count as one, unless lines are along the columns.
    pub(super) lines: usize,
    /// Length of a line in quads.
    pub(super) count: usize,
    /// Distance between consecutive quads of a line, in quads.
    stride: usize,
    /// Whether a line is the columns of one row.
    along_columns: bool,
    matrix: Matrix,
}

/// The kernels of a reduction, without the sizes of the lines.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reduction<'a> {
    /// Stem and WGSL files of the kernel that reads the lines.
    pub(super) parts: (&'static str, &'a [&'a str]),
    /// The same for the kernel that joins parts.
    pub(super) join: (&'static str, &'a [&'a str]),
    /// Template constants of `parts`, in addition to those of the lines.
    pub(super) constants: &'a [(&'static str, u32)],
    /// How both kernels join the values of lanes.
    pub(super) joins: &'a [Join<'a>],
    /// Quads in each part's result.
    pub(super) width: usize,
}

/// One dispatch of a reduction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Level {
    /// Number of quads, or of parts, per line.
    count: usize,
    /// Number of parts per line that it leaves.
    parts: usize,
    team: Team,
}

impl Lines {
    /// The lines of a tensor along one dimension.
    pub(super) fn of(shape: &[usize], order: Order, axis: usize) -> Self {
        let matrix = Matrix::of(shape, order);
        let row_quads = matrix.pitch / 4;
        let columns = order.lanes(shape.len());
        if axis == columns {
            return Self::rows(matrix);
        }
        let later = (axis + 1..shape.len()).filter(|&later| later != columns);
        let stride = row_quads * later.map(|later| shape[later]).product::<usize>();
        let lines = matrix.quads() / shape[axis];
        Self { lines, count: shape[axis], stride, along_columns: false, matrix }
    }

    /// The rows of a matrix.
    pub(super) fn rows(matrix: Matrix) -> Self {
        Self { lines: matrix.rows, count: matrix.pitch / 4, stride: 1, along_columns: true, matrix }
    }

    fn walk(&self, count: usize) -> Walk {
        Walk { lines: self.lines, count, side: if self.along_columns { 1 } else { self.stride } }
    }

    /// How many lanes process each whole line; `None` for lines that are reduced in parts.
    pub(super) fn whole(&self, offered: &Capabilities) -> Option<Team> {
        match Shared::choose(&self.walk(self.count), offered) {
            Some(Shared { team, parts }) => (parts == 1).then_some(team),
            None => (self.count <= SHORT).then_some(Team::alone(64)),
        }
    }

    /// Template constants for kernels that process whole lines, or write their elements.
    pub(super) fn constants(&self) -> Vec<(&'static str, u32)> {
        let mut constants = vec![
            ("COUNT", u(self.count)),
            ("STRIDE", u(self.stride)),
            ("ALONG_COLUMNS", u32::from(self.along_columns)),
            ("RUN", u(RUN)),
        ];
        constants.extend(column_constants(self.matrix));
        constants
    }

    /// The dispatches of a reduction, until one part is left per line.
    fn levels(&self, offered: &Capabilities) -> Vec<Level> {
        let mut levels = Vec::new();
        let mut count = self.count;
        while count > 1 {
            let alone = Shared { team: Team::alone(64), parts: count.div_ceil(PART) };
            let Shared { team, parts } = Shared::choose(&self.walk(count), offered).unwrap_or(alone);
            levels.push(Level { count, parts, team });
            count = parts;
        }
        levels
    }

    /// Emits a reduction of long lines, and returns its result: `width` quads per line.
    ///
    /// Bindings: `operands`, then the parts. The uniform block of the first kernel is `shape` with its number of
    /// parts.
    pub(super) fn reduce<S: crate::gpu::Uniform>(
        &self,
        lowering: &mut Lowering,
        layer: &str,
        reduction: &Reduction<'_>,
        operands: &[Operand],
        shape: impl Fn(u32) -> S,
    ) -> Operand {
        let mut left = None;
        for Level { count, parts, team } in self.levels(&lowering.capabilities) {
            let work = self.lines * parts;
            let out = lowering.scratch("parts of lines", work * reduction.width * 4);
            let mut constants = self.constants();
            constants[0].1 = u(count);
            constants.extend(team.constants());
            constants.push(("PARTS", u(parts)));
            let join_lanes = self.along_columns && parts == 1;
            constants.push(("JOIN_LANES", u32::from(join_lanes)));
            let text = |texts: &[&str], constants: &[(&str, u32)]| {
                let parts = include_str!("../../../shaders/shared/parts.wgsl");
                expand(&[&texts.concat(), parts, &team.text(reduction.joins)].concat(), constants, &[])
            };
            match left {
                None => {
                    constants.extend(reduction.constants);
                    let (name, texts) = reduction.parts;
                    let storage = [vec![Binding::Read; operands.len()], vec![Binding::ReadWrite]].concat();
                    let kernel = source::<S>(name, text(texts, &constants), &storage);
                    lowering.emit(
                        layer,
                        kernel,
                        team.grid(work),
                        &[operands, &[out]].concat(),
                        shape(u(work)),
                    );
                }
                Some(before) => {
                    let (name, texts) = reduction.join;
                    let storage = [Binding::Read, Binding::ReadWrite];
                    let kernel = source::<Parts>(name, text(texts, &constants), &storage);
                    lowering.emit(layer, kernel, team.grid(work), &[before, out], Parts { parts: u(work) });
                }
            }
            left = Some(out);
        }
        left.expect("a long line has more than one quad")
    }

    /// Emits the reduction of long lines to their maximum and the sum of exponentials of the differences to it: two
    /// quads per line.
    pub(super) fn reduce_exponentials(&self, lowering: &mut Lowering, layer: &str, x: Operand) -> Operand {
        let reduction = Reduction {
            parts: (
                "softmax_parts",
                &[include_str!("../../../shaders/ops/softmax_parts.wgsl"), COLUMNS, MATH, LARGEST],
            ),
            join: ("softmax_join", &[include_str!("../../../shaders/ops/softmax_join.wgsl"), MATH, LARGEST]),
            constants: &[],
            joins: &[SUM, LARGEST_OF],
            width: 2,
        };
        self.reduce(lowering, layer, &reduction, &[x], |parts| Parts { parts })
    }
}

pub(super) const COLUMNS: &str = include_str!("../../../shaders/shared/columns.wgsl");
pub(super) const MATH: &str = include_str!("../../../shaders/shared/math.wgsl");
pub(super) const LARGEST: &str = include_str!("../../../shaders/shared/largest.wgsl");
pub(super) const SUM_JOIN: &str = include_str!("../../../shaders/ops/sum_join.wgsl");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_follow_torchs_dimensions_through_the_matrix() {
        let lines = |shape: &[usize], axis| {
            // Rank 4 means images here.
            let order = if shape.len() == 4 { Order::ChannelsLast } else { Order::Natural };
            let Lines { lines, count, stride, along_columns, .. } = Lines::of(shape, order, axis);
            (lines, count, stride, along_columns)
        };
        assert_eq!(lines(&[7], 0), (1, 2, 1, true));
        assert_eq!([0, 1].map(|d| lines(&[6, 5], d)), [(2, 6, 2, false), (6, 2, 1, true)]);
        let rank_3 = [(6, 2, 6, false), (4, 3, 2, false), (6, 2, 1, true)];
        assert_eq!([0, 1, 2].map(|d| lines(&[2, 3, 5], d)), rank_3);
        // Rows are pixels, columns are channels.
        let images = [(30, 2, 30, false), (30, 2, 1, true), (20, 3, 10, false), (12, 5, 2, false)];
        assert_eq!([0, 1, 2, 3].map(|d| lines(&[2, 6, 3, 5], d)), images);
    }

    #[test]
    fn every_line_is_joined_to_one_part() {
        let levels = |count: usize| {
            let levels = Lines::of(&[count, 4], Order::Natural, 0).levels(&Capabilities::PLAIN);
            levels.into_iter().map(|level| [level.count, level.parts]).collect::<Vec<_>>()
        };
        let long = |shape: &[usize], axis| {
            Lines::of(shape, Order::Natural, axis).whole(&Capabilities::PLAIN).is_none()
        };
        assert_eq!(levels(SHORT + 1), [[SHORT + 1, 5], [5, 1]]);
        assert_eq!(levels(PART * PART), [[PART * PART, PART], [PART, 1]]);
        assert_eq!(levels(PART * PART + 1), [[PART * PART + 1, PART + 1], [PART + 1, 2], [2, 1]]);
        assert_eq!(levels(1 << 27), [[1 << 27, 1 << 19], [1 << 19, 1 << 11], [1 << 11, 8], [8, 1]]);
        assert_eq!((long(&[SHORT, 4], 0), long(&[SHORT + 1, 4], 0)), (false, true));
        // Four columns in a quad.
        assert!(!long(&[1, 4 * SHORT], 1) && long(&[1, 4 * SHORT + 1], 1));
    }
}
