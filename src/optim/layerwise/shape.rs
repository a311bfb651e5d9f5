use crate::gpu::{Candidate, Capabilities, KernelKind};

/// How sums over a tensor are cut.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReductionShape {
    /// The most vectors of four in a tile.
    pub(crate) tile: usize,
    /// Invocations of a workgroup.
    pub(crate) lanes: usize,
    /// Sums that a tile leaves.
    pub(crate) parts: usize,
    /// The end of the kernels that measure.
    pub(crate) ends: &'static [&'static str],
}

/// The fastest first.
const REDUCTION_SHAPES: &[Candidate<(), ReductionShape>] = &[
    // Barriers are slow there: each lane leaves its own.
    Candidate {
        kind: KernelKind::CpuSubgroup,
        fits: |(), _| true,
        way: ReductionShape {
            tile: 4096,
            lanes: 64,
            parts: 64,
            ends: &[include_str!("../../../shaders/optim/frame/measure_apart.wgsl")],
        },
    },
    // For GPUs too: eight loads of 16 bytes a lane before one exchange, and thousands of tiles of a large store.
    Candidate {
        kind: KernelKind::Plain,
        fits: |(), _| true,
        way: ReductionShape {
            tile: 2048,
            lanes: 256,
            parts: 1,
            ends: &[
                include_str!("../../../shaders/optim/frame/measure_joined.wgsl"),
                include_str!("../../../shaders/optim/frame/joined.wgsl"),
            ],
        },
    },
];

impl ReductionShape {
    pub(crate) fn of(capabilities: &Capabilities) -> &'static Self {
        Candidate::choose(REDUCTION_SHAPES, &(), capabilities)
    }

    /// Sums that a tile with rows of so many vectors leaves.
    pub(crate) fn parts_of_tile(&self, width: u32) -> usize {
        if self.parts == 1 { 1 } else { width as usize }
    }
}
