use std::fmt::Write;

use super::{RULES, Shader, Slot};
use crate::gpu::{Binding, Block, KernelListing, KernelSource, uniform};
use crate::grad;
use crate::params::GateValues;

const FRAME: &str = include_str!("../../shaders/optim/frame.wgsl");
const GATE: &str = include_str!("../../shaders/shared/gate.wgsl");

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

/// The kernel of a rule with the slots whose bits are set in `mask`, and what rides in it.
pub(super) fn source(
    rule: Shader<'_>,
    hyper_bytes: usize,
    slots: &[Slot],
    mask: u32,
    variant: grad::Riding,
) -> KernelSource {
    let used: Vec<&str> =
        (0..).zip(slots).filter(|(i, _)| mask & (1 << i) != 0).map(|(_, s)| &*s.name).collect();
    let uniform = |bytes: usize, dynamic| Binding::Uniform {
        bytes: u32::try_from(bytes).expect("uniform blocks are small"),
        dynamic,
    };
    let mut bindings = vec![
        uniform(size_of::<Call>(), true),
        uniform(hyper_bytes, true),
        uniform(size_of::<GateValues>(), true),
        Binding::ReadWrite,
        Binding::Read,
    ];
    bindings.extend(used.iter().map(|_| Binding::ReadWrite));
    let mut memory = memory(&used);
    if variant == grad::Riding::Noisy {
        let binding = bindings.len();
        writeln!(memory, "@group(0) @binding({binding}) var<storage, read> real: array<u32>;")
            .expect("a string takes everything");
        bindings.push(Binding::Read);
    }
    KernelSource {
        name: format!("optim/{}[{}]{}", rule.stem, used.join(","), variant.suffix()),
        wgsl: format!("{}\n{GATE}{FRAME}\n{}\n{memory}", rule.text, variant.wgsl()).into(),
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

/// Every kernel of every rule, with every choice of slots, and everything that can ride in it where all slots are
/// in use.
pub(crate) fn kernel_listings() -> Vec<KernelListing> {
    let gate = Block::of::<GateValues>("Gate");
    let mut listings =
        vec![KernelListing { source: pick_source(), blocks: vec![Block::of::<PickCall>("Pick"), gate] }];
    listings.extend(super::lbfgs::kernel_listings());
    for entry in RULES {
        let all = (1 << entry.slots.len()) - 1;
        for mask in 0..=all {
            for variant in grad::Riding::ALL {
                if mask == all || variant == grad::Riding::Plain {
                    listings.push(KernelListing {
                        source: source(entry.shader, entry.hyper.bytes, entry.slots, mask, variant),
                        blocks: vec![Block::of::<Call>("Call"), entry.hyper, gate],
                    });
                }
            }
        }
    }
    listings
}
