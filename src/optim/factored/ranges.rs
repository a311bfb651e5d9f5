use std::ops::Range;
use std::sync::Arc;

use crate::optim::layerwise::tiles::RowRanges;

/// The rows of each tensor in the tables of a store, and the location of its statistics: all that a step needs on the
/// host.
#[derive(Debug, Default)]
pub(crate) struct StatisticRanges {
    /// Workgroups that gather statistics.
    pub(crate) gather: ByShape,
    /// The first workgroup of each tensor that joins pieces, followed by the end.
    pub(crate) finish: Vec<usize>,
    /// The first mean of each tensor, followed by the end.
    pub(crate) means: Vec<usize>,
    /// Tiles to measure and update.
    pub(crate) tiles: ByShape,
    /// Whether each tensor has a shape that the kernels of plain tensors do not cover.
    pub(crate) general: Vec<bool>,
    pub(crate) places: Arc<Places>,
}

/// Names and ranges of each tensor's statistics.
pub(crate) type Places = Vec<Vec<(String, Range<usize>)>>;

/// The rows of two tables stored one after the other: of plain tensors, and of general ones.
#[derive(Debug, Default)]
pub(crate) struct ByShape {
    rows: [RowRanges; 2],
    /// First row of the general tensors.
    others: usize,
}

impl ByShape {
    pub(super) fn begin_tensor<T>(&mut self, tables: &[Vec<T>; 2]) {
        self.rows.iter_mut().zip(tables).for_each(|(rows, table)| rows.begin_tensor(table.len()));
    }

    pub(super) fn begin_window<T>(&mut self, window: usize, tables: &[Vec<T>; 2]) {
        self.rows.iter_mut().zip(tables).for_each(|(rows, table)| rows.begin_window(window, table.len()));
    }

    pub(super) fn end<T>(&mut self, tables: &[Vec<T>; 2]) {
        self.rows.iter_mut().zip(tables).for_each(|(rows, table)| rows.end(table.len()));
        self.others = tables[0].len();
    }

    /// The rows of some tensors, by window, and whether the tensors are general.
    pub(crate) fn of(&self, tensors: Range<usize>) -> impl Iterator<Item = (usize, Range<usize>, bool)> {
        let plain = self.rows[0].of(tensors.clone()).map(|(window, rows)| (window, rows, false));
        let others = self.rows[1]
            .of(tensors)
            .map(|(window, rows)| (window, rows.start + self.others..rows.end + self.others, true));
        plain.chain(others)
    }
}
