//! Dispatches that update the averages of buffers.

use super::inputs::Inputs;
use super::segments::Segment;
use super::spec::{BuffersDispatch, StepSpec, count};
use crate::gpu::UniformRing;
use crate::optim::averages::buffers::BuffersCall;
use crate::params::Gate;

/// Rewrites the dispatches over averaged buffers, one for each window, with the constants of the segment with the most
/// updates. These are the whole model's, if some tensor is trained throughout.
pub(crate) fn dispatches<R>(inputs: &Inputs<'_, R>, spec: &mut StepSpec) {
    let StepSpec { segments, hypers, bytes, buffers, .. } = spec;
    buffers.clear();
    let Some(layout) = inputs.buffers else { return };
    let updates = |segment: &Segment| segment.before.applied.saturating_add_signed(segment.offset);
    let most = segments.iter().zip(hypers).max_by_key(|(segment, _)| updates(segment));
    let Some((segment, hyper)) = most else { return };
    for (number, window) in layout.windows().enumerate() {
        let call = UniformRing::align(bytes);
        let block = BuffersCall { first: 0, len: count(window.len / 4) };
        bytes.extend_from_slice(bytemuck::bytes_of(&block));
        let gate = count(segment.group * Gate::STRIDE);
        buffers.push(BuffersDispatch { window: number, len: window.len, call, hyper: *hyper, gate });
    }
}
