//! Conversions between torch's dense layout and the padded rows that kernels read.

use super::grid;
use crate::gpu::{Binding, KernelSource, uniform};
use crate::graph::lowering::{Lowering, Operand, source};
use crate::graph::shape::{Planes, u};
use crate::graph::template::expand;

uniform! {
    pub(crate) struct Shape {
        images: u32,
        channel_stride: u32,
        pixel_stride: u32,
        image_pitch: u32,
    }
}

fn shape(planes: Planes, image_pitch: usize) -> Shape {
    Shape {
        images: u(planes.images),
        channel_stride: u(planes.channel_stride),
        pixel_stride: u(planes.pixel_stride),
        image_pitch: u(image_pitch),
    }
}

fn kernel(name: &str, wgsl: &str, planes: Planes, accumulate: bool) -> KernelSource {
    let constants = [
        ("CHANNELS", planes.channels),
        ("QUADS", planes.channels.div_ceil(4)),
        ("PIXELS", planes.pixels),
        ("ACCUMULATE", usize::from(accumulate)),
    ];
    let wgsl = expand(wgsl, &constants.map(|(name, n)| (name, u(n))), &[]);
    source::<Shape>(name, wgsl, &[Binding::Read, Binding::ReadWrite])
}

/// The conversion from rows to dense, contiguous images, outside of a lowering: the kernel (operands: rows, images),
/// its uniform block and its grid.
pub(crate) fn dense_from_rows(planes: Planes) -> (KernelSource, Vec<u8>, [u32; 3]) {
    let kernel = kernel("to_planes", include_str!("../../../shaders/ops/to_planes.wgsl"), planes, false);
    let shape = shape(planes, planes.channels * planes.pixels);
    (kernel, bytemuck::bytes_of(&shape).to_vec(), work(planes))
}

fn work(planes: Planes) -> [u32; 3] {
    grid(planes.images * planes.pixels * planes.channels.div_ceil(4))
}

/// Emits the conversion from dense images, `image_pitch` elements apart, to rows.
pub(crate) fn to_rows(
    lowering: &mut Lowering,
    layer: &str,
    planes: Planes,
    image_pitch: usize,
    dense: Operand,
    rows: Operand,
    accumulate: bool,
) {
    let kernel = kernel("to_rows", include_str!("../../../shaders/ops/to_rows.wgsl"), planes, accumulate);
    lowering.emit(layer, kernel, work(planes), &[dense, rows], shape(planes, image_pitch));
}

/// Emits the conversion from rows to dense images, `image_pitch` elements apart, with zeros between them.
pub(crate) fn to_planes(
    lowering: &mut Lowering,
    layer: &str,
    planes: Planes,
    image_pitch: usize,
    rows: Operand,
    dense: Operand,
    accumulate: bool,
) {
    let kernel = kernel("to_planes", include_str!("../../../shaders/ops/to_planes.wgsl"), planes, accumulate);
    lowering.emit(layer, kernel, work(planes), &[rows, dense], shape(planes, image_pitch));
}
