//! Norm reports, computed from the sums of tiles.

use crate::grad::Part;

/// The 2-norms of one step, for each tensor and in total; see
/// [`Optimizer::report_norms`](crate::optim::Optimizer::report_norms).
///
/// ```
/// use gradus::optim::NormReport;
///
/// fn print(report: &NormReport) {
///     println!("step {}: {:.3} over all", report.step, report.total.gradient);
/// }
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct NormReport {
    /// The step, from 0; skipped steps are counted.
    pub step: u64,
    /// Whether the step was skipped because its gradients were not all finite. The updates are 0 then.
    pub skipped: bool,
    /// Norms of each tensor that was not frozen, in layout order.
    pub tensors: Vec<TensorNorms>,
    /// Norms over all of these tensors together.
    pub total: Norms,
}

/// The norms of one tensor.
///
/// ```
/// use gradus::optim::NormReport;
///
/// fn largest_update(report: &NormReport) -> Option<&str> {
///     let largest = report.tensors.iter().max_by(|a, b| a.norms.update.total_cmp(&b.norms.update));
///     largest.map(|tensor| tensor.name.as_str())
/// }
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct TensorNorms {
    /// The tensor's name.
    pub name: String,
    /// Its norms.
    pub norms: Norms,
}

/// The 2-norms of a step, in f64 because norms of finite f32 numbers can exceed the largest f32. Infinite if a number
/// is infinite, and NaN if one is NaN.
///
/// ```
/// use gradus::optim::Norms;
///
/// let norms = Norms { gradient: 3.0, parameter: 10.0, update: 0.01 };
/// assert_eq!(norms.update_ratio(), 0.001);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Norms {
    /// Norm of the gradient after custom transforms, accumulation and unscaling, and before skipping, clipping and all
    /// other transforms: the norm that [`StepResult::norm`](crate::optim::StepResult) and torch's `clip_grad_norm_`
    /// report.
    pub gradient: f64,
    /// Norm of the parameter before the step.
    pub parameter: f64,
    /// Norm of the parameter's change in the step, including weight decay and rounding.
    pub update: f64,
}

impl Norms {
    /// The norm of the update divided by that of the parameter; about 1e-3 is usual. NaN if both are 0, infinite if
    /// only the parameter's is.
    #[must_use]
    pub fn update_ratio(&self) -> f64 {
        self.update / self.parameter
    }
}

/// Sums of squares of the gradient in the store, the parameter and the update.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Squares([f64; 3]);

impl Squares {
    /// Sums of one tile.
    pub(super) fn of_tile(parts: &[Part; 3]) -> Self {
        Self(parts.map(square_of))
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.0.iter_mut().zip(other.0).for_each(|(sum, other)| *sum += other);
    }

    /// The norms if every gradient is multiplied by `scale`.
    pub(super) fn norms(&self, scale: f64) -> Norms {
        let [gradient, parameter, update] = self.0.map(f64::sqrt);
        Norms { gradient: gradient * scale, parameter, update }
    }
}

/// The value of a sum of squares. If a number is not finite, the largest magnitude shows it and the sum is meaningless.
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
