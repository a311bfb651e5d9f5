//! Kernels of normalisations in the making, joined of texts.

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

/// What a kernel binds, under its name there.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bound {
    pub(super) name: &'static str,
    pub(super) of: Operand,
    pub(super) written: bool,
    /// Whether elements are touched one by one.
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

/// A kernel in the making: what it binds, and the texts that it is joined of.
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
