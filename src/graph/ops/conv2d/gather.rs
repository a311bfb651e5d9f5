//! Convolutions on CPU adapters with subgroups at any stride and dilation and in groups: products whose pixels are
//! gathered, in the register tiles of products.

use super::geometry::{Geometry, flag};
use super::gpu::{Job, weight_grad_grid};
use super::weight_grad::Partials;
use crate::gpu::Capabilities;
use crate::graph::ops::split::{Parts, RUN, even_tile, is_long};
use crate::graph::ops::tile::Products;
use crate::graph::shape::pitch;
use crate::graph::template::{AnyLaunch, Launch, Template};

/// Rows and columns of a tile in subgroups of so many lanes.
const fn tile(lanes: u32) -> [u32; 2] {
    [4 * lanes; 2]
}

/// The tile for which parts of sums are cut at any width of subgroups, so that the bits of a result do not depend on it.
const TILE: [u32; 2] = tile(8);

/// How a sum of so many steps is split, in vec4s.
fn quads(job: &Job) -> Parts {
    Parts::of(job.steps / 4, 4)
}

/// Parts of the sum of a forward pass.
pub(super) fn parts(geometry: &Geometry) -> u32 {
    quads(&Job::forward(geometry)).count
}

/// Parts of the sum of an input gradient.
pub(super) fn input_grad_parts(geometry: &Geometry) -> u32 {
    quads(&Job::input_grad(geometry)).count
}

/// Forward pass. Bindings: input, weight as for GPUs, output.
pub(super) fn forward(
    geometry: &Geometry,
    offered: &Capabilities,
    first_part: u32,
    accumulate: bool,
) -> AnyLaunch {
    launch(&Job::forward(geometry), offered.lanes(), first_part, accumulate)
}

/// Input gradient. Bindings: output's gradient, weight as for GPUs, input's gradient.
pub(super) fn input_grad(
    geometry: &Geometry,
    offered: &Capabilities,
    first_part: u32,
    accumulate: bool,
) -> AnyLaunch {
    launch(&Job::input_grad(geometry), offered.lanes(), first_part, accumulate)
}

fn launch(job: &Job, lanes: u32, first_part: u32, accumulate: bool) -> AnyLaunch {
    let (shape, groups) = job.grid(tile(lanes), (quads(job).run, first_part), accumulate);
    let template = Template {
        name: "conv2d_gather",
        source: concat!(
            include_str!("../../../../shaders/shared/phases.wgsl"),
            include_str!("../../../../shaders/shared/conv2d_work.wgsl"),
            include_str!("../../../../shaders/ops/conv2d_gather.wgsl"),
        ),
        constants: vec![
            ("LANES", lanes),
            ("ROWS", tile(lanes)[0]),
            ("PHASED", flag(job.is_phased)),
            ("ACCUMULATE", flag(accumulate)),
        ],
        aliases: vec![],
    };
    AnyLaunch::from(Launch { template, shape, groups }).finishing(4)
}

/// Partial sums of the weight gradient, from a part on. Bindings: input, output's gradient, partial sums.
pub(super) fn weight_grad(
    geometry: &Geometry,
    offered: &Capabilities,
    first_part: u32,
) -> (AnyLaunch, Partials) {
    /// Tiles that a dispatch should have, and parts that it has at most.
    const TILES: u32 = 48;
    const MOST: u32 = 64;
    let lanes = offered.lanes();
    let [inputs, outputs] = geometry.group().map(pitch);
    let rows = geometry.taps() * inputs;
    // A row more is that of the bias.
    let tiles = geometry.groups * (rows + 1).div_ceil(TILE[0]) * outputs.div_ceil(TILE[1]);
    let wanted = TILES.div_ceil(tiles).min(MOST);
    let pixels = geometry.images * geometry.output[0] * geometry.output[1];
    let mut run = pixels.div_ceil(wanted).next_multiple_of(4);
    if is_long(u64::from(run / 4), u64::from(run)) {
        run = even_tile(pixels, RUN).next_multiple_of(4);
    }
    let partials = Partials::of_runs(pixels, run, [rows, inputs, pitch(geometry.out_channels)], wanted);
    let count = geometry.groups * partials.from(first_part);
    let products = Products { count, rows: rows + 1, columns: outputs };
    let (shape, groups) = weight_grad_grid(geometry, &products, tile(lanes), (run, first_part));
    let template = Template {
        name: "conv2d_weight_grad_gather",
        source: concat!(
            include_str!("../../../../shaders/shared/conv2d_weight_grad.wgsl"),
            include_str!("../../../../shaders/ops/conv2d_weight_grad_gather.wgsl"),
        ),
        constants: vec![("LANES", lanes), ("ROWS", tile(lanes)[0])],
        aliases: vec![],
    };
    (AnyLaunch::from(Launch { template, shape, groups }), partials)
}
