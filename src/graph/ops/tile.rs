//! Tiles in workgroup memory for kernels that compute products: `shaders/shared/tile.wgsl` with its constants.

use crate::gpu::{Capabilities, TileSize};
use crate::graph::template::AnyLaunch;

/// A tile of a product, computed by one workgroup, and the share of each invocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tile {
    /// Rows and columns of a tile: multiples of 32.
    pub(super) rows: u32,
    pub(super) columns: u32,
    /// Steps along the inner dimension that are staged at a time; a multiple of 4.
    pub(super) steps: u32,
    /// Quads of rows and of columns per invocation.
    pub(super) row_quads: u32,
    pub(super) column_quads: u32,
}

/// How a factor of a product is loaded into workgroup memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Staging {
    /// One `vec4` along rows or columns per step: `tile_left_quads.wgsl`, `tile_right_quads.wgsl`.
    Quads,
    /// The same files with four scalar loads, for factors whose neighbours in memory are neighbours along the steps.
    Gathered,
    /// Four `vec4`s along the steps: `tile_left_blocks.wgsl`, `tile_right_blocks.wgsl`.
    Blocks,
}

impl Tile {
    pub(super) const fn of(size: TileSize) -> Self {
        match size {
            TileSize::Large => LARGE,
            TileSize::Medium => MEDIUM,
            TileSize::MediumShared => MEDIUM_SHARED,
            TileSize::Small => SMALL,
            TileSize::Tall => TALL,
            TileSize::Wide => WIDE,
        }
    }

    /// The dispatch for this tile, with up to three alternatives if the device times them.
    pub(super) fn launch(
        self,
        products: Products,
        offered: &Capabilities,
        launch: impl Fn(&Self) -> AnyLaunch,
    ) -> AnyLaunch {
        let is_free = offered.tunes && offered.trial.tile.is_none();
        let rivals = if is_free { products.likely(offered.cores) } else { Vec::new() };
        let rivals = rivals.iter().filter(|tile| **tile != self).take(RIVALS).map(&launch).collect();
        AnyLaunch { rivals, ..launch(&self) }
    }

    /// Invocations in a workgroup.
    pub(super) const fn lanes(&self) -> u32 {
        self.rows / 4 / self.row_quads * (self.columns / 4 / self.column_quads)
    }

    /// The template constants. `steps_even` tells whether the steps of each part are whole tiles.
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

/// 128 rows by 128 columns; 8 by 8 per invocation.
pub(super) const LARGE: Tile = Tile { rows: 128, columns: 128, steps: 8, row_quads: 2, column_quads: 2 };
/// 64 by 64; 8 by 4 per invocation.
pub(super) const MEDIUM: Tile = Tile { rows: 64, columns: 64, steps: 16, row_quads: 2, column_quads: 1 };
/// Like [`MEDIUM`], with twice as many invocations of 4 by 4.
pub(super) const MEDIUM_SHARED: Tile = Tile { row_quads: 1, ..MEDIUM };
/// 32 by 32; 4 by 4 per invocation.
pub(super) const SMALL: Tile = Tile { rows: 32, columns: 32, steps: 32, row_quads: 1, column_quads: 1 };
/// For few columns: 256 rows by 32 columns; 8 by 4 per invocation.
pub(super) const TALL: Tile = Tile { rows: 256, columns: 32, steps: 8, row_quads: 2, column_quads: 1 };
/// For few rows: 32 rows by 256 columns; 8 by 4 per invocation.
pub(super) const WIDE: Tile = Tile { rows: 32, columns: 256, steps: 8, row_quads: 2, column_quads: 1 };

/// Maximum number of tiles timed against the default.
const RIVALS: usize = 3;

/// All tiles, with the relative cost of loads per product in each.
pub(super) const ALL: [(Tile, u64); 6] =
    [(LARGE, 16), (MEDIUM, 18), (MEDIUM_SHARED, 20), (TALL, 19), (WIDE, 19), (SMALL, 24)];

/// Sizes of a batch of products: their number, rows and columns.
#[derive(Clone, Copy, Debug)]
pub(super) struct Products {
    pub(super) count: u32,
    pub(super) rows: u32,
    pub(super) columns: u32,
}

impl Products {
    /// Number of tiles of a size.
    pub(super) fn tiles(&self, tile: &Tile) -> u64 {
        [self.count, self.rows.div_ceil(tile.rows), self.columns.div_ceil(tile.columns)]
            .map(u64::from)
            .iter()
            .product()
    }

    /// All tiles in order of their estimated time on `cores` compute units. The estimate counts all products,
    /// including those outside of the output, weighted by the loads per product.
    fn likely(&self, cores: u32) -> Vec<Tile> {
        let time = |(tile, weight): &(Tile, u64)| {
            self.tiles(tile).div_ceil(cores.into()) * u64::from(tile.rows * tile.columns) * weight
        };
        let mut all = ALL;
        all.sort_by_key(time);
        all.map(|(tile, _)| tile).to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_keep_to_what_each_device_offers_and_their_loads_come_out_even() {
        for (tile, _) in ALL {
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
        assert_eq!(TileSize::ALL.map(Tile::of).len(), ALL.len());
        assert!(TileSize::ALL.map(Tile::of).iter().all(|tile| ALL.iter().any(|(other, _)| other == tile)));
    }

    #[test]
    fn the_likeliest_tiles_keep_processors_busy_and_waste_little() {
        for (sizes, first) in [
            ([1, 4_096, 4_096], LARGE),
            ([1, 512, 512], MEDIUM),
            ([1, 100_000, 32], TALL),
            ([1, 20, 100_000], WIDE),
            ([1, 33, 33], SMALL),
        ] {
            let [count, rows, columns] = sizes;
            let likely = Products { count, rows, columns }.likely(80);
            assert_eq!((likely[0], likely.len()), (first, ALL.len()), "{sizes:?}");
        }
    }
}
