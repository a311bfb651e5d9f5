//! Dispatches that give slots their first values anew.

use std::ops::Range;

use super::segments::Segment;
use super::spec::{Inputs, ResetDispatch, count};
use crate::gpu::UniformRing;
use crate::optim::device::resets::ResetCall;
use crate::optim::rule::any::AnyRule;
use crate::optim::rule::{Granularity, Slot, f32_of};
use crate::optim::windows::cut_at_windows;

/// As in reset.wgsl.
const LANES: usize = 256;

/// Appends the dispatches that give slots of a run their first values, where the step of the constants at `hyper` finds
/// them dropped.
pub(crate) fn dispatches(
    rule: &impl AnyRule,
    inputs: &Inputs<'_>,
    segment: &Segment,
    (dropped, hyper): (u32, u32),
    bytes: &mut Vec<u8>,
    dispatches: &mut Vec<ResetDispatch>,
) {
    for (number, slot) in rule.slots().iter().enumerate().filter(|(bit, _)| dropped & (1 << bit) != 0) {
        for (bindings, range) in parts(slot, inputs, segment) {
            let call = UniformRing::align(bytes);
            bytes.extend_from_slice(bytemuck::bytes_of(&ResetCall {
                first: count(range.start),
                len: count(range.len()),
                value: f32_of(rule.initial(number)),
                slot: 1 << number,
                padded: u32::from(slot.granularity == Granularity::Element),
            }));
            let workgroups = range.len().div_ceil(LANES);
            let len = range.len();
            dispatches.push(ResetDispatch { slot: number, bindings, len, workgroups, call, hyper });
        }
    }
}

/// Where the values of a slot of a run lie: the bind group's number, and which of what it binds.
fn parts(slot: &Slot, inputs: &Inputs<'_>, segment: &Segment) -> Vec<(usize, Range<usize>)> {
    match slot.granularity {
        Granularity::Element => cut_at_windows(inputs.layout, segment.range.clone()).collect(),
        Granularity::Tensor => vec![(0, segment.tensors.clone())],
        Granularity::Statistics => {
            let places =
                inputs.statistics.map_or(&[][..], |statistics| &statistics.places[segment.tensors.clone()]);
            let places = || places.iter().flatten().map(|(_, place)| place);
            let ends = places().map(|place| place.end);
            vec![(0, places().next().map_or(0, |place| place.start)..ends.max().unwrap_or(0))]
        }
    }
}
