//! Upper bounds of loop iterations in one invocation.

use super::kernels::{DECIDERS, DecideCall, GROUP_VECTORS, Norm};
use super::spec::{DecideDispatch, NormSpec};
use crate::gpu::Capabilities;
use crate::grad::{ClipGradNorm, Transforms};
use crate::layout::Layout;

/// The most iterations of one invocation of the norm kernel.
pub(crate) fn norm_trips(capabilities: &Capabilities) -> usize {
    // Both units of the sum, and the loop that halves the workgroup.
    2 * GROUP_VECTORS / Norm::of(capabilities).lanes + 8
}

/// The most iterations of one invocation that finishes norms: of all tensors, of every second one, or by group.
pub(crate) fn decide_trips(layout: &Layout, capabilities: &Capabilities) -> usize {
    let every_other: Vec<bool> = (0..layout.spans().len()).map(|tensor| tensor % 2 == 1).collect();
    let mut most = 0;
    for (per_group, frozen) in
        [(false, vec![false; layout.spans().len()]), (false, every_other.clone()), (true, every_other)]
    {
        let clip = ClipGradNorm { per_group, ..ClipGradNorm::new(1.0) };
        let transforms = Transforms { clip_grad_norm: Some(clip), ..Transforms::default() };
        let (mut spec, mut bytes) = (NormSpec::default(), Vec::new());
        spec.describe(&transforms, (layout, capabilities), &frozen, 0, &mut bytes);
        for DecideDispatch { call, .. } in spec.decisions {
            let at = call as usize;
            let call: DecideCall = bytemuck::pod_read_unaligned(&bytes[at..at + size_of::<DecideCall>()]);
            let parts = if call.share > 0 { call.share } else { call.count };
            let trips =
                (parts as usize).div_ceil(DECIDERS) + 8 + (call.gate_entries as usize).div_ceil(DECIDERS);
            most = most.max(trips);
        }
    }
    most
}
