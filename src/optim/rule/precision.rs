//! What the state of a rule is stored as.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::dynamic8::Code;

/// What the values of a slot are stored as; rules compute in f32 whatever it is.
///
/// ```
/// use gradus::optim::{OptimizerOptions, StatePrecision};
///
/// let options = OptimizerOptions { state: StatePrecision::Int8, ..Default::default() };
/// assert_ne!(options.state, StatePrecision::default());
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum StatePrecision {
    /// 4 bytes a value, exact.
    #[default]
    #[serde(rename = "f32")]
    F32,
    /// 2 bytes a value: the upper half of an f32, rounded up or down at random so that the mean is the value itself.
    #[serde(rename = "bf16")]
    Bf16,
    /// About 1 byte a value: a code of 8 bits, times the largest magnitude of its block of 256 neighbours.
    ///
    /// Sources: Dettmers 2016, arXiv:1511.04561 (the code); Dettmers et al. 2022, arXiv:2110.02861 (blocks).
    #[serde(rename = "8bit")]
    Int8,
}

/// As in JSON.
impl fmt::Display for StatePrecision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
            Self::Int8 => "8bit",
        })
    }
}

/// What a slot may be stored as, beside f32.
///
/// ```
/// use gradus::optim::{Precisions, StatePrecision};
///
/// assert!(Precisions::Signed.allow(StatePrecision::Int8));
/// assert!(!Precisions::Bf16.allow(StatePrecision::Int8));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Precisions {
    /// Nothing else: what is multiplied or compared from step to step and never averaged, or what must be exact.
    #[default]
    F32,
    /// bf16, but no code of 8 bits: values that grow by parts which a code would lose.
    Bf16,
    /// bf16, and 8 bits with a code for numbers of both signs.
    Signed,
    /// bf16, and 8 bits with a code for numbers that are at least 0.
    Unsigned,
}

impl Precisions {
    /// Whether it is among them.
    pub fn allow(self, precision: StatePrecision) -> bool {
        match precision {
            StatePrecision::F32 => true,
            StatePrecision::Bf16 => self != Self::F32,
            StatePrecision::Int8 => matches!(self, Self::Signed | Self::Unsigned),
        }
    }
}

impl fmt::Display for Precisions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F32 => "f32",
            Self::Bf16 => "f32 or bf16",
            Self::Signed | Self::Unsigned => "f32, bf16 or 8bit",
        })
    }
}

/// What a tensor's values of a slot are, exactly, where the slot is not stored as f32: in a
/// [`TensorState`](crate::optim::TensorState), beside what they are as f32.
///
/// ```
/// use gradus::optim::{SlotBits, StatePrecision};
///
/// fn is_small(bits: &SlotBits) -> bool {
///     bits.precision() != StatePrecision::F32
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum SlotBits {
    /// The f32 values are themselves numbers of 16 bits.
    #[serde(rename = "bf16")]
    Bf16,
    /// Codes of 8 bits.
    #[serde(rename = "8bit")]
    Int8 {
        /// Whether it is the code of numbers of both signs, of which 127 is zero, or that of those which are at least 0, of
        /// which 0 is.
        signed: bool,
        /// Elements at which the border of a window cuts the tensor: none of most.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        cuts: Vec<usize>,
        /// A code for each element.
        codes: Vec<u8>,
        /// A scale for each 256 elements, counted from the first and from each cut.
        scales: Vec<f32>,
    },
}

/// Elements that share a scale.
pub(crate) const BLOCK: usize = 256;

impl SlotBits {
    /// What the values are stored as.
    pub fn precision(&self) -> StatePrecision {
        match self {
            Self::Bf16 => StatePrecision::Bf16,
            Self::Int8 { .. } => StatePrecision::Int8,
        }
    }

    /// The values that codes and scales stand for; nothing where they do not belong together, and of bf16.
    pub fn opened(&self) -> Option<Vec<f32>> {
        let Self::Int8 { signed, cuts, codes, scales } = self else { return None };
        let code = if *signed { Code::Signed } else { Code::Unsigned };
        let (mut values, mut scales) = (Vec::with_capacity(codes.len()), scales.iter());
        let mut from = 0;
        for cut in cuts.iter().copied().chain([codes.len()]) {
            for part in codes.get(from..cut)?.chunks(BLOCK) {
                values.extend(code.decode(part, *scales.next()?));
            }
            from = cut;
        }
        scales.next().is_none().then_some(values)
    }
}
