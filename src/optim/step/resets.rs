//! Dispatches that give slots their first values anew.

use std::ops::Range;

use super::inputs::Inputs;
use super::segments::Segment;
use super::spec::{ResetDispatch, count};
use crate::gpu::UniformRing;
use crate::optim::device::packed::nearest;
use crate::optim::device::resets::ResetCall;
use crate::optim::rule::any::AnyRule;
use crate::optim::rule::{Granularity, Slot, StatePrecision, f32_of};
use crate::optim::windows::cut_at_windows;

/// As in reset.wgsl.
const LANES: usize = 256;

/// Appends the dispatches that give slots of a run their first values, where the step of the constants at `hyper` finds
/// them dropped.
pub(crate) fn dispatches<R: AnyRule>(
    inputs: &Inputs<'_, R>,
    segment: &Segment,
    (dropped, hyper): (u32, u32),
    bytes: &mut Vec<u8>,
    dispatches: &mut Vec<ResetDispatch>,
) {
    let rule = inputs.rules[segment.group];
    for (number, slot) in rule.slots().iter().enumerate().filter(|(bit, _)| dropped & (1 << bit) != 0) {
        let (value, in_a_word) = match inputs.state[number] {
            // All of a word's elements have the same value.
            StatePrecision::Bf16 => (u32::from(nearest(f32_of(rule.initial(number)))) * 0x1_0001, 2),
            StatePrecision::F32 | StatePrecision::Int8 => (f32_of(rule.initial(number)).to_bits(), 1),
        };
        for (bind_group, range) in parts(slot, inputs, segment) {
            let range = range.start / in_a_word..range.end / in_a_word;
            let call = UniformRing::align(bytes);
            bytes.extend_from_slice(bytemuck::bytes_of(&ResetCall {
                first: count(range.start),
                len: count(range.len()),
                value,
                slot: 1 << number,
                elements: if slot.granularity == Granularity::Element { count(in_a_word) } else { 0 },
            }));
            let workgroups = range.len().div_ceil(LANES);
            let len = range.len();
            dispatches.push(ResetDispatch { slot: number, bind_group, len, workgroups, call, hyper });
        }
    }
}

/// Where the values of a slot of a run lie: the bind group's number, and which of what it binds.
fn parts<R>(slot: &Slot, inputs: &Inputs<'_, R>, segment: &Segment) -> Vec<(usize, Range<usize>)> {
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
