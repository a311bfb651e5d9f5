use super::super::band::Band;
use super::super::geometry::{Geometry, Window};
use super::super::weight_grad::Partials;
use crate::gpu::uniform;
use crate::graph::shape::pitch;
use crate::graph::template::{AnyLaunch, Launch, Template, fold};

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
    let output = geometry.output;
    let [group_inputs, group_outputs] = geometry.group();
    let band = Band::of_inputs(geometry);
    let window = Window::of_images(geometry);
    let channel_vectors = pitch(window.in_channels) / 4;
    let outer = pitch(window.out_channels);
    let invocations = (geometry.taps() * band.vectors + 1) * outer / 4;
    let partials = Partials::new(&window, [4 * band.vectors, outer], invocations, 16 * 1024, 1);
    let parts = partials.from(first_part);
    let groups = fold((invocations * parts).div_ceil(64));
    let shape = Shape {
        height: window.input[0],
        width: window.input[1],
        channel_vectors,
        band_vectors: band.vectors,
        group_inputs,
        group_outputs,
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
        source: include_str!("../../../../../shaders/ops/conv2d_weight_grad_plain.wgsl"),
        constants: vec![("COLUMN_PARTS", partials.column_parts), ("GROUPED", u32::from(band.is_grouped))],
        aliases: vec![],
    };
    (Launch { template, shape, groups }.into(), partials)
}
