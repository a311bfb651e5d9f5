//! Convolutions for any device, stride and dilation: one invocation per `vec4` of the output.

mod weight_grad;

pub(super) use weight_grad::weight_grad;

use bytemuck::Zeroable;

use super::band::Band;
use super::geometry::{Geometry, Window, flag};
use super::pack::{Pack, Packed};
use super::parts::WindowParts;
use crate::gpu::uniform;
use crate::graph::shape::pitch;
use crate::graph::template::{AnyLaunch, Launch, Template, fold};

/// The packed weight for [`forward`].
pub(super) fn pack(geometry: &Geometry, has_bias: bool) -> Packed {
    Packed::new(geometry, Pack::Forward, geometry.out_channels, has_bias)
}

/// The packed weight for [`input_grad`].
pub(super) fn pack_input_grad(geometry: &Geometry, has_bias: bool) -> Packed {
    Packed::new(geometry, Pack::InputGrad, geometry.in_channels, has_bias)
}

/// Number of parts of the sum in a forward pass.
pub(super) fn parts(geometry: &Geometry) -> u32 {
    WindowParts::plain(geometry.kernel, Band::of_inputs(geometry).vectors).count
}

/// Number of parts of the sum in an input gradient.
pub(super) fn input_grad_parts(geometry: &Geometry) -> u32 {
    WindowParts::plain(geometry.kernel, Band::of_outputs(geometry).vectors).count
}

uniform! {
    struct Shape {
        height: u32,
        width: u32,
        channel_vectors: u32,
        band_vectors: u32,
        group_inputs: u32,
        group_outputs: u32,
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
        len: u32,
        grid_width: u32,
        accumulate: u32,
        rows_per_part: u32,
        columns_per_part: u32,
        quads_per_part: u32,
        column_parts: u32,
        quad_parts: u32,
        first_part: u32,
    }
}

fn forward_shape(window: &Window, parts: &WindowParts) -> Shape {
    Shape {
        height: window.input[0],
        width: window.input[1],
        channel_vectors: pitch(window.in_channels) / 4,
        out_height: window.output[0],
        out_width: window.output[1],
        out_vectors: pitch(window.out_channels) / 4,
        kernel_height: window.kernel[0],
        kernel_width: window.kernel[1],
        stride_y: window.stride[0],
        stride_x: window.stride[1],
        pad_y: window.padding[0],
        pad_x: window.padding[1],
        dilation_y: window.dilation[0],
        dilation_x: window.dilation[1],
        rows_per_part: parts.rows,
        columns_per_part: parts.columns,
        quads_per_part: parts.channels,
        column_parts: parts.column_parts,
        quad_parts: parts.channel_parts,
        ..Shape::zeroed()
    }
}

/// Forward pass. Bindings: input, weight from [`pack`], output.
pub(super) fn forward(geometry: &Geometry, first_part: u32, accumulate: bool) -> AnyLaunch {
    let window = Window::forward(geometry);
    let band = Band::of_inputs(geometry);
    let parts = WindowParts::plain(window.kernel, band.vectors);
    let mut shape = forward_shape(&window, &parts);
    shape.band_vectors = band.vectors;
    [shape.group_inputs, shape.group_outputs] = geometry.group();
    shape.len = window.images * window.output[0] * window.output[1] * shape.out_vectors;
    shape.accumulate = flag(accumulate);
    shape.first_part = first_part;
    let groups = fold(shape.len.div_ceil(64));
    shape.grid_width = groups[0];
    let template = Template {
        name: "conv2d_plain",
        source: include_str!("../../../../shaders/ops/conv2d_plain.wgsl"),
        constants: [&band.constants()[..], &[("SPLIT", flag(parts.count > 1))]].concat(),
        aliases: vec![],
    };
    AnyLaunch::from(Launch { template, shape, groups }).finishing(4)
}

uniform! {
    struct InputGradShape {
        height: u32,
        width: u32,
        channel_vectors: u32,
        band_vectors: u32,
        group_inputs: u32,
        group_outputs: u32,
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
        len: u32,
        grid_width: u32,
        accumulate: u32,
        rows_per_part: u32,
        columns_per_part: u32,
        quads_per_part: u32,
        column_parts: u32,
        quad_parts: u32,
        first_part: u32,
    }
}

/// Input gradient at any stride and dilation. Bindings: output's gradient, weight from [`pack_input_grad`], input's
/// gradient.
pub(super) fn input_grad(
    geometry: &Geometry,
    has_bias: bool,
    first_part: u32,
    accumulate: bool,
) -> AnyLaunch {
    let band = Band::of_outputs(geometry);
    let parts = WindowParts::plain(geometry.kernel, band.vectors);
    let output = geometry.output;
    let [group_inputs, group_outputs] = geometry.group();
    let channel_vectors = pitch(geometry.in_channels) / 4;
    let len = geometry.images * geometry.input[0] * geometry.input[1] * channel_vectors;
    let groups = fold(len.div_ceil(64));
    let shape = InputGradShape {
        height: geometry.input[0],
        width: geometry.input[1],
        channel_vectors,
        band_vectors: band.vectors,
        group_inputs,
        group_outputs,
        out_height: output[0],
        out_width: output[1],
        out_vectors: pitch(geometry.out_channels) / 4,
        kernel_height: geometry.kernel[0],
        kernel_width: geometry.kernel[1],
        stride_y: geometry.stride[0],
        stride_x: geometry.stride[1],
        pad_y: geometry.padding[0].cast_signed(),
        pad_x: geometry.padding[1].cast_signed(),
        dilation_y: geometry.dilation[0],
        dilation_x: geometry.dilation[1],
        len,
        grid_width: groups[0],
        accumulate: flag(accumulate),
        rows_per_part: parts.rows,
        columns_per_part: parts.columns,
        quads_per_part: parts.channels,
        column_parts: parts.column_parts,
        quad_parts: parts.channel_parts,
        first_part,
    };
    let template = Template {
        name: "conv2d_input_grad_plain",
        source: include_str!("../../../../shaders/ops/conv2d_input_grad_plain.wgsl"),
        constants: [&band.constants()[..], &[("SPLIT", flag(parts.count > 1)), ("BIAS", flag(has_bias))]]
            .concat(),
        aliases: vec![],
    };
    Launch { template, shape, groups }.into()
}
