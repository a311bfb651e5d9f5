use std::fmt::Write;

use super::lookahead::Ahead;
use super::reset::{ResetCall, reset_source};
use super::stage::Stage;
use super::{AnyRule, Extent, Family, Lookahead, RULES, Shader, Slot};
use crate::gpu::{Binding, Block, Capabilities, KernelListing, KernelSource, uniform};
use crate::grad::Riding;
use crate::params::GateValues;

const COMMON: &str = include_str!("../../shaders/optim/frame/common.wgsl");
const GATE: &str = include_str!("../../shaders/shared/gate.wgsl");

uniform! {
    /// What a dispatch covers.
    pub(super) struct Call {
        /// First of what its stage works on: of the window's vectors of four, of the chunks or of the tensors.
        pub(super) first: u32,
        /// How many.
        pub(super) len: u32,
        /// Learning rate.
        pub(super) lr: f32,
        /// [`MAXIMIZE`] or 0.
        pub(super) flags: u32,
        /// What the gradient is multiplied by, beside the gate's factor.
        pub(super) scale: f32,
        /// The largest magnitude of a gradient.
        pub(super) clip_value: f32,
        /// Factor of the parameter's sign in a penalty's gradient.
        pub(super) l1: f32,
        /// Factor of the parameter.
        pub(super) l2: f32,
        /// Deviation of the noise.
        pub(super) noise: f32,
        /// The window's first vector in the flat space: with the step and the seed, what the noise depends on.
        pub(super) element: u32,
        pub(super) seed_low: u32,
        pub(super) seed_high: u32,
        pub(super) step_low: u32,
        pub(super) step_high: u32,
    }
}

uniform! {
    /// What picking covers.
    pub(super) struct PickCall {
        pub(super) runs: u32,
        /// Words of a rule's constants.
        pub(super) words: u32,
        /// First word of the table of runs.
        pub(super) table: u32,
    }
}

/// The flag that negates the gradient.
pub(super) const MAXIMIZE: u32 = 1;

/// The kernel that picks the constants of a step which may be another one than the host can know.
pub(super) fn pick_source() -> KernelSource {
    let uniform = |bytes: usize, dynamic| Binding::Uniform {
        bytes: u32::try_from(bytes).expect("uniform blocks are small"),
        dynamic,
    };
    KernelSource {
        name: "optim/pick".into(),
        wgsl: format!("{}\n{GATE}", include_str!("../../shaders/optim/pick.wgsl")).into(),
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
pub(super) struct Text<'a> {
    pub(super) family: Family,
    pub(super) shader: Shader<'a>,
    pub(super) hyper_bytes: usize,
    pub(super) slots: &'a [Slot],
    pub(super) looks_ahead: bool,
    /// Whether what lies behind the end of a tensor is held at zero.
    pub(super) masks: bool,
    /// Of factored rules: whether tensors may have any shape.
    pub(super) general: bool,
}

impl<'a> Text<'a> {
    pub(super) fn of(rule: &'a impl AnyRule) -> Self {
        Self {
            family: rule.family(),
            shader: rule.shader(),
            hyper_bytes: rule.hyper_block().0,
            slots: rule.slots(),
            looks_ahead: rule.looks_ahead(),
            masks: !rule.keeps_zeros(),
            general: true,
        }
    }

    /// Whether a stage's kernel reads which elements are real.
    pub(super) fn reads_real(&self, stage: Stage, riding: Riding) -> bool {
        (riding == Riding::Noisy && stage.reads_gradients()) || (self.masks && stage == Stage::Update)
    }

    /// The kernel of one stage with the slots whose bits are set in `mask`, and what rides in it.
    pub(super) fn source(
        &self,
        stage: Stage,
        mask: u32,
        riding: Riding,
        capabilities: &Capabilities,
    ) -> KernelSource {
        let uniform = |bytes: usize| Binding::Uniform {
            bytes: u32::try_from(bytes).expect("uniform blocks are small"),
            dynamic: true,
        };
        let mut bindings =
            vec![uniform(size_of::<Call>()), uniform(self.hyper_bytes), uniform(size_of::<GateValues>())];
        bindings.extend_from_slice(stage.storage(self.family));
        let slots: Vec<(&str, Binding)> = self
            .slots
            .iter()
            .enumerate()
            .filter(|(bit, _)| mask & (1 << bit) != 0)
            .filter_map(|(_, slot)| Some((&*slot.name, stage.access(self.family, slot)?)))
            .collect();
        let mut memory = match stage {
            Stage::Ratio if matches!(self.family, Family::Tensor { .. } | Family::Matrix) => {
                let scalars = self.slots.iter().enumerate().filter(|(_, slot)| slot.extent == Extent::Tensor);
                kept(bindings.len(), scalars.map(|(bit, slot)| (&*slot.name, mask & (1 << bit) != 0)))
            }
            Stage::Ratio | Stage::Statistics | Stage::Finish | Stage::Means => String::new(),
            Stage::Measure | Stage::Direction | Stage::Update => memory(bindings.len(), &slots),
        };
        bindings.extend(slots.iter().map(|(_, binding)| *binding));
        if self.masks && stage == Stage::Update {
            memory.push_str(&keep_inside(&slots));
        }
        if self.reads_real(stage, riding) {
            let binding = bindings.len();
            writeln!(memory, "@group(0) @binding({binding}) var<storage, read> real: array<u32>;")
                .expect("a string takes everything");
            bindings.push(Binding::Read);
        }
        let names: Vec<&str> = slots.iter().map(|(name, _)| *name).collect();
        let (stem, text) = (self.shader.stem, self.shader.text);
        let ahead = if self.looks_ahead { "+lookahead" } else { "" };
        let masked = if self.masks && stage == Stage::Update { "+mask" } else { "" };
        let riders = if stage.reads_gradients() { riding } else { Riding::Plain };
        let mut frame = stage.frame(self.family, capabilities, self.looks_ahead, self.masks);
        let mut plain = "";
        if matches!(self.family, Family::Factored { .. }) {
            frame = format!("const GENERAL = {};\n{frame}", self.general);
            plain = if self.general { "" } else { "/plain" };
        }
        KernelSource {
            name: format!(
                "optim/{stem}{}{plain}[{}]{}{masked}{ahead}",
                stage.suffix(),
                names.join(","),
                riders.suffix()
            ),
            wgsl: format!("{text}\n{GATE}{COMMON}{frame}\n{}\n{memory}", riders.wgsl()).into(),
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
pub(super) fn frame_texts() -> Vec<String> {
    let mut texts = vec![COMMON.to_owned(), GATE.to_owned(), "var<storage, read> real: array<u32>;".into()];
    texts.extend(Riding::ALL.map(|riding| riding.wgsl().to_owned()));
    for looks_ahead in [false, true] {
        let frame = |masks| Stage::Update.frame(Family::Element, &Capabilities::PLAIN, looks_ahead, masks);
        texts.extend([frame(false), frame(true)]);
    }
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

/// Every kernel of every rule, with every choice of slots, and everything that can ride in it and follow it where all
/// slots are in use.
pub(crate) fn kernel_listings() -> Vec<KernelListing> {
    let gate = Block::of::<GateValues>("Gate");
    let blocks = vec![Block::of::<PickCall>("Pick"), gate.clone()];
    let mut listings = vec![KernelListing { source: pick_source(), blocks }];
    let blocks = vec![Block::of::<ResetCall>("Reset"), Block::of::<Ahead>("Ahead")];
    listings.push(KernelListing { source: reset_source(), blocks });
    listings.push(super::averages::kernel_listing());
    listings.extend(super::lbfgs::kernel_listings());
    let mut list = |text: Text<'_>, hyper: Block, mask: u32, riding: Riding| {
        for stage in Stage::of(text.family) {
            let texts = [true, false].map(|general| Text { general, ..text });
            let sources = texts.map(|text| {
                Capabilities::of_each_kind().map(|offered| text.source(*stage, mask, riding, &offered))
            });
            let mut sources = sources.concat();
            sources.dedup();
            let blocks = vec![Block::of::<Call>("Call"), hyper.clone(), gate.clone()];
            listings
                .extend(sources.into_iter().map(|source| KernelListing { source, blocks: blocks.clone() }));
        }
    };
    for entry in RULES.iter().filter(|entry| entry.family != Family::Around) {
        let all = (1 << entry.slots.len()) - 1;
        for mask in 0..=all {
            list(entry.text(), entry.hyper.clone(), mask, Riding::Plain);
        }
        let ahead = Lookahead::new(entry.default_rule());
        let (bytes, fields) = ahead.hyper_block();
        let hyper = Block { name: "Hyper", fields: fields.to_vec().into(), bytes };
        let all_of_it = (1 << ahead.slots().len()) - 1;
        for riding in Riding::ALL {
            if riding != Riding::Plain {
                list(entry.text(), entry.hyper.clone(), all, riding);
            }
            list(Text::of(&ahead), hyper.clone(), all_of_it, riding);
        }
    }
    listings
}
