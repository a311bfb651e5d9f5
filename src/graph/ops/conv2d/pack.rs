//! A convolution's weight in the order of its kernels: a row of output channels for each tap and input channel (of the
//! band, if there are groups), and the bias behind them.

use super::band::Band;
use super::geometry::Geometry;
use crate::graph::lowering::joint::{FIELDS, JointKernel};
use crate::graph::shape::pitch;

/// Direction of a packed weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pack {
    Forward,
    /// Transposed and flipped: the input gradient at stride 1 is a convolution with it.
    InputGrad,
    /// Transposed, with the taps that serve one phase of the input gradient side by side.
    ByPhase {
        /// Along each axis, every so many taps serve the same phases.
        classes: [u32; 2],
    },
}

/// The kernel, whose jobs have a weight and perhaps a bias.
pub(super) const KERNEL: JointKernel = JointKernel {
    name: "conv2d_pack",
    source: concat!(
        include_str!("../../../../shaders/shared/phases.wgsl"),
        include_str!("../../../../shaders/ops/conv2d_pack.wgsl"),
        include_str!("../../../../shaders/shared/jobs.wgsl")
    ),
    fills_arena: true,
    workgroup: 64,
    optional: GROUPED | PHASED,
};

/// Flags of a job.
const TRANSPOSED: u32 = 1;
const FLIPPED: u32 = 1 << 1;
const GROUPED: u32 = 1 << 2;
const PHASED: u32 = 1 << 5;

/// Taps of a row of the kernel that an invocation packs at most.
const TAPS_EACH: u32 = 8;

/// What a packed weight is of.
#[derive(Clone, Copy, Debug)]
struct Direction {
    /// Whether rows hold input channels.
    transposed: bool,
    /// Whether the taps are in opposite order.
    flipped: bool,
    /// Classes of taps along each axis, if these stand in the order of phases.
    classes: Option<[u32; 2]>,
    has_bias: bool,
}

/// How a kernel has its weight packed.
#[derive(Clone, Debug)]
pub(super) struct Packed {
    /// Elements of the packed weight.
    pub(super) len: u32,
    pub(super) invocations: u32,
    pub(super) has_bias: bool,
    /// What the kernel knows of it.
    pub(super) fields: [u32; FIELDS],
}

impl Packed {
    /// Rows of `width` output channels (of the direction), rounded up to whole vec4s, for each channel of a band.
    pub(super) fn new(geometry: &Geometry, pack: Pack, width: u32, has_bias: bool) -> Self {
        let band = match pack {
            Pack::Forward => Band::of_inputs(geometry),
            Pack::InputGrad | Pack::ByPhase { .. } => Band::of_outputs(geometry),
        };
        let classes = if let Pack::ByPhase { classes } = pack { Some(classes) } else { None };
        let (transposed, flipped) = (pack != Pack::Forward, pack == Pack::InputGrad);
        let direction = Direction { transposed, flipped, classes, has_bias };
        Self::of(geometry, (band.vectors * 4, pitch(width) / 4), direction, band.is_grouped)
    }

    /// Of a depthwise convolution: one row for each tap, in which a channel has its own weight.
    pub(super) fn depthwise(geometry: &Geometry, flipped: bool, has_bias: bool) -> Self {
        let each = Geometry { in_channels: 1, groups: 1, ..*geometry };
        let direction = Direction { transposed: false, flipped, classes: None, has_bias };
        Self::of(&each, (1, pitch(geometry.out_channels) / 4), direction, false)
    }

    fn of(
        geometry: &Geometry,
        (inner, outer_vectors): (u32, u32),
        Direction { transposed, flipped, classes, has_bias }: Direction,
        is_grouped: bool,
    ) -> Self {
        let [group_inputs, group_outputs] = geometry.group();
        let vectors = (geometry.taps() * inner + 1) * outer_vectors;
        let taps_each = geometry.kernel[1].min(TAPS_EACH);
        let lines = geometry.kernel[0] * geometry.kernel[1].div_ceil(taps_each);
        let needs = |set: bool, what: u32| if set { what } else { 0 };
        let [classes_y, classes_x] = classes.unwrap_or([1, 1]);
        let fields = [
            geometry.out_channels,
            geometry.in_channels,
            geometry.kernel[0],
            geometry.kernel[1],
            group_inputs,
            group_outputs,
            needs(transposed, TRANSPOSED)
                | needs(flipped, FLIPPED)
                | needs(is_grouped, GROUPED)
                | needs(classes.is_some(), PHASED),
            inner,
            outer_vectors,
            classes_y,
            classes_x,
            taps_each,
        ];
        Self { len: vectors * 4, invocations: (lines * inner + 1) * outer_vectors, has_bias, fields }
    }
}
