//! Assembles the kernels of normalisations from WGSL files.

use crate::graph::lowering::Operand;

macro_rules! shared {
    ($name:literal) => {
        include_str!(concat!("../../../../shaders/shared/norm", $name, ".wgsl"))
    };
}
macro_rules! kernel {
    ($name:literal) => {
        ($name, include_str!(concat!("../../../../shaders/ops/", $name, ".wgsl")))
    };
}
pub(super) use {kernel, shared};

/// The name of a kernel, and its text.
pub(super) type Kernel = (&'static str, &'static str);

/// An operand of a kernel, with its name there.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bound {
    pub(super) name: &'static str,
    pub(super) of: Operand,
    pub(super) written: bool,
    /// Whether elements are accessed as scalars.
    pub(super) scalars: bool,
}

impl Bound {
    pub(super) fn read(name: &'static str, of: Operand) -> Self {
        Self { name, of, written: false, scalars: false }
    }

    pub(super) fn written(name: &'static str, of: Operand) -> Self {
        Self { name, of, written: true, scalars: false }
    }

    pub(super) fn scalars(self) -> Self {
        Self { scalars: true, ..self }
    }
}

/// A kernel being assembled: its operands and its WGSL files.
#[derive(Debug, Default)]
pub(super) struct Parts {
    pub(super) bound: Vec<Bound>,
    pub(super) texts: Vec<&'static str>,
}

impl Parts {
    pub(super) fn with(mut self, bound: impl IntoIterator<Item = Bound>, texts: &[&'static str]) -> Self {
        self.bound.extend(bound);
        self.texts.extend(texts);
        self
    }

    pub(super) fn and(mut self, other: Self) -> Self {
        self.bound.extend(other.bound);
        self.texts.extend(other.texts);
        self
    }
}
