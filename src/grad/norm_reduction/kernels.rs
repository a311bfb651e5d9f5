//! The kernels of the gradient-norm reduction and their uniforms.

use crate::gpu::{
    Binding, Block, Candidate, Capabilities, KernelKind, KernelListing, KernelSource, MAX_TRIPS, uniform,
};
use crate::grad::{NormType, Transforms};
use crate::params::Gate;

uniform! {
    pub(super) struct NormCall {
        pub(super) first: u32,
        pub(super) len: u32,
        pub(super) groups: u32,
        pub(super) out: u32,
    }
}
uniform! {
    pub(super) struct DecideCall {
        pub(super) entry: u32,
        pub(super) entries: u32,
        pub(super) first: u32,
        pub(super) count: u32,
        pub(super) scale: f32,
        pub(super) clips: u32,
        pub(super) max_norm: f32,
        pub(super) optax: u32,
        pub(super) may_skip: u32,
        pub(super) scales_loss: u32,
        pub(super) growth_factor: f32,
        pub(super) backoff_factor: f32,
        pub(super) growth_interval: u32,
        pub(super) gate_entries: u32,
        pub(super) bit: u32,
        pub(super) keep: u32,
        pub(super) share: u32,
        pub(super) out: u32,
    }
}

/// Vectors of four that a workgroup of the norm kernel reads, as in the kernel.
pub(super) const GROUP_VECTORS: usize = 4096;
/// Invocations of the kernel that finishes a norm.
pub(super) const DECIDERS: usize = 256;
/// Parts that these invocations finish in one dispatch. If there are more, shares are joined first.
pub(super) const MOST_PARTS: usize = DECIDERS * MAX_TRIPS / 2;
/// Parts in a share.
pub(super) const SHARE: usize = 1 << 16;

/// A partial result as in the kernels: a sum, its exponent, and the bits of the largest magnitude.
pub(crate) type Part = [u32; 3];

/// How a workgroup of the norm kernel sums.
#[derive(Debug)]
pub(super) struct Norm {
    /// Its invocations.
    pub(super) lanes: usize,
    /// Parts that it writes.
    pub(super) parts: usize,
    /// WGSL of the end of its kernel.
    pub(super) ends: &'static [&'static str],
}

/// WGSL to sum squares of numbers of any magnitude, with [`NORM_PARTS`] and [`NORM_LANES`]; other kernels use it too.
pub(crate) const NORM_UNITS: &str = include_str!("../../../shaders/grad/norm_units.wgsl");
pub(crate) const NORM_PARTS: &str = include_str!("../../../shaders/grad/norm_joined.wgsl");
pub(crate) const NORM_LANES: &str = include_str!("../../../shaders/grad/norm_lanes.wgsl");

/// Fastest first.
const NORMS: &[Candidate<(), Norm>] = &[
    // Barriers are slow on CPU adapters, so each lane writes its own part.
    Candidate {
        kind: KernelKind::CpuSubgroup,
        fits: |(), _| true,
        way: Norm { lanes: 64, parts: 64, ends: &[include_str!("../../../shaders/grad/norm_apart.wgsl")] },
    },
    // Also for GPUs: each lane makes sixteen loads of 16 bytes before one exchange.
    Candidate {
        kind: KernelKind::Plain,
        fits: |(), _| true,
        way: Norm {
            lanes: 256,
            parts: 1,
            ends: &[include_str!("../../../shaders/grad/norm_one.wgsl"), NORM_LANES],
        },
    },
];

impl Norm {
    pub(super) fn of(capabilities: &Capabilities) -> &'static Self {
        Candidate::choose(NORMS, &(), capabilities)
    }
}

pub(super) fn norm_number(transforms: &Transforms) -> u32 {
    match transforms.clip_grad_norm.as_ref().map(|clip| clip.norm_type) {
        None => 0,
        Some(NormType::One) => 1,
        Some(NormType::Two) => 2,
        Some(NormType::Infinity) => 3,
    }
}

/// The two kernels of the reduction. `norm` is 0 for none, 1, 2, or 3 for infinity.
pub(super) fn sources(norm: u32, capabilities: &Capabilities) -> [KernelSource; 2] {
    let source = |name: &str, lanes: usize, texts: &[&str], (bytes, read): (usize, Binding)| KernelSource {
        name: format!("grad/{name}[{norm}]"),
        wgsl: format!("const NORM = {norm}u;\nconst LANES = {lanes}u;\n{NORM_PARTS}{}", texts.concat())
            .into(),
        bindings: vec![Binding::Uniform { bytes: count(bytes), dynamic: true }, read, Binding::ReadWrite],
    };
    let measure = include_str!("../../../shaders/grad/norm.wgsl");
    let Norm { lanes, ends, .. } = Norm::of(capabilities);
    let measured = [NORM_UNITS, measure, &ends.concat()];
    let wide = include_str!("../../../shaders/grad/norm_wide.wgsl");
    let decide = [include_str!("../../../shaders/grad/decide.wgsl"), wide, NORM_LANES];
    [
        source("norm", *lanes, &measured, (size_of::<NormCall>(), Binding::Read)),
        source("decide", DECIDERS, &decide, (size_of::<DecideCall>(), Binding::ReadWrite)),
    ]
}

/// All kernels of the reduction, for tests.
pub(crate) fn kernel_listings() -> Vec<KernelListing> {
    let blocks = [Block::of::<NormCall>("Call"), Block::of::<DecideCall>("Call")];
    let listing = |(source, block)| KernelListing { source, blocks: vec![block] };
    let mut all: Vec<_> = Capabilities::of_each_kind()
        .iter()
        .flat_map(|offered| (0..4).map(|norm| sources(norm, offered)))
        .flat_map(|sources| sources.into_iter().zip(blocks.clone()).map(listing))
        .collect();
    all.extend(crate::grad::centralize::kernel_listings());
    all
}

pub(super) fn count(n: usize) -> u32 {
    u32::try_from(n).expect("what a step covers is counted in 32 bits")
}

const _: () = assert!(Gate::STRIDE == 256, "as in decide.wgsl");
