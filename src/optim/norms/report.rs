//! What is reported of a step, and how it follows from what tiles of tensors have left.

use crate::grad::Part;

/// The 2-norms of one step, of each tensor and in all; see
/// [`Optimizer::report_norms`](crate::optim::Optimizer::report_norms).
#[derive(Clone, Debug, PartialEq)]
pub struct NormReport {
    /// The step, from 0, skipped ones counted.
    pub step: u64,
    /// Whether its gradients were not all finite, so that nothing has changed: the updates are 0 then.
    pub skipped: bool,
    /// Of each tensor that was not frozen, in order of the layout.
    pub tensors: Vec<TensorNorms>,
    /// Over all of these.
    pub total: Norms,
}

/// The norms of one tensor.
#[derive(Clone, Debug, PartialEq)]
pub struct TensorNorms {
    /// The tensor.
    pub name: String,
    /// Its norms.
    pub norms: Norms,
}

/// The 2-norms of a step: in f64, because those of finite numbers may be above the largest f32. Infinite where a number is
/// infinite, and NaN where one is NaN.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Norms {
    /// Of the gradient after transforms of one's own, accumulation and unscaling, and before it is skipped, clipped or
    /// changed by anything else: that of [`StepResult::norm`](crate::optim::StepResult) and of torch's
    /// `clip_grad_norm_`.
    pub gradient: f64,
    /// Of the parameter before the step.
    pub parameter: f64,
    /// Of the difference between the parameter after and before the step, weight decay and rounding included.
    pub update: f64,
}

impl Norms {
    /// The norm of the update over that of the parameter: about 1e-3 is usual. NaN where both are 0, infinite where the
    /// parameter alone is.
    #[must_use]
    pub fn update_ratio(&self) -> f64 {
        self.update / self.parameter
    }
}

/// Sums of squares: of the gradient as it lies in the store, the parameter and the update.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Squares([f64; 3]);

impl Squares {
    /// Of one tile.
    pub(super) fn of_tile(parts: &[Part; 3]) -> Self {
        Self(parts.map(square_of))
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.0.iter_mut().zip(other.0).for_each(|(sum, other)| *sum += other);
    }

    /// Where every gradient is multiplied by `scale`.
    pub(super) fn norms(&self, scale: f64) -> Norms {
        let [gradient, parameter, update] = self.0.map(f64::sqrt);
        Norms { gradient: gradient * scale, parameter, update }
    }
}

/// A sum of squares: what is not finite shows in the largest magnitude, and the sum is nothing then.
fn square_of([sum, exponent, most]: Part) -> f64 {
    let most = f32::from_bits(most);
    if most.is_finite() {
        f64::from(f32::from_bits(sum)) * 2f64.powi(exponent.cast_signed())
    } else {
        f64::from(most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_have_an_exponent_of_their_own_and_tell_what_is_not_finite() {
        let part =
            |sum: f32, exponent: i32, most: f32| [sum.to_bits(), exponent.cast_unsigned(), most.to_bits()];
        let rows = [
            (part(1.5, 0, 1.0), 1.5),
            (part(1.0, 254, 1e38), 2f64.powi(254)),
            (part(2.0, -298, 1e-45), 2f64.powi(-297)),
            // Of no numbers but zeros.
            (part(0.0, -4096, 0.0), 0.0),
            (part(f32::NAN, 7, f32::INFINITY), f64::INFINITY),
        ];
        for (part, square) in rows {
            assert_eq!(square_of(part), square, "{part:?}");
        }
        assert!(square_of(part(1.0, 0, f32::NAN)).is_nan());
        let mut sums = Squares::of_tile(&[part(1.0, 2, 2.0), part(1.0, 0, 1.0), part(0.0, -4096, 0.0)]);
        sums.add(&Squares::of_tile(&[
            part(1.25, 2, 2.0),
            part(1.0, 0, f32::INFINITY),
            part(1.0, 0, f32::NAN),
        ]));
        let Norms { gradient, parameter, update } = sums.norms(0.5);
        assert_eq!((gradient, parameter), (1.5, f64::INFINITY));
        assert!(update.is_nan());
    }

    #[test]
    fn the_ratio_is_of_update_to_parameter() {
        let of = |parameter, update| Norms { gradient: 1.0, parameter, update }.update_ratio();
        assert_eq!((of(4.0, 1.0), of(0.0, 1.0)), (0.25, f64::INFINITY));
        assert!(of(0.0, 0.0).is_nan());
    }
}
