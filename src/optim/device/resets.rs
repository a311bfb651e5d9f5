//! Slots whose state begins anew after some steps. Their first values are written on the device: the host does not know
//! which of the steps on their way finds them dropped.

use std::ops::Range;
use std::sync::Arc;

use super::slots::Kept;
use crate::Error;
use crate::gpu::{Binding, Buffer, Gpu, Kernel, KernelSource, Region, UniformRing, uniform};
use crate::layout::{Layout, Window};
use crate::optim::rule::any::AnyRule;
use crate::optim::rule::f32_of;
use crate::optim::rule::{Extent, Slot};
use crate::optim::rules::lookahead::Ahead;
use crate::optim::step::describe::{Inputs, count};
use crate::optim::step::runs;
use crate::optim::step::runs::Run;

/// As in reset.wgsl.
const LANES: usize = 256;

uniform! {
    /// What a dispatch gives a first value.
    pub(crate) struct ResetCall {
        /// First value in what is bound.
        pub(crate) first: u32,
        /// How many.
        pub(crate) len: u32,
        pub(crate) value: f32,
        /// The bit of the slot.
        pub(crate) slot: u32,
        /// Whether padding lies between tensors.
        pub(crate) padded: u32,
    }
}

/// The kernel that writes first values.
pub(crate) fn reset_source() -> KernelSource {
    let uniform = |bytes: usize| Binding::Uniform {
        bytes: u32::try_from(bytes).expect("uniform blocks are small"),
        dynamic: true,
    };
    KernelSource {
        name: "optim/reset".into(),
        wgsl: include_str!("../../../shaders/optim/reset.wgsl").into(),
        bindings: vec![
            uniform(size_of::<ResetCall>()),
            uniform(size_of::<Ahead>()),
            Binding::Read,
            Binding::ReadWrite,
        ],
    }
}

/// A dispatch over the values of a slot, with the first bytes of its blocks: in the step's uniforms, the constants perhaps
/// in what was picked.
#[derive(Debug)]
pub(crate) struct ResetDispatch {
    pub(crate) slot: usize,
    /// Which of the slot's bind groups.
    pub(crate) bound: usize,
    /// Values that are written.
    pub(crate) len: usize,
    pub(crate) workgroups: usize,
    pub(crate) call: u32,
    pub(crate) hyper: u32,
}

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

/// The kernel with all that it may write to.
#[derive(Debug)]
pub(crate) struct BoundResets {
    pub(crate) kernel: Arc<Kernel>,
    /// For each slot that there is, one for each window, or one for all.
    pub(crate) groups: Vec<Vec<wgpu::BindGroup>>,
}

impl BoundResets {
    /// `uniforms` is a block of the step's, `hyper` one of constants; `real` is, for each buffer of the layout, the number of
    /// elements in each block of 64.
    pub(crate) fn new(
        gpu: &Gpu,
        layout: &Layout,
        slots: &[Option<Kept>],
        real: &[Buffer<u32>],
        [uniforms, hyper]: [Region<'_>; 2],
    ) -> Result<Self, Error> {
        const BLOCK: usize = Layout::TENSOR_ALIGN;
        let kernel = gpu.kernel(&reset_source())?;
        let bind = |blocks: Region<'_>, values: Region<'_>| {
            gpu.bind_group(&kernel, &[uniforms, hyper, blocks, values])
        };
        let of = |kept: &Kept| -> Result<Vec<wgpu::BindGroup>, Error> {
            if !matches!(kept, Kept::Elements(_)) {
                let window = layout.windows().next().expect("a store has a window");
                return Ok(vec![bind(real[0].region(), kept.region(&window))?]);
            }
            let blocks =
                |window: &Window| real[window.buffer].region_of(window.offset / BLOCK, window.len / BLOCK);
            layout.windows().map(|window| bind(blocks(&window), kept.region(&window))).collect()
        };
        let groups = slots.iter().map(|kept| kept.as_ref().map_or(Ok(Vec::new()), of));
        Ok(Self { groups: groups.collect::<Result<_, _>>()?, kernel: kernel.clone() })
    }
}
