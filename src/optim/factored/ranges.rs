use std::ops::Range;
use std::sync::Arc;

use crate::optim::layerwise::tiles::RowRanges;

/// Which rows of the tables of a store each tensor has, and where its statistics lie: all that a step must know of them
/// on the host.
#[derive(Debug, Default)]
pub(crate) struct StatisticRanges {
    /// Workgroups that gather.
    pub(crate) gather: ByShape,
    /// The first workgroup of each tensor that joins pieces, and one more at the end.
    pub(crate) finish: Vec<usize>,
    /// The first mean of each tensor, and one more at the end.
    pub(crate) means: Vec<usize>,
    /// Tiles that are measured and updated.
    pub(crate) tiles: ByShape,
    /// Whether each tensor has another shape than most have.
    pub(crate) general: Vec<bool>,
    pub(crate) places: Arc<Places>,
}

/// Names and places of each tensor's statistics.
pub(crate) type Places = Vec<Vec<(String, Range<usize>)>>;

/// The rows of two tables that lie one behind the other: that of plain tensors and that of others.
#[derive(Debug, Default)]
pub(crate) struct ByShape {
    rows: [RowRanges; 2],
    /// Where the rows of others begin.
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

    /// The rows of some tensors, by window, and whether they are of others than plain ones.
    pub(crate) fn of(&self, tensors: Range<usize>) -> impl Iterator<Item = (usize, Range<usize>, bool)> {
        let plain = self.rows[0].of(tensors.clone()).map(|(window, rows)| (window, rows, false));
        let others = self.rows[1]
            .of(tensors)
            .map(|(window, rows)| (window, rows.start + self.others..rows.end + self.others, true));
        plain.chain(others)
    }
}
