use super::storage::blocks_of;
use super::{Bindings, DeviceState, KernelBindings, Needs, StageBindings};
use crate::Error;
use crate::gpu::{Region, UniformRing};
use crate::grad::FusedKernel;
use crate::layout::Window;
use crate::optim::device::kernels::RuleKernel;
use crate::optim::device::pick::pick_source;
use crate::optim::device::resets::ResetBindings;
use crate::optim::device::slots::SlotBuffer;
use crate::optim::device::stage::Stage;
use crate::optim::rule::any::AnyRule;
use crate::params::{GateValues, ParamStore};

impl DeviceState {
    pub(super) fn bind(
        &self,
        rule: &impl AnyRule,
        params: &ParamStore,
        step: &Needs<'_>,
    ) -> Result<Bindings, Error> {
        let gpu = params.gpu();
        let mask = (0..).zip(&self.slots).filter(|(_, s)| s.is_some()).fold(0, |mask, (i, _)| mask | 1 << i);
        let [block, hyper] = self.uniforms(step);
        let picked = self.picked.as_ref().filter(|_| step.pick.is_some());
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
        let buffers = step.average.and_then(|average| average.buffers.as_ref());
        let own = (rule.shader().text, rule.hyper_block().0);
        let buffers = buffers.map(|buffers| buffers.bind(params, own, [block, hyper]));
        let (pick, resets, buffers) = (pick.transpose()?, resets.transpose()?, buffers.transpose()?);
        Ok(Bindings { stages, pick, resets, buffers })
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
            None if stage == Stage::Direction && self.directions().is_none() => [false, false],
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
        let text = self.text(rule, step, general);
        let kernel = gpu.kernel(&text.source(stage, mask, step.fused.variant, gpu.capabilities()))?;
        let [block, hyper] = self.uniforms(step);
        let slots: Vec<&SlotBuffer> = {
            let slots = rule.slots().iter().zip(&self.slots);
            let slots = slots.filter(|(slot, _)| stage.access(rule.family(), slot).is_some());
            slots.filter_map(|(_, kept)| kept.as_ref()).collect()
        };
        let average = step.average.filter(|_| stage == Stage::Update);
        let copy = self.bf16_params.as_ref().filter(|_| stage == Stage::Update);
        let bind = |(number, window): (usize, Window)| {
            let mut regions = vec![block, hyper, params.gate().region()];
            regions.extend(self.storage(stage, rule.family(), params, &window));
            regions.extend(slots.iter().map(|kept| kept.region((number, &window))));
            regions.extend(average.map(|average| average.params.window(&window)));
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
        let of_directions = self.orthogonal.is_some() && matches!(stage, Stage::Direction | Stage::Update);
        let by_elements = (0..storage).map(|at| at < both || (of_directions && at + 1 == storage));
        let of_slots = slots.iter().map(|kept| matches!(kept, SlotBuffer::Elements(_)));
        let by_elements = by_elements.chain(of_slots).chain(average.map(|_| true)).chain(copy.map(|_| false));
        Ok(KernelBindings { kernel, bind_groups, regions, by_elements: by_elements.collect() })
    }

    /// What the kernels of a rule are made of here.
    fn text<'a>(&'a self, rule: &'a impl AnyRule, step: &Needs<'_>, general: bool) -> RuleKernel<'a> {
        RuleKernel {
            general,
            masks: self.masks,
            state: &self.state,
            copies: self.bf16_params.is_some(),
            small: self.blocks.as_ref().is_some_and(|blocks| blocks.ranges.has_plain()),
            averages: step.average.is_some(),
            ..RuleKernel::of(rule)
        }
    }

    /// Where a dispatch's own uniforms and the constants of its rule are.
    fn uniforms(&self, step: &Needs<'_>) -> [Region<'_>; 2] {
        let ring = self.rings.last().expect("a ring is made first").buffer();
        let block = Region { buffer: ring, offset: 0, bytes: UniformRing::ALIGN as u64 };
        let picked = self.picked.as_ref().filter(|_| step.pick.is_some());
        [block, picked.map_or(block, |picked| picked.region_of(0, UniformRing::ALIGN / 4))]
    }
}
