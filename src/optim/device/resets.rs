//! Slots whose state begins anew after some steps. Their first values are written on the device: the host does not know
//! which of the steps on their way finds them dropped.

use std::sync::Arc;

use super::slots::SlotBuffer;
use crate::Error;
use crate::gpu::{Binding, Buffer, Gpu, Kernel, KernelSource, Region, uniform};
use crate::layout::{Layout, Window};
use crate::optim::rules::lookahead::Ahead;

uniform! {
    /// What a dispatch gives a first value.
    pub(crate) struct ResetCall {
        /// First word in what is bound.
        pub(crate) first: u32,
        /// How many.
        pub(crate) len: u32,
        /// A word of them: one as f32, or two in bf16.
        pub(crate) value: u32,
        /// The bit of the slot.
        pub(crate) slot: u32,
        /// Elements in a word, where padding lies between tensors, or 0.
        pub(crate) elements: u32,
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

/// The kernel with all that it may write to.
#[derive(Debug)]
pub(crate) struct ResetBindings {
    pub(crate) kernel: Arc<Kernel>,
    /// For each slot that there is, one for each window, or one for all.
    pub(crate) bind_groups: Vec<Vec<wgpu::BindGroup>>,
}

impl ResetBindings {
    /// `uniforms` is a block of the step's, `hyper` one of constants; `real` is, for each buffer of the layout, the number of
    /// elements in each block of 64.
    pub(crate) fn new(
        gpu: &Gpu,
        layout: &Layout,
        slots: &[Option<SlotBuffer>],
        real: &[Buffer<u32>],
        [uniforms, hyper]: [Region<'_>; 2],
    ) -> Result<Self, Error> {
        const BLOCK: usize = Layout::TENSOR_ALIGN;
        let kernel = gpu.kernel(&reset_source())?;
        let bind = |blocks: Region<'_>, values: Region<'_>| {
            gpu.bind_group(&kernel, &[uniforms, hyper, blocks, values])
        };
        let of = |kept: &SlotBuffer| -> Result<Vec<wgpu::BindGroup>, Error> {
            if !matches!(kept, SlotBuffer::Elements(_) | SlotBuffer::Halves(_)) {
                let window = layout.windows().next().expect("a store has a window");
                return Ok(vec![bind(real[0].region(), kept.region((0, &window)))?]);
            }
            let blocks =
                |window: &Window| real[window.buffer].region_of(window.offset / BLOCK, window.len / BLOCK);
            let windows = layout.windows().enumerate();
            windows.map(|(number, window)| bind(blocks(&window), kept.region((number, &window)))).collect()
        };
        let bind_groups = slots.iter().map(|kept| kept.as_ref().map_or(Ok(Vec::new()), of));
        Ok(Self { bind_groups: bind_groups.collect::<Result<_, _>>()?, kernel: kernel.clone() })
    }
}
