//! The products that a convolution is, their tiles and their parts.

use crate::gpu::Capabilities;
use crate::graph::ops::split::{Parts, RUN, even_tile, is_long};
use crate::graph::ops::tile::{LARGE, MEDIUM, Products, SMALL, TALL, Tile};

impl Products {
    /// The tile that takes the least time, of those that keep the processors of a device busy; another if that is measured.
    ///
    /// Time is that of all products, those outside of the output included, each weighed by what has to be loaded for it.
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

/// Steps of a part are a multiple of this, so that each begins with a whole tile.
pub(super) const PART: u32 = 256;

/// How the steps of products are split: where these are too few for `cores`, or the sum is too long.
pub(super) fn parts_of(products: &Products, steps: u32, cores: u32) -> Parts {
    /// Steps from which on a second dispatch is worth it.
    const LONG: u32 = 1_024;
    /// Parts that it adds at most.
    const MOST: u64 = 8;
    let tiles = products.tiles(&SMALL);
    let parts = if steps >= LONG { (u64::from(cores) / tiles).clamp(1, MOST) } else { 1 };
    let mut run = steps.div_ceil(u32::try_from(parts).expect("parts are few")).next_multiple_of(PART);
    if is_long(u64::from(run / 4), u64::from(run)) {
        run = even_tile(steps, RUN).next_multiple_of(PART);
    }
    Parts { run, count: steps.div_ceil(run) }
}
