//! Sums over rows and columns, split into parts if they are too long for one invocation.

use super::split::{RUN, even_tile, is_long};

/// How a sum over rows and columns is split: into one part, parts of several rows, or pieces of one row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct AreaParts {
    pub(super) rows: u32,
    pub(super) columns: u32,
    pub(super) column_parts: u32,
    pub(super) count: u32,
}

impl AreaParts {
    pub(super) fn of([rows, columns]: [u32; 2]) -> Self {
        let mut parts = Self { rows, columns, column_parts: 1, count: 1 };
        let [many_rows, many_columns] = [rows, columns].map(u64::from);
        if is_long(many_rows * (1 + many_columns), 0) {
            parts.columns = even_tile(columns, RUN);
            parts.rows = even_tile(rows, (RUN / parts.columns).max(1));
            parts.column_parts = columns.div_ceil(parts.columns);
            parts.count = rows.div_ceil(parts.rows) * parts.column_parts;
        }
        parts
    }

    /// The template constant for the kernel.
    pub(super) fn constant(&self) -> (&'static str, u32) {
        ("SPLIT", u32::from(self.count > 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_cover_all_and_are_short() {
        for area in
            [[0, 0], [1, 1], [127, 128], [128, 128], [1, 1 << 29], [1 << 29, 1], [300, 5_001], [5_001, 2]]
        {
            let parts = AreaParts::of(area);
            assert!(parts.rows * (1 + parts.columns) <= 16_384, "{area:?}: {parts:?}");
            assert!(parts.column_parts * parts.columns >= area[1], "{area:?}: {parts:?}");
            assert!(parts.count / parts.column_parts * parts.rows >= area[0], "{area:?}: {parts:?}");
            assert_eq!(parts.count == 1, area[0] * (1 + area[1].min(1 << 20)) <= 16_384, "{area:?}");
        }
    }
}
