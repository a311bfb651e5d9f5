use std::borrow::Cow;
use std::fmt::Write;

use super::block_kernel::BlockKernel;
use super::memory::{self, Around, Form, Stored, keep_inside, tensor};
use super::stage::{Stage, Updates};
use crate::gpu::{Binding, Candidate, Capabilities, KernelKind, KernelSource, uniform};
use crate::grad::FusedKernel;
use crate::optim::averages::text as averages;
use crate::optim::rule::any::AnyRule;
use crate::optim::rule::entry::Entry;
use crate::optim::rule::{Family, Granularity, Shader, Slot, StatePrecision};
use crate::params::GateValues;

const COMMON: &str = include_str!("../../../shaders/optim/frame/common.wgsl");
const GATE: &str = include_str!("../../../shaders/shared/gate.wgsl");

uniform! {
    /// What a dispatch covers.
    pub(crate) struct Call {
        /// First of what its stage works on: of the window's vectors of four, of the tiles or of the tensors.
        pub(crate) first: u32,
        /// How many.
        pub(crate) len: u32,
        /// Learning rate.
        pub(crate) lr: f32,
        /// [`MAXIMIZE`] or 0.
        pub(crate) flags: u32,
        /// What the gradient is multiplied by, beside the gate's factor.
        pub(crate) scale: f32,
        /// The largest magnitude of a gradient.
        pub(crate) clip_value: f32,
        /// Statistic of the parameter's sign in a penalty's gradient.
        pub(crate) l1: f32,
        /// Statistic of the parameter.
        pub(crate) l2: f32,
        /// Deviation of the noise.
        pub(crate) noise: f32,
        /// The window's first vector in the flat space: with the step and the seed, what the noise depends on.
        pub(crate) element: u32,
        pub(crate) seed_low: u32,
        pub(crate) seed_high: u32,
        pub(crate) step_low: u32,
        pub(crate) step_high: u32,
    }
}

/// The flag that negates the gradient.
pub(crate) const MAXIMIZE: u32 = 1;

/// What the kernels of a rule are made of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RuleKernel<'a> {
    pub(crate) family: Family,
    pub(crate) shader: Shader<'a>,
    pub(crate) hyper_bytes: usize,
    pub(crate) slots: &'a [Slot],
    /// What each of them is stored as; of none f32.
    pub(crate) state: &'a [StatePrecision],
    /// Whether new parameters are written in bf16 too.
    pub(crate) copies: bool,
    /// Whether some tensors are too small for codes.
    pub(crate) small: bool,
    pub(crate) looks_ahead: bool,
    /// Whether an average of the parameters is kept.
    pub(crate) averages: bool,
    /// Whether what lies behind the end of a tensor is held at zero.
    pub(crate) masks: bool,
    /// Of factored rules: whether tensors may have any shape.
    pub(crate) general: bool,
}

impl<'a> RuleKernel<'a> {
    pub(crate) fn of(rule: &'a impl AnyRule) -> Self {
        Self {
            family: rule.family(),
            shader: rule.shader(),
            hyper_bytes: rule.hyper_block().0,
            slots: rule.slots(),
            state: &[],
            copies: false,
            small: true,
            looks_ahead: rule.looks_ahead(),
            averages: false,
            masks: !rule.keeps_zeros(),
            general: true,
        }
    }

    /// Of a rule with its defaults.
    pub(crate) fn of_entry(entry: &'a Entry) -> Self {
        Self {
            family: entry.family,
            shader: entry.shader,
            hyper_bytes: entry.hyper.bytes,
            slots: entry.slots,
            state: &[],
            copies: false,
            small: true,
            looks_ahead: false,
            averages: false,
            masks: false,
            general: true,
        }
    }

    /// Whether a stage goes over blocks, so that what is in codes can be written.
    pub(crate) fn in_blocks(&self, stage: Stage) -> bool {
        stage == Stage::Update && self.state.contains(&StatePrecision::Int8)
    }

    /// Whether a stage's kernel reads which elements are real.
    pub(crate) fn reads_real(&self, stage: Stage, fused_kernel: FusedKernel) -> bool {
        (fused_kernel == FusedKernel::Noisy && stage.reads_gradients())
            || (self.masks && stage == Stage::Update)
    }

    /// The kernel of one stage with the slots whose bits are set in `mask` and with fused gradient transforms.
    pub(crate) fn source(
        &self,
        stage: Stage,
        mask: u32,
        fused_kernel: FusedKernel,
        capabilities: &Capabilities,
    ) -> KernelSource {
        let is_update = stage == Stage::Update;
        let fused = if stage.reads_gradients() { fused_kernel } else { FusedKernel::Plain };
        let slots = self.stored(stage, mask);
        let around = Around {
            blocks: self.in_blocks(stage).then(|| BlockKernel::of(capabilities)),
            small: self.small,
            has_random: fused == FusedKernel::Noisy,
            copies: self.copies && is_update,
            pairs: self.goes_by_pairs(stage, &slots, capabilities),
        };
        let mut bindings = self.bindings_before_slots(stage);
        let mut memory = match stage {
            Stage::Ratio if matches!(self.family, Family::Tensor { .. } | Family::Matrix) => {
                self.tensor_slots(bindings.len(), mask)
            }
            Stage::Ratio | Stage::Statistics | Stage::Finish | Stage::Means => String::new(),
            Stage::Measure | Stage::Direction | Stage::Update => {
                memory::memory(bindings.len(), &slots, around)
            }
        };
        bindings.extend(slots.iter().map(|slot| slot.access));
        bindings.extend(around.copies.then_some(Binding::ReadWrite));
        if self.masks && is_update {
            memory.push_str(&keep_inside(&slots));
        }
        let tables = [
            self.reads_real(stage, fused_kernel).then_some("real: array<u32>"),
            around.blocks.map(|_| "table: array<vec4u>"),
        ];
        for table in tables.into_iter().flatten() {
            let binding = bindings.len();
            writeln!(memory, "@group(0) @binding({binding}) var<storage, read> {table};")
                .expect("a string takes everything");
            bindings.push(Binding::Read);
        }
        let text = self.shader.text;
        let text = if self.averages { averages::averaging(text).into() } else { Cow::Borrowed(text) };
        let frame = self.frame(stage, around, capabilities);
        KernelSource {
            name: self.name(stage, &slots, fused),
            wgsl: format!("{text}\n{GATE}{COMMON}{frame}\n{}\n{memory}", fused.wgsl()).into(),
            bindings,
        }
    }

    /// The bindings in front of the slots': uniforms, and what the stage reads and writes.
    fn bindings_before_slots(&self, stage: Stage) -> Vec<Binding> {
        let uniform = |bytes: usize| Binding::Uniform {
            bytes: u32::try_from(bytes).expect("uniform blocks are small"),
            dynamic: true,
        };
        let hyper_bytes = self.hyper_bytes + if self.averages { averages::BYTES } else { 0 };
        let uniforms = [size_of::<Call>(), hyper_bytes, size_of::<GateValues>()].map(uniform);
        [&uniforms, stage.storage(self.family)].concat()
    }

    /// The slots of `mask` that a stage binds, that of an average behind them.
    fn stored(&self, stage: Stage, mask: u32) -> Vec<Stored<'a>> {
        let stored = |(bit, slot): (usize, &'a Slot)| {
            let precision = self.state.get(bit).copied().unwrap_or_default();
            let form = Form::new(precision, slot.precisions);
            Some(Stored { name: &slot.name, access: stage.access(self.family, slot)?, form })
        };
        let in_use = self.slots.iter().enumerate().filter(|(bit, _)| mask & (1 << bit) != 0);
        let mut slots: Vec<Stored<'a>> = in_use.filter_map(stored).collect();
        if self.averages && stage == Stage::Update {
            slots.push(Stored { name: averages::SLOT, access: Binding::ReadWrite, form: Form::F32 });
        }
        slots
    }

    /// The call of `ratio` with the slots that hold one number a tensor, `first` being their first binding.
    fn tensor_slots(&self, first: usize, mask: u32) -> String {
        let slots = self.slots.iter().enumerate();
        let of_tensors = slots.filter(|(_, slot)| slot.granularity == Granularity::Tensor);
        tensor::ratio_of(first, of_tensors.map(|(bit, slot)| (&*slot.name, mask & (1 << bit) != 0)))
    }

    /// Whether an invocation of a stage takes two vectors, of which it loads what has 16 bits at once.
    fn goes_by_pairs(&self, stage: Stage, slots: &[Stored<'_>], capabilities: &Capabilities) -> bool {
        let in_order = matches!(self.family, Family::Element | Family::Around | Family::Tensor { .. });
        let has_halves = self.copies || slots.iter().any(|slot| slot.form == Form::Bf16);
        stage == Stage::Update
            && in_order
            && has_halves
            && !self.in_blocks(stage)
            && has_dear_loads(capabilities)
    }

    /// The texts of the frame that a stage is joined with.
    fn frame(&self, stage: Stage, around: Around, capabilities: &Capabilities) -> String {
        let mut frame = match around.blocks {
            Some(kernel) => {
                kernel.frame.to_owned() + &stage.frame_of_blocks(self.family, (self.looks_ahead, self.masks))
            }
            None => {
                let Self { looks_ahead, masks, .. } = *self;
                stage.frame(self.family, capabilities, Updates { looks_ahead, masks, pairs: around.pairs })
            }
        };
        if matches!(self.family, Family::Factored { .. }) {
            frame = format!("const GENERAL = {};\n{frame}", self.general);
        }
        if stage == Stage::Update {
            frame.push_str(if self.averages { averages::AVERAGE } else { averages::NO_AVERAGE });
        }
        frame
    }

    /// The name of a stage's kernel, which says what it was made of.
    fn name(&self, stage: Stage, slots: &[Stored<'_>], fused: FusedKernel) -> String {
        let is_update = stage == Stage::Update;
        let kind = match (self.in_blocks(stage), self.small, self.family) {
            (_, _, Family::Factored { .. }) => {
                if self.general {
                    ""
                } else {
                    "/plain"
                }
            }
            (true, true, _) => "/small/blocks",
            (true, false, _) => "/blocks",
            (false, ..) => "",
        };
        let names: Vec<String> =
            slots.iter().map(|slot| format!("{}{}", slot.name, slot.form.suffix())).collect();
        let masked = if self.masks && is_update { "+mask" } else { "" };
        let ahead = if self.looks_ahead { "+lookahead" } else { "" };
        let copy = if self.copies && is_update { "+bf16" } else { "" };
        format!(
            "optim/{}{}{kind}[{}]{}{masked}{ahead}{copy}",
            self.shader.stem,
            stage.suffix(),
            names.join(","),
            fused.suffix()
        )
    }
}

/// Whether each load costs much, whatever it brings, so that fewer and larger ones are faster.
fn has_dear_loads(capabilities: &Capabilities) -> bool {
    const DEAR_LOADS: &[Candidate<(), bool>] = &[
        Candidate { kind: KernelKind::CpuSubgroup, fits: |(), _| true, way: true },
        Candidate { kind: KernelKind::Plain, fits: |(), _| true, way: false },
    ];
    *Candidate::choose(DEAR_LOADS, &(), capabilities)
}

/// Every text of the frame that a rule of the element family is joined with.
pub(crate) fn frame_texts() -> Vec<String> {
    let mut texts = vec![COMMON.to_owned(), GATE.to_owned(), "var<storage, read> real: array<u32>;".into()];
    texts.extend(memory::texts());
    texts.push(Stage::Update.frame_of_blocks(Family::Element, (false, false)));
    texts.extend(FusedKernel::ALL.map(|fused_kernel| fused_kernel.wgsl().to_owned()));
    for (looks_ahead, masks) in [(false, false), (false, true), (true, false), (true, true)] {
        let frame = |pairs| {
            let updates = Updates { looks_ahead, masks, pairs };
            Stage::Update.frame(Family::Element, &Capabilities::PLAIN, updates)
        };
        texts.extend([false, true].map(frame));
    }
    texts.extend([averages::AVERAGE, averages::NO_AVERAGE].map(str::to_owned));
    texts
}
