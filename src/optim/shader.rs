use std::fmt::Write;

use super::{RULES, Shader, Slot};
use crate::gpu::{Binding, Block, KernelListing, KernelSource, uniform};
use crate::params::GateValues;

const FRAME: &str = include_str!("../../shaders/optim/frame.wgsl");

/// Invocations of a workgroup; each works on four elements.
pub(super) const WORKGROUP: usize = 256;

uniform! {
    /// What a dispatch covers.
    pub(super) struct Call {
        /// First vector of four within the window.
        pub(super) first: u32,
        /// Vectors of four.
        pub(super) len: u32,
        /// Learning rate.
        pub(super) lr: f32,
        /// [`MAXIMIZE`] or 0.
        pub(super) flags: u32,
    }
}

/// The flag that negates the gradient.
pub(super) const MAXIMIZE: u32 = 1;

/// The kernel of a rule with the slots whose bits are set in `mask`.
pub(super) fn source(rule: Shader, hyper_bytes: usize, slots: &[Slot], mask: u32) -> KernelSource {
    let used: Vec<&str> =
        (0..).zip(slots).filter(|(i, _)| mask & (1 << i) != 0).map(|(_, s)| s.name).collect();
    let uniform = |bytes: usize, dynamic| Binding::Uniform {
        bytes: u32::try_from(bytes).expect("uniform blocks are small"),
        dynamic,
    };
    let mut bindings = vec![
        uniform(size_of::<Call>(), true),
        uniform(hyper_bytes, true),
        uniform(size_of::<GateValues>(), false),
        Binding::ReadWrite,
        Binding::Read,
    ];
    bindings.extend(used.iter().map(|_| Binding::ReadWrite));
    KernelSource {
        name: format!("optim/{}[{}]", rule.stem, used.join(",")),
        wgsl: format!("{}\n{FRAME}\n{}", rule.text, memory(&used)).into(),
        bindings,
    }
}

/// The one piece of WGSL that is written here: where the slots in use come from and go to.
fn memory(used: &[&str]) -> String {
    let (mut bindings, mut load, mut store) = (String::new(), String::new(), String::new());
    for (binding, name) in (5..).zip(used) {
        let written = writeln!(
            bindings,
            "@group(0) @binding({binding}) var<storage, read_write> slot_{name}: array<vec4f>;"
        )
        .and_then(|()| writeln!(load, "    state.{name} = slot_{name}[at];"))
        .and_then(|()| writeln!(store, "    slot_{name}[at] = state.{name};"));
        written.expect("a string takes everything");
    }
    format!(
        "{bindings}\nfn load(at: u32) -> State {{\n    var state: State;\n{load}    return state;\n}}\n\n\
         fn store(at: u32, state: State) {{\n{store}}}\n"
    )
}

/// Every kernel of every rule, with every choice of slots.
pub(crate) fn kernel_listings() -> Vec<KernelListing> {
    RULES
        .iter()
        .flat_map(|entry| {
            (0..1 << entry.slots.len()).map(|mask| KernelListing {
                source: source(entry.shader, entry.hyper.bytes, entry.slots, mask),
                blocks: vec![Block::of::<Call>("Call"), entry.hyper, Block::of::<GateValues>("Gate")],
            })
        })
        .collect()
}
