//! Products on GPUs: tiles in workgroup memory, of matrices that lie in any way.

use super::{Product, Shape};
use crate::gpu::Capabilities;
use crate::graph::ops::split::Parts;
use crate::graph::ops::tile::{LARGE, MEDIUM, SMALL, Staging, Tile};
use crate::graph::template::{AnyLaunch, Launch, Template, fold};

/// How the inner dimension is split, in elements.
pub(super) fn parts(product: &Product, _: &Capabilities) -> Parts {
    let Parts { run, count } = Parts::of(product.inner * product.added(), 1);
    if count == 1 {
        return Parts { run, count };
    }
    let run = run.next_multiple_of(PART);
    Parts { run, count: (product.inner * product.added()).div_ceil(run) }
}

/// Steps of a part are a multiple of this, so that each begins with a whole tile.
const PART: u32 = 256;

/// How a factor lies, or the output: which of the texts reads or writes it, and in what it counts distances.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Lies {
    /// Quads along the edge of the tile, which are vec4s in memory.
    Quads,
    /// Quads along the inner dimension, which are vec4s in memory.
    Blocks,
    /// In any other way; neighbours in memory are neighbours along the inner dimension.
    Gathered,
    /// In any other way.
    Elements,
}

impl Lies {
    /// Elements of what distances are counted in.
    fn unit(self) -> u32 {
        match self {
            Self::Quads | Self::Blocks => 4,
            Self::Gathered | Self::Elements => 1,
        }
    }

    fn staging(self) -> Staging {
        match self {
            Self::Quads | Self::Elements => Staging::Quads,
            Self::Blocks => Staging::Blocks,
            Self::Gathered => Staging::Gathered,
        }
    }

    /// How a factor lies whose distances along the edge of the tile and along the inner dimension are these; `others` are
    /// those from matrix to matrix and from the start of the buffer.
    fn of(product: &Product, [edge, inner]: [u32; 2], others: impl Iterator<Item = u32>) -> Self {
        let are_quads = others.into_iter().all(|distance| distance.is_multiple_of(4));
        let steps_are_quads = product.repeats.is_empty() || product.inner.is_multiple_of(4);
        match (edge, inner) {
            (1, inner) if inner.is_multiple_of(4) && are_quads => Self::Quads,
            (edge, 1) if edge.is_multiple_of(4) && are_quads && steps_are_quads => Self::Blocks,
            (edge, inner) if inner < edge => Self::Gathered,
            _ => Self::Elements,
        }
    }
}

/// How left matrix, right matrix and output lie.
fn lies(product: &Product) -> [Lies; 3] {
    let others = |which: usize| {
        let batch = product.batch.iter().map(move |axis| axis.strides[which]);
        let repeats = product.repeats.iter().filter_map(move |axis| axis.strides.get(which).copied());
        batch.chain(repeats).chain([product.offsets[which]])
    };
    let rows_are_quads = product.rows == 1 || product.out_row.is_multiple_of(4);
    let output_is = rows_are_quads && product.out_width.is_multiple_of(4);
    [
        Lies::of(product, product.left, others(0)),
        Lies::of(product, [product.right[1], product.right[0]], others(1)),
        if output_is && others(2).all(|distance| distance.is_multiple_of(4)) {
            Lies::Quads
        } else {
            Lies::Elements
        },
    ]
}

/// Tiles of this size that the output has.
fn tiles(product: &Product, tile: &Tile) -> u64 {
    let edges = [(product.rows, tile.rows), (product.columns, tile.columns)];
    let tiles: u64 = edges.map(|(len, edge)| u64::from(len.div_ceil(edge))).iter().product();
    tiles * u64::from(product.batches())
}

/// Whether a tile is worth its barriers: smaller matrices are as many invocations of the plain kernel.
fn fits(product: &Product) -> bool {
    let [short, long] = [product.rows.min(product.columns), product.rows.max(product.columns)];
    short > 4 && long > 16 && product.inner >= 8
}

/// Whether the tile of 128 by 128 is one to take: there are two for each processor.
pub(super) fn fits_large(product: &Product, offered: &Capabilities) -> bool {
    let short = product.rows.min(product.columns);
    fits(product) && short >= LARGE.rows && tiles(product, &LARGE) >= 2 * u64::from(offered.cores)
}

/// Whether a tile for few columns, or for few rows, is one to take: there are two for each processor.
pub(super) fn fits_long(product: &Product, tile: &Tile, offered: &Capabilities) -> bool {
    let edges = [(product.rows, tile.rows), (product.columns, tile.columns)];
    let fills = edges.iter().all(|(len, edge)| if *edge == SMALL.rows { len <= edge } else { len >= edge });
    fits(product) && fills && tiles(product, tile) >= 2 * u64::from(offered.cores)
}

/// Whether the tile of 64 by 64 is one to take: there is one for each processor.
pub(super) fn fits_medium(product: &Product, offered: &Capabilities) -> bool {
    let short = product.rows.min(product.columns);
    fits(product) && short >= MEDIUM.rows && tiles(product, &MEDIUM) >= u64::from(offered.cores)
}

/// Whether the tile of 32 by 32 is one to take.
pub(super) fn fits_small(product: &Product, _: &Capabilities) -> bool {
    fits(product)
}

macro_rules! text {
    ($left:literal, $left_lies:literal, $right:literal, $right_lies:literal, $out:literal) => {
        concat!(
            include_str!("../../../../shaders/shared/product.wgsl"),
            include_str!(concat!("../../../../shaders/shared/product_left_", $left_lies, ".wgsl")),
            include_str!(concat!("../../../../shaders/shared/product_right_", $right_lies, ".wgsl")),
            include_str!(concat!("../../../../shaders/shared/tile_left_", $left, ".wgsl")),
            include_str!(concat!("../../../../shaders/shared/tile_right_", $right, ".wgsl")),
            include_str!("../../../../shaders/shared/tile.wgsl"),
            include_str!(concat!("../../../../shaders/shared/product_out_", $out, ".wgsl")),
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
    AnyLaunch::from(Launch { template, shape, groups }).finishing(4)
}
