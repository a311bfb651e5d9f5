use std::ops::Range;

use super::index_maps::{Axes, count};
use super::sizes::{HALF_OF_ADDED, TILE_WIDTH};
use crate::gpu::{Candidate, Capabilities, KernelKind, MAX_TRIPS};
use crate::optim::layerwise::shape::ReductionShape;

/// As in frame/tile.wgsl.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
pub(crate) struct Tile {
    first: u32,
    pub(crate) rows: u32,
    width: u32,
    stride: u32,
    pub(crate) index_map: u32,
    row: u32,
    column: u32,
    matrix: u32,
    /// Offset of the results.
    pub(crate) part: u32,
}

impl Tile {
    /// Number of norms that it writes.
    pub(crate) fn parts(&self, capabilities: &Capabilities) -> usize {
        ReductionShape::of(capabilities).parts_of_tile(self.width)
    }
}

/// Vectors of a tile of maxima, if its rows are wide. A CPU adapter goes down a column of eight lanes before it takes the next:
/// few rows, so that what it reads of each stays a stream. A GPU reads rows as wide as a workgroup.
const WIDE_TILES: &[Candidate<(), usize>] = &[
    Candidate { kind: KernelKind::CpuSubgroup, fits: |(), _| true, way: 2048 },
    Candidate { kind: KernelKind::Plain, fits: |(), _| true, way: usize::MAX },
];

/// Rows of a tile: more of a tensor that would leave more norms than are added at once, and fewer of one with so many
/// axes that a row takes long.
fn most_rows(axes: &Axes<'_>, width: usize, capabilities: &Capabilities) -> usize {
    const ROWS: usize = 64;
    const LEAST: usize = 16;
    if axes.are_plain() && axes.hold_maxima() {
        let wide = *Candidate::choose(WIDE_TILES, &(), capabilities);
        return (wide / width.clamp(1, TILE_WIDTH)).clamp(LEAST, ROWS);
    }
    let vectors = axes.elements().div_ceil(4);
    let rows = ROWS * vectors.div_ceil(ROWS * HALF_OF_ADDED).max(1);
    rows.min(MAX_TRIPS / axes.trips_of_a_row())
}

/// Splits a window's part of a tensor into tiles, in vectors of four; `before` vectors are in earlier windows.
pub(crate) fn cut(
    axes: &Axes<'_>,
    capabilities: &Capabilities,
    before: usize,
    window: Range<usize>,
    mut push: impl FnMut(Tile),
) {
    let is_plain = axes.are_plain();
    // Where rows do not matter, any will do.
    let [vectors, in_a_matrix] = if is_plain { axes.rows() } else { [TILE_WIDTH, usize::MAX] };
    let most_rows = most_rows(axes, vectors, capabilities);
    let end = before + window.len();
    let mut at = before;
    while at < end {
        let (row, column) = if is_plain { (at / vectors, at % vectors) } else { (0, 0) };
        let (width, rows) = if column > 0 || end - at < vectors {
            ((vectors - column).min(end - at), 1)
        } else {
            let in_matrix = in_a_matrix - row % in_a_matrix;
            (vectors, ((end - at) / vectors).min(in_matrix).min(most_rows))
        };
        for aside in (0..width).step_by(TILE_WIDTH) {
            push(Tile {
                first: count(window.start + at - before + aside),
                rows: count(rows),
                width: count((width - aside).min(TILE_WIDTH)),
                stride: count(vectors),
                index_map: 0,
                row: count(row),
                column: count(column + aside),
                matrix: count(row / in_a_matrix),
                part: 0,
            });
        }
        at += width * rows;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::optim::rule::{Reduced, Statistic};

    #[test]
    fn each_vector_is_in_one_tile_and_each_tile_in_one_matrix() {
        let matrix = |key: &str, axis| Statistic { key: key.to_owned().into(), reduced: Reduced::Axis(axis) };
        let maximum = |axis| Statistic { key: format!("{axis}").into(), reduced: Reduced::AllBut(axis) };
        for (shape, statistics) in [
            (vec![1003], vec![Statistic { key: "x".into(), reduced: Reduced::None }]),
            (vec![100, 40], vec![matrix("rows", 1), matrix("columns", 0)]),
            (vec![3, 70, 1200], vec![matrix("rows", 2), matrix("columns", 1)]),
            (vec![30, 7, 33], vec![matrix("rows", 2), matrix("columns", 1)]),
            (vec![1003], vec![maximum(0)]),
            (vec![150, 40], vec![maximum(0), maximum(1)]),
            (vec![70, 1200], vec![maximum(0), maximum(1)]),
            (vec![30, 7, 33], vec![maximum(0), maximum(1), maximum(2)]),
        ] {
            for capabilities in Capabilities::of_each_kind() {
                check(&shape, &statistics, &capabilities);
            }
        }
    }

    fn check(shape: &[usize], statistics: &[Statistic], capabilities: &Capabilities) {
        let axes = Axes::new(shape, statistics);
        let all = shape.iter().product::<usize>().div_ceil(4);
        for middle in [0, 17, all / 2, all] {
            let mut seen = vec![0; all];
            // The second window begins with the rest of the tensor.
            for (before, window, in_window) in [(0, 5..5 + middle, 5), (middle, 0..all - middle, 0)] {
                cut(&axes, capabilities, before, window, |tile| {
                    for (row, lane) in (0..tile.rows).flat_map(|row| (0..tile.width).map(move |x| (row, x))) {
                        let vector = (tile.first + row * tile.stride + lane) as usize - in_window + before;
                        seen[vector] += 1;
                        if axes.are_plain() {
                            let [vectors, rows] = axes.rows();
                            assert_eq!(vector / vectors, (tile.row + row) as usize);
                            assert_eq!(vector % vectors, (tile.column + lane) as usize);
                            assert_eq!(vector / vectors / rows, tile.matrix as usize);
                        }
                    }
                });
            }
            assert!(seen.iter().all(|times| *times == 1), "{shape:?} {middle}");
        }
    }

    #[test]
    fn wide_rows_of_maxima_are_few_where_lanes_go_down_one_after_the_other() {
        let of = |shape: &[usize], offered: &Capabilities| {
            let maximum = |axis| Statistic { key: "x".into(), reduced: Reduced::AllBut(axis) };
            let statistics = [maximum(0), maximum(1)];
            let mut most = 0;
            let vectors = shape.iter().product::<usize>() / 4;
            cut(&Axes::new(shape, &statistics), offered, 0, 0..vectors, |tile| most = most.max(tile.rows));
            most
        };
        let [cpu, gpu, plain] = Capabilities::of_each_kind();
        assert_eq!(
            [[100, 1000], [100, 4000], [100, 256], [100, 64]].map(|shape| of(&shape, &cpu)),
            [16, 16, 32, 64]
        );
        assert_eq!([gpu, plain].map(|offered| of(&[100, 1000], &offered)), [64, 64]);
    }
}
