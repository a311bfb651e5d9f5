use crate::gpu::{Candidate, Capabilities, KernelKind};

/// How sums over a tensor are split.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReductionShape {
    /// Maximum number of vectors of four in a tile.
    pub(crate) tile: usize,
    /// Workgroup size.
    pub(crate) lanes: usize,
    /// Number of sums that a tile writes.
    pub(crate) parts: usize,
    /// WGSL of the end of the measuring kernels.
    pub(crate) ends: &'static [&'static str],
}

/// Fastest first.
const REDUCTION_SHAPES: &[Candidate<(), ReductionShape>] = &[
    // Barriers are slow on CPU adapters, so each lane writes its own sums.
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
    // Also for GPUs: each lane makes eight loads of 16 bytes before one exchange, and a large store has thousands of
    // tiles.
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

    /// Number of sums that a tile with rows of `width` vectors writes.
    pub(crate) fn parts_of_tile(&self, width: u32) -> usize {
        if self.parts == 1 { 1 } else { width as usize }
    }
}
