//! The weight gradient of a convolution: partial sums over ranges of rows, added in a fixed order.

use super::band::Band;
use super::geometry::{Geometry, Window};
use crate::gpu::Capabilities;
use crate::graph::lowering::joint::{FIELDS, JointKernel};
use crate::graph::ops::split::{RUN, even_tile, is_long};

/// Most iterations of the loop in which a kernel stores its sums.
const MOST_STORES: u64 = 32;

/// How the sums of a weight gradient are split.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Partials {
    pub(super) parts: u32,
    /// Number of parts stored side by side: computed by one dispatch and added by another.
    pub(super) at_once: u32,
    /// Number of elements of one part.
    pub(super) len: u32,
    /// Number of rows per tap in one part, and their length.
    pub(super) inner: u32,
    pub(super) outer: u32,
    pub(super) rows_per_part: u32,
    pub(super) columns_per_part: u32,
    pub(super) column_parts: u32,
}

impl Partials {
    /// `tiles` is how many tiles one part has, `wanted` how many the adapter needs to be busy. One iteration covers
    /// `pixels` of a row.
    pub(super) fn new(window: &Window, sizes: [u32; 2], tiles: u32, wanted: u32, pixels: u32) -> Self {
        Self::of_windows(window, sizes, (tiles, wanted), (pixels, 1))
    }

    /// Like [`Partials::new`], for an output given in windows of `scale` rows and columns. One iteration covers
    /// `windows` of them.
    pub(super) fn of_windows(
        window: &Window,
        [inner, outer]: [u32; 2],
        (tiles, wanted): (u32, u32),
        (pixels, scale): (u32, u32),
    ) -> Self {
        let (rows, width) = (window.images * window.output[0], window.output[1]);
        let wanted = wanted.div_ceil(tiles).clamp(1, 64);
        let mut rows_per_part = rows.div_ceil(wanted);
        let mut columns_per_part = width;
        let steps = width.div_ceil(pixels);
        // An iteration over rows of windows has an inner iteration for each row of a window.
        let each = if scale > 1 { 1 + scale } else { 1 };
        let trips = u64::from(rows_per_part) * (1 + u64::from(steps) * u64::from(each)) + MOST_STORES;
        let terms = u64::from(scale * scale);
        if is_long(trips, u64::from(rows_per_part) * u64::from(width) * terms) {
            let run = RUN / (scale * scale);
            let steps_per_part = even_tile(steps, run / pixels);
            columns_per_part = (steps_per_part * pixels).min(width);
            rows_per_part = even_tile(rows, (run / columns_per_part).max(1)).min(rows_per_part);
        }
        let column_parts = width.div_ceil(columns_per_part);
        let parts = rows.div_ceil(rows_per_part) * column_parts;
        Self {
            parts,
            at_once: even_tile(parts, wanted.max(1)),
            len: (window.kernel[0] * window.kernel[1] * inner + 1) * outer,
            inner,
            outer,
            rows_per_part,
            columns_per_part,
            column_parts,
        }
    }

    /// For all pixels as one row, in parts of `run`.
    pub(super) fn of_runs(pixels: u32, run: u32, [rows, inner, outer]: [u32; 3], most_at_once: u32) -> Self {
        let parts = pixels.div_ceil(run);
        Self {
            parts,
            at_once: even_tile(parts, most_at_once),
            len: (rows + 1) * outer,
            inner,
            outer,
            rows_per_part: 1,
            columns_per_part: run,
            column_parts: parts,
        }
    }

    /// Number of parts that a dispatch computes, starting at part `first`.
    pub(super) fn from(&self, first: u32) -> u32 {
        self.at_once.min(self.parts - first)
    }
}

/// Flags of a job.
const GROUPED: u32 = 1 << 2;
const ADDS: u32 = 1 << 3;
const ADDS_BIAS: u32 = 1 << 4;

/// The kernel that adds partial sums. Its jobs have the gradients of a weight and an optional bias.
///
/// A workgroup is one wave of a GPU. It is smaller on a CPU adapter, to keep it busy with small weights.
pub(super) fn finish_kernel(offered: &Capabilities) -> JointKernel {
    JointKernel {
        name: "conv2d_weight_grad_finish",
        source: concat!(
            include_str!("../../../../shaders/ops/conv2d_weight_grad_finish.wgsl"),
            include_str!("../../../../shaders/shared/jobs.wgsl")
        ),
        fills_arena: false,
        workgroup: if offered.is_cpu { 8 } else { 64 },
        optional: GROUPED | ADDS | ADDS_BIAS,
    }
}

/// Whether the sums are added to existing gradients.
#[derive(Clone, Copy, Debug)]
pub(super) struct Adds {
    pub(super) weight: bool,
    /// `None` without a bias.
    pub(super) bias: Option<bool>,
}

/// The fields of a job of [`finish_kernel`] for the partial sums of one dispatch, starting at a given part.
pub(super) fn finish(geometry: &Geometry, partials: &Partials, first_part: u32, adds: Adds) -> [u32; FIELDS] {
    // Later parts are added to the sums of the earlier ones.
    let accumulate = |adds: bool, what: u32| if adds || first_part > 0 { what } else { 0 };
    // A depthwise weight has the shape of one with a single input channel.
    let depthwise = geometry.is_depthwise();
    let [group_inputs, group_outputs] = geometry.group();
    let grouped = if Band::of_inputs(geometry).is_grouped && !depthwise { GROUPED } else { 0 };
    [
        geometry.out_channels,
        if depthwise { 1 } else { geometry.in_channels },
        geometry.kernel[0],
        geometry.kernel[1],
        group_inputs,
        group_outputs,
        grouped | accumulate(adds.weight, ADDS) | accumulate(adds.bias == Some(true), ADDS_BIAS),
        partials.inner,
        partials.outer / 4,
        partials.from(first_part),
        0,
        0,
    ]
}
