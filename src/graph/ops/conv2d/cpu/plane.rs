//! Forward passes over a single channel, whose rows lie in quads.

use super::super::geometry::{Geometry, Window, flag};
use super::{End, Lanes, SCALARS, Touched, block_of, whole};
use crate::gpu::uniform;
use crate::graph::ops::split::even_tile;
use crate::graph::shape::pitch;
use crate::graph::template::{AnyLaunch, Launch, Template, excess, fold};

/// Pixels that a lane loads at once.
pub(super) const LANE: u32 = 4;

/// Tiles below each other that a workgroup computes at most, with the weight in registers.
const TILES_EACH: u32 = 16;

/// Workgroups that there should be, so that all cores have work.
const WORKGROUPS: u32 = 32;

/// Multiply-adds of a tile, each of one element of a lane's vector.
const MULTIPLY_ADDS: u32 = 1_024;

uniform! {
    struct Shape {
        height: u32,
        width: u32,
        out_height: u32,
        out_width: u32,
        out_vectors: u32,
        packed_vectors: u32,
        pad_y: i32,
        pad_x: i32,
        row_tiles: u32,
        tiles_each: u32,
        strips: u32,
        column_tiles: u32,
        channel_tiles: u32,
        tiles: u32,
        grid_width: u32,
        relu: u32,
    }
}

/// Whether all taps can be unrolled for four pixels at least.
pub(super) fn fits(geometry: &Geometry) -> bool {
    16 * geometry.taps() * Lanes::vector(geometry.out_channels, 1) <= 2 * SCALARS
}

/// Columns of sums of a tile of the forward pass: pooled tiles of twice as many run no faster, and take twice as long to
/// compile.
pub(super) const COLUMNS: u32 = 16;

/// Rows and columns of what a tile makes, where `step` rows and columns of sums become one: at most `columns` of sums.
pub(super) fn tile(geometry: &Geometry, step: u32, columns: u32) -> [u32; 2] {
    let vector = Lanes::vector(geometry.out_channels, 1);
    let most = MULTIPLY_ADDS / (geometry.taps() * vector * step * step);
    let output = geometry.output.map(|len| len / step);
    let pixels = even_tile(output[1], most.clamp(1, columns / step));
    let pixels = whole(pixels, LANE, geometry.stride[1] * step);
    // Words of places hold equally many.
    let pixels = if step > 1 { pixels / block_of(pixels) * block_of(pixels) } else { pixels };
    [1, pixels]
}

/// Forward pass. Bindings: input in the natural order, weight as [`pack`](super::pack) leaves it, output, and the places of a
/// 2x2 max pooling of stride 2.
pub(super) fn launch(geometry: &Geometry, width: u32, end: End) -> AnyLaunch {
    let window = Window::of_images(geometry);
    let lanes = Lanes::of(window.out_channels, 1, width);
    let step = end.step();
    let output = window.output.map(|len| len / step);
    let [rows, pixels] = tile(geometry, step, COLUMNS);
    let row_tiles = output[0].div_ceil(rows);
    let column_tiles = output[1].div_ceil(pixels);
    let in_row = lanes.tiles * column_tiles * window.images;
    let tiles_each = even_tile(row_tiles, (in_row * row_tiles / WORKGROUPS).clamp(1, TILES_EACH));
    let strips = row_tiles.div_ceil(tiles_each);
    let tiles = in_row * strips;
    let groups = fold(tiles);
    let shape = Shape {
        height: window.input[0],
        width: window.input[1].div_ceil(LANE),
        out_height: output[0],
        out_width: output[1],
        out_vectors: pitch(window.out_channels) / lanes.vector,
        packed_vectors: lanes.tiles * width,
        pad_y: window.padding[0],
        pad_x: window.padding[1],
        row_tiles,
        tiles_each,
        strips,
        column_tiles,
        channel_tiles: lanes.tiles,
        tiles,
        grid_width: groups[0],
        relu: flag(end == End::Pool { relu: true }),
    };
    let touched = Touched::of(&window, pixels * step, LANE, column_tiles == 1);
    let mut constants = vec![
        ("LANES", width),
        ("SPAN", width * LANE),
        ("ROWS", rows * step),
        ("PIXELS", pixels * step),
        ("KERNEL_ROWS", window.kernel[0]),
        ("KERNEL_WIDTH", window.kernel[1]),
        ("STRIDE_Y", window.stride[0]),
        ("STRIDE", window.stride[1]),
        ("X_ROWS", (rows * step - 1) * window.stride[0] + window.kernel[0]),
        ("LOADS", touched.pixels.div_ceil(width * LANE)),
        ("ODD", touched.odd),
        ("BEFORE", touched.inside.start),
        ("BEHIND", touched.inside.end),
        excess(groups, tiles),
    ];
    constants.extend(end.constants([rows, pixels]));
    let (name, source) = match end {
        End::Store { .. } => (
            "conv2d_plane",
            concat!(
                include_str!("../../../../../shaders/ops/conv2d_plane.wgsl"),
                include_str!("../../../../../shaders/ops/conv2d_store.wgsl")
            ),
        ),
        End::Pool { .. } => (
            "conv2d_plane_pool",
            concat!(
                include_str!("../../../../../shaders/ops/conv2d_plane.wgsl"),
                include_str!("../../../../../shaders/ops/conv2d_pool.wgsl")
            ),
        ),
    };
    let aliases = vec![lanes.alias(), lanes.places_alias()];
    end.finishing(
        Launch { template: Template { name, source, constants, aliases }, shape, groups }.into(),
        lanes,
    )
}
