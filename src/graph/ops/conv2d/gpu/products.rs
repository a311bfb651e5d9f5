//! The products that make up a convolution, their tiles and their parts.

use crate::gpu::Capabilities;
use crate::graph::ops::split::{Parts, RUN, even_tile, is_long};
use crate::graph::ops::tile::{LARGE, MEDIUM, Products, SMALL, TALL, Tile};

impl Products {
    /// The fastest tile among those that occupy all compute units of a device, or the override of a measurement.
    ///
    /// The estimate counts all products, including those outside of the output, weighted by the loads that each
    /// needs.
    pub(super) fn tile(&self, offered: &Capabilities) -> Tile {
        if let Some(size) = offered.trial.tile {
            return Tile::of(size);
        }
        let cores = offered.cores;
        let ranked = [(LARGE, 16, 2), (MEDIUM, 18, 1), (TALL, 19, 2), (SMALL, 24, 0)];
        let enough = ranked.iter().filter(|(tile, _, each)| self.tiles(tile) >= u64::from(each * cores));
        let time = |(tile, weight, _): &&(Tile, u64, u32)| {
            self.tiles(tile) * u64::from(tile.rows * tile.columns) * weight
        };
        enough.min_by_key(time).expect("the smallest tile is always enough").0
    }
}

/// The number of steps of a part is a multiple of this, so that each part starts with a whole tile.
pub(super) const PART: u32 = 256;

/// How the steps of products are split: if there are too few products for `cores`, or if the sum is too long.
pub(super) fn parts_of(products: &Products, steps: u32, cores: u32) -> Parts {
    /// Minimum number of steps for which a second dispatch is worth it.
    const LONG: u32 = 1_024;
    /// Maximum number of parts that it adds.
    const MOST: u64 = 8;
    let tiles = products.tiles(&SMALL);
    let parts = if steps >= LONG { (u64::from(cores) / tiles).clamp(1, MOST) } else { 1 };
    let mut run = steps.div_ceil(u32::try_from(parts).expect("parts are few")).next_multiple_of(PART);
    if is_long(u64::from(run / 4), u64::from(run)) {
        run = even_tile(steps, RUN).next_multiple_of(PART);
    }
    Parts { run, count: steps.div_ceil(run) }
}
