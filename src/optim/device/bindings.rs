mod bind;
mod storage;

use std::sync::Arc;

use super::blocks::Blocks;
use super::options::{self, OptimizerOptions};
use super::orthogonal::Orthogonal;
use super::packed::Halves;
use super::resets::ResetBindings;
use super::slots::SlotBuffer;
use crate::Error;
use crate::gpu::{Buffer, Gpu, Held, Kernel, Ticket, UniformRing};
use crate::grad::{FusedTransforms, real_elements};
use crate::layout::{Layout, Span};
use crate::optim::averages::average::Average;
use crate::optim::averages::buffers::AveragedBuffersBindings;
use crate::optim::factored::statistics::Statistics;
use crate::optim::layerwise::tiles::ReductionTiles;
use crate::optim::rule::any::AnyRule;
use crate::optim::rule::{Family, StatePrecision};
use crate::params::ParamStore;

/// What an optimizer holds on the device: slots, kernels, bind groups and the uniforms of recorded steps.
#[derive(Debug)]
pub(crate) struct DeviceState {
    pub(crate) slots: Vec<Option<SlotBuffer>>,
    /// Of a rule that knows its tensor.
    pub(crate) reduction_tiles: Option<ReductionTiles>,
    /// What each slot is stored as.
    pub(crate) state: Vec<StatePrecision>,
    /// Where one of them is in codes of 8 bits.
    pub(crate) blocks: Option<Arc<Blocks>>,
    /// The parameters in bf16, where they are kept too.
    pub(crate) bf16_params: Option<Halves>,
    /// Of a rule that keeps values in place of elements.
    pub(crate) statistics: Option<Statistics>,
    /// Of a rule that makes its directions orthogonal.
    pub(crate) orthogonal: Option<Orthogonal>,
    /// Whether the rule may not keep zeros, over a layout with padding.
    masks: bool,
    // The last one is written to; earlier ones were too small and wait for their tickets.
    rings: Vec<UniformRing>,
    picked: Option<Buffer<u32>>,
    /// For each buffer of the layout, the number of elements in each block of 64, where padding is masked or slots may
    /// begin anew.
    real: Vec<Buffer<u32>>,
    bindings: Option<Bindings>,
}

#[derive(Debug)]
pub(crate) struct Bindings {
    /// As [`Stage::of`](super::stage::Stage::of) has them.
    pub(crate) stages: Vec<StageBindings>,
    /// Where the constants of a step have to be picked.
    pub(crate) pick: Option<(Arc<Kernel>, wgpu::BindGroup)>,
    /// Where slots may begin anew.
    pub(crate) resets: Option<ResetBindings>,
    /// Where buffers are averaged.
    pub(crate) buffers: Option<AveragedBuffersBindings>,
}

#[derive(Debug)]
pub(crate) struct StageBindings {
    /// Of a factored rule that for plain tensors, where there are some or it is for all, and that for others.
    pub(crate) kinds: [Option<KernelBindings>; 2],
}

#[derive(Debug)]
pub(crate) struct KernelBindings {
    pub(crate) kernel: Arc<Kernel>,
    /// One for each window, or one for all.
    pub(crate) bind_groups: Vec<wgpu::BindGroup>,
    /// For each of these, the bytes of the storage that it binds.
    pub(crate) regions: Vec<Vec<u64>>,
    /// Whether that is a window of all elements.
    pub(crate) by_elements: Vec<bool>,
}

impl StageBindings {
    /// The kernel for tensors of any shape, or for plain ones and all where shapes make no difference.
    pub(crate) fn of(&self, general: bool) -> &KernelBindings {
        self.kinds[usize::from(general)].as_ref().expect("bound for what the layout has")
    }
}

/// What a step needs of the plan.
#[derive(Debug)]
pub(crate) struct Needs<'a> {
    /// Bytes of its uniforms.
    pub(crate) bytes: usize,
    pub(crate) fused: &'a FusedTransforms,
    /// Runs whose constants are picked, where some may have to be.
    pub(crate) pick: Option<usize>,
    /// Whether slots may begin anew.
    pub(crate) resets: bool,
    /// Of the weights, if one is kept.
    pub(crate) average: Option<&'a Average>,
}

/// Refuses a tensor that a rule cannot take.
pub(crate) fn check_shape(span: &Span, rule: &impl AnyRule) -> Result<(), Error> {
    rule.newton_schulz(&span.shape).map(drop).map_err(|error| match error {
        Error::Shape { layer, expected, got } => {
            Error::Shape { layer: format!("{} of {layer}", span.name), expected, got }
        }
        other => other,
    })
}

impl DeviceState {
    /// Steps that may be recorded and not yet submitted.
    pub(crate) const RING: usize = 8;

    /// `rules` are those of the groups.
    pub(crate) fn new<'r, R: AnyRule + 'r>(
        rules: impl Fn(usize) -> &'r R,
        gpu: &Gpu,
        layout: &Arc<Layout>,
        options: &OptimizerOptions,
    ) -> Result<Self, Error> {
        for span in layout.spans() {
            check_shape(span, rules(span.group))?;
        }
        let rule = rules(0);
        let state = options.of_slots((0..layout.groups().len()).map(&rules))?;
        let in_blocks = state.contains(&StatePrecision::Int8);
        let blocks =
            in_blocks.then(|| Blocks::new(gpu, layout, options.least_8bit).map(Arc::new)).transpose()?;
        let bf16_params =
            options.bf16_params.then(|| Halves::zeroed(gpu, "parameters in bf16", layout)).transpose()?;
        let statistics = match rule.family() {
            Family::Factored { ratio } => Some(Statistics::new(gpu, layout, rules, ratio)?),
            Family::Element | Family::Around | Family::Tensor { .. } | Family::Matrix => None,
        };
        let masks = !rule.keeps_zeros() && layout.spans().iter().any(|span| span.padded_len() != span.len);
        let is_matrix = rule.family() == Family::Matrix;
        let in_chunks = is_matrix || matches!(rule.family(), Family::Tensor { .. });
        Ok(Self {
            slots: rule.slots().iter().map(|_| None).collect(),
            reduction_tiles: in_chunks.then(|| ReductionTiles::new(gpu, layout)).transpose()?,
            statistics,
            state,
            blocks,
            bf16_params,
            orthogonal: is_matrix.then(Orthogonal::default),
            masks,
            real: if masks { real_elements(gpu, layout)? } else { Vec::new() },
            rings: Vec::new(),
            picked: None,
            bindings: None,
        })
    }

    /// Whether every recorded step was submitted or abandoned.
    pub(crate) fn is_idle(&self) -> bool {
        self.rings.iter().all(UniformRing::is_idle)
    }

    /// What a tensor's values of a slot are stored as.
    pub(crate) fn precision(&self, slot: usize, tensor: usize) -> StatePrecision {
        match (self.state[slot], &self.blocks) {
            (StatePrecision::Int8, Some(blocks)) if blocks.ranges.stays_plain(tensor) => StatePrecision::F32,
            (own, _) => own,
        }
    }

    /// Refuses options of a group that another plan would be made for.
    pub(crate) fn check(&self, group: usize, rule: &impl AnyRule) -> Result<(), Error> {
        options::check(rule, &self.state)?;
        self.statistics.as_ref().map_or(Ok(()), |statistics| statistics.check(group, rule))
    }

    /// A ticket that was dropped, if there is one; `latest` comes before others.
    pub(crate) fn dropped(&mut self, latest: Option<&Held>) -> Option<Ticket> {
        self.rings.iter_mut().rev().find_map(|ring| ring.dropped(latest))
    }

    /// Refuses if a step cannot be recorded now.
    pub(crate) fn check_ring(&self) -> Result<(), Error> {
        self.rings.last().map_or(Ok(()), UniformRing::check)
    }

    /// Allocates the slots of `mask` that are missing; what is there stays.
    pub(crate) fn add_slots(
        &mut self,
        gpu: &Gpu,
        rule: &impl AnyRule,
        layout: &Arc<Layout>,
        mask: u32,
    ) -> Result<(), Error> {
        let missing: Vec<usize> =
            (0..self.slots.len()).filter(|&i| mask & (1 << i) != 0 && self.slots[i].is_none()).collect();
        let added = missing
            .iter()
            .map(|&i| {
                let slot = (&rule.slots()[i], self.state[i]);
                SlotBuffer::new(gpu, slot, layout, (self.statistics.as_ref(), self.blocks.as_ref()))
            })
            .collect::<Result<Vec<_>, _>>()?;
        for (index, kept) in missing.into_iter().zip(added) {
            self.slots[index] = Some(kept);
            self.bindings = None;
        }
        Ok(())
    }

    /// Makes what a step needs and does not find; nothing after warm-up. Says whether the uniforms are in
    /// another buffer now.
    pub(crate) fn prepare(
        &mut self,
        rule: &impl AnyRule,
        params: &ParamStore,
        mask: u32,
        step: &Needs<'_>,
    ) -> Result<bool, Error> {
        let (gpu, bytes) = (params.gpu(), step.bytes);
        self.add_slots(gpu, rule, params.layout(), mask)?;
        let mut moved = false;
        if self.rings.last().is_none_or(|ring| ring.slot_bytes() < bytes) {
            // Room for twice as many runs, so that freezing one tensor after another makes few rings.
            let ring = UniformRing::new(gpu, "step uniforms", 2 * bytes, Self::RING)?.watched();
            self.rings.retain(|ring| !ring.is_idle());
            self.rings.push(ring);
            (self.bindings, moved) = (None, true);
        }
        let words = step.pick.map_or(0, |segments| segments.max(1) * UniformRing::ALIGN / 4);
        if self.picked.as_ref().map_or(0, Buffer::len) < words {
            use wgpu::BufferUsages as U;
            let usage = U::STORAGE | U::UNIFORM;
            self.picked = Some(Buffer::with_usage(gpu, "picked constants", 2 * words, usage)?);
            self.bindings = None;
        }
        if step.resets && self.real.is_empty() {
            self.real = real_elements(gpu, params.layout())?;
        }
        if self.bindings.as_ref().is_none_or(|bindings| step.resets && bindings.resets.is_none()) {
            self.bindings = Some(self.bind(rule, params, step)?);
        }
        Ok(moved)
    }

    /// What is bound, once a step was prepared.
    pub(crate) fn bindings(&self) -> Option<&Bindings> {
        self.bindings.as_ref()
    }

    /// Forgets what is bound: other transforms need another kernel.
    pub(crate) fn rebind(&mut self) {
        self.bindings = None;
    }

    /// The buffer that the uniforms of the next step lie in.
    pub(crate) fn ring(&self) -> &wgpu::Buffer {
        self.rings.last().expect("prepared").buffer()
    }

    /// The ring that has a slot for a step's uniforms.
    pub(crate) fn ring_mut(&mut self) -> &mut UniformRing {
        self.rings.last_mut().expect("prepared")
    }

    pub(crate) fn submitted(&mut self, ticket: Ticket) -> Result<(), Error> {
        let ring = self.rings.iter().position(|ring| ring.gave(&ticket));
        let last = self.rings.len().saturating_sub(1);
        match ring {
            Some(index) => {
                self.rings[index].submitted(ticket)?;
                if index != last && self.rings[index].is_idle() {
                    self.rings.remove(index);
                }
                Ok(())
            }
            None => Err(Error::Mismatch("this ticket was given out by another optimizer".into())),
        }
    }
}
