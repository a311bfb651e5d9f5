use super::super::geometry::{Geometry, Window};
use super::super::weight_grad::Partials;
use super::Tile;
use crate::gpu::uniform;
use crate::graph::shape::pitch;
use crate::graph::template::{AnyLaunch, Launch, Template, fold};

uniform! {
    struct Shape {
        height: u32,
        width: u32,
        channel_vectors: u32,
        out_height: u32,
        out_width: u32,
        kernel_height: u32,
        kernel_width: u32,
        stride_y: u32,
        pad_y: i32,
        pad_x: i32,
        dilation_y: u32,
        dilation_x: u32,
        column_tiles: u32,
        rows: u32,
        rows_per_part: u32,
        columns_per_part: u32,
        first_part: u32,
        parts: u32,
        grid_width: u32,
    }
}

/// Partial sums of the weight gradient, starting at a given part. Bindings: input, output's gradient, partial sums.
pub(in super::super) fn weight_grad(geometry: &Geometry, first_part: u32) -> (AnyLaunch, Partials) {
    let window = Window::of_images(geometry);
    let tile = Tile::of(window.output[1], window.kernel[1], window.stride[1], window.dilation[1]);
    let outer = pitch(window.out_channels);
    let column_tiles = window.kernel[1] / tile.columns;
    let invocations = (window.kernel[0] * column_tiles + 1) * outer / 4;
    let partials = Partials::new(&window, [1, outer], invocations, 16 * 1024, tile.pixels);
    let parts = partials.from(first_part);
    let groups = fold((invocations * parts).div_ceil(64));
    let shape = Shape {
        height: window.input[0],
        width: window.input[1],
        channel_vectors: outer / 4,
        out_height: window.output[0],
        out_width: window.output[1],
        kernel_height: window.kernel[0],
        kernel_width: window.kernel[1],
        stride_y: window.stride[0],
        pad_y: window.padding[0],
        pad_x: window.padding[1],
        dilation_y: window.dilation[0],
        dilation_x: window.dilation[1],
        column_tiles,
        rows: window.images * window.output[0],
        rows_per_part: partials.rows_per_part,
        columns_per_part: partials.columns_per_part,
        first_part,
        parts,
        grid_width: groups[0],
    };
    let template = Template {
        name: "conv2d_depthwise_weight_grad",
        source: include_str!("../../../../../shaders/ops/conv2d_depthwise_weight_grad.wgsl"),
        constants: [&tile.constants()[..], &[("COLUMN_PARTS", partials.column_parts)]].concat(),
        aliases: vec![],
    };
    (Launch { template, shape, groups }.into(), partials)
}
