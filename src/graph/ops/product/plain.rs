//! Products on any device, for matrices of any layout.

use super::{Product, Shape};
use crate::gpu::Capabilities;
use crate::graph::ops::split::Parts;
use crate::graph::template::{AnyLaunch, Launch, Template, fold};

/// How the inner dimension is split, in elements.
pub(super) fn elements(product: &Product, _: &Capabilities) -> Parts {
    Parts::of(product.inner * product.added(), 1)
}

/// Products of strided matrices. Bindings: left, right, bias (or right again), output.
pub(super) fn launch(product: &Product, parts: Parts, first_part: u32, accumulate: bool) -> AnyLaunch {
    let line_tiles = product.out_width.div_ceil(4);
    let batch_tiles = line_tiles * product.rows.div_ceil(4);
    let tiles = batch_tiles * product.batches();
    let groups = fold(tiles.div_ceil(64));
    let shape = product.shape([1; 3], parts, first_part, accumulate);
    let steps = product.inner * product.added();
    let shape = Shape { steps, line_tiles, tiles, grid_width: groups[0], ..shape };
    let template = Template {
        name: "matmul_plain",
        source: concat!(
            include_str!("../../../../shaders/shared/product.wgsl"),
            include_str!("../../../../shaders/ops/matmul_plain.wgsl")
        ),
        constants: product.constants([1; 3], batch_tiles, product.inner),
        aliases: vec![],
    };
    AnyLaunch::from(Launch { template, shape, groups }).finishing(4)
}
