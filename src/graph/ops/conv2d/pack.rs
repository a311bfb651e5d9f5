//! A convolution's weight in the order of its kernels: a row of output channels for each tap and input channel, and
//! the bias behind them.

use super::geometry::{Geometry, flag};
use crate::gpu::uniform;
use crate::graph::shape::pitch;
use crate::graph::template::{AnyLaunch, Launch, Template, fold};

/// Direction of a packed weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pack {
    Forward,
    /// Transposed and flipped: the input gradient at stride 1 is a convolution with it.
    InputGrad,
}

uniform! {
    struct Shape {
        out_channels: u32,
        in_channels: u32,
        kernel_height: u32,
        kernel_width: u32,
        transposed: u32,
        has_bias: u32,
        inner: u32,
        outer_vectors: u32,
        grid_width: u32,
    }
}

/// How a kernel has its weight packed.
#[derive(Clone, Debug)]
pub(super) struct Packed {
    /// Elements of the packed weight.
    pub(super) len: u32,
    /// Bindings: weight, bias (or the weight again), packed weight.
    pub(super) launch: AnyLaunch,
}

impl Packed {
    /// Rows of `width` output channels (of the direction), rounded up to whole vec4s.
    pub(super) fn new(geometry: &Geometry, pack: Pack, width: u32, has_bias: bool) -> Self {
        let inner = pitch(match pack {
            Pack::Forward => geometry.in_channels,
            Pack::InputGrad => geometry.out_channels,
        });
        let outer_vectors = pitch(width) / 4;
        let vectors = (geometry.taps() * inner + 1) * outer_vectors;
        let groups = fold(vectors.div_ceil(64));
        let shape = Shape {
            out_channels: geometry.out_channels,
            in_channels: geometry.in_channels,
            kernel_height: geometry.kernel[0],
            kernel_width: geometry.kernel[1],
            transposed: flag(pack == Pack::InputGrad),
            has_bias: flag(has_bias && pack == Pack::Forward),
            inner,
            outer_vectors,
            grid_width: groups[0],
        };
        let template = Template {
            name: "conv2d_pack",
            source: include_str!("../../../../shaders/ops/conv2d_pack.wgsl"),
            constants: vec![],
            aliases: vec![],
        };
        Self { len: vectors * 4, launch: Launch { template, shape, groups }.into() }
    }
}
