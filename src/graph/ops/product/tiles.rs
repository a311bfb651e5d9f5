//! Products on CPU adapters with subgroups of 8: register tiles, one for each way that the matrices can lie.

use super::{Product, Shape};
use crate::gpu::Capabilities;
use crate::graph::ops::split::Parts;
use crate::graph::template::{AnyLaunch, Launch, Template, fold};

/// Rows of the widest tile: a product of 512 runs 5% faster with twice as many, whose kernel takes three times as
/// long to compile.
const TILE: u32 = 32;

/// Rows of a tile: one of a few sizes, so that pipelines are shared.
fn tile_rows(rows: u32) -> u32 {
    rows.next_power_of_two().min(TILE)
}

fn are_quads(mut distances: impl Iterator<Item = u32>) -> bool {
    distances.all(|distance| distance.is_multiple_of(4))
}

/// Whether matrices and rows of the output begin at whole vec4s, wherever a kernel goes.
fn begins_at_quads(product: &Product) -> bool {
    let batch = product.batch.iter().flat_map(|axis| axis.strides);
    let repeats = product.repeats.iter().flat_map(|axis| axis.strides);
    let rows = (product.rows > 1).then_some(product.out_row);
    are_quads(product.offsets.into_iter().chain(batch).chain(repeats).chain([product.out_width]).chain(rows))
}

/// How the inner dimension of [`nt`] and [`nn`] is split, in vec4s.
pub(super) fn quads(product: &Product, _: &Capabilities) -> Parts {
    Parts::of(product.inner.div_ceil(4) * product.added(), 4)
}

/// Rows that a tile finishes and stores at once: each has a text of its own of what is done to the sums.
const FINISHED: u32 = 4;

/// Emits a kernel with tiles of so many rows, one of whose loads brings `rows_per_load`; `steps` are those of one repeat.
fn launch(
    product: &Product,
    (name, source): (&'static str, &'static str),
    [rows, rows_per_load, steps]: [u32; 3],
    shape: Shape,
) -> AnyLaunch {
    let line_tiles = product.rows.div_ceil(rows);
    let batch_tiles = line_tiles * product.columns.div_ceil(32);
    let tiles = batch_tiles * product.batches();
    let groups = fold(tiles);
    let steps_in_all = steps * product.added();
    let shape = Shape { steps: steps_in_all, line_tiles, tiles, grid_width: groups[0], ..shape };
    let mut constants = product.constants([4; 3], batch_tiles, steps);
    constants.extend([
        ("ROWS", rows),
        ("GROUPS", rows.div_ceil(rows_per_load)),
        ("FINISHED", rows.min(FINISHED)),
        ("ACCUMULATE", shape.accumulate),
        ("PADDED", u32::from(!product.columns.is_multiple_of(4))),
    ]);
    let template = Template { name, source, constants, aliases: vec![] };
    AnyLaunch::from(Launch { template, shape, groups }).finishing(4)
}

macro_rules! text {
    ($name:literal) => {
        (
            $name,
            concat!(
                include_str!("../../../../shaders/shared/product.wgsl"),
                include_str!(concat!("../../../../shaders/ops/", $name, ".wgsl"))
            ),
        )
    };
}

/// Whether the inner dimension runs along the rows of both matrices.
pub(super) fn fits_nt(product: &Product) -> bool {
    let Product { left, right, .. } = product;
    (left[1], right[0]) == (1, 1) && are_quads([left[0], right[1]].into_iter()) && begins_at_quads(product)
}

/// `left * transpose(right) + bias`. Bindings: left, right, bias (or right again), output.
pub(super) fn nt(product: &Product, parts: Parts, first_part: u32, accumulate: bool) -> AnyLaunch {
    let shape = product.shape([4; 3], parts, first_part, accumulate);
    launch(product, text!("matmul_nt"), [tile_rows(product.rows), 8, product.inner.div_ceil(4)], shape)
}

/// Whether columns run along the rows of right matrix and output, and nothing is added to the sums.
fn writes_quads(product: &Product) -> bool {
    let Product { right, has_bias, .. } = product;
    !has_bias && right[1] == 1 && right[0].is_multiple_of(4) && begins_at_quads(product)
}

/// Whether the inner dimension runs along the rows of the left matrix, and columns along those of the right one.
pub(super) fn fits_nn(product: &Product) -> bool {
    product.left[1] == 1 && product.left[0].is_multiple_of(4) && writes_quads(product)
}

/// `left * right`. Bindings: left, right, output.
pub(super) fn nn(product: &Product, parts: Parts, first_part: u32, accumulate: bool) -> AnyLaunch {
    let shape = product.shape([4; 3], parts, first_part, accumulate);
    launch(product, text!("matmul_nn"), [tile_rows(product.rows), 8, product.inner.div_ceil(4)], shape)
}

/// Whether rows run along the rows of the stored left matrix, and columns along those of the right one.
pub(super) fn fits_tn(product: &Product) -> bool {
    product.left[0] == 1 && product.left[1].is_multiple_of(4) && writes_quads(product)
}

/// `transpose(left) * right`, of a left matrix that is stored as `[inner, rows]`. Bindings: left, right, output.
pub(super) fn tn(product: &Product, parts: Parts, first_part: u32, accumulate: bool) -> AnyLaunch {
    launch_tn(product, parts, (first_part, accumulate), [0, 0])
}

/// How the inner dimension of [`tn`] is split, in elements.
fn elements(product: &Product) -> Parts {
    Parts::of(product.inner * product.added(), 1)
}

/// Whether [`tn_summing`] is what computes a product, in one part.
pub(super) fn fits_tn_summing(product: &Product) -> bool {
    let first = !fits_nt(product) && !fits_nn(product) && fits_tn(product);
    first && product.batch.is_empty() && elements(product).count == 1
}

/// As [`tn`], of a product in one part, with the sums of the left matrix over the inner dimension, which it writes or
/// adds. Bindings: left, right, output, sums.
pub(super) fn tn_summing(product: &Product, accumulate: bool, add_sums: bool) -> AnyLaunch {
    launch_tn(product, elements(product), (0, accumulate), [1, u32::from(add_sums)])
}

fn launch_tn(
    product: &Product,
    parts: Parts,
    (first_part, accumulate): (u32, bool),
    [sums, add_sums]: [u32; 2],
) -> AnyLaunch {
    // Without a batch the rows are mostly output features, few only in a last layer: it shares the pipeline of others.
    let rows = if product.batch.is_empty() { TILE } else { tile_rows(product.rows).max(4) };
    let shape = product.shape([4; 3], parts, first_part, accumulate);
    let mut launch = launch(product, text!("matmul_tn"), [rows, 32, product.inner], shape);
    launch.template.constants.extend([("SUMS", sums), ("ADD_SUMS", add_sums)]);
    launch
}
