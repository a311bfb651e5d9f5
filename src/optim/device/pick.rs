//! The kernel that picks the constants of a step which may be another one than the host can know.

use crate::gpu::{Binding, KernelSource, uniform};
use crate::params::GateValues;

const GATE: &str = include_str!("../../../shaders/shared/gate.wgsl");

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

/// The kernel.
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
