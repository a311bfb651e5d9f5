use crate::gpu::{Candidate, Capabilities, KernelKind};

/// How a workgroup goes over blocks of elements whose codes share a scale.
#[derive(Debug)]
pub(crate) struct BlockKernel {
    /// Blocks of a workgroup.
    pub(crate) blocks: usize,
    /// Vectors of four that a lane takes.
    pub(crate) vectors: usize,
    /// What a slot in codes is an array of.
    pub(crate) element: &'static str,
    /// The text that goes over a block.
    pub(crate) frame: &'static str,
    /// The text of the codes. All have the same bits.
    pub(crate) codes: &'static str,
}

/// The fastest first.
const BLOCK_KERNELS: &[Candidate<(), BlockKernel>] = &[
    // Barriers and workgroup memory are slow there, and so is each load, whatever it brings: a subgroup takes eight blocks one
    // after the other, and each of its lanes finds one of them.
    Candidate {
        kind: KernelKind::CpuSubgroup,
        fits: |(), offered| offered.subgroup_lanes == Some([8, 8]),
        way: BlockKernel {
            blocks: 64,
            vectors: 8,
            element: "vec4u",
            frame: include_str!("../../../shaders/optim/frame/update_blocks_subgroup8.wgsl"),
            codes: include_str!("../../../shaders/optim/frame/dynamic8_subgroup8.wgsl"),
        },
    },
    // One vector a lane, side by side, and one exchange in workgroup memory.
    Candidate {
        kind: KernelKind::Plain,
        fits: |(), _| true,
        way: BlockKernel {
            blocks: 1,
            vectors: 1,
            element: "u32",
            frame: include_str!("../../../shaders/optim/frame/update_blocks.wgsl"),
            codes: include_str!("../../../shaders/optim/frame/dynamic8.wgsl"),
        },
    },
];

impl BlockKernel {
    pub(crate) fn of(capabilities: &Capabilities) -> &'static Self {
        Candidate::choose(BLOCK_KERNELS, &(), capabilities)
    }

    /// Every one, for those who look for names.
    pub(crate) fn all() -> impl Iterator<Item = &'static Self> {
        BLOCK_KERNELS.iter().map(|candidate| &candidate.way)
    }
}
