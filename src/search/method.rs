//! What a method is: a text of WGSL, its constants and memory, and which of its functions run in a generation.

use std::fmt::Debug;

use crate::error::{Error, closed};
use crate::gpu::Field;

/// The sizes that a method depends on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) members: usize,
    pub(crate) dimensions: usize,
    /// Generations that the budget allows, if there is one.
    pub(crate) generations: Option<u64>,
}

/// How a function of a method is called; the frame has one text for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Over {
    /// Once for each dimension of each member.
    Elements,
    /// Once for each dimension, with the sums of `<name>_term` over members.
    Sums,
    /// Once for each dimension.
    Dimensions,
    /// Once for each pair of dimensions of which the first is not the lower one, with the sum over members of products of
    /// `<name>_row` and `<name>_column`.
    Pairs,
    /// Once for each pair of dimensions.
    Matrix,
    /// Once, with the sums of `<name>_term` over `<name>_count()` items.
    Total,
    /// Once, by all 256 lanes of one workgroup together.
    Workgroup,
    /// The ranks of all members, which is no function of the method.
    Ranks,
}

/// A dispatch of a generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stage {
    /// The function.
    pub(crate) name: &'static str,
    pub(crate) over: Over,
    pub(crate) when: When,
}

/// The generations that have a stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum When {
    Always,
    First,
    /// The last of each [`Algorithm::period`].
    Periodic,
}

impl When {
    /// Whether a generation, counted from 0, has it.
    pub(crate) fn is_due(self, generation: u64, period: u64) -> bool {
        match self {
            Self::Always => true,
            Self::First => generation == 0,
            Self::Periodic => (generation + 1).is_multiple_of(period),
        }
    }
}

impl Stage {
    pub(crate) const RANKS: Self = Self::new("rank", Over::Ranks);

    pub(crate) const fn new(name: &'static str, over: Over) -> Self {
        Self { name, over, when: When::Always }
    }

    pub(crate) const fn first_only(self) -> Self {
        Self { when: When::First, ..self }
    }

    pub(crate) const fn periodic(self) -> Self {
        Self { when: When::Periodic, ..self }
    }
}

/// Constants of a method, as its `struct Hyper` has them.
#[derive(Clone, Debug)]
pub(crate) struct Hyper {
    pub(crate) fields: &'static [Field],
    pub(crate) bytes: Vec<u8>,
}

impl Hyper {
    pub(crate) fn of<U: crate::gpu::Uniform>(block: U) -> Self {
        Self { fields: U::FIELDS, bytes: bytemuck::bytes_of(&block).to_vec() }
    }
}

crate::gpu::uniform! {
    /// Of methods without constants.
    pub(crate) struct NoHyper { none: u32 }
}

/// A number as kernels have it.
#[expect(clippy::cast_possible_truncation, reason = "kernels compute in f32")]
pub(crate) fn narrow(value: f64) -> f32 {
    value as f32
}

/// The largest of constants that have no other bound: f32 has room for what is computed of them.
pub(crate) const MOST: f64 = 1e9;

/// Refuses a width or a rate that f32 has no room for.
pub(crate) fn scale(name: &str, value: f64) -> Result<(), Error> {
    closed(name, value, 1e-9, MOST)
}

/// Memory of a method before its first generation.
#[derive(Debug, Default)]
pub(crate) struct Memory(pub(crate) Vec<u32>);

impl Memory {
    /// So many zeros more.
    pub(crate) fn zeros(self, len: usize) -> Self {
        self.words(std::iter::repeat_n(0, len))
    }

    /// So many equal numbers more.
    pub(crate) fn numbers(self, value: f64, len: usize) -> Self {
        self.words(std::iter::repeat_n(narrow(value).to_bits(), len))
    }

    /// These numbers more.
    pub(crate) fn floats(self, values: impl IntoIterator<Item = f32>) -> Self {
        self.words(values.into_iter().map(f32::to_bits))
    }

    pub(crate) fn words(mut self, words: impl IntoIterator<Item = u32>) -> Self {
        self.0.extend(words);
        self
    }
}

/// A way to search. Adding one: a file here, a file in `shaders/search/methods/`, and a row in `methods.rs`.
pub(crate) trait Algorithm: Debug {
    /// Its text, of which `propose` fills the points.
    fn text(&self) -> &'static str;

    /// Refuses constants outside their ranges. By default a method has none.
    fn check(&self) -> Result<(), Error> {
        Ok(())
    }

    /// Members where the user names none; `budget` is in evaluations.
    fn default_members(&self, dimensions: usize, budget: Option<u64>) -> usize;

    /// The fewest members that it works with.
    fn least_members(&self) -> usize {
        1
    }

    /// The most dimensions that it works in.
    fn most_dimensions(&self) -> usize {
        usize::MAX
    }

    /// Whether every dimension must have bounds.
    fn needs_bounds(&self) -> bool {
        false
    }

    /// Constants at these sizes; none by default. `starts`: whether the user gave a point to start from.
    fn hyper(&self, _shape: Shape, _starts: bool) -> Hyper {
        Hyper::of(NoHyper::default())
    }

    /// Memory at these sizes; none by default. `start` is the point to start from, the middle of the box where the user gave none.
    fn memory(&self, _shape: Shape, _start: &[f32]) -> Memory {
        Memory::default()
    }

    /// What runs before the members are evaluated.
    fn before(&self) -> &'static [Stage] {
        const PROPOSE: &[Stage] = &[Stage::new("propose", Over::Elements)];
        PROPOSE
    }

    /// What runs after the members were evaluated and the best is kept; nothing by default.
    fn after(&self) -> &'static [Stage] {
        &[]
    }

    /// Generations from one run of its periodic stages to the next.
    fn period(&self, _shape: Shape) -> u64 {
        1
    }
}
