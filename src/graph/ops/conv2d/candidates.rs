//! The kernels of convolutions, ranked for each thing that they compute.

use super::geometry::Geometry;
use super::pack::Packed;
use super::weight_grad::Partials;
use super::{cpu, depthwise, gather, gpu, plain};
use crate::gpu::{Candidate, Capabilities, KernelKind};
use crate::graph::template::AnyLaunch;

/// A forward pass. Bindings: input, packed weight, output.
pub(super) struct Forward {
    /// The weight as it wants it, with the bias behind it if there is one.
    pub(super) pack: fn(&Geometry, &Capabilities, bool) -> Packed,
    /// Parts of its sum.
    pub(super) parts: fn(&Geometry, &Capabilities) -> u32,
    /// Channels that it finishes at once.
    pub(super) lanes: fn(&Geometry) -> usize,
    /// A dispatch from a part on, which may add to what is there.
    pub(super) launch: fn(&Geometry, &Capabilities, u32, bool) -> AnyLaunch,
}

/// The forward passes, the fastest first.
pub(super) const FORWARD: &[Candidate<Geometry, Forward>] = &[
    Candidate {
        kind: KernelKind::Plain,
        fits: |geometry, _| geometry.is_depthwise(),
        way: Forward {
            pack: |geometry, _, has_bias| depthwise::pack(geometry, has_bias),
            parts: |geometry, _| depthwise::parts(geometry),
            lanes: |_| 4,
            launch: |geometry, _, first, accumulate| depthwise::forward(geometry, first, accumulate),
        },
    },
    Candidate {
        kind: KernelKind::CpuSubgroup,
        fits: cpu::fits,
        way: Forward {
            pack: cpu::pack,
            parts: |geometry, _| cpu::parts(geometry),
            lanes: cpu::lanes,
            launch: cpu::forward,
        },
    },
    Candidate {
        kind: KernelKind::CpuSubgroup,
        fits: |geometry, _| gpu::fits(geometry),
        way: Forward {
            pack: |geometry, _, has_bias| gpu::pack(geometry, has_bias),
            parts: |geometry, _| gather::parts(geometry),
            lanes: |_| 4,
            launch: gather::forward,
        },
    },
    Candidate {
        kind: KernelKind::Gpu,
        fits: |geometry, _| gpu::fits(geometry),
        way: Forward {
            pack: |geometry, _, has_bias| gpu::pack(geometry, has_bias),
            parts: gpu::parts,
            lanes: |_| 4,
            launch: gpu::forward,
        },
    },
    Candidate {
        kind: KernelKind::Plain,
        fits: |_, _| true,
        way: Forward {
            pack: |geometry, _, has_bias| plain::pack(geometry, has_bias),
            parts: |geometry, _| plain::parts(geometry),
            lanes: |_| 4,
            launch: |geometry, _, first, accumulate| plain::forward(geometry, first, accumulate),
        },
    },
];

/// A convolution that ends with a 2x2 max pooling of stride 2.
pub(super) struct Pooled {
    /// As of a [`Forward`].
    pub(super) pack: fn(&Geometry, &Capabilities, bool) -> Packed,
    /// A forward dispatch, with a relu before the pooling or without. Bindings: input, packed weight, pooled output,
    /// places of the maxima.
    pub(super) launch: fn(&Geometry, &Capabilities, bool) -> AnyLaunch,
    /// Windows of a row whose places it leaves in one word of each channel.
    pub(super) block: fn(&Geometry) -> u32,
    /// Whether there is a weight gradient from the gradient of the pooled output.
    pub(super) fits_weight_grad: fn(&Geometry, &Capabilities) -> bool,
    /// As a [`WeightGrad`]. Bindings: input, gradient of the pooled output, partial sums, places.
    pub(super) weight_grad: WeightGrad,
    /// Whether there is an input gradient from the gradient of the pooled output.
    pub(super) fits_input_grad: fn(&Geometry, &Capabilities) -> bool,
    /// The weight as that wants it.
    pub(super) pack_input_grad: fn(&Geometry, &Capabilities, bool) -> Packed,
    /// A dispatch of it that writes or adds. Bindings: gradient of the pooled output, packed weight, input's gradient,
    /// places.
    pub(super) input_grad: fn(&Geometry, &Capabilities, bool) -> AnyLaunch,
}

/// What can read an input of a single channel that lies in the natural order, forward and in the weight gradient.
pub(super) const PLANAR: &[Candidate<Geometry, ()>] =
    &[Candidate { kind: KernelKind::CpuSubgroup, fits: cpu::fits_planar, way: () }];

/// The pooled convolutions, the fastest first; where none fits, a pooling is a dispatch of its own.
pub(super) const POOLED: &[Candidate<Geometry, Pooled>] = &[Candidate {
    kind: KernelKind::CpuSubgroup,
    fits: cpu::fits_pooled,
    way: Pooled {
        pack: cpu::pack,
        launch: cpu::forward_pooled,
        block: cpu::pooled_block,
        fits_weight_grad: cpu::fits_weight_grad,
        weight_grad: cpu::weight_grad_pooled,
        fits_input_grad: cpu::fits_input_grad_pooled,
        pack_input_grad: cpu::pack_input_grad,
        input_grad: cpu::input_grad_pooled,
    },
}];

/// An input gradient. Bindings: output's gradient, packed weight, input's gradient.
pub(super) struct InputGrad {
    /// The weight as it wants it, with a bias of the input's channels behind it if a transposed convolution has one.
    pub(super) pack: fn(&Geometry, &Capabilities, bool) -> Packed,
    /// Parts of its sum.
    pub(super) parts: fn(&Geometry, &Capabilities) -> u32,
    /// A dispatch from a part on, with a bias behind the weight or without.
    pub(super) launch: fn(&Geometry, &Capabilities, bool, u32, bool) -> AnyLaunch,
}

/// The input gradients, the fastest first.
pub(super) const INPUT_GRAD: &[Candidate<Geometry, InputGrad>] = &[
    Candidate {
        kind: KernelKind::Plain,
        fits: |geometry, _| geometry.is_depthwise() && geometry.stride == [1, 1],
        way: InputGrad {
            pack: |geometry, _, has_bias| depthwise::pack_flipped(geometry, has_bias),
            parts: |geometry, _| depthwise::parts(geometry),
            launch: |geometry, _, has_bias, first, accumulate| {
                depthwise::input_grad(geometry, has_bias, first, accumulate)
            },
        },
    },
    Candidate {
        kind: KernelKind::Plain,
        fits: |geometry, _| geometry.is_depthwise(),
        way: InputGrad {
            pack: |geometry, _, has_bias| depthwise::pack(geometry, has_bias),
            parts: |geometry, _| depthwise::strided_parts(geometry),
            launch: |geometry, _, has_bias, first, accumulate| {
                depthwise::strided_input_grad(geometry, has_bias, first, accumulate)
            },
        },
    },
    Candidate {
        kind: KernelKind::CpuSubgroup,
        fits: cpu::fits_input_grad,
        way: InputGrad {
            pack: cpu::pack_input_grad,
            parts: |geometry, _| cpu::input_grad_parts(geometry),
            launch: |geometry, offered, _, first, accumulate| {
                cpu::input_grad(geometry, offered, first, accumulate)
            },
        },
    },
    Candidate {
        kind: KernelKind::CpuSubgroup,
        fits: |geometry, _| gpu::fits_input_grad(geometry),
        way: InputGrad {
            pack: |geometry, _, has_bias| gpu::pack_input_grad(geometry, has_bias),
            parts: |geometry, _| gather::input_grad_parts(geometry),
            launch: |geometry, offered, _, first, accumulate| {
                gather::input_grad(geometry, offered, first, accumulate)
            },
        },
    },
    Candidate {
        kind: KernelKind::Gpu,
        fits: |geometry, _| gpu::fits_input_grad(geometry),
        way: InputGrad {
            pack: |geometry, _, has_bias| gpu::pack_input_grad(geometry, has_bias),
            parts: gpu::input_grad_parts,
            launch: |geometry, offered, _, first, accumulate| {
                gpu::input_grad(geometry, offered, first, accumulate)
            },
        },
    },
    Candidate {
        kind: KernelKind::Plain,
        fits: |_, _| true,
        way: InputGrad {
            pack: |geometry, _, has_bias| plain::pack_input_grad(geometry, has_bias),
            parts: |geometry, _| plain::input_grad_parts(geometry),
            launch: |geometry, _, has_bias, first, accumulate| {
                plain::input_grad(geometry, has_bias, first, accumulate)
            },
        },
    },
];

/// Partial sums of a weight gradient from a part on, and how they are cut. Bindings: input, output's gradient, partial
/// sums.
pub(super) type WeightGrad = fn(&Geometry, &Capabilities, u32) -> (AnyLaunch, Partials);

/// The weight gradients, the fastest first.
pub(super) const WEIGHT_GRAD: &[Candidate<Geometry, WeightGrad>] = &[
    Candidate {
        kind: KernelKind::Plain,
        fits: |geometry, _| geometry.is_depthwise(),
        way: |geometry, _, first| depthwise::weight_grad(geometry, first),
    },
    Candidate { kind: KernelKind::CpuSubgroup, fits: cpu::fits_weight_grad, way: cpu::weight_grad },
    Candidate {
        kind: KernelKind::CpuSubgroup,
        fits: |geometry, _| gpu::fits_weight_grad(geometry),
        way: gather::weight_grad,
    },
    Candidate {
        kind: KernelKind::Gpu,
        fits: |geometry, _| gpu::fits_weight_grad(geometry),
        way: gpu::weight_grad,
    },
    Candidate {
        kind: KernelKind::Plain,
        fits: |_, _| true,
        way: |geometry, _, first| plain::weight_grad(geometry, first),
    },
];
