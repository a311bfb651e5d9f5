//! The weight gradient of a convolution: partial sums over runs of rows, and their sum in order.

use super::launch::{Geometry, Lanes, SUMS, UNROLLED, Window, flag, loads};
use crate::gpu::{KernelClass, uniform};
use crate::graph::ops::split::{RUN, even_tile, is_long};
use crate::graph::shape::pitch;
use crate::graph::template::{Launch, Template, fold};

uniform! {
    pub(crate) struct Shape {
        height: u32,
        width: u32,
        channel_vectors: u32,
        out_height: u32,
        out_width: u32,
        out_vectors: u32,
        packed_vectors: u32,
        kernel_height: u32,
        stride_y: u32,
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

/// Partial sums of a weight gradient: how many, and of what length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Partials {
    pub(crate) parts: u32,
    /// Parts that lie side by side, summed by one dispatch and added by another.
    pub(crate) at_once: u32,
    /// Elements of one part.
    pub(crate) len: u32,
    outer: u32,
    rows_per_part: u32,
    columns_per_part: u32,
    column_parts: u32,
}

impl Partials {
    /// `tiles` is what one part has to offer to run at once, `wanted` what the adapter should have; an iteration
    /// takes `pixels` of a row.
    fn new(window: &Window, outer: u32, tiles: u32, wanted: u32, pixels: u32) -> Self {
        let (rows, width) = (window.images * window.output[0], window.output[1]);
        let wanted = wanted.div_ceil(tiles).clamp(1, 64);
        let mut rows_per_part = rows.div_ceil(wanted);
        let mut columns_per_part = width;
        let steps = width.div_ceil(pixels);
        let trips = u64::from(rows_per_part) * (1 + u64::from(steps));
        if is_long(trips, u64::from(rows_per_part) * u64::from(width)) {
            let steps_per_part = even_tile(steps, RUN / pixels);
            columns_per_part = (steps_per_part * pixels).min(width);
            rows_per_part = even_tile(rows, (RUN / columns_per_part).max(1)).min(rows_per_part);
        }
        let column_parts = width.div_ceil(columns_per_part);
        let parts = rows.div_ceil(rows_per_part) * column_parts;
        Self {
            parts,
            at_once: even_tile(parts, wanted.max(1)),
            len: (window.kernel[0] * window.kernel[1] * pitch(window.in_channels) + 1) * outer,
            outer,
            rows_per_part,
            columns_per_part,
            column_parts,
        }
    }

    /// Parts that a dispatch takes, from a part on.
    fn from(&self, first: u32) -> u32 {
        self.at_once.min(self.parts - first)
    }
}

/// Partial sums of the weight gradient on a CPU adapter, from a part on. Bindings: input, output's gradient, partial
/// sums.
pub(crate) fn broadcast(geometry: &Geometry, first_part: u32) -> (Launch<Shape>, Partials) {
    let mut window = Window::forward(geometry);
    if window.input[0] == 1 && window.output[0] == 1 && window.kernel == [1, 1] {
        // Parts are runs of rows, so a long row is cut again.
        window = Window::of_images(geometry);
    }
    let lanes = Lanes::of(KernelClass::CpuSubgroup8, window.out_channels);
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
    let pixels = even_tile(window.output[1], (UNROLLED / (vectors * per_vector)).clamp(1, 16));
    let kernel_tiles = window.kernel[0] / kernel_rows;
    let vector_tiles = channel_vectors / vectors;
    let outer = lanes.packed(KernelClass::CpuSubgroup8);
    let tiles_per_part = kernel_tiles * vector_tiles * lanes.tiles;
    let partials = Partials::new(&window, outer, tiles_per_part, 48, pixels);
    let tiles = tiles_per_part * partials.from(first_part);
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
        stride_y: window.stride[0],
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
        source: include_str!("../../../../shaders/ops/conv2d_weight_grad.wgsl"),
        constants: vec![
            ("PIXELS", pixels),
            ("KERNEL_ROWS", kernel_rows),
            ("KERNEL_WIDTH", window.kernel[1]),
            ("VECTORS", vectors),
            ("CHANNELS", channels),
            ("STRIDE", window.stride[1]),
            ("LOADS", loads(pixels, window.stride[1], window.kernel[1])),
            ("COLUMN_PARTS", partials.column_parts),
        ],
        aliases: vec![lanes.alias()],
    };
    (Launch { template, shape, groups }, partials)
}

uniform! {
    pub(crate) struct PlainShape {
        height: u32,
        width: u32,
        channel_vectors: u32,
        out_height: u32,
        out_width: u32,
        out_vectors: u32,
        kernel_height: u32,
        kernel_width: u32,
        stride_y: u32,
        stride_x: u32,
        pad_y: i32,
        pad_x: i32,
        dilation_y: u32,
        dilation_x: u32,
        rows: u32,
        rows_per_part: u32,
        columns_per_part: u32,
        first_part: u32,
        parts: u32,
        grid_width: u32,
    }
}

/// Partial sums of the weight gradient anywhere, from a part on. Bindings: input, output's gradient, partial sums.
pub(crate) fn plain(geometry: &Geometry, first_part: u32) -> (Launch<PlainShape>, Partials) {
    let output = geometry.output();
    let window = Window::of_images(geometry);
    let channel_vectors = pitch(window.in_channels) / 4;
    let outer = pitch(window.out_channels);
    let invocations = (geometry.taps() * channel_vectors + 1) * outer / 4;
    let partials = Partials::new(&window, outer, invocations, 16 * 1024, 1);
    let parts = partials.from(first_part);
    let groups = fold((invocations * parts).div_ceil(64));
    let shape = PlainShape {
        height: window.input[0],
        width: window.input[1],
        channel_vectors,
        out_height: output[0],
        out_width: output[1],
        out_vectors: outer / 4,
        kernel_height: window.kernel[0],
        kernel_width: window.kernel[1],
        stride_y: window.stride[0],
        stride_x: window.stride[1],
        pad_y: window.padding[0],
        pad_x: window.padding[1],
        dilation_y: window.dilation[0],
        dilation_x: window.dilation[1],
        rows: window.images * output[0],
        rows_per_part: partials.rows_per_part,
        columns_per_part: partials.columns_per_part,
        first_part,
        parts,
        grid_width: groups[0],
    };
    let template = Template {
        name: "conv2d_weight_grad_plain",
        source: include_str!("../../../../shaders/ops/conv2d_weight_grad_plain.wgsl"),
        constants: vec![("COLUMN_PARTS", partials.column_parts)],
        aliases: vec![],
    };
    (Launch { template, shape, groups }, partials)
}

uniform! {
    pub(crate) struct FinishShape {
        out_channels: u32,
        in_channels: u32,
        kernel_height: u32,
        kernel_width: u32,
        inner: u32,
        outer_vectors: u32,
        parts: u32,
        has_bias: u32,
        accumulate: u32,
        accumulate_bias: u32,
        grid_width: u32,
    }
}

/// What the finish of a weight gradient adds to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Adds {
    pub(crate) weight: bool,
    /// `None` without a bias.
    pub(crate) bias: Option<bool>,
}

/// Weight and bias gradient from the partial sums that one dispatch left, from a part on. Bindings: partial sums,
/// weight's gradient, bias's gradient (without a bias, any other buffer that may be written).
pub(crate) fn finish(
    geometry: &Geometry,
    partials: &Partials,
    first_part: u32,
    adds: Adds,
) -> Launch<FinishShape> {
    let groups = fold((partials.len / 4).div_ceil(8));
    // Later parts go to what the earlier ones made.
    let accumulate = |adds: bool| flag(adds || first_part > 0);
    let shape = FinishShape {
        out_channels: geometry.out_channels,
        in_channels: geometry.in_channels,
        kernel_height: geometry.kernel[0],
        kernel_width: geometry.kernel[1],
        inner: pitch(geometry.in_channels),
        outer_vectors: partials.outer / 4,
        parts: partials.from(first_part),
        has_bias: flag(adds.bias.is_some()),
        accumulate: accumulate(adds.weight),
        accumulate_bias: accumulate(adds.bias == Some(true)),
        grid_width: groups[0],
    };
    let template = Template {
        name: "conv2d_weight_grad_finish",
        source: include_str!("../../../../shaders/ops/conv2d_weight_grad_finish.wgsl"),
        constants: vec![],
        aliases: vec![],
    };
    Launch { template, shape, groups }
}
