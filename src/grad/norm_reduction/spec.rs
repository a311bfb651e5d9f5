//! The dispatches of one gradient-norm reduction: their ranges and uniforms.

use std::ops::Range;

use super::kernels::{DecideCall, GROUP_VECTORS, MOST_PARTS, Norm, NormCall, SHARE, count};
use crate::config::Variant;
use crate::gpu::{Capabilities, Uniform, UniformRing};
use crate::grad::Transforms;
use crate::grad::fused::narrow;
use crate::layout::Layout;
use crate::params::GateValues;

/// The dispatches of a step's gradient-norm reduction; empty if no transform needs one.
#[derive(Debug, Default)]
pub(crate) struct NormSpec {
    pub(super) norms: Vec<NormDispatch>,
    pub(super) decisions: Vec<DecideDispatch>,
    pub(super) parts: usize,
}

#[derive(Debug)]
pub(super) struct NormDispatch {
    pub(super) window: usize,
    pub(super) groups: u32,
    pub(super) call: u32,
    pub(super) vectors: u32,
}

/// A dispatch that finishes the norm of one group or of all, or joins a share.
#[derive(Debug)]
pub(super) struct DecideDispatch {
    pub(super) workgroups: usize,
    pub(super) call: u32,
    /// Parts that it reads.
    pub(super) parts: usize,
}

impl NormSpec {
    /// Whether there is nothing to dispatch.
    pub(crate) fn is_empty(&self) -> bool {
        self.decisions.is_empty()
    }

    /// Clears it, for a step without a reduction.
    pub(crate) fn clear(&mut self) {
        self.norms.clear();
        self.decisions.clear();
        self.parts = 0;
    }

    /// Describes the reduction over the tensors that are not frozen, and appends its uniforms. The step's number
    /// selects its slot in the history.
    pub(crate) fn describe(
        &mut self,
        transforms: &Transforms,
        (layout, capabilities): (&Layout, &Capabilities),
        frozen: &[bool],
        number: u64,
        bytes: &mut Vec<u8>,
    ) {
        self.clear();
        let per_group = transforms.clip_grad_norm.as_ref().is_some_and(|clip| clip.per_group);
        let entries = if per_group { layout.groups().len() } else { 1 };
        let mut shares = Vec::with_capacity(entries);
        for entry in 0..entries {
            let first = self.parts;
            for range in ranges(layout, frozen, per_group.then_some(entry)) {
                self.cover(layout, capabilities, range, bytes);
            }
            shares.push((first, self.parts - first));
        }
        for (entry, (first, parts)) in shares.into_iter().enumerate() {
            let (first, parts) = self.join_shares(first, parts, bytes);
            let mut call = decide_call(transforms);
            (call.entry, call.entries) = (count(entry), count(entries));
            (call.first, call.count, call.gate_entries) =
                (count(first), count(parts), count(layout.groups().len()));
            (call.bit, call.keep) = (GateValues::history_bit(number), GateValues::history_kept(number));
            self.decisions.push(DecideDispatch { workgroups: 1, call: push(bytes, &call), parts });
        }
    }

    /// Adds joining dispatches until one dispatch can finish the parts. Returns the first remaining part and their
    /// number.
    fn join_shares(&mut self, first: usize, parts: usize, bytes: &mut Vec<u8>) -> (usize, usize) {
        let (mut first, mut parts) = (first, parts);
        while parts > MOST_PARTS {
            let workgroups = parts.div_ceil(SHARE);
            let call = DecideCall {
                first: count(first),
                count: count(parts),
                share: count(SHARE),
                out: count(self.parts),
                ..DecideCall::default()
            };
            self.decisions.push(DecideDispatch { workgroups, call: push(bytes, &call), parts });
            (first, parts) = (self.parts, workgroups);
            self.parts += workgroups;
        }
        (first, parts)
    }

    /// Adds one dispatch for each window that a range of the flat space touches.
    fn cover(
        &mut self,
        layout: &Layout,
        capabilities: &Capabilities,
        range: Range<usize>,
        bytes: &mut Vec<u8>,
    ) {
        let window_len = layout.window_len();
        for window in layout.window_of(range.start)..=layout.window_of(range.end - 1) {
            let start = window * window_len;
            let (first, end) = (range.start.max(start) - start, range.end.min(start + window_len) - start);
            let vectors = (end - first) / 4;
            let groups = vectors.div_ceil(GROUP_VECTORS);
            let call = NormCall {
                first: count(first / 4),
                len: count(vectors),
                groups: count(groups),
                out: count(self.parts),
            };
            let call = push(bytes, &call);
            self.norms.push(NormDispatch { window, groups: count(groups), call, vectors: count(vectors) });
            self.parts += groups * Norm::of(capabilities).parts;
        }
    }
}

/// Ranges of adjacent tensors that are not frozen, of one group or of all.
fn ranges(layout: &Layout, frozen: &[bool], group: Option<usize>) -> Vec<Range<usize>> {
    let mut ranges: Vec<Range<usize>> = Vec::new();
    let mut extends = false;
    for (span, frozen) in layout.spans().iter().zip(frozen) {
        let counts = !frozen && group.is_none_or(|group| group == span.group);
        let end = span.first + span.padded_len();
        match ranges.last_mut() {
            // Gaps between groups are zeros, which change no norm. The gap before a tensor that was moved to the next
            // buffer can be long.
            Some(range) if counts && extends && span.first - range.end < Layout::GROUP_ALIGN => {
                range.end = end
            }
            _ if counts => ranges.push(span.first..end),
            _ => {}
        }
        extends = counts;
    }
    ranges
}

fn decide_call(transforms: &Transforms) -> DecideCall {
    let mut call = DecideCall {
        scale: narrow(transforms.scale()),
        may_skip: u32::from(transforms.may_skip()),
        ..DecideCall::default()
    };
    if let Some(clip) = &transforms.clip_grad_norm {
        call.clips = u32::from(clip.max_norm.is_finite());
        call.max_norm = narrow(clip.max_norm.min(f32::MAX.into()));
        call.optax = u32::from(clip.variant == Variant::Optax);
    }
    if let Some(scaler) = &transforms.grad_scaler {
        call.scales_loss = 1;
        call.growth_factor = narrow(scaler.growth_factor);
        call.backoff_factor = narrow(scaler.backoff_factor);
        call.growth_interval = scaler.growth_interval;
    }
    call
}

/// Appends a uniform block at the next aligned offset and returns the offset.
fn push<U: Uniform>(bytes: &mut Vec<u8>, block: &U) -> u32 {
    let at = UniformRing::align(bytes);
    bytes.extend_from_slice(bytemuck::bytes_of(block));
    at
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::{GroupSpec, Limits};

    #[test]
    fn ranges_leave_out_what_is_frozen_or_of_another_group() {
        let groups = [
            GroupSpec::new("a").tensor("v", [70]).tensor("w", [3]).tensor("x", [60]),
            GroupSpec::new("b").tensor("y", [10]).tensor("z", [10]),
        ];
        let layout = Layout::new(&groups, Limits::default()).unwrap();
        let starts: Vec<usize> = layout.spans().iter().map(|span| span.first).collect();
        assert_eq!(starts, [0, 128, 192, 256, 320]);
        let of = |frozen: [bool; 5], group| -> Vec<_> {
            ranges(&layout, &frozen, group).into_iter().map(|range| (range.start, range.end)).collect()
        };
        assert_eq!(of([false; 5], None), [(0, 384)]);
        assert_eq!(of([false; 5], Some(0)), [(0, 256)]);
        assert_eq!(of([false; 5], Some(1)), [(256, 384)]);
        // However short it is.
        assert_eq!(of([false, true, false, false, false], None), [(0, 128), (192, 384)]);
        assert_eq!(of([true, false, true, true, false], None), [(128, 192), (320, 384)]);
        assert_eq!(of([true; 5], None), []);
    }
}
