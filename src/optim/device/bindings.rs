use std::sync::Arc;

use super::blocks::Blocks;
use super::kernels::{RuleKernel, pick_source};
use super::options::{self, OptimizerOptions};
use super::packed::Halves;
use super::resets::ResetBindings;
use super::slots::SlotBuffer;
use super::stage::Stage;
use crate::Error;
use crate::gpu::{Buffer, Gpu, Held, Kernel, Region, Ticket, UniformRing};
use crate::grad::{FusedKernel, FusedTransforms, real_elements};
use crate::layout::{Layout, Window};
use crate::optim::factored::statistics::Statistics;
use crate::optim::layerwise::tiles::ReductionTiles;
use crate::optim::rule::any::AnyRule;
use crate::optim::rule::{Family, StatePrecision};
use crate::params::{GateValues, ParamStore};

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
    /// As [`Stage::of`] has them.
    pub(crate) stages: Vec<StageBindings>,
    /// Where the constants of a step have to be picked.
    pub(crate) pick: Option<(Arc<Kernel>, wgpu::BindGroup)>,
    /// Where slots may begin anew.
    pub(crate) resets: Option<ResetBindings>,
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
        self.kinds[usize::from(general)].as_ref().expect("bindings for what the layout has")
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
}

/// What is kept of a window's blocks of 64 elements.
fn blocks_of<'a>(blocks: &'a [Buffer<u32>], window: &Window) -> Region<'a> {
    const BLOCK: usize = Layout::TENSOR_ALIGN;
    blocks[window.buffer].region_of(window.offset / BLOCK, window.len / BLOCK)
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
        let rule = rules(0);
        let state = options.of_slots((0..layout.groups().len()).map(&rules))?;
        let in_blocks = state.contains(&StatePrecision::Int8);
        let blocks =
            in_blocks.then(|| Blocks::new(gpu, layout, options.least_8bit).map(Arc::new)).transpose()?;
        let bf16_params =
            options.bf16_params.then(|| Halves::zeroed(gpu, "parameters in bf16", layout)).transpose()?;
        let statistics = match rule.family() {
            Family::Factored { ratio } => Some(Statistics::new(gpu, layout, rules, ratio)?),
            Family::Element | Family::Around | Family::Tensor { .. } => None,
        };
        let masks = !rule.keeps_zeros() && layout.spans().iter().any(|span| span.padded_len() != span.len);
        let in_chunks = matches!(rule.family(), Family::Tensor { .. });
        Ok(Self {
            slots: rule.slots().iter().map(|_| None).collect(),
            reduction_tiles: in_chunks.then(|| ReductionTiles::new(gpu, layout)).transpose()?,
            statistics,
            state,
            blocks,
            bf16_params,
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

    fn bind(&self, rule: &impl AnyRule, params: &ParamStore, step: &Needs<'_>) -> Result<Bindings, Error> {
        let gpu = params.gpu();
        let mask = (0..).zip(&self.slots).filter(|(_, s)| s.is_some()).fold(0, |mask, (i, _)| mask | 1 << i);
        let ring = self.rings.last().expect("a ring is made first").buffer();
        let block = Region { buffer: ring, offset: 0, bytes: UniformRing::ALIGN as u64 };
        let picked = self.picked.as_ref().filter(|_| step.pick.is_some());
        let hyper = picked.map_or(block, |picked| picked.region_of(0, UniformRing::ALIGN / 4));
        let stages = Stage::of(rule.family())
            .iter()
            .map(|stage| Ok(StageBindings { kinds: self.bind_stage(rule, params, step, (*stage, mask))? }))
            .collect::<Result<_, Error>>()?;
        let pick = picked.map(|picked| {
            let kernel = gpu.kernel(&pick_source())?;
            let ring = self.rings.last().expect("a ring is made first");
            let slot = Region { buffer: ring.buffer(), offset: 0, bytes: ring.slot_bytes() as u64 };
            let gate = Region { bytes: size_of::<GateValues>() as u64, ..params.gate().region() };
            let group = gpu.bind_group(&kernel, &[block, gate, slot, picked.region()])?;
            Ok::<_, Error>((kernel, group))
        });
        let resets = step
            .resets
            .then(|| ResetBindings::new(gpu, params.layout(), &self.slots, &self.real, [block, hyper]));
        Ok(Bindings { stages, pick: pick.transpose()?, resets: resets.transpose()? })
    }

    /// The kernels of a stage, of the slots of `mask`.
    fn bind_stage(
        &self,
        rule: &impl AnyRule,
        params: &ParamStore,
        step: &Needs<'_>,
        (stage, mask): (Stage, u32),
    ) -> Result<[Option<KernelBindings>; 2], Error> {
        let kinds = match &self.statistics {
            // What knows no tensor has one kernel.
            Some(statistics) if stage.goes_by_windows() => statistics.kinds(),
            Some(_) | None => [true, false],
        };
        let bind = |general: bool| -> Result<Option<KernelBindings>, Error> {
            let wanted = kinds[usize::from(general)];
            // Of a store that holds nothing of a kind, nothing.
            let made = wanted.then(|| self.bind_kernel(rule, params, step, (stage, mask, general)));
            made.transpose()
        };
        Ok([bind(false)?, bind(true)?])
    }

    fn bind_kernel(
        &self,
        rule: &impl AnyRule,
        params: &ParamStore,
        step: &Needs<'_>,
        (stage, mask, general): (Stage, u32, bool),
    ) -> Result<KernelBindings, Error> {
        let gpu = params.gpu();
        let ring = self.rings.last().expect("a ring is made first").buffer();
        let block = Region { buffer: ring, offset: 0, bytes: UniformRing::ALIGN as u64 };
        let picked = self.picked.as_ref().filter(|_| step.pick.is_some());
        let hyper = picked.map_or(block, |picked| picked.region_of(0, UniformRing::ALIGN / 4));
        let copies = self.bf16_params.is_some();
        let small = self.blocks.as_ref().is_some_and(|blocks| blocks.ranges.has_plain());
        let text = RuleKernel {
            general,
            masks: self.masks,
            state: &self.state,
            copies,
            small,
            ..RuleKernel::of(rule)
        };
        let source = text.source(stage, mask, step.fused.variant, gpu.capabilities());
        let kernel = gpu.kernel(&source)?;
        let slots = || {
            let slots = rule.slots().iter().zip(&self.slots);
            let slots = slots.filter(|(slot, _)| stage.access(rule.family(), slot).is_some());
            slots.filter_map(|(_, kept)| kept.as_ref())
        };
        let copy = self.bf16_params.as_ref().filter(|_| stage == Stage::Update);
        let bind = |(number, window): (usize, Window)| {
            let mut regions = vec![block, hyper, params.gate().region()];
            regions.extend(self.storage(stage, rule.family(), params, &window));
            regions.extend(slots().map(|kept| kept.region((number, &window))));
            regions.extend(copy.map(|copy| copy.window(&window)));
            if text.reads_real(stage, step.fused.variant) {
                let noisy = step.fused.variant == FusedKernel::Noisy;
                regions.push(blocks_of(if noisy { &step.fused.real } else { &self.real }, &window));
            }
            if let Some(blocks) = self.blocks.as_ref().filter(|_| text.in_blocks(stage)) {
                regions.push(blocks.tables[number].region());
            }
            let bytes = regions[3..].iter().map(|region| region.bytes).collect();
            Ok::<_, Error>((gpu.bind_group(&kernel, &regions)?, bytes))
        };
        let windows = params.layout().windows().enumerate();
        let windows = windows.take(if stage.goes_by_windows() { usize::MAX } else { 1 });
        let (bind_groups, regions): (Vec<_>, Vec<_>) =
            windows.map(bind).collect::<Result<Vec<_>, _>>()?.into_iter().unzip();
        // Parameters and gradients come first, slots after what the stage binds beside them.
        let storage = stage.storage(rule.family()).len();
        let both = if stage.goes_by_windows() { 2 } else { 0 };
        let by_elements = (0..storage).map(|at| at < both);
        let by_elements = by_elements.chain(slots().map(|kept| matches!(kept, SlotBuffer::Elements(_))));
        let by_elements = by_elements.chain(copy.map(|_| false)).collect();
        Ok(KernelBindings { kernel, bind_groups, regions, by_elements })
    }

    /// As [`Stage::storage`].
    fn storage<'a>(
        &'a self,
        stage: Stage,
        family: Family,
        params: &'a ParamStore,
        window: &Window,
    ) -> Vec<Region<'a>> {
        let both = || [params.params().window(window), params.grads().window(window)];
        if let Some(statistics) = &self.statistics {
            let (index_maps, values) = (statistics.index_maps.region(), statistics.values.region());
            return match stage {
                Stage::Statistics => {
                    let own = [index_maps, values, statistics.gather.region(), statistics.parts.region()];
                    [&both()[..], &own].concat()
                }
                Stage::Finish if family == (Family::Factored { ratio: false }) => {
                    vec![index_maps, values, statistics.finish.region()]
                }
                Stage::Finish => {
                    vec![index_maps, values, statistics.finish.region(), statistics.parts.region()]
                }
                Stage::Means => vec![values, statistics.means.region()],
                Stage::Measure => {
                    [&both()[..], &[index_maps, values, statistics.tiles.region(), statistics.sums.region()]]
                        .concat()
                }
                Stage::Ratio => {
                    let ratios =
                        statistics.values.region_of(statistics.ratios.start, statistics.ratios.len());
                    vec![
                        statistics.sums.region(),
                        statistics.sums_of.region(),
                        ratios,
                        statistics.lens.region(),
                    ]
                }
                Stage::Update => [&both()[..], &[index_maps, values, statistics.tiles.region()]].concat(),
            };
        }
        match (stage, &self.reduction_tiles) {
            (Stage::Measure, Some(reduction_tiles)) => {
                [&both()[..], &[reduction_tiles.tiles.region(), reduction_tiles.parts.region()]].concat()
            }
            (Stage::Ratio, Some(reduction_tiles)) => {
                vec![
                    reduction_tiles.parts.region(),
                    reduction_tiles.parts_of.region(),
                    reduction_tiles.ratios.region(),
                ]
            }
            (Stage::Update, Some(reduction_tiles)) => {
                [&both()[..], &[blocks_of(&reduction_tiles.blocks, window), reduction_tiles.ratios.region()]]
                    .concat()
            }
            _ => both().to_vec(),
        }
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
