//! Products on GPUs: tiles in workgroup memory, for matrices of any layout.

use super::lies::{Lies, lies};
use super::{Product, Shape};
use crate::gpu::Capabilities;
use crate::graph::ops::split::Parts;
use crate::graph::ops::tile::{LARGE, MEDIUM, Products, SMALL, Tile};
use crate::graph::template::{AnyLaunch, Launch, Template, fold};

/// The number of steps of a part is a multiple of this, so that each part starts with a whole tile.
const PART: u32 = 256;

/// Maximum number of parts of a sum that is split because there are few workgroups.
const MAX_PARTS: u32 = 8;

/// How the inner dimension is split, in elements: if it is long; or, from `long` steps on, if there are fewer than
/// half as many workgroups as compute units.
pub(super) fn split(product: &Product, workgroups: u32, long: u32, offered: &Capabilities) -> Parts {
    let steps = product.inner * product.added();
    let Parts { run, count } = Parts::of(steps, 1);
    let wanted = (offered.cores / workgroups).min(MAX_PARTS);
    let run = match count {
        // Unless the output is packed, adding the parts would take a third dispatch.
        1 if wanted < 2 || steps < long || product.len_if_packed().is_none() => return Parts { run, count },
        1 => steps.div_ceil(wanted),
        _ => run,
    };
    let run = run.next_multiple_of(PART);
    Parts { run, count: steps.div_ceil(run) }
}

/// How the inner dimension is split for tiles. Depends only on the sizes and the assumed number of compute units, not
/// on the tile, so that all tiles give the same bits.
pub(super) fn parts(product: &Product, offered: &Capabilities) -> Parts {
    if let Some(parts) = offered.trial.parts {
        let steps = product.inner * product.added();
        let run = steps.div_ceil(parts.max(Parts::of(steps, 1).count)).next_multiple_of(PART);
        return Parts { run, count: steps.div_ceil(run) };
    }
    let tiles = u32::try_from(tiles(product, &MEDIUM)).unwrap_or(u32::MAX);
    split(product, tiles, 1_024, offered)
}

/// Number of tiles of this size in the output.
fn tiles(product: &Product, tile: &Tile) -> u64 {
    products(product).tiles(tile)
}

/// The products of a batch.
pub(super) fn products(product: &Product) -> Products {
    Products { count: product.batches(), rows: product.rows, columns: product.columns }
}

/// Whether tiles are worth their barriers. Smaller matrices use the plain kernel.
fn fits(product: &Product) -> bool {
    let [short, long] = [product.rows.min(product.columns), product.rows.max(product.columns)];
    short > 4 && long > 16 && product.inner >= 4
}

/// Whether there are at least `each` workgroups of a tile per compute unit.
fn fills(product: &Product, tile: &Tile, each: u32, offered: &Capabilities) -> bool {
    let parts = u64::from(parts(product, offered).count);
    fits(product) && tiles(product, tile) * parts >= u64::from(each * offered.cores)
}

/// Whether to use the 128 by 128 tile: if there are two per compute unit.
pub(super) fn fits_large(product: &Product, offered: &Capabilities) -> bool {
    product.rows.min(product.columns) >= LARGE.rows && fills(product, &LARGE, 2, offered)
}

/// Whether to use a tile for few columns or few rows: if there are two per compute unit.
pub(super) fn fits_long(product: &Product, tile: &Tile, offered: &Capabilities) -> bool {
    let edges = [(product.rows, tile.rows), (product.columns, tile.columns)];
    let fit = edges.iter().all(|(len, edge)| if *edge == SMALL.rows { len <= edge } else { len >= edge });
    fit && fills(product, tile, 2, offered)
}

/// Whether to use the 64 by 64 tile: if there is one per compute unit.
pub(super) fn fits_medium(product: &Product, offered: &Capabilities) -> bool {
    product.rows.min(product.columns) >= MEDIUM.rows && fills(product, &MEDIUM, 1, offered)
}

/// Whether to use the 32 by 32 tile.
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

/// The WGSL for factors and output of these layouts.
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
