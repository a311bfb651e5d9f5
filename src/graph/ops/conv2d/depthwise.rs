//! Depthwise convolutions: one invocation computes four channels of several neighbouring pixels in a row.

mod weight_grad;

pub(super) use weight_grad::weight_grad;

use super::geometry::{Geometry, Window, flag};
use super::pack::Packed;
use crate::gpu::uniform;
use crate::graph::ops::area::AreaParts;
use crate::graph::ops::split::even_tile;
use crate::graph::shape::pitch;
use crate::graph::template::{AnyLaunch, Launch, Template, fold};

/// The packed weight for [`forward`] and [`strided_input_grad`].
pub(super) fn pack(geometry: &Geometry, has_bias: bool) -> Packed {
    Packed::depthwise(geometry, false, has_bias)
}

/// The packed weight for [`input_grad`].
pub(super) fn pack_flipped(geometry: &Geometry, has_bias: bool) -> Packed {
    Packed::depthwise(geometry, true, has_bias)
}

/// Number of parts of the sum in a forward pass, or in an input gradient at stride 1.
pub(super) fn parts(geometry: &Geometry) -> u32 {
    Tile::of(geometry.output[1], geometry.kernel[1], geometry.stride[1], geometry.dilation[1])
        .parts(geometry.kernel)
        .count
}

/// Number of parts of the sum in an input gradient at any stride.
pub(super) fn strided_parts(geometry: &Geometry) -> u32 {
    AreaParts::of(geometry.kernel).count
}

/// The unrolled work of one invocation. Neighbouring pixels share loads.
#[derive(Clone, Copy, Debug)]
struct Tile {
    /// Number of neighbouring output pixels in a row.
    pixels: u32,
    /// Number of unrolled taps in a kernel row: all, or one.
    columns: u32,
    stride: u32,
}

impl Tile {
    fn of(width: u32, kernel_width: u32, stride: u32, dilation: u32) -> Self {
        /// Maximum number of unrolled columns; limits registers and compile time.
        const WIDEST: u32 = 7;
        let whole = kernel_width <= WIDEST && (dilation == 1 || kernel_width == 1);
        let shares = stride == 1 || whole && stride == 2 && kernel_width > 1;
        Self {
            pixels: if shares { even_tile(width, 4) } else { 1 },
            columns: if whole { kernel_width } else { 1 },
            stride,
        }
    }

    /// Number of pixels of an input row that it reads.
    fn loads(self) -> u32 {
        (self.pixels - 1) * self.stride + self.columns
    }

    fn constants(self) -> [(&'static str, u32); 4] {
        [("PIXELS", self.pixels), ("COLUMNS", self.columns), ("STRIDE", self.stride), ("LOADS", self.loads())]
    }

    /// How the sum over a kernel is split. One iteration covers all unrolled columns.
    fn parts(self, kernel: [u32; 2]) -> AreaParts {
        AreaParts::of([kernel[0], kernel[1] / self.columns])
    }
}

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
        len: u32,
        out_len: u32,
        grid_width: u32,
        accumulate: u32,
        rows_per_part: u32,
        columns_per_part: u32,
        column_parts: u32,
        first_part: u32,
    }
}

/// Forward pass. Bindings: input, weight from [`pack`], output.
pub(super) fn forward(geometry: &Geometry, first_part: u32, accumulate: bool) -> AnyLaunch {
    tiled(&Window::of_images(geometry), first_part, accumulate)
}

/// Input gradient at stride 1. Bindings: output's gradient, weight from [`pack_flipped`], input's gradient.
pub(super) fn input_grad(geometry: &Geometry, _: bool, first_part: u32, accumulate: bool) -> AnyLaunch {
    tiled(&Window::of_input_grads(geometry), first_part, accumulate)
}

fn tiled(window: &Window, first_part: u32, accumulate: bool) -> AnyLaunch {
    let tile = Tile::of(window.output[1], window.kernel[1], window.stride[1], window.dilation[1]);
    let parts = tile.parts(window.kernel);
    let channel_vectors = pitch(window.out_channels) / 4;
    let column_tiles = window.output[1].div_ceil(tile.pixels);
    let rows = window.images * window.output[0];
    let len = rows * column_tiles * channel_vectors;
    let groups = fold(len.div_ceil(64));
    let shape = Shape {
        height: window.input[0],
        width: window.input[1],
        channel_vectors,
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
        len,
        out_len: rows * window.output[1] * channel_vectors,
        grid_width: groups[0],
        accumulate: flag(accumulate),
        rows_per_part: parts.rows,
        columns_per_part: parts.columns * tile.columns,
        column_parts: parts.column_parts,
        first_part,
    };
    let template = Template {
        name: "conv2d_depthwise",
        source: include_str!("../../../../shaders/ops/conv2d_depthwise.wgsl"),
        constants: [&tile.constants()[..], &[parts.constant()]].concat(),
        aliases: vec![],
    };
    AnyLaunch::from(Launch { template, shape, groups }).finishing(4)
}

uniform! {
    struct InputGradShape {
        height: u32,
        width: u32,
        channel_vectors: u32,
        out_height: u32,
        out_width: u32,
        kernel_height: u32,
        kernel_width: u32,
        pad_y: i32,
        pad_x: i32,
        dilation_y: u32,
        dilation_x: u32,
        len: u32,
        grid_width: u32,
        accumulate: u32,
        rows_per_part: u32,
        columns_per_part: u32,
        column_parts: u32,
        first_part: u32,
    }
}

/// Input gradient at any stride and dilation. Bindings: output's gradient, weight from [`pack`], input's gradient.
pub(super) fn strided_input_grad(
    geometry: &Geometry,
    _: bool,
    first_part: u32,
    accumulate: bool,
) -> AnyLaunch {
    let parts = AreaParts::of(geometry.kernel);
    let channel_vectors = pitch(geometry.in_channels) / 4;
    let len = geometry.images * geometry.input[0] * geometry.input[1] * channel_vectors;
    let groups = fold(len.div_ceil(64));
    let shape = InputGradShape {
        height: geometry.input[0],
        width: geometry.input[1],
        channel_vectors,
        out_height: geometry.output[0],
        out_width: geometry.output[1],
        kernel_height: geometry.kernel[0],
        kernel_width: geometry.kernel[1],
        pad_y: geometry.padding[0].cast_signed(),
        pad_x: geometry.padding[1].cast_signed(),
        dilation_y: geometry.dilation[0],
        dilation_x: geometry.dilation[1],
        len,
        grid_width: groups[0],
        accumulate: flag(accumulate),
        rows_per_part: parts.rows,
        columns_per_part: parts.columns,
        column_parts: parts.column_parts,
        first_part,
    };
    let template = Template {
        name: "conv2d_depthwise_input_grad",
        source: include_str!("../../../../shaders/ops/conv2d_depthwise_input_grad.wgsl"),
        constants: vec![parts.constant(), ("STRIDE_Y", geometry.stride[0]), ("STRIDE_X", geometry.stride[1])],
        aliases: vec![],
    };
    Launch { template, shape, groups }.into()
}
