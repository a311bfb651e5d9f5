//! The phases of a stride. In the input gradient, each phase is a product of its own.

use super::super::geometry::Geometry;

/// The phases of a stride along one axis: input pixels with the same phase use the same taps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Phases {
    pub(super) count: u32,
    /// Greatest common divisor of stride and dilation.
    pub(super) common: u32,
    /// Taps whose indices are equal modulo this belong to the same phase.
    pub(super) classes: u32,
    /// Inverse modulo `classes` of the dilation divided by `common`.
    pub(super) inverse: u32,
    /// Distance in output pixels between consecutive taps of a phase.
    pub(super) step: u32,
}

impl Phases {
    /// The phases along both axes.
    pub(super) fn of(geometry: &Geometry) -> [Self; 2] {
        [0, 1].map(|axis| Self::along(geometry.stride[axis], geometry.dilation[axis]))
    }

    pub(super) fn along(stride: u32, dilation: u32) -> Self {
        let divides = |n: &u32| stride.is_multiple_of(*n) && dilation.is_multiple_of(*n);
        let common = (1..=stride).rev().find(divides).expect("1 divides all");
        let (classes, step) = (stride / common, dilation / common);
        let is_inverse =
            |n: &u32| u64::from(*n) * u64::from(step) % u64::from(classes) == 1 % u64::from(classes);
        let inverse = (0..classes).find(is_inverse).expect("they have no common divisor");
        Self { count: stride, common, classes, inverse, step }
    }
}
