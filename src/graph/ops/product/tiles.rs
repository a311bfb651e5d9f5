//! Products on CPU adapters with subgroups of 8: register tiles, one for each way that the matrices can lie.

use super::Product;
use crate::gpu::uniform;
use crate::graph::ops::split::Parts;
use crate::graph::template::{AnyLaunch, Launch, Template, fold};

/// Rows of the widest tile: a product of 512 runs 5% faster with twice as many, whose kernel takes three times as
/// long to compile.
const TILE: u32 = 32;

/// Rows of a tile: one of a few sizes, so that pipelines are shared.
fn tile_rows(rows: u32) -> u32 {
    rows.next_power_of_two().min(TILE)
}

fn are_quads(distances: [u32; 2]) -> bool {
    distances.iter().all(|distance| distance.is_multiple_of(4))
}

/// How the inner dimension of [`nt`] and [`nn`] is split, in vec4s.
pub(super) fn quads(product: &Product) -> Parts {
    Parts::of(product.inner.div_ceil(4), 4)
}

/// Rows, columns and inner length of a product, spread over tiles.
struct Tiling {
    rows: u32,
    row_tiles: u32,
    tiles: u32,
    groups: [u32; 2],
}

impl Tiling {
    fn new(tile: u32, product: &Product) -> Self {
        let row_tiles = product.rows.div_ceil(tile);
        let tiles = row_tiles * product.columns.div_ceil(32);
        Self { rows: tile, row_tiles, tiles, groups: fold(tiles) }
    }

    fn template(&self, name: &'static str, source: &'static str, rows_per_load: u32) -> Template {
        let constants = vec![("ROWS", self.rows), ("GROUPS", self.rows.div_ceil(rows_per_load))];
        Template { name, source, constants, aliases: vec![] }
    }
}

uniform! {
    struct NtShape {
        rows: u32,
        columns: u32,
        inner: u32,
        left_vectors: u32,
        right_vectors: u32,
        out_vectors: u32,
        row_tiles: u32,
        tiles: u32,
        grid_width: u32,
        run: u32,
        first_part: u32,
        part_len: u32,
        has_bias: u32,
    }
}

uniform! {
    struct ProductShape {
        rows: u32,
        columns: u32,
        inner: u32,
        left_vectors: u32,
        right_vectors: u32,
        out_vectors: u32,
        row_tiles: u32,
        tiles: u32,
        grid_width: u32,
        run: u32,
        first_part: u32,
        part_len: u32,
    }
}

/// Whether the inner dimension runs along the rows of both matrices, in whole vec4s.
pub(super) fn fits_nt(product: &Product) -> bool {
    let Product { inner, left, right, .. } = *product;
    (left[1], right[0]) == (1, 1) && inner.is_multiple_of(4) && are_quads([left[0], right[1]])
}

/// `left * transpose(right) + bias`. Bindings: left, right, bias (or right again), output.
pub(super) fn nt(product: &Product, first_part: u32, _: bool) -> AnyLaunch {
    let tiling = Tiling::new(tile_rows(product.rows), product);
    let shape = NtShape {
        rows: product.rows,
        columns: product.columns,
        inner: product.inner,
        left_vectors: product.left[0] / 4,
        right_vectors: product.right[1] / 4,
        out_vectors: product.out_row / 4,
        row_tiles: tiling.row_tiles,
        tiles: tiling.tiles,
        grid_width: tiling.groups[0],
        run: quads(product).run,
        first_part,
        part_len: product.rows * product.out_row / 4,
        has_bias: u32::from(product.has_bias),
    };
    let template = tiling.template("matmul_nt", include_str!("../../../../shaders/ops/matmul_nt.wgsl"), 8);
    AnyLaunch::from(Launch { template, shape, groups: tiling.groups }).finishing(4)
}

/// Whether columns run along the rows of right matrix and output, in whole vec4s, and nothing is done to the sums.
fn writes_quads(product: &Product) -> bool {
    let Product { columns, right, out_row, has_bias, .. } = *product;
    !has_bias && right[1] == 1 && columns.is_multiple_of(4) && are_quads([right[0], out_row])
}

/// The two kernels that end with what they add to.
fn without_bias(
    product: &Product,
    tiling: &Tiling,
    mut template: Template,
    (left_row, run): (u32, u32),
    (first_part, accumulate): (u32, bool),
) -> AnyLaunch {
    let shape = ProductShape {
        rows: product.rows,
        columns: product.columns,
        inner: product.inner,
        left_vectors: left_row / 4,
        right_vectors: product.right[0] / 4,
        out_vectors: product.out_row / 4,
        row_tiles: tiling.row_tiles,
        tiles: tiling.tiles,
        grid_width: tiling.groups[0],
        run,
        first_part,
        part_len: product.rows * product.out_row / 4,
    };
    template.constants.push(("ACCUMULATE", u32::from(accumulate)));
    Launch { template, shape, groups: tiling.groups }.into()
}

/// Whether the inner dimension runs along the rows of the left matrix, and columns along those of the right one.
pub(super) fn fits_nn(product: &Product) -> bool {
    product.left[1] == 1 && product.left[0].is_multiple_of(4) && writes_quads(product)
}

/// `left * right`. Bindings: left, right, output.
pub(super) fn nn(product: &Product, first_part: u32, accumulate: bool) -> AnyLaunch {
    let tiling = Tiling::new(tile_rows(product.rows), product);
    let template = tiling.template("matmul_nn", include_str!("../../../../shaders/ops/matmul_nn.wgsl"), 8);
    let run = quads(product).run;
    without_bias(product, &tiling, template, (product.left[0], run), (first_part, accumulate))
}

/// Whether rows run along the rows of the stored left matrix, and columns along those of the right one.
pub(super) fn fits_tn(product: &Product) -> bool {
    product.left[0] == 1 && product.left[1].is_multiple_of(4) && writes_quads(product)
}

/// `transpose(left) * right`, of a left matrix that is stored as `[inner, rows]`. Bindings: left, right, output.
pub(super) fn tn(product: &Product, first_part: u32, accumulate: bool) -> AnyLaunch {
    // The rows are the output features, which are few only in a last layer: it shares the pipeline of the others.
    let tiling = Tiling::new(TILE, product);
    let template = tiling.template("matmul_tn", include_str!("../../../../shaders/ops/matmul_tn.wgsl"), 32);
    let run = super::plain::elements(product).run;
    without_bias(product, &tiling, template, (product.left[1], run), (first_part, accumulate))
}
