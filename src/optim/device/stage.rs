use crate::gpu::{Binding, Capabilities};
use crate::optim::factored::sizes::{FINISH_LANES, RATIO_LANES, TILE_WIDTH};
use crate::optim::layerwise::shape::ReductionShape;
use crate::optim::rule::{Family, Granularity, Slot};

/// A text of the frame.
macro_rules! text {
    ($file:literal) => {
        include_str!(concat!("../../../shaders/optim/frame/", $file, ".wgsl"))
    };
}

/// One of the passes that a step makes over what it covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// What stands for tensors, or pieces of it.
    Statistics,
    /// Pieces joined, or the next maxima taken over.
    Finish,
    /// Means of what stands for tensors.
    Means,
    /// Sums over tiles or tiles of tensors.
    Measure,
    /// From the sums a ratio for each tensor.
    Ratio,
    /// What products make orthogonal.
    Direction,
    /// New parameters.
    Update,
}

impl Stage {
    /// The stages of a family, in order.
    pub(crate) fn of(family: Family) -> &'static [Self] {
        match family {
            Family::Element => &[Self::Update],
            Family::Tensor { .. } => &[Self::Measure, Self::Ratio, Self::Update],
            Family::Matrix => &[Self::Measure, Self::Ratio, Self::Direction, Self::Update],
            Family::Around => &[],
            Family::Factored { ratio: true } => {
                &[Self::Statistics, Self::Finish, Self::Means, Self::Measure, Self::Ratio, Self::Update]
            }
            Family::Factored { ratio: false } => &[Self::Update, Self::Finish],
        }
    }

    /// What a kernel binds between the three uniform blocks and the slots.
    pub(crate) fn storage(self, family: Family) -> &'static [Binding] {
        use Binding::{Read, ReadWrite};
        match (self, family) {
            (Self::Statistics, _) => &[Read, Read, Read, ReadWrite, Read, ReadWrite],
            (Self::Finish, Family::Factored { ratio: false }) => &[Read, ReadWrite, Read],
            (Self::Finish, _) => &[Read, ReadWrite, Read, Read],
            (Self::Means, _) => &[ReadWrite, Read],
            (Self::Measure, Family::Factored { .. }) => &[Read, Read, Read, Read, Read, ReadWrite],
            (Self::Measure, _) => &[Read, Read, Read, ReadWrite],
            (Self::Ratio, Family::Factored { .. }) => &[Read, Read, ReadWrite, Read],
            (Self::Ratio, _) => &[Read, Read, ReadWrite],
            (Self::Direction, _) => &[Read, Read, Read, Read, ReadWrite],
            (Self::Update, Family::Matrix) => &[ReadWrite, Read, Read],
            (Self::Update, Family::Element | Family::Around) => &[ReadWrite, Read],
            (Self::Update, Family::Tensor { .. }) => &[ReadWrite, Read, Read, Read],
            (Self::Update, Family::Factored { ratio: true }) => &[ReadWrite, Read, Read, Read, Read],
            (Self::Update, Family::Factored { ratio: false }) => &[ReadWrite, Read, Read, ReadWrite, Read],
        }
    }

    /// How a kernel binds a slot, if it does.
    pub(crate) fn access(self, family: Family, slot: &Slot) -> Option<Binding> {
        let early_state = matches!(family, Family::Tensor { early_state: true } | Family::Matrix);
        match (self, slot.granularity) {
            _ if slot.late => (self == Self::Update).then_some(Binding::ReadWrite),
            (Self::Ratio, Granularity::Tensor) => Some(Binding::ReadWrite),
            (Self::Direction, _) => (!slot.apart).then_some(Binding::Read),
            (Self::Update, _) if family == Family::Matrix => slot.apart.then_some(Binding::Read),
            (_, Granularity::Tensor | Granularity::Statistics)
            | (Self::Statistics | Self::Finish | Self::Means | Self::Ratio, Granularity::Element) => None,
            (Self::Measure, Granularity::Element) => early_state.then_some(Binding::ReadWrite),
            (Self::Update, Granularity::Element) => {
                Some(if early_state { Binding::Read } else { Binding::ReadWrite })
            }
        }
    }

    /// Whether what rides in the frame concerns it.
    pub(crate) fn reads_gradients(self) -> bool {
        matches!(self, Self::Statistics | Self::Measure | Self::Direction | Self::Update)
    }

    /// Whether it is for tensors alone whose directions are made orthogonal.
    pub(crate) fn is_of_matrices(self, family: Family) -> bool {
        family == Family::Matrix && matches!(self, Self::Ratio | Self::Direction)
    }

    /// Whether each window has a bind group of its own.
    pub(crate) fn goes_by_windows(self) -> bool {
        self.reads_gradients()
    }

    /// What a kernel's name has behind the rule's.
    pub(crate) fn suffix(self) -> &'static str {
        match self {
            Self::Statistics => "/statistics",
            Self::Finish => "/finish",
            Self::Means => "/means",
            Self::Measure => "/measure",
            Self::Ratio => "/ratio",
            Self::Direction => "/direction",
            Self::Update => "",
        }
    }

    /// The texts that a rule is joined with, beside what is common to all.
    pub(crate) fn frame(self, family: Family, capabilities: &Capabilities, updates: Updates) -> String {
        let own = match self {
            Self::Statistics => text!("statistics").into(),
            Self::Finish | Self::Means => self.joining(family, capabilities),
            Self::Measure | Self::Ratio => self.measuring(family, capabilities),
            Self::Direction => [text!("direction"), text!("linear")].concat(),
            Self::Update => updates.frame(family),
        };
        [self.lookups(family), own].concat()
    }

    /// What a stage finds the statistics and ratios of an element with.
    fn lookups(self, family: Family) -> String {
        match (self, family) {
            (_, Family::Element | Family::Around) => String::new(),
            (_, Family::Tensor { .. } | Family::Matrix) => text!("measured").into(),
            (Self::Means | Self::Ratio, _) | (Self::Finish, Family::Factored { ratio: false }) => {
                [text!("measured"), text!("factored")].concat()
            }
            (_, Family::Factored { ratio: true }) => {
                [text!("measured"), text!("factored"), text!("gathered"), text!("matrix")].concat()
            }
            (_, Family::Factored { ratio: false }) => {
                [text!("measured"), text!("factored"), text!("axes")].concat()
            }
        }
    }

    /// The text that joins pieces of statistics, takes next maxima over, or takes means.
    fn joining(self, family: Family, capabilities: &Capabilities) -> String {
        let finishing = format!("const LANES = {FINISH_LANES}u;\n");
        match (self, family) {
            (Self::Means, _) => {
                let lanes = lanes(ReductionShape::of(capabilities).lanes);
                [&lanes, text!("means"), text!("gathered"), text!("joined")].concat()
            }
            (_, Family::Factored { ratio: false }) => [&finishing, text!("maxima_finish")].concat(),
            _ => [&finishing, text!("finish"), text!("joined")].concat(),
        }
    }

    /// The text that sums over tiles, or makes ratios of sums.
    fn measuring(self, family: Family, capabilities: &Capabilities) -> String {
        let shape = ReductionShape::of(capabilities);
        let ends = shape.ends.concat();
        match (self, family) {
            (Self::Ratio, Family::Factored { .. }) => {
                let of_factored = [text!("ratio"), text!("ratio_factored"), text!("norms"), text!("joined")];
                lanes(RATIO_LANES) + &of_factored.concat()
            }
            (Self::Ratio, _) => {
                lanes(shape.lanes) + &[text!("ratio"), text!("norms"), text!("joined")].concat()
            }
            (_, Family::Factored { .. }) => {
                lanes(TILE_WIDTH) + &[text!("tile"), text!("measure_tile"), text!("norms"), &ends].concat()
            }
            _ => {
                lanes(shape.lanes)
                    + &[text!("measure"), text!("measure_tensor"), text!("norms"), &ends].concat()
            }
        }
    }

    /// The texts of an update over blocks beside that of its kernel, in place of [`Stage::frame`].
    pub(crate) fn frame_of_blocks(self, family: Family, (looks_ahead, masks): (bool, bool)) -> String {
        let settled = if looks_ahead { text!("lookahead") } else { text!("settled") };
        let own = match family {
            Family::Tensor { .. } => [text!("measured"), text!("tensor")].concat(),
            _ if masks => text!("element_masked").into(),
            _ => text!("element").into(),
        };
        [&own, settled].concat()
    }

    /// How many of what the stage works on go into a workgroup.
    pub(crate) fn in_a_workgroup(self, family: Family) -> usize {
        match self {
            Self::Statistics | Self::Finish | Self::Means | Self::Measure | Self::Ratio => 1,
            // Vectors of four, as in update.wgsl: with a gradient and two slots 64 bytes of loads are under way for each
            // invocation, which is several times what hides a GPU's memory.
            Self::Update if matches!(family, Family::Factored { .. }) => 1,
            Self::Direction | Self::Update => 256,
        }
    }
}

/// How an update goes over elements, and what it does beside the rule.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Updates {
    pub(crate) looks_ahead: bool,
    /// Whether what lies behind the end of a tensor is held at zero.
    pub(crate) masks: bool,
    /// Whether an invocation takes two vectors.
    pub(crate) pairs: bool,
}

impl Updates {
    /// The text that makes new parameters.
    fn frame(self, family: Family) -> String {
        let settled = if self.looks_ahead { text!("lookahead") } else { text!("settled") };
        let over = if self.pairs { text!("update_pairs") } else { concat!(text!("update"), text!("linear")) };
        match family {
            Family::Element | Family::Around => {
                let element = if self.masks { text!("element_masked") } else { text!("element") };
                [over, element, settled].concat()
            }
            Family::Matrix => [text!("update"), text!("linear"), text!("directed"), settled].concat(),
            Family::Tensor { .. } => [over, text!("tensor"), settled].concat(),
            Family::Factored { ratio } => {
                let updated = if ratio { text!("update_matrix") } else { text!("update_axes") };
                [text!("tile"), text!("update_tile"), updated, settled].concat()
            }
        }
    }
}

/// The size of a workgroup, as its text reads it.
fn lanes(lanes: usize) -> String {
    format!("const LANES = {lanes}u;\n")
}
