//! Dispatches that give slots their first values anew.

use std::ops::Range;

use super::runs::{self, Run};
use super::spec::{Inputs, ResetDispatch, count};
use crate::gpu::UniformRing;
use crate::optim::device::resets::ResetCall;
use crate::optim::rule::any::AnyRule;
use crate::optim::rule::{Extent, Slot, f32_of};

/// As in reset.wgsl.
const LANES: usize = 256;

/// Appends the dispatches that give slots of a run their first values, where the step of the constants at `hyper` finds
/// them dropped.
pub(crate) fn dispatches(
    rule: &impl AnyRule,
    inputs: &Inputs<'_>,
    run: &Run,
    (dropped, hyper): (u32, u32),
    bytes: &mut Vec<u8>,
    dispatches: &mut Vec<ResetDispatch>,
) {
    for (number, slot) in rule.slots().iter().enumerate().filter(|(bit, _)| dropped & (1 << bit) != 0) {
        for (bound, range) in parts(slot, inputs, run) {
            let call = UniformRing::align(bytes);
            bytes.extend_from_slice(bytemuck::bytes_of(&ResetCall {
                first: count(range.start),
                len: count(range.len()),
                value: f32_of(rule.initial(number)),
                slot: 1 << number,
                padded: u32::from(slot.extent == Extent::Element),
            }));
            let workgroups = range.len().div_ceil(LANES);
            let len = range.len();
            dispatches.push(ResetDispatch { slot: number, bound, len, workgroups, call, hyper });
        }
    }
}

/// Where the values of a slot of a run lie: the bind group's number, and which of what it binds.
fn parts(slot: &Slot, inputs: &Inputs<'_>, run: &Run) -> Vec<(usize, Range<usize>)> {
    match slot.extent {
        Extent::Element => runs::cut(inputs.layout, run.range.clone()).collect(),
        Extent::Tensor => vec![(0, run.tensors.clone())],
        Extent::Factors => {
            let places = inputs.factors.map_or(&[][..], |factors| &factors.places[run.tensors.clone()]);
            let places = || places.iter().flatten().map(|(_, place)| place);
            let ends = places().map(|place| place.end);
            vec![(0, places().next().map_or(0, |place| place.start)..ends.max().unwrap_or(0))]
        }
    }
}
