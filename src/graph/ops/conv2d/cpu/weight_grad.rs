use super::super::geometry::{Geometry, Window, flag};
use super::super::weight_grad::Partials;
use super::{LANES, Lanes, SUMS, Touched, UNROLLED, block_of, plane, pooled_at_once, pooled_block, whole};
use crate::gpu::Capabilities;
use crate::gpu::uniform;
use crate::graph::ops::split::even_tile;
use crate::graph::shape::pitch;
use crate::graph::template::{AnyLaunch, Launch, Template, excess, fold};

uniform! {
    struct Shape {
        height: u32,
        width: u32,
        channel_vectors: u32,
        out_height: u32,
        out_width: u32,
        out_vectors: u32,
        packed_vectors: u32,
        kernel_height: u32,
        pad_y: i32,
        pad_x: i32,
        kernel_tiles: u32,
        vector_tiles: u32,
        channel_tiles: u32,
        rows: u32,
        rows_per_part: u32,
        columns_per_part: u32,
        first_part: u32,
        tiles: u32,
        grid_width: u32,
    }
}

/// Multiply-adds of one element each with which both rows of pooled windows are summed at once, so that what is loaded
/// serves both.
const BOTH_ROWS: u32 = 1_024;

/// Partial sums of the weight gradient, from a part on. Bindings: input, output's gradient, partial
/// sums.
pub(in super::super) fn weight_grad(
    geometry: &Geometry,
    offered: &Capabilities,
    first_part: u32,
) -> (AnyLaunch, Partials) {
    launch(geometry, offered.lanes(), None, first_part)
}

/// As [`weight_grad`] where the output was pooled. Bindings: input, gradient of the pooled output, partial sums, places
/// as [`forward_pooled`](super::forward_pooled) leaves them.
pub(in super::super) fn weight_grad_pooled(
    geometry: &Geometry,
    offered: &Capabilities,
    first_part: u32,
) -> (AnyLaunch, Partials) {
    launch(geometry, offered.lanes(), Some(pooled_at_once(geometry)), first_part)
}

/// `pooled` is how many 2x2 windows of the output are summed at once, whole words of places or a row, where it was pooled.
fn launch(geometry: &Geometry, width: u32, pooled: Option<u32>, first_part: u32) -> (AnyLaunch, Partials) {
    let mut window = Window::forward(geometry);
    if geometry.planar
        || pooled.is_some()
        || window.input[0] == 1 && window.output[0] == 1 && window.kernel == [1, 1]
    {
        // Parts are runs of rows, so a long row is cut again; and windows are of rows.
        window = Window::of_images(geometry);
    }
    let scale = if pooled.is_some() { 2 } else { 1 };
    let lane = if geometry.planar { plane::LANE } else { 1 };
    window.output = window.output.map(|len| len / scale);
    let lanes = Lanes::of(window.out_channels, 1, width);
    let channel_vectors = pitch(window.in_channels) / 4;
    let channels = window.in_channels.min(4);
    let kernel_rows = if channels < 4 && window.kernel[0] * window.kernel[1] * channels <= SUMS {
        window.kernel[0]
    } else {
        1
    };
    let per_vector = kernel_rows * window.kernel[1] * channels;
    let vectors =
        (1..=4).rev().find(|v| channel_vectors.is_multiple_of(*v) && v * per_vector <= SUMS).unwrap_or(1);
    let most = (UNROLLED / (vectors * per_vector)).clamp(1, 16);
    let windows = pooled.unwrap_or_else(|| whole(even_tile(window.output[1], most), lane, window.stride[1]));
    let pixels = windows * scale;
    let block = if pooled.is_some() { pooled_block(geometry) } else { block_of(windows) };
    let per_row = vectors * per_vector * pixels * lanes.vector;
    let rows = if pooled.is_some() && 2 * per_row <= BOTH_ROWS { 2 } else { 1 };
    let kernel_tiles = window.kernel[0] / kernel_rows;
    let vector_tiles = channel_vectors / vectors;
    let outer = lanes.packed();
    // Parts are cut for one width.
    let tiles_at = |lanes: Lanes| kernel_tiles * vector_tiles * lanes.tiles;
    let cut_for = tiles_at(Lanes::of(window.out_channels, 1, LANES));
    let inner = pitch(window.in_channels);
    let partials = Partials::of_windows(&window, [inner, outer], (cut_for, 48), (windows, scale));
    let is_whole_row = windows >= window.output[1] && partials.column_parts == 1;
    let touched = Touched::of(&window, pixels, lane, is_whole_row);
    let tiles = tiles_at(lanes) * partials.from(first_part);
    let groups = fold(tiles);
    let shape = Shape {
        height: window.input[0],
        width: window.input[1],
        channel_vectors,
        out_height: window.output[0],
        out_width: window.output[1],
        out_vectors: pitch(window.out_channels) / lanes.vector,
        packed_vectors: outer / lanes.vector,
        kernel_height: window.kernel[0],
        pad_y: window.padding[0],
        pad_x: window.padding[1],
        kernel_tiles,
        vector_tiles,
        channel_tiles: lanes.tiles,
        rows: window.images * window.output[0],
        rows_per_part: partials.rows_per_part,
        columns_per_part: partials.columns_per_part,
        first_part,
        tiles,
        grid_width: groups[0],
    };
    let template = Template {
        name: "conv2d_weight_grad",
        source: include_str!("../../../../../shaders/ops/conv2d_weight_grad.wgsl"),
        constants: vec![
            ("LANES", width),
            ("ROWS", rows),
            ("PIXELS", pixels),
            ("WINDOWS", windows),
            ("SCALE", scale),
            ("POOLED", flag(pooled.is_some())),
            ("DIRECT", flag(pooled.is_none())),
            ("BLOCK", block),
            ("WORDS", windows.div_ceil(block)),
            ("PLANAR", flag(geometry.planar)),
            ("LANE", lane),
            ("SPAN", width * lane),
            ("ODD", touched.odd),
            ("KERNEL_ROWS", kernel_rows),
            ("KERNEL_WIDTH", window.kernel[1]),
            ("VECTORS", vectors),
            ("CHANNELS", channels),
            ("STRIDE_Y", window.stride[0]),
            ("STRIDE", window.stride[1]),
            ("X_ROWS", (rows - 1) * window.stride[0] + kernel_rows),
            ("LOADS", touched.pixels.div_ceil(width * lane)),
            ("BEFORE", touched.inside.start),
            ("BEHIND", touched.inside.end),
            ("COLUMN_PARTS", partials.column_parts),
            // What is stored at a time, of all sums.
            ("STORED", vectors * channels),
            ("SUMS", vectors * per_vector),
            excess(groups, tiles),
        ],
        aliases: vec![lanes.alias(), lanes.places_alias()],
    };
    (Launch { template, shape, groups }.into(), partials)
}
