//! The pass over the gradients that a norm and the search for what is not finite share.

use std::ops::Range;
use std::sync::Arc;

use super::fused::narrow;
use super::{NormType, Transforms};
use crate::Error;
use crate::config::Variant;
use crate::gpu::{
    Binding, Block, Buffer, Candidate, Capabilities, Dispatch, Gpu, Kernel, KernelKind, KernelListing,
    KernelSource, MAX_TRIPS, Phase, Recorder, Region, Uniform, UniformRing, Work, grid, uniform,
};
use crate::layout::Layout;
use crate::params::{Gate, GateValues, ParamStore};

uniform! {
    struct NormCall { first: u32, len: u32, groups: u32, out: u32 }
}
uniform! {
    struct DecideCall {
        entry: u32,
        entries: u32,
        first: u32,
        count: u32,
        scale: f32,
        clips: u32,
        max_norm: f32,
        optax: u32,
        may_skip: u32,
        scales_loss: u32,
        growth_factor: f32,
        backoff_factor: f32,
        growth_interval: u32,
        gate_entries: u32,
        bit: u32,
        keep: u32,
        share: u32,
        out: u32,
    }
}

/// Vectors of four that a workgroup of the norm looks at, as in the kernel.
const GROUP_VECTORS: usize = 4096;
/// Invocations that finish a norm.
const DECIDERS: usize = 256;
/// Parts that they finish at once. Shares of more are joined before.
const MOST_PARTS: usize = DECIDERS * MAX_TRIPS / 2;
/// Parts of a share.
const SHARE: usize = 1 << 16;

/// As in the kernels: a sum, its exponent, and the bits of the largest magnitude.
type Part = [u32; 3];

/// How a workgroup of the norm sums.
#[derive(Debug)]
struct Norm {
    /// Its invocations.
    lanes: usize,
    /// The parts that it leaves.
    parts: usize,
    /// The end of its kernel.
    ends: &'static [&'static str],
}

const LANES: &str = include_str!("../../shaders/grad/norm_lanes.wgsl");

/// The fastest first.
const NORMS: &[Candidate<(), Norm>] = &[
    // Barriers are slow there: each lane leaves its own.
    Candidate {
        kind: KernelKind::CpuSubgroup,
        fits: |(), _| true,
        way: Norm { lanes: 64, parts: 64, ends: &[include_str!("../../shaders/grad/norm_apart.wgsl")] },
    },
    // For GPUs too: sixteen loads of 16 bytes a lane before one exchange.
    Candidate {
        kind: KernelKind::Plain,
        fits: |(), _| true,
        way: Norm { lanes: 256, parts: 1, ends: &[include_str!("../../shaders/grad/norm_one.wgsl"), LANES] },
    },
];

impl Norm {
    fn of(capabilities: &Capabilities) -> &'static Self {
        Candidate::choose(NORMS, &(), capabilities)
    }
}

/// The dispatches of a step's gradient-norm reduction; none where transforms need none.
#[derive(Debug, Default)]
pub(crate) struct NormSpec {
    norms: Vec<NormDispatch>,
    decisions: Vec<DecideDispatch>,
    parts: usize,
}

/// What the gradient-norm reduction holds on the device from step to step.
#[derive(Debug, Default)]
pub(crate) struct NormReduction {
    buffer: Option<Buffer<Part>>,
    bound: Option<Bound>,
}

#[derive(Debug)]
struct NormDispatch {
    window: usize,
    groups: u32,
    call: u32,
    vectors: u32,
}

/// Of one group or of all, or of what is joined before.
#[derive(Debug)]
struct DecideDispatch {
    workgroups: usize,
    call: u32,
    /// Parts that it reads.
    parts: usize,
}

#[derive(Debug)]
struct Bound {
    norm: Arc<Kernel>,
    /// One for each window.
    windows: Vec<wgpu::BindGroup>,
    decide: (Arc<Kernel>, wgpu::BindGroup),
    /// That a workgroup of the norm leaves.
    parts_of_a_group: usize,
}

impl NormSpec {
    /// Whether there is anything to do.
    pub(crate) fn is_empty(&self) -> bool {
        self.decisions.is_empty()
    }

    /// Empties it, for a step without.
    pub(crate) fn clear(&mut self) {
        self.norms.clear();
        self.decisions.clear();
        self.parts = 0;
    }

    /// Describes the reduction over the tensors that are not frozen, and appends its uniforms. The step's number says
    /// where it lies in the history.
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

    /// Adds dispatches until there are no more parts than are finished at once: the first of these, and how many.
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

    /// Adds the dispatches over a range of the flat space, one for each window that it touches.
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

impl NormReduction {
    /// Makes what a step needs and does not find.
    pub(crate) fn prepare(
        &mut self,
        spec: &NormSpec,
        transforms: &Transforms,
        params: &ParamStore,
        ring: &wgpu::Buffer,
    ) -> Result<(), Error> {
        let gpu = params.gpu();
        if self.buffer.as_ref().is_none_or(|parts| parts.len() < spec.parts) {
            self.buffer = Some(Buffer::storage(gpu, "partial norms", 2 * spec.parts.max(DECIDERS))?);
            self.bound = None;
        }
        if let (None, Some(parts)) = (&self.bound, &self.buffer) {
            self.bound = Some(Bound::new(gpu, transforms, params, ring, parts)?);
        }
        Ok(())
    }

    /// Forgets what was bound: the ring of uniforms is another one.
    pub(crate) fn rebind(&mut self) {
        self.bound = None;
    }

    /// Records the dispatches of a step whose uniforms begin at `base`.
    pub(crate) fn record(&self, spec: &NormSpec, recorder: &mut Recorder<'_>, base: u32) {
        let Some(bound) = &self.bound else { return };
        for norm in &spec.norms {
            let groups = grid(norm.groups as usize);
            recorder.dispatch(&bound.norm, &bound.windows[norm.window], &[base + norm.call], groups);
        }
        let (kernel, group) = &bound.decide;
        for decision in &spec.decisions {
            recorder.dispatch(kernel, group, &[base + decision.call], grid(decision.workgroups));
        }
    }
}

impl NormReduction {
    /// What each dispatch of the computed step moves and computes, in order.
    pub(crate) fn dispatches(&self, spec: &NormSpec) -> Vec<Dispatch> {
        let Some(bound) = &self.bound else { return Vec::new() };
        const WORDS: usize = size_of::<Part>() / 4;
        let all = |kernel: &Kernel, groups: usize, quads: usize, touched: [usize; 2]| {
            let work = Work::of_quads(quads).touching(touched.map(Some));
            Dispatch::new((Phase::Gradients, kernel.name()), kernel, grid(groups), &[u64::MAX; 2], &work)
        };
        let norms = spec.norms.iter().map(|norm| {
            let (groups, vectors) = (norm.groups as usize, norm.vectors as usize);
            all(&bound.norm, groups, vectors, [4 * vectors, WORDS * groups * bound.parts_of_a_group])
        });
        let decisions = spec.decisions.iter().map(|decision| {
            let gate = Gate::STRIDE / 4;
            let words = WORDS * decision.parts;
            all(&bound.decide.0, decision.workgroups, words.div_ceil(4), [words, gate])
        });
        norms.chain(decisions).collect()
    }
}

impl Bound {
    fn new(
        gpu: &Gpu,
        transforms: &Transforms,
        params: &ParamStore,
        ring: &wgpu::Buffer,
        parts: &Buffer<Part>,
    ) -> Result<Self, Error> {
        let [norm, decide] = sources(norm_number(transforms), gpu.capabilities());
        let [norm, decide] = [gpu.kernel(&norm)?, gpu.kernel(&decide)?];
        let call = |bytes: usize| Region { buffer: ring, offset: 0, bytes: bytes as u64 };
        let windows = params
            .layout()
            .windows()
            .map(|window| {
                let grads = params.grads().window(&window);
                gpu.bind_group(&norm, &[call(size_of::<NormCall>()), grads, parts.region()])
            })
            .collect::<Result<_, _>>()?;
        let decided = [call(size_of::<DecideCall>()), parts.region(), params.gate().all()];
        let decided = gpu.bind_group(&decide, &decided)?;
        let parts_of_a_group = Norm::of(gpu.capabilities()).parts;
        Ok(Self { norm, windows, decide: (decide, decided), parts_of_a_group })
    }
}

/// Neighbouring tensors that are not frozen, of one group or of all.
fn ranges(layout: &Layout, frozen: &[bool], group: Option<usize>) -> Vec<Range<usize>> {
    let mut ranges: Vec<Range<usize>> = Vec::new();
    let mut extends = false;
    for (span, frozen) in layout.spans().iter().zip(frozen) {
        let counts = !frozen && group.is_none_or(|group| group == span.group);
        let end = span.first + span.padded_len();
        match ranges.last_mut() {
            // Between groups lie zeros, which change no norm; before a tensor that was moved to the next buffer
            // there may be many.
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

fn norm_number(transforms: &Transforms) -> u32 {
    match transforms.clip_grad_norm.as_ref().map(|clip| clip.norm_type) {
        None => 0,
        Some(NormType::One) => 1,
        Some(NormType::Two) => 2,
        Some(NormType::Infinity) => 3,
    }
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

/// The two kernels of the pass with a norm: 0 for none, 1, 2, or 3 for infinity.
fn sources(norm: u32, capabilities: &Capabilities) -> [KernelSource; 2] {
    const JOINED: &str = include_str!("../../shaders/grad/norm_joined.wgsl");
    let source = |name: &str, lanes: usize, texts: &[&str], (bytes, read): (usize, Binding)| KernelSource {
        name: format!("grad/{name}[{norm}]"),
        wgsl: format!("const NORM = {norm}u;\nconst LANES = {lanes}u;\n{JOINED}{}", texts.concat()).into(),
        bindings: vec![Binding::Uniform { bytes: count(bytes), dynamic: true }, read, Binding::ReadWrite],
    };
    let measure = include_str!("../../shaders/grad/norm.wgsl");
    let Norm { lanes, ends, .. } = Norm::of(capabilities);
    let measured = [measure, &ends.concat()];
    let wide = include_str!("../../shaders/grad/norm_wide.wgsl");
    let decide = [include_str!("../../shaders/grad/decide.wgsl"), wide, LANES];
    [
        source("norm", *lanes, &measured, (size_of::<NormCall>(), Binding::Read)),
        source("decide", DECIDERS, &decide, (size_of::<DecideCall>(), Binding::ReadWrite)),
    ]
}

/// Every kernel of the pass, for tests.
pub(crate) fn kernel_listings() -> Vec<KernelListing> {
    let blocks = [Block::of::<NormCall>("Call"), Block::of::<DecideCall>("Call")];
    let listing = |(source, block)| KernelListing { source, blocks: vec![block] };
    let mut all: Vec<_> = Capabilities::of_each_kind()
        .iter()
        .flat_map(|offered| (0..4).map(|norm| sources(norm, offered)))
        .flat_map(|sources| sources.into_iter().zip(blocks.clone()).map(listing))
        .collect();
    all.extend(super::centralize::kernel_listings());
    all
}

/// The most iterations of one invocation of the norm.
#[cfg(test)]
pub(crate) fn norm_trips(capabilities: &Capabilities) -> usize {
    // Once more in other units; and a loop that halves the workgroup.
    2 * GROUP_VECTORS / Norm::of(capabilities).lanes + 8
}

/// The most iterations of one invocation of what finishes norms of all tensors, or of every other one, or by group.
#[cfg(test)]
pub(crate) fn decide_trips(layout: &Layout, capabilities: &Capabilities) -> usize {
    use super::ClipGradNorm;
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

/// Appends a block where one may start, and says where that is.
fn push<U: Uniform>(bytes: &mut Vec<u8>, block: &U) -> u32 {
    let at = UniformRing::align(bytes);
    bytes.extend_from_slice(bytemuck::bytes_of(block));
    at
}

fn count(n: usize) -> u32 {
    u32::try_from(n).expect("what a step covers is counted in 32 bits")
}

const _: () = assert!(Gate::STRIDE == 256, "as in decide.wgsl");

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
