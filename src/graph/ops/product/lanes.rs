//! Products with few rows or few columns on GPUs: the lanes of a workgroup share the inner dimension.

use super::lies::{Lies, lies};
use super::{Product, Shape, gpu};
use crate::gpu::Capabilities;
use crate::graph::ops::split::Parts;
use crate::graph::template::{AnyLaunch, Launch, Template, fold};

/// Invocations in a workgroup.
const LANES: u32 = 256;

/// Lanes along a factor whose neighbours in memory are neighbours along its edge: 128 bytes.
const EDGE_LANES: u32 = 8;

/// Whether the output is so narrow, or so small, that lanes should share the inner dimension. The order of summation
/// differs from that of tiles, so this depends on the sizes alone.
pub(super) fn fits(product: &Product, _: &Capabilities) -> bool {
    let narrow = product.rows.min(product.columns) <= 4;
    let small = product.rows * product.columns <= 128;
    let steps = product.inner * product.added();
    (narrow && steps >= 32) || (small && steps >= 1_024)
}

/// How lanes are distributed: along rows, along columns and along the steps; how many steps a lane takes at once; and
/// whether adjacent lanes have adjacent steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Lanes {
    rows: u32,
    columns: u32,
    steps: u32,
    width: u32,
    steps_first: bool,
}

impl Lanes {
    fn of(product: &Product, [left, right, _]: [Lies; 3]) -> Self {
        let quads = [product.rows, product.out_width].map(|len| len.div_ceil(4).next_power_of_two());
        let (by_row, longer) = (quads[0] > quads[1], quads[0].max(quads[1]));
        let width = if (left, right) == (Lies::Blocks, Lies::Blocks) { 4 } else { 1 };
        let steps = product.inner * product.added();
        // The larger factor decides.
        let along_steps = matches!(if by_row { left } else { right }, Lies::Blocks | Lies::Gathered);
        let most = if along_steps {
            let shares = (steps / width + 1).next_power_of_two() / 2;
            LANES / shares.clamp(8, LANES)
        } else {
            EDGE_LANES
        };
        let edge = most.min(longer);
        let [rows, columns] = if by_row { [edge, 1] } else { [1, edge] };
        Self { rows, columns, steps: LANES / edge, width, steps_first: along_steps }
    }
}

/// Number of workgroups for an output, and how many of them are along a column.
fn workgroups(product: &Product, lanes: &Lanes) -> [u32; 2] {
    let line = product.rows.div_ceil(4 * lanes.rows);
    [line * product.out_width.div_ceil(4 * lanes.columns), line]
}

/// How the inner dimension is split, in elements.
pub(super) fn parts(product: &Product, offered: &Capabilities) -> Parts {
    let [of_matrix, _] = workgroups(product, &Lanes::of(product, lies(product)));
    gpu::split(product, of_matrix * product.batches(), 4_096, offered)
}

macro_rules! text {
    ($steps:literal, $left:literal, $right:literal, $out:literal) => {
        concat!(
            include_str!("../../../../shaders/shared/product.wgsl"),
            include_str!("../../../../shaders/shared/product_work.wgsl"),
            include_str!(concat!("../../../../shaders/shared/product_left_", $left, ".wgsl")),
            include_str!(concat!("../../../../shaders/shared/product_right_", $right, ".wgsl")),
            include_str!(concat!("../../../../shaders/shared/product_out_", $out, ".wgsl")),
            include_str!(concat!("../../../../shaders/shared/lanes_", $steps, ".wgsl")),
            include_str!("../../../../shaders/ops/matmul_lanes.wgsl"),
        )
    };
}

/// The WGSL for factors and output of these layouts.
fn text([left, right, out]: [Lies; 3]) -> &'static str {
    macro_rules! for_out {
        ($steps:literal, $left:literal, $right:literal) => {
            match out {
                Lies::Quads => text!($steps, $left, $right, "quads"),
                Lies::Blocks | Lies::Gathered | Lies::Elements => text!($steps, $left, $right, "elements"),
            }
        };
    }
    match (left, right) {
        (Lies::Blocks, Lies::Blocks) => for_out!("blocks", "blocks", "blocks"),
        (Lies::Quads, Lies::Quads) => for_out!("quads", "quads", "quads"),
        (Lies::Quads, _) => for_out!("quads", "quads", "elements"),
        (_, Lies::Quads) => for_out!("quads", "elements", "quads"),
        _ => for_out!("quads", "elements", "elements"),
    }
}

/// The units of the factors' distances, in elements. Blocks are read as elements unless both factors are blocks.
fn units(lies: [Lies; 3]) -> [u32; 3] {
    let [left, right, out] = lies;
    match (left, right) {
        (Lies::Blocks, Lies::Blocks) => [4, 4, out.unit()],
        _ => [left, right, out].map(|lies| if lies == Lies::Quads { 4 } else { 1 }),
    }
}

/// Products whose inner dimension is shared by lanes. Bindings: left, right, bias (or right again), output.
pub(super) fn launch(product: &Product, parts: Parts, first_part: u32, accumulate: bool) -> AnyLaunch {
    let lies = lies(product);
    let lanes = Lanes::of(product, lies);
    let [batch_tiles, line_tiles] = workgroups(product, &lanes);
    let tiles = batch_tiles * product.batches();
    let groups = fold(tiles);
    let steps = product.inner * product.added();
    let shape = product.shape(units(lies), parts, first_part, accumulate);
    let shape = Shape { steps, line_tiles, tiles, grid_width: groups[0], ..shape };
    let mut constants = product.constants(units(lies), batch_tiles, product.inner);
    constants.extend([
        ("LANES", LANES),
        ("TILE_ROWS", 4 * lanes.rows),
        ("TILE_COLUMNS", 4 * lanes.columns),
        ("ROW_LANES", lanes.rows),
        ("COLUMN_LANES", lanes.columns),
        ("STEP_LANES", lanes.steps),
        ("LEVELS", lanes.steps.ilog2()),
        ("WIDTH", lanes.width),
        ("STEPS_FIRST", u32::from(lanes.steps_first)),
        ("EDGES_EVEN", 0),
    ]);
    let template = Template { name: "matmul_lanes", source: text(lies), constants, aliases: vec![] };
    AnyLaunch::from(Launch { template, shape, groups }).finishing(4).unchecked()
}
