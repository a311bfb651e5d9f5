use super::super::geometry::{Geometry, Window};
use super::super::weight_grad::Partials;
use super::products::PART;
use crate::gpu::{Capabilities, uniform};
use crate::graph::ops::split::{RUN, even_tile, is_long};
use crate::graph::ops::tile::{MEDIUM, Products, Staging, Tile};
use crate::graph::shape::pitch;
use crate::graph::template::{AnyLaunch, Launch, Template, fold};

uniform! {
    pub(in super::super) struct Shape {
        height: u32,
        width: u32,
        channel_vectors: u32,
        group_vectors: u32,
        group_out_vectors: u32,
        out_height: u32,
        out_width: u32,
        out_vectors: u32,
        kernel_height: u32,
        kernel_width: u32,
        stride_y: u32,
        stride_x: u32,
        pad_y: u32,
        pad_x: u32,
        dilation_y: u32,
        dilation_x: u32,
        pixels: u32,
        run: u32,
        first_part: u32,
        column_tiles: u32,
        row_tiles: u32,
        groups: u32,
        tiles: u32,
        grid_width: u32,
    }
}

/// Maximum number of elements of all parts stored side by side (32 MiB), unless a single part has more.
const WORKSPACE: u32 = 1 << 23;

/// Number of partial sums for the bias: `BIAS_CHAINS` of `conv2d_weight_grad_tile.wgsl`.
const BIAS_CHAINS: u32 = 8;

/// How pixels are split: into enough parts to give each of `cores` a few tiles, for any tile size.
fn partials_of(products: &Products, window: &Window, cores: u32) -> Partials {
    let pixels = window.images * window.output[0] * window.output[1];
    let outer = pitch(window.out_channels);
    let len = (products.rows + 1) * outer;
    let most = (WORKSPACE / len).clamp(1, 64);
    let wanted = u64::from(4 * cores).div_ceil(products.tiles(&MEDIUM));
    let parts = u32::try_from(wanted).map_or(most, |wanted| wanted.min(most));
    let mut run = pixels.div_ceil(parts).next_multiple_of(PART);
    if is_long(u64::from(run / 4), u64::from(run)) {
        run = even_tile(pixels, RUN).next_multiple_of(PART);
    }
    let inner = pitch(window.in_channels / window.groups);
    Partials::of_runs(pixels, run, [products.rows, inner, outer], most)
}

/// Partial sums of the weight gradient, starting at a given part. Bindings: input, output's gradient, partial sums.
pub(in super::super) fn weight_grad(
    geometry: &Geometry,
    offered: &Capabilities,
    first_part: u32,
) -> (AnyLaunch, Partials) {
    let (products, partials) = products_of(geometry, offered.cores, first_part);
    let launch = |tile: &Tile| weight_grad_in(tile, geometry, (&products, &partials), first_part);
    (products.tile(offered).launch(products, offered, launch), partials)
}

/// The products that make up a weight gradient, starting at a given part, and how their sums are split.
pub(super) fn products_of(geometry: &Geometry, cores: u32, first_part: u32) -> (Products, Partials) {
    let [inputs, outputs] = geometry.group().map(pitch);
    let products = Products { count: geometry.groups, rows: geometry.taps() * inputs, columns: outputs };
    let partials = partials_of(&products, &Window::forward(geometry), cores);
    (Products { count: products.count * partials.from(first_part), ..products }, partials)
}

/// Like [`weight_grad`], in tiles of a given size.
pub(super) fn weight_grad_in(
    tile: &Tile,
    geometry: &Geometry,
    (products, partials): (&Products, &Partials),
    first_part: u32,
) -> AnyLaunch {
    let (shape, groups) =
        grid(geometry, products, [tile.rows, tile.columns], (partials.columns_per_part, first_part));
    let mut constants =
        tile.constants([Staging::Quads, Staging::Quads], shape.pixels.is_multiple_of(tile.steps));
    constants.push(("BIAS_TURNS", (BIAS_CHAINS * tile.columns / 4).div_ceil(tile.lanes())));
    let template = Template {
        name: "conv2d_weight_grad_tile",
        source: concat!(
            include_str!("../../../../../shaders/shared/tile_left_quads.wgsl"),
            include_str!("../../../../../shaders/shared/tile_right_quads.wgsl"),
            include_str!("../../../../../shaders/shared/tile.wgsl"),
            include_str!("../../../../../shaders/shared/conv2d_weight_grad.wgsl"),
            include_str!("../../../../../shaders/ops/conv2d_weight_grad_tile.wgsl"),
        ),
        constants,
        aliases: vec![],
    };
    AnyLaunch::from(Launch { template, shape, groups }).unchecked()
}

/// The uniform block and the grid for tiles of `rows` by `columns`, for parts of a given length, starting at a given
/// part.
pub(in super::super) fn grid(
    geometry: &Geometry,
    products: &Products,
    [tile_rows, tile_columns]: [u32; 2],
    (run, first_part): (u32, u32),
) -> (Shape, [u32; 2]) {
    let window = Window::forward(geometry);
    let [inputs, outputs] = geometry.group().map(pitch);
    let (row_tiles, column_tiles) =
        (products.rows.div_ceil(tile_rows), products.columns.div_ceil(tile_columns));
    let tiles = products.count * row_tiles * column_tiles;
    let groups = fold(tiles);
    let pixels = window.images * window.output[0] * window.output[1];
    let shape = Shape {
        height: window.input[0],
        width: window.input[1],
        channel_vectors: pitch(window.in_channels) / 4,
        group_vectors: inputs / 4,
        group_out_vectors: outputs / 4,
        out_height: window.output[0],
        out_width: window.output[1],
        out_vectors: pitch(window.out_channels) / 4,
        kernel_height: window.kernel[0],
        kernel_width: window.kernel[1],
        stride_y: window.stride[0],
        stride_x: window.stride[1],
        pad_y: window.padding[0].cast_unsigned(),
        pad_x: window.padding[1].cast_unsigned(),
        dilation_y: window.dilation[0],
        dilation_x: window.dilation[1],
        pixels,
        run,
        first_part,
        column_tiles,
        row_tiles,
        groups: geometry.groups,
        tiles,
        grid_width: groups[0],
    };
    (shape, groups)
}
