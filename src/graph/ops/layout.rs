//! Between torch's dense order and the padded rows that kernels read.

use super::grid;
use crate::gpu::{Binding, uniform};
use crate::graph::lower::{Lowering, Operand, source};
use crate::graph::shape::{Planes, u};

uniform! {
    pub(crate) struct Shape {
        images: u32,
        channels: u32,
        pixels: u32,
        channel_stride: u32,
        pixel_stride: u32,
        image_pitch: u32,
        quads: u32,
        accumulate: u32,
    }
}

fn shape(planes: Planes, image_pitch: usize, accumulate: bool) -> Shape {
    Shape {
        images: u(planes.images),
        channels: u(planes.channels),
        pixels: u(planes.pixels),
        channel_stride: u(planes.channel_stride),
        pixel_stride: u(planes.pixel_stride),
        image_pitch: u(image_pitch),
        quads: u(planes.channels.div_ceil(4)),
        accumulate: u32::from(accumulate),
    }
}

/// Emits the way from dense images, `image_pitch` elements apart, to rows.
pub(crate) fn to_rows(
    lowering: &mut Lowering,
    layer: &str,
    planes: Planes,
    image_pitch: usize,
    dense: Operand,
    rows: Operand,
    accumulate: bool,
) {
    let wgsl = include_str!("../../../shaders/ops/to_rows.wgsl");
    let kernel = source::<Shape>("to_rows", wgsl, &[Binding::Read, Binding::ReadWrite]);
    let work = planes.images * planes.pixels * planes.channels.div_ceil(4);
    lowering.emit(layer, kernel, grid(work), &[dense, rows], shape(planes, image_pitch, accumulate));
}

/// Emits the way from rows to dense images, `image_pitch` elements apart with zeros between them.
pub(crate) fn to_planes(
    lowering: &mut Lowering,
    layer: &str,
    planes: Planes,
    image_pitch: usize,
    rows: Operand,
    dense: Operand,
    accumulate: bool,
) {
    let wgsl = include_str!("../../../shaders/ops/to_planes.wgsl");
    let kernel = source::<Shape>("to_planes", wgsl, &[Binding::Read, Binding::ReadWrite]);
    let work = planes.images * planes.pixels * planes.channels.div_ceil(4);
    lowering.emit(layer, kernel, grid(work), &[rows, dense], shape(planes, image_pitch, accumulate));
}
