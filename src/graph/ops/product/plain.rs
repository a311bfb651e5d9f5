//! Products anywhere, of matrices that lie in any way.

use super::Product;
use crate::gpu::uniform;
use crate::graph::ops::split::Parts;
use crate::graph::shape::pitch;
use crate::graph::template::{AnyLaunch, Launch, Template, fold};

uniform! {
    struct Shape {
        rows: u32,
        columns: u32,
        inner: u32,
        left_row: u32,
        left_column: u32,
        right_row: u32,
        right_column: u32,
        out_pitch: u32,
        column_tiles: u32,
        tiles: u32,
        grid_width: u32,
        has_bias: u32,
        accumulate: u32,
        run: u32,
        first_part: u32,
        part_len: u32,
    }
}

/// How the inner dimension is split, in elements.
pub(super) fn elements(product: &Product) -> Parts {
    Parts::of(product.inner, 1)
}

/// A product of strided matrices. Bindings: left, right, bias (or right again), output.
pub(super) fn launch(product: &Product, first_part: u32, accumulate: bool) -> AnyLaunch {
    let column_tiles = product.out_row.div_ceil(4);
    let tiles = column_tiles * product.rows.div_ceil(4);
    let groups = fold(tiles.div_ceil(64));
    let shape = Shape {
        rows: product.rows,
        columns: product.columns,
        inner: product.inner,
        left_row: product.left[0],
        left_column: product.left[1],
        right_row: product.right[0],
        right_column: product.right[1],
        out_pitch: product.out_row,
        column_tiles,
        tiles,
        grid_width: groups[0],
        has_bias: u32::from(product.has_bias),
        accumulate: u32::from(accumulate),
        run: elements(product).run,
        first_part,
        part_len: pitch(product.rows * product.out_row),
    };
    let template = Template {
        name: "matmul_plain",
        source: include_str!("../../../../shaders/ops/matmul_plain.wgsl"),
        constants: vec![],
        aliases: vec![],
    };
    AnyLaunch::from(Launch { template, shape, groups }).finishing(4)
}
