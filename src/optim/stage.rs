use super::{Extent, Family, Slot};
use crate::gpu::{Binding, KernelClass};

/// One of the passes that a step makes over what it covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Sums over chunks of tensors.
    Measure,
    /// From the sums a ratio for each tensor.
    Ratio,
    /// New parameters.
    Update,
}

impl Stage {
    /// The stages of a family, in order.
    pub(super) fn of(family: Family) -> &'static [Self] {
        match family {
            Family::Element => &[Self::Update],
            Family::Tensor { .. } => &[Self::Measure, Self::Ratio, Self::Update],
            Family::Around => &[],
        }
    }

    /// What a kernel binds between the three uniform blocks and the slots.
    pub(super) fn storage(self, family: Family) -> &'static [Binding] {
        use Binding::{Read, ReadWrite};
        match (self, family) {
            (Self::Measure, _) => &[Read, Read, Read, ReadWrite],
            (Self::Ratio, _) => &[Read, Read, ReadWrite],
            (Self::Update, Family::Element | Family::Around) => &[ReadWrite, Read],
            (Self::Update, Family::Tensor { .. }) => &[ReadWrite, Read, Read, Read],
        }
    }

    /// How a kernel binds a slot, if it does.
    pub(super) fn access(self, family: Family, slot: &Slot) -> Option<Binding> {
        let early_state = family == Family::Tensor { early_state: true };
        match (self, slot.extent) {
            _ if slot.late => (self == Self::Update).then_some(Binding::ReadWrite),
            (Self::Ratio, Extent::Tensor) => Some(Binding::ReadWrite),
            (Self::Ratio, Extent::Element) | (_, Extent::Tensor) => None,
            (Self::Measure, Extent::Element) => early_state.then_some(Binding::ReadWrite),
            (Self::Update, Extent::Element) => {
                Some(if early_state { Binding::Read } else { Binding::ReadWrite })
            }
        }
    }

    /// Whether what rides in the frame concerns it.
    pub(super) fn reads_gradients(self) -> bool {
        self != Self::Ratio
    }

    /// Whether each window has a bind group of its own.
    pub(super) fn goes_by_windows(self) -> bool {
        self != Self::Ratio
    }

    /// What a kernel's name has behind the rule's.
    pub(super) fn suffix(self) -> &'static str {
        match self {
            Self::Measure => "/measure",
            Self::Ratio => "/ratio",
            Self::Update => "",
        }
    }

    /// The texts that a rule is joined with, beside what is common to all.
    pub(super) fn frame(self, family: Family, class: KernelClass, looks_ahead: bool) -> String {
        const MEASURE: &str = include_str!("../../shaders/optim/frame/measure.wgsl");
        const MEASURED: &str = include_str!("../../shaders/optim/frame/measured.wgsl");
        const APART: &str = include_str!("../../shaders/optim/frame/measure_apart.wgsl");
        const MEASURE_JOINED: &str = include_str!("../../shaders/optim/frame/measure_joined.wgsl");
        const JOINED: &str = include_str!("../../shaders/optim/frame/joined.wgsl");
        const RATIO: &str = include_str!("../../shaders/optim/frame/ratio.wgsl");
        const UPDATE: &str = include_str!("../../shaders/optim/frame/update.wgsl");
        const ELEMENT: &str = include_str!("../../shaders/optim/frame/element.wgsl");
        const TENSOR: &str = include_str!("../../shaders/optim/frame/tensor.wgsl");
        const SETTLED: &str = include_str!("../../shaders/optim/frame/settled.wgsl");
        const LOOKAHEAD: &str = include_str!("../../shaders/optim/frame/lookahead.wgsl");
        let settled = if looks_ahead { LOOKAHEAD } else { SETTLED };
        let lanes = format!("const LANES = {}u;\n", Shape::of(class).lanes);
        match (self, family) {
            (Self::Measure, _) if class == KernelClass::CpuSubgroup8 => {
                [&lanes, MEASURED, MEASURE, APART].concat()
            }
            (Self::Measure, _) => [&lanes, MEASURED, MEASURE, MEASURE_JOINED, JOINED].concat(),
            (Self::Ratio, _) => [&lanes, MEASURED, RATIO, JOINED].concat(),
            (Self::Update, Family::Element | Family::Around) => [UPDATE, settled, ELEMENT].concat(),
            (Self::Update, Family::Tensor { .. }) => [UPDATE, settled, MEASURED, TENSOR].concat(),
        }
    }

    /// How many of what the stage works on go into a workgroup.
    pub(super) fn in_a_workgroup(self) -> usize {
        match self {
            Self::Measure | Self::Ratio => 1,
            // Vectors of four, as in update.wgsl.
            Self::Update => 256,
        }
    }
}

/// How sums over a tensor are cut.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    /// The most vectors of four in a chunk.
    pub(super) chunk: usize,
    /// Invocations of a workgroup.
    pub(super) lanes: usize,
    /// Sums that a chunk leaves.
    pub(super) parts: usize,
}

impl Shape {
    pub(super) fn of(class: KernelClass) -> Self {
        match class {
            KernelClass::CpuSubgroup8 => Self { chunk: 4096, lanes: 64, parts: 64 },
            KernelClass::Plain => Self { chunk: 2048, lanes: 256, parts: 1 },
        }
    }
}
