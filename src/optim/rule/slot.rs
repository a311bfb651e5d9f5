use std::borrow::Cow;

/// What a rule keeps from step to step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slot {
    /// Its name in state dicts and in the kernel.
    pub name: Cow<'static, str>,
    /// What it holds a value for.
    pub extent: Extent,
    /// Whether it belongs to what follows a rule rather than to the rule: only the update knows it.
    pub(crate) late: bool,
}

/// What a slot holds values for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Extent {
    /// Each element: a member of the kernel's `State`.
    Element,
    /// Each tensor: an argument of the kernel's `ratio`.
    Tensor,
    /// What [`Rule::factors`] says; at most one slot, the first.
    Factors,
}

impl Slot {
    /// A 32-bit float for each element.
    pub const fn f32(name: &'static str) -> Self {
        Self { name: Cow::Borrowed(name), extent: Extent::Element, late: false }
    }

    /// A 32-bit float for each tensor.
    pub const fn scalar(name: &'static str) -> Self {
        Self { name: Cow::Borrowed(name), extent: Extent::Tensor, late: false }
    }

    /// What [`Rule::factors`] says.
    pub const fn factors(name: &'static str) -> Self {
        Self { name: Cow::Borrowed(name), extent: Extent::Factors, late: false }
    }
}

/// Values that a rule keeps of a tensor, with their name in state dicts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Factor {
    /// The name.
    pub key: Cow<'static, str>,
    /// What there is a value for.
    pub over: Over,
}

/// What a [`Factor`] has a value for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    /// Each element.
    Elements,
    /// Each index of an axis, gathered over all others.
    Axis(usize),
    /// Each index of all other axes, gathered over this one.
    AllBut(usize),
}

impl Factor {
    /// How many values it has for a shape; an axis that the shape lacks has the size 1.
    pub fn len(&self, shape: &[usize]) -> usize {
        let elements: usize = shape.iter().product();
        let size = |axis: usize| shape.get(axis).copied().unwrap_or(1);
        match self.over {
            Over::Elements => elements,
            Over::Axis(axis) => size(axis),
            Over::AllBut(axis) => elements / size(axis),
        }
    }

    /// Never: no dimension is 0.
    pub fn is_empty(&self) -> bool {
        false
    }
}
