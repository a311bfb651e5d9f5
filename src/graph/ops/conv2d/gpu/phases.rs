//! The phases of a stride, each of which is a product of its own in the input gradient.

use super::super::geometry::Geometry;

/// Phases of a stride along one axis: pixels of the input that are made by the same taps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Phases {
    pub(super) count: u32,
    /// The greatest common divisor of stride and dilation.
    pub(super) common: u32,
    /// Every so many taps make the same phase.
    pub(super) classes: u32,
    /// What the dilation, without the common divisor, is to be multiplied with to be 1 modulo `classes`.
    pub(super) inverse: u32,
    /// Pixels of the output from one of these taps to the one before it.
    pub(super) step: u32,
}

impl Phases {
    /// Of both axes.
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
