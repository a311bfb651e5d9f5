//! Tiles in workgroup memory, for kernels that compute products: `shaders/shared/tile.wgsl` with the constants it takes.

/// A tile of a product, which one workgroup sums, and what each of its invocations multiplies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tile {
    /// Rows and columns of a tile: multiples of 32.
    pub(super) rows: u32,
    pub(super) columns: u32,
    /// Steps along the inner dimension that are staged at a time: a multiple of 4.
    pub(super) steps: u32,
    /// Quads of rows and of columns of an invocation.
    pub(super) row_quads: u32,
    pub(super) column_quads: u32,
}

/// How a factor of a product is brought into workgroup memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Staging {
    /// A vec4 along its rows, or columns, at one step: `tile_left_quads.wgsl`, `tile_right_quads.wgsl`.
    Quads,
    /// The same texts with four loads for each, where neighbours in memory are neighbours along the steps.
    Gathered,
    /// Four vec4s along the steps: `tile_left_blocks.wgsl`, `tile_right_blocks.wgsl`.
    Blocks,
}

impl Tile {
    /// Invocations of a workgroup.
    pub(super) const fn lanes(&self) -> u32 {
        self.rows / 4 / self.row_quads * (self.columns / 4 / self.column_quads)
    }

    /// The constants of the texts; `steps_even` says whether all steps, in each part, come in whole tiles.
    pub(super) fn constants(
        &self,
        [left, right]: [Staging; 2],
        steps_even: bool,
    ) -> Vec<(&'static str, u32)> {
        let Self { rows, columns, steps, row_quads, column_quads } = *self;
        let loads = |edge: u32, staging: Staging| match staging {
            Staging::Quads | Staging::Gathered => (edge / 4 * steps).div_ceil(self.lanes()),
            Staging::Blocks => (edge / 4 * (steps / 4)).div_ceil(self.lanes()),
        };
        let gathered = |staging: Staging| u32::from(staging == Staging::Gathered);
        vec![
            ("TILE_ROWS", rows),
            ("TILE_COLUMNS", columns),
            ("TILE_STEPS", steps),
            ("ROW_QUADS", row_quads),
            ("COLUMN_QUADS", column_quads),
            ("LANES", self.lanes()),
            ("LEFT_LOADS", loads(rows, left)),
            ("RIGHT_LOADS", loads(columns, right)),
            ("LEFT_GATHERED", gathered(left)),
            ("RIGHT_GATHERED", gathered(right)),
            ("STEPS_EVEN", u32::from(steps_even)),
        ]
    }

    /// Bytes of workgroup memory.
    #[cfg(test)]
    pub(super) const fn bytes(&self) -> u32 {
        (self.rows + self.columns + 8) * self.steps * 4
    }
}

/// 128 rows by 128 columns; 8 by 8 of them an invocation.
pub(super) const LARGE: Tile = Tile { rows: 128, columns: 128, steps: 8, row_quads: 2, column_quads: 2 };
/// 64 by 64; 8 by 4 an invocation.
pub(super) const MEDIUM: Tile = Tile { rows: 64, columns: 64, steps: 16, row_quads: 2, column_quads: 1 };
/// 32 by 32; 4 by 4 an invocation.
pub(super) const SMALL: Tile = Tile { rows: 32, columns: 32, steps: 32, row_quads: 1, column_quads: 1 };
/// For few columns: 256 rows by 32 columns; 8 by 4 an invocation.
pub(super) const TALL: Tile = Tile { rows: 256, columns: 32, steps: 8, row_quads: 2, column_quads: 1 };
/// For few rows: 32 rows by 256 columns; 8 by 4 an invocation.
pub(super) const WIDE: Tile = Tile { rows: 32, columns: 256, steps: 8, row_quads: 2, column_quads: 1 };

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_keep_to_what_each_device_offers_and_their_loads_come_out_even() {
        for tile in [LARGE, MEDIUM, SMALL, TALL, WIDE] {
            assert!(tile.bytes() <= 16_384 && tile.lanes() <= 256 && tile.lanes() >= 64, "{tile:?}");
            let Tile { rows, columns, steps, row_quads, column_quads } = tile;
            assert!(rows % (16 * row_quads) == 0 && columns % (16 * column_quads) == 0, "{tile:?}");
            for edge in [rows, columns] {
                assert_eq!(edge % 32, 0, "{tile:?}: eight neighbours store side by side");
                for loads in [edge / 4 * steps, edge / 4 * (steps / 4)] {
                    assert!(loads < tile.lanes() || loads % tile.lanes() == 0, "{tile:?}");
                }
            }
        }
    }
}
