use std::borrow::Cow;
use std::fmt::Write;

use super::stage::Stage;
use crate::gpu::{Binding, Capabilities, KernelSource, uniform};
use crate::grad::FusedKernel;
use crate::optim::averages::text as averages;
use crate::optim::rule::any::AnyRule;
use crate::optim::rule::entry::Entry;
use crate::optim::rule::{Family, Granularity, Shader, Slot};
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

uniform! {
    /// What picking covers.
    pub(crate) struct PickCall {
        pub(crate) segments: u32,
        /// Words of a rule's constants.
        pub(crate) words: u32,
        /// First word of the table of segments.
        pub(crate) table: u32,
    }
}

/// The flag that negates the gradient.
pub(crate) const MAXIMIZE: u32 = 1;

/// The kernel that picks the constants of a step which may be another one than the host can know.
pub(crate) fn pick_source() -> KernelSource {
    let uniform = |bytes: usize, dynamic| Binding::Uniform {
        bytes: u32::try_from(bytes).expect("uniform blocks are small"),
        dynamic,
    };
    KernelSource {
        name: "optim/pick".into(),
        wgsl: format!("{}\n{GATE}", include_str!("../../../shaders/optim/pick.wgsl")).into(),
        bindings: vec![
            uniform(size_of::<PickCall>(), true),
            uniform(size_of::<GateValues>(), false),
            Binding::ReadDynamic,
            Binding::ReadWrite,
        ],
    }
}

/// What the kernels of a rule are made of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RuleKernel<'a> {
    pub(crate) family: Family,
    pub(crate) shader: Shader<'a>,
    pub(crate) hyper_bytes: usize,
    pub(crate) slots: &'a [Slot],
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
            looks_ahead: false,
            averages: false,
            masks: false,
            general: true,
        }
    }

    /// Whether a stage's kernel reads which elements are real.
    pub(crate) fn reads_real(&self, stage: Stage, fused_kernel: FusedKernel) -> bool {
        (fused_kernel == FusedKernel::Noisy && stage.reads_gradients())
            || (self.masks && stage == Stage::Update)
    }

    /// The kernel of one stage with the slots whose bits are set in `mask`, and what rides in it.
    pub(crate) fn source(
        &self,
        stage: Stage,
        mask: u32,
        fused_kernel: FusedKernel,
        capabilities: &Capabilities,
    ) -> KernelSource {
        let uniform = |bytes: usize| Binding::Uniform {
            bytes: u32::try_from(bytes).expect("uniform blocks are small"),
            dynamic: true,
        };
        let hyper_bytes = self.hyper_bytes + if self.averages { averages::BYTES } else { 0 };
        let mut bindings =
            vec![uniform(size_of::<Call>()), uniform(hyper_bytes), uniform(size_of::<GateValues>())];
        bindings.extend_from_slice(stage.storage(self.family));
        let mut slots: Vec<(&str, Binding)> = self
            .slots
            .iter()
            .enumerate()
            .filter(|(bit, _)| mask & (1 << bit) != 0)
            .filter_map(|(_, slot)| Some((&*slot.name, stage.access(self.family, slot)?)))
            .collect();
        if self.averages && stage == Stage::Update {
            slots.push((averages::SLOT, Binding::ReadWrite));
        }
        let mut memory = match stage {
            Stage::Ratio if matches!(self.family, Family::Tensor { .. } | Family::Matrix) => {
                let scalars =
                    self.slots.iter().enumerate().filter(|(_, slot)| slot.granularity == Granularity::Tensor);
                kept(bindings.len(), scalars.map(|(bit, slot)| (&*slot.name, mask & (1 << bit) != 0)))
            }
            Stage::Ratio | Stage::Statistics | Stage::Finish | Stage::Means => String::new(),
            Stage::Measure | Stage::Direction | Stage::Update => memory(bindings.len(), &slots),
        };
        bindings.extend(slots.iter().map(|(_, binding)| *binding));
        if self.masks && stage == Stage::Update {
            memory.push_str(&keep_inside(&slots));
        }
        if self.reads_real(stage, fused_kernel) {
            let binding = bindings.len();
            writeln!(memory, "@group(0) @binding({binding}) var<storage, read> real: array<u32>;")
                .expect("a string takes everything");
            bindings.push(Binding::Read);
        }
        let names: Vec<&str> = slots.iter().map(|(name, _)| *name).collect();
        let (stem, text) = (self.shader.stem, self.shader.text);
        let text = if self.averages { averages::averaging(text).into() } else { Cow::Borrowed(text) };
        let ahead = if self.looks_ahead { "+lookahead" } else { "" };
        let masked = if self.masks && stage == Stage::Update { "+mask" } else { "" };
        let fused = if stage.reads_gradients() { fused_kernel } else { FusedKernel::Plain };
        let mut frame = stage.frame(self.family, capabilities, self.looks_ahead, self.masks);
        let mut plain = "";
        if matches!(self.family, Family::Factored { .. }) {
            frame = format!("const GENERAL = {};\n{frame}", self.general);
            plain = if self.general { "" } else { "/plain" };
        }
        if stage == Stage::Update {
            frame.push_str(if self.averages { averages::AVERAGE } else { averages::NO_AVERAGE });
        }
        KernelSource {
            name: format!(
                "optim/{stem}{}{plain}[{}]{}{masked}{ahead}",
                stage.suffix(),
                names.join(","),
                fused.suffix()
            ),
            wgsl: format!("{text}\n{GATE}{COMMON}{frame}\n{}\n{memory}", fused.wgsl()).into(),
            bindings,
        }
    }
}

/// Where the slots in use come from and go to. This, [`keep_inside`] and [`kept`] are the WGSL that is written here.
fn memory(first: usize, slots: &[(&str, Binding)]) -> String {
    let (mut bindings, mut load, mut store) = (String::new(), String::new(), String::new());
    for (binding, (name, access)) in (first..).zip(slots) {
        let writes = *access == Binding::ReadWrite;
        let mode = if writes { "read_write" } else { "read" };
        let written = writeln!(
            bindings,
            "@group(0) @binding({binding}) var<storage, {mode}> slot_{name}: array<vec4f>;"
        )
        .and_then(|()| writeln!(load, "    state.{name} = slot_{name}[at];"))
        .and_then(|()| if writes { writeln!(store, "    slot_{name}[at] = state.{name};") } else { Ok(()) });
        written.expect("a string takes everything");
    }
    format!(
        "{bindings}\nfn load(at: u32) -> State {{\n    var state: State;\n{load}    return state;\n}}\n\n\
         fn store(at: u32, state: State) {{\n{store}}}\n"
    )
}

/// Zeros in slots behind the end of a tensor.
fn keep_inside(slots: &[(&str, Binding)]) -> String {
    let mut text = "\nfn keep_inside(s: ptr<function, State>, inside: vec4<bool>) {\n".to_owned();
    for (name, _) in slots {
        writeln!(text, "    (*s).{name} = select(vec4f(), (*s).{name}, inside);")
            .expect("a string takes everything");
    }
    text + "}\n"
}

/// Every text of the frame that a rule of the element family is joined with.
pub(crate) fn frame_texts() -> Vec<String> {
    let mut texts = vec![COMMON.to_owned(), GATE.to_owned(), "var<storage, read> real: array<u32>;".into()];
    texts.extend(FusedKernel::ALL.map(|fused_kernel| fused_kernel.wgsl().to_owned()));
    for looks_ahead in [false, true] {
        let frame = |masks| Stage::Update.frame(Family::Element, &Capabilities::PLAIN, looks_ahead, masks);
        texts.extend([frame(false), frame(true)]);
    }
    texts.extend([averages::AVERAGE, averages::NO_AVERAGE].map(str::to_owned));
    texts
}

/// The call of `ratio` with what is kept of a tensor: names, and whether they are in use.
fn kept<'s>(first: usize, slots: impl Iterator<Item = (&'s str, bool)>) -> String {
    let (mut bindings, mut load, mut store, mut arguments) =
        (String::new(), String::new(), String::new(), String::new());
    let mut binding = first;
    for (name, is_used) in slots {
        let from = if is_used { format!("slot_{name}[tensor]") } else { "0.0".into() };
        let written =
            writeln!(load, "    var {name} = {from};").and_then(|()| write!(arguments, ", &{name}"));
        written.expect("a string takes everything");
        if is_used {
            let access = "var<storage, read_write>";
            writeln!(bindings, "@group(0) @binding({binding}) {access} slot_{name}: array<f32>;")
                .and_then(|()| writeln!(store, "    slot_{name}[tensor] = {name};"))
                .expect("a string takes everything");
            binding += 1;
        }
    }
    format!(
        "{bindings}\nfn ratio_of(tensor: u32, sums: vec2f) -> f32 {{\n{load}    let value = ratio(sums{arguments});\n\
         {store}    return value;\n}}\n"
    )
}
