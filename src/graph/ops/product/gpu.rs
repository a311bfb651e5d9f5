//! Products on GPUs: tiles in workgroup memory, of matrices that lie in any way.

use super::lies::{Lies, lies};
use super::{Product, Shape};
use crate::gpu::Capabilities;
use crate::graph::ops::split::Parts;
use crate::graph::ops::tile::{LARGE, MEDIUM, Products, SMALL, Tile};
use crate::graph::template::{AnyLaunch, Launch, Template, fold};

/// Steps of a part are a multiple of this, so that each begins with a whole tile.
const PART: u32 = 256;

/// Parts that a sum is split into for its few workgroups, at most.
const MAX_PARTS: u32 = 8;

/// How the inner dimension is split, in elements: where it is long, and, from `long` steps on, where there are fewer than
/// half as many workgroups as processors.
pub(super) fn split(product: &Product, workgroups: u32, long: u32, offered: &Capabilities) -> Parts {
    let steps = product.inner * product.added();
    let Parts { run, count } = Parts::of(steps, 1);
    let wanted = (offered.cores / workgroups).min(MAX_PARTS);
    let run = match count {
        // Other parts than those of a packed output are added in a third dispatch.
        1 if wanted < 2 || steps < long || product.len_if_packed().is_none() => return Parts { run, count },
        1 => steps.div_ceil(wanted),
        _ => run,
    };
    let run = run.next_multiple_of(PART);
    Parts { run, count: steps.div_ceil(run) }
}

/// How the inner dimension is split for tiles. That follows from the sizes and from the assumed number of processors,
/// never from the tile that is taken, so that all tiles leave the same bits.
pub(super) fn parts(product: &Product, offered: &Capabilities) -> Parts {
    if let Some(parts) = offered.trial.parts {
        let steps = product.inner * product.added();
        let run = steps.div_ceil(parts.max(Parts::of(steps, 1).count)).next_multiple_of(PART);
        return Parts { run, count: steps.div_ceil(run) };
    }
    let tiles = u32::try_from(tiles(product, &MEDIUM)).unwrap_or(u32::MAX);
    split(product, tiles, 1_024, offered)
}

/// Tiles of this size that the output has.
fn tiles(product: &Product, tile: &Tile) -> u64 {
    products(product).tiles(tile)
}

/// The products of a batch.
pub(super) fn products(product: &Product) -> Products {
    Products { count: product.batches(), rows: product.rows, columns: product.columns }
}

/// Whether a tile is worth its barriers: smaller matrices are as many invocations of the plain kernel.
fn fits(product: &Product) -> bool {
    let [short, long] = [product.rows.min(product.columns), product.rows.max(product.columns)];
    short > 4 && long > 16 && product.inner >= 4
}

/// Whether there are so many workgroups of a tile for each processor.
fn fills(product: &Product, tile: &Tile, each: u32, offered: &Capabilities) -> bool {
    let parts = u64::from(parts(product, offered).count);
    fits(product) && tiles(product, tile) * parts >= u64::from(each * offered.cores)
}

/// Whether the tile of 128 by 128 is one to take: there are two for each processor.
pub(super) fn fits_large(product: &Product, offered: &Capabilities) -> bool {
    product.rows.min(product.columns) >= LARGE.rows && fills(product, &LARGE, 2, offered)
}

/// Whether a tile for few columns, or for few rows, is one to take: there are two for each processor.
pub(super) fn fits_long(product: &Product, tile: &Tile, offered: &Capabilities) -> bool {
    let edges = [(product.rows, tile.rows), (product.columns, tile.columns)];
    let fit = edges.iter().all(|(len, edge)| if *edge == SMALL.rows { len <= edge } else { len >= edge });
    fit && fills(product, tile, 2, offered)
}

/// Whether the tile of 64 by 64 is one to take: there is one for each processor.
pub(super) fn fits_medium(product: &Product, offered: &Capabilities) -> bool {
    product.rows.min(product.columns) >= MEDIUM.rows && fills(product, &MEDIUM, 1, offered)
}

/// Whether the tile of 32 by 32 is one to take.
pub(super) fn fits_small(product: &Product, _: &Capabilities) -> bool {
    fits(product)
}

macro_rules! text {
    ($left:literal, $left_lies:literal, $right:literal, $right_lies:literal, $out:literal) => {
        concat!(
            include_str!("../../../../shaders/shared/product.wgsl"),
            include_str!("../../../../shaders/shared/product_work.wgsl"),
            include_str!(concat!("../../../../shaders/shared/product_left_", $left_lies, ".wgsl")),
            include_str!(concat!("../../../../shaders/shared/product_right_", $right_lies, ".wgsl")),
            include_str!(concat!("../../../../shaders/shared/product_out_", $out, ".wgsl")),
            include_str!(concat!("../../../../shaders/shared/tile_left_", $left, ".wgsl")),
            include_str!(concat!("../../../../shaders/shared/tile_right_", $right, ".wgsl")),
            include_str!("../../../../shaders/shared/tile.wgsl"),
            include_str!("../../../../shaders/ops/matmul_tile.wgsl"),
        )
    };
}

/// The text for factors and an output that lie so.
fn text([left, right, out]: [Lies; 3]) -> &'static str {
    macro_rules! for_right {
        ($left:literal, $left_lies:literal, $out:literal) => {
            match right {
                Lies::Quads => text!($left, $left_lies, "quads", "quads", $out),
                Lies::Blocks => text!($left, $left_lies, "blocks", "blocks", $out),
                Lies::Gathered | Lies::Elements => text!($left, $left_lies, "quads", "elements", $out),
            }
        };
    }
    macro_rules! for_left {
        ($out:literal) => {
            match left {
                Lies::Quads => for_right!("quads", "quads", $out),
                Lies::Blocks => for_right!("blocks", "blocks", $out),
                Lies::Gathered | Lies::Elements => for_right!("quads", "elements", $out),
            }
        };
    }
    match out {
        Lies::Quads => for_left!("quads"),
        Lies::Blocks | Lies::Gathered | Lies::Elements => for_left!("elements"),
    }
}

/// Products in tiles. Bindings: left, right, bias (or right again), output.
pub(super) fn launch(
    product: &Product,
    tile: &Tile,
    parts: Parts,
    first_part: u32,
    accumulate: bool,
) -> AnyLaunch {
    let lies = lies(product);
    let line_tiles = product.rows.div_ceil(tile.rows);
    let batch_tiles = line_tiles * product.out_width.div_ceil(tile.columns);
    let tiles = batch_tiles * product.batches();
    let groups = fold(tiles);
    let steps = product.inner * product.added();
    let units = lies.map(Lies::unit);
    let shape = product.shape(units, parts, first_part, accumulate);
    let shape = Shape { steps, line_tiles, tiles, grid_width: groups[0], ..shape };
    let edges_even = product.rows.is_multiple_of(tile.rows)
        && product.columns.is_multiple_of(tile.columns)
        && product.out_width == product.columns;
    let steps_even = [steps, parts.run].iter().all(|steps| steps.is_multiple_of(tile.steps));
    let mut constants = product.constants(units, batch_tiles, product.inner);
    constants.extend(tile.constants([lies[0].staging(), lies[1].staging()], steps_even));
    constants.push(("EDGES_EVEN", u32::from(edges_even)));
    let template = Template { name: "matmul_tile", source: text(lies), constants, aliases: vec![] };
    AnyLaunch::from(Launch { template, shape, groups }).finishing(4).unchecked()
}
