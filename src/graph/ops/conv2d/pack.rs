//! Packs a convolution weight in the order of a kernel: one row of output channels per tap and input channel (of the
//! band, if grouped), followed by the bias.

use super::band::Band;
use super::geometry::Geometry;
use crate::graph::lowering::joint::{FIELDS, JointKernel};
use crate::graph::shape::pitch;

/// The direction for which a weight is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pack {
    Forward,
    /// Transposed and flipped. The input gradient at stride 1 is a convolution with this weight.
    InputGrad,
    /// Transposed, with the taps of each phase of the input gradient side by side.
    ByPhase {
        /// Along each axis, taps whose indices are equal modulo this belong to the same phase.
        classes: [u32; 2],
    },
}

/// The packing kernel. Its jobs have a weight and an optional bias.
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

/// Maximum number of taps in a kernel row that one invocation packs.
const TAPS_EACH: u32 = 8;

/// How a weight is reordered.
#[derive(Clone, Copy, Debug)]
struct Direction {
    /// Whether rows hold input channels.
    transposed: bool,
    /// Whether the order of taps is reversed.
    flipped: bool,
    /// Number of phases along each axis, if taps are ordered by phase.
    classes: Option<[u32; 2]>,
    has_bias: bool,
}

/// The packed form of a weight.
#[derive(Clone, Debug)]
pub(super) struct Packed {
    /// Number of elements of the packed weight.
    pub(super) len: u32,
    pub(super) invocations: u32,
    pub(super) has_bias: bool,
    /// The fields of the job for the packing kernel.
    pub(super) fields: [u32; FIELDS],
}

impl Packed {
    /// Rows of `width` output channels (of the direction), rounded up to whole `vec4`s, for each channel of a band.
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

    /// For a depthwise convolution: one row per tap, with one weight per channel.
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
