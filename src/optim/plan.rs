use std::sync::Arc;

use super::chunks::Chunks;
use super::factors::Factors;
use super::orthogonal::Orthogonal;
use super::reset::BoundResets;
use super::shader::{Text, pick_source};
use super::slots::Kept;
use super::stage::Stage;
use super::step::Pick;
use super::{AnyRule, Family};
use crate::Error;
use crate::gpu::{Buffer, Gpu, Held, Kernel, Region, Ticket, UniformRing};
use crate::grad::{Riders, Riding, real_elements};
use crate::layout::{Layout, Span, Window};
use crate::params::{Flat, GateValues, ParamStore};

/// What an optimizer holds on the device: slots, kernels, bind groups and the uniforms of recorded steps.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) slots: Vec<Option<Kept>>,
    /// Of a rule that knows its tensor.
    pub(super) chunks: Option<Chunks>,
    /// Of a rule that keeps values in place of elements.
    pub(super) factors: Option<Factors>,
    /// Of a rule that makes its directions orthogonal.
    pub(super) orthogonal: Option<Orthogonal>,
    /// Whether the rule may not keep zeros, over a layout with padding.
    masks: bool,
    // The last one is written to; earlier ones were too small and wait for their tickets.
    rings: Vec<UniformRing>,
    picked: Option<Buffer<u32>>,
    /// For each buffer of the layout, the number of elements in each block of 64, where padding is masked or slots may
    /// begin anew.
    real: Vec<Buffer<u32>>,
    bound: Option<Bound>,
}

#[derive(Debug)]
pub(super) struct Bound {
    /// As [`Stage::of`] has them.
    pub(super) stages: Vec<BoundStage>,
    /// Where the constants of a step have to be picked.
    pub(super) pick: Option<(Arc<Kernel>, wgpu::BindGroup)>,
    /// Where slots may begin anew.
    pub(super) resets: Option<BoundResets>,
}

#[derive(Debug)]
pub(super) struct BoundStage {
    /// Of a factored rule that for plain tensors, where there are some or it is for all, and that for others.
    pub(super) kinds: [Option<BoundKernel>; 2],
}

#[derive(Debug)]
pub(super) struct BoundKernel {
    pub(super) kernel: Arc<Kernel>,
    /// One for each window, or one for all.
    pub(super) groups: Vec<wgpu::BindGroup>,
    /// For each of these, the bytes of the storage that it binds.
    pub(super) regions: Vec<Vec<u64>>,
    /// Whether that is a window of all elements.
    pub(super) by_elements: Vec<bool>,
}

impl BoundStage {
    /// The kernel for tensors of any shape, or for plain ones and all where shapes make no difference.
    pub(super) fn of(&self, general: bool) -> &BoundKernel {
        self.kinds[usize::from(general)].as_ref().expect("bound for what the layout has")
    }
}

/// What a step needs of the plan.
#[derive(Debug)]
pub(super) struct Needs<'a> {
    /// Bytes of its uniforms.
    pub(super) bytes: usize,
    pub(super) riders: &'a Riders,
    pub(super) pick: Option<Pick>,
    /// Whether slots may begin anew.
    pub(super) resets: bool,
}

/// What is kept of a window's blocks of 64 elements.
fn blocks_of<'a>(blocks: &'a [Buffer<u32>], window: &Window) -> Region<'a> {
    const BLOCK: usize = Layout::TENSOR_ALIGN;
    blocks[window.buffer].region_of(window.offset / BLOCK, window.len / BLOCK)
}

/// Refuses a tensor that a rule cannot take.
pub(super) fn check_shape(span: &Span, rule: &impl AnyRule) -> Result<(), Error> {
    rule.newton_schulz(&span.shape).map(drop).map_err(|error| match error {
        Error::Shape { layer, expected, got } => {
            Error::Shape { layer: format!("{} of {layer}", span.name), expected, got }
        }
        other => other,
    })
}

impl Plan {
    /// Steps that may be recorded and not yet submitted.
    pub(super) const RING: usize = 8;

    /// `rules` are those of the groups.
    pub(super) fn new<'r, R: AnyRule + 'r>(
        rules: impl Fn(usize) -> &'r R,
        gpu: &Gpu,
        layout: &Arc<Layout>,
    ) -> Result<Self, Error> {
        for span in layout.spans() {
            check_shape(span, rules(span.group))?;
        }
        let rule = rules(0);
        let factors = match rule.family() {
            Family::Factored { ratio } => Some(Factors::new(gpu, layout, rules, ratio)?),
            Family::Element | Family::Around | Family::Tensor { .. } | Family::Matrix => None,
        };
        let masks = !rule.keeps_zeros() && layout.spans().iter().any(|span| span.padded_len() != span.len);
        let is_matrix = rule.family() == Family::Matrix;
        let in_chunks = is_matrix || matches!(rule.family(), Family::Tensor { .. });
        Ok(Self {
            slots: rule.slots().iter().map(|_| None).collect(),
            chunks: in_chunks.then(|| Chunks::new(gpu, layout)).transpose()?,
            factors,
            orthogonal: is_matrix.then(Orthogonal::default),
            masks,
            real: if masks { real_elements(gpu, layout)? } else { Vec::new() },
            rings: Vec::new(),
            picked: None,
            bound: None,
        })
    }

    /// Whether every recorded step was submitted or abandoned.
    pub(super) fn is_idle(&self) -> bool {
        self.rings.iter().all(UniformRing::is_idle)
    }

    /// Refuses options of a group that another plan would be made for.
    pub(super) fn check(&self, group: usize, rule: &impl AnyRule) -> Result<(), Error> {
        self.factors.as_ref().map_or(Ok(()), |factors| factors.check(group, rule))
    }

    /// A ticket that was dropped, if there is one; `latest` comes before others.
    pub(super) fn dropped(&mut self, latest: Option<&Held>) -> Option<Ticket> {
        self.rings.iter_mut().rev().find_map(|ring| ring.dropped(latest))
    }

    /// Refuses if a step cannot be recorded now.
    pub(super) fn check_ring(&self) -> Result<(), Error> {
        self.rings.last().map_or(Ok(()), UniformRing::check)
    }

    /// Allocates the slots of `mask` that are missing; what is there stays.
    pub(super) fn add_slots(
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
            .map(|&i| Kept::new(gpu, &rule.slots()[i], layout, self.factors.as_ref()))
            .collect::<Result<Vec<_>, _>>()?;
        for (index, kept) in missing.into_iter().zip(added) {
            self.slots[index] = Some(kept);
            self.bound = None;
        }
        Ok(())
    }

    /// Makes what a step needs and does not find; nothing after warm-up. Says whether the uniforms are in
    /// another buffer now.
    pub(super) fn prepare(
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
            (self.bound, moved) = (None, true);
        }
        let words = step.pick.map_or(0, |pick| pick.runs.max(1) * UniformRing::ALIGN / 4);
        if self.picked.as_ref().map_or(0, Buffer::len) < words {
            use wgpu::BufferUsages as U;
            let usage = U::STORAGE | U::UNIFORM;
            self.picked = Some(Buffer::with_usage(gpu, "picked constants", 2 * words, usage)?);
            self.bound = None;
        }
        if step.resets && self.real.is_empty() {
            self.real = real_elements(gpu, params.layout())?;
        }
        if self.bound.as_ref().is_none_or(|bound| step.resets && bound.resets.is_none()) {
            self.bound = Some(self.bind(rule, params, step)?);
        }
        Ok(moved)
    }

    fn bind(&self, rule: &impl AnyRule, params: &ParamStore, step: &Needs<'_>) -> Result<Bound, Error> {
        let gpu = params.gpu();
        let mask = (0..).zip(&self.slots).filter(|(_, s)| s.is_some()).fold(0, |mask, (i, _)| mask | 1 << i);
        let ring = self.rings.last().expect("a ring is made first").buffer();
        let block = Region { buffer: ring, offset: 0, bytes: UniformRing::ALIGN as u64 };
        let picked = self.picked.as_ref().filter(|_| step.pick.is_some());
        let hyper = picked.map_or(block, |picked| picked.region_of(0, UniformRing::ALIGN / 4));
        let stages = Stage::of(rule.family())
            .iter()
            .map(|stage| Ok(BoundStage { kinds: self.bind_stage(rule, params, step, (*stage, mask))? }))
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
            .then(|| BoundResets::new(gpu, params.layout(), &self.slots, &self.real, [block, hyper]));
        Ok(Bound { stages, pick: pick.transpose()?, resets: resets.transpose()? })
    }

    /// The kernels of a stage, of the slots of `mask`.
    fn bind_stage(
        &self,
        rule: &impl AnyRule,
        params: &ParamStore,
        step: &Needs<'_>,
        (stage, mask): (Stage, u32),
    ) -> Result<[Option<BoundKernel>; 2], Error> {
        let kinds = match &self.factors {
            // What knows no tensor has one kernel.
            Some(factors) if stage.goes_by_windows() => factors.kinds(),
            None if stage == Stage::Direction && self.directions().is_none() => [false, false],
            Some(_) | None => [true, false],
        };
        let bind = |general: bool| -> Result<Option<BoundKernel>, Error> {
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
    ) -> Result<BoundKernel, Error> {
        let gpu = params.gpu();
        let ring = self.rings.last().expect("a ring is made first").buffer();
        let block = Region { buffer: ring, offset: 0, bytes: UniformRing::ALIGN as u64 };
        let picked = self.picked.as_ref().filter(|_| step.pick.is_some());
        let hyper = picked.map_or(block, |picked| picked.region_of(0, UniformRing::ALIGN / 4));
        let text = Text { general, masks: self.masks, ..Text::of(rule) };
        let source = text.source(stage, mask, step.riders.variant, gpu.capabilities());
        let kernel = gpu.kernel(&source)?;
        let slots = || {
            let slots = rule.slots().iter().zip(&self.slots);
            let slots = slots.filter(|(slot, _)| stage.access(rule.family(), slot).is_some());
            slots.filter_map(|(_, kept)| kept.as_ref())
        };
        let bind = |window: Window| {
            let mut regions = vec![block, hyper, params.gate().region()];
            regions.extend(self.storage(stage, rule.family(), params, &window));
            regions.extend(slots().map(|kept| kept.region(&window)));
            if text.reads_real(stage, step.riders.variant) {
                let noisy = step.riders.variant == Riding::Noisy;
                regions.push(blocks_of(if noisy { &step.riders.real } else { &self.real }, &window));
            }
            let bytes = regions[3..].iter().map(|region| region.bytes).collect();
            Ok::<_, Error>((gpu.bind_group(&kernel, &regions)?, bytes))
        };
        let windows = params.layout().windows();
        let windows = windows.take(if stage.goes_by_windows() { usize::MAX } else { 1 });
        let (groups, regions): (Vec<_>, Vec<_>) =
            windows.map(bind).collect::<Result<Vec<_>, _>>()?.into_iter().unzip();
        // Parameters and gradients come first, slots after what the stage binds beside them.
        let storage = stage.storage(rule.family()).len();
        let both = if stage.goes_by_windows() { 2 } else { 0 };
        let of_directions = self.orthogonal.is_some() && matches!(stage, Stage::Direction | Stage::Update);
        let by_elements = (0..storage).map(|at| at < both || (of_directions && at + 1 == storage));
        let by_elements = by_elements.chain(slots().map(|kept| matches!(kept, Kept::Elements(_)))).collect();
        Ok(BoundKernel { kernel, groups, regions, by_elements })
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
        if let Some(factors) = &self.factors {
            let (views, values) = (factors.views.region(), factors.values.region());
            return match stage {
                Stage::Statistics => {
                    let own = [views, values, factors.statistics.region(), factors.parts.region()];
                    [&both()[..], &own].concat()
                }
                Stage::Finish if family == (Family::Factored { ratio: false }) => {
                    vec![views, values, factors.finish.region()]
                }
                Stage::Finish => vec![views, values, factors.finish.region(), factors.parts.region()],
                Stage::Means => vec![values, factors.means.region()],
                Stage::Measure => {
                    [&both()[..], &[views, values, factors.tiles.region(), factors.sums.region()]].concat()
                }
                Stage::Ratio => {
                    let ratios = factors.values.region_of(factors.ratios.start, factors.ratios.len());
                    vec![factors.sums.region(), factors.sums_of.region(), ratios, factors.lens.region()]
                }
                Stage::Direction | Stage::Update => {
                    [&both()[..], &[views, values, factors.tiles.region()]].concat()
                }
            };
        }
        match (stage, &self.chunks) {
            (Stage::Measure, Some(chunks)) => {
                [&both()[..], &[chunks.chunks.region(), chunks.parts.region()]].concat()
            }
            (Stage::Ratio, Some(chunks)) => {
                vec![chunks.parts.region(), chunks.parts_of.region(), chunks.ratios.region()]
            }
            (Stage::Direction, Some(chunks)) => {
                let ratios = [blocks_of(&chunks.blocks, window), chunks.ratios.region()];
                let directions = self.directions().expect("bound for what there is").window(window);
                [&both()[..], &ratios, &[directions]].concat()
            }
            (Stage::Update, Some(_)) if family == Family::Matrix => {
                // Where there are none they are not read, but a binding needs a buffer.
                let directions = self.directions().unwrap_or(params.grads()).window(window);
                [&both()[..], &[directions]].concat()
            }
            (Stage::Update, Some(chunks)) => {
                [&both()[..], &[blocks_of(&chunks.blocks, window), chunks.ratios.region()]].concat()
            }
            _ => both().to_vec(),
        }
    }

    /// The directions; none where no tensor has one.
    fn directions(&self) -> Option<&Flat> {
        self.orthogonal.as_ref()?.directions.as_ref()
    }

    /// What is bound, once a step was prepared.
    pub(super) fn bound(&self) -> Option<&Bound> {
        self.bound.as_ref()
    }

    /// Forgets what is bound: other transforms need another kernel.
    pub(super) fn rebind(&mut self) {
        self.bound = None;
    }

    /// The buffer that the uniforms of the next step lie in.
    pub(super) fn ring(&self) -> &wgpu::Buffer {
        self.rings.last().expect("prepared").buffer()
    }

    /// The ring that has a slot for a step's uniforms.
    pub(super) fn ring_mut(&mut self) -> &mut UniformRing {
        self.rings.last_mut().expect("prepared")
    }

    pub(super) fn submitted(&mut self, ticket: Ticket) -> Result<(), Error> {
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
