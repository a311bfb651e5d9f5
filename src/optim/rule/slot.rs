use std::borrow::Cow;

use super::precision::Precisions;

/// What a rule keeps from step to step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slot {
    /// Its name in state dicts and in the kernel.
    pub name: Cow<'static, str>,
    /// What it holds a value for.
    pub granularity: Granularity,
    /// What its values may be stored as.
    pub precisions: Precisions,
    /// Whether it belongs to what follows a rule rather than to the rule: only the update knows it.
    pub(crate) late: bool,
    /// Of [`Family::Matrix`](super::Family::Matrix), whether only the update reads it, and no direction depends on it.
    pub(crate) apart: bool,
}

/// How fine a slot is: what it holds a value for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Granularity {
    /// Each element: a member of the kernel's `State`.
    Element,
    /// Each tensor: an argument of the kernel's `ratio`.
    Tensor,
    /// What [`Rule::statistics`](super::Rule::statistics) says; at most one slot, the first.
    Statistics,
}

impl Slot {
    /// A 32-bit float for each element, stored as nothing else.
    pub const fn f32(name: &'static str) -> Self {
        Self::element(name, Precisions::F32)
    }

    /// A value for each element that may be stored in bf16.
    pub const fn bf16(name: &'static str) -> Self {
        Self::element(name, Precisions::Bf16)
    }

    /// A value of either sign for each element, that may be stored in bf16 or 8 bits: an average of gradients.
    pub const fn signed(name: &'static str) -> Self {
        Self::element(name, Precisions::Signed)
    }

    /// A value of at least 0 for each element, that may be stored in bf16 or 8 bits: an average of squares.
    pub const fn unsigned(name: &'static str) -> Self {
        Self::element(name, Precisions::Unsigned)
    }

    const fn element(name: &'static str, precisions: Precisions) -> Self {
        Self {
            name: Cow::Borrowed(name),
            granularity: Granularity::Element,
            precisions,
            late: false,
            apart: false,
        }
    }

    /// A value for each element of a tensor, of [`Family::Matrix`](super::Family::Matrix): only the update reads it, and no
    /// direction depends on it.
    pub const fn apart(name: &'static str, precisions: Precisions) -> Self {
        Self {
            name: Cow::Borrowed(name),
            granularity: Granularity::Element,
            precisions,
            late: false,
            apart: true,
        }
    }

    /// A 32-bit float for each tensor.
    pub const fn scalar(name: &'static str) -> Self {
        Self {
            name: Cow::Borrowed(name),
            granularity: Granularity::Tensor,
            precisions: Precisions::F32,
            late: false,
            apart: false,
        }
    }

    /// What [`Rule::statistics`](super::Rule::statistics) says.
    pub const fn statistics(name: &'static str) -> Self {
        Self {
            name: Cow::Borrowed(name),
            granularity: Granularity::Statistics,
            precisions: Precisions::F32,
            late: false,
            apart: false,
        }
    }
}

/// Row or column statistics that a rule keeps of a tensor in place of values of its elements.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statistic {
    /// Its name in state dicts.
    pub key: Cow<'static, str>,
    /// Over which axes it is gathered.
    pub reduced: Reduced,
}

/// Over which axes the elements of a tensor are gathered into a [`Statistic`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reduced {
    /// Over none: a value for each element.
    None,
    /// Over all but this axis: a value for each of its indices.
    AllBut(usize),
    /// Over this axis: a value for each index of all the others.
    Axis(usize),
}

impl Statistic {
    /// How many values it has for a shape; an axis that the shape lacks has the size 1.
    pub fn len(&self, shape: &[usize]) -> usize {
        let elements: usize = shape.iter().product();
        let size = |axis: usize| shape.get(axis).copied().unwrap_or(1);
        match self.reduced {
            Reduced::None => elements,
            Reduced::AllBut(axis) => size(axis),
            Reduced::Axis(axis) => elements / size(axis),
        }
    }

    /// Never: no dimension is 0.
    pub fn is_empty(&self) -> bool {
        false
    }
}
