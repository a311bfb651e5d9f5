//! Gradient transforms: what is done to a gradient between the backward pass and the optimizer's rule.
//!
//! [`Transforms`] selects the transforms. Their order is fixed, see [`ORDER`]:
//!
//! 1. custom transforms ([`Transform`]), on the gradients in the store;
//! 2. `accumulate`: the sum of several backward passes becomes their mean;
//! 3. `grad_scaler`: divides by the factor that the loss was multiplied by;
//! 4. `skip`: skips the step if a gradient is not finite;
//! 5. `clip_grad_norm`; 6. `clip_grad_value`; 7. `noise`; 8. `penalty`;
//! 9. the rule, which negates the gradient first if `maximize` is set.
//!
//! Everything runs on the device and nothing is read back. Scaling, clipping by value, noise and penalties are fused
//! into the optimizer's own dispatch. A norm and the check for finite gradients share one pass over the gradients. The
//! rule reads its results from the store's [`Gate`](crate::params::Gate).
//!
//! ```
//! use gradus::grad::{ClipGradNorm, Noise, Transforms};
//!
//! let typed = Transforms {
//!     clip_grad_norm: Some(ClipGradNorm::new(1.0)),
//!     noise: Some(Noise { eta: 1e-3, ..Noise::default() }),
//!     ..Transforms::default()
//! };
//! let json = serde_json::json!([
//!     {"name": "clip_grad_norm", "max_norm": 1.0},
//!     {"name": "noise", "eta": 1e-3},
//! ]);
//! assert_eq!(format!("{typed:?}"), format!("{:?}", Transforms::from_json(&json)?));
//! # Ok::<(), gradus::Error>(())
//! ```

mod accumulate;
mod centralize;
mod clip;
mod fused;
mod noise;
mod norm_reduction;
mod penalty;
mod scaler;
mod skip;
mod transforms;

pub use accumulate::{Accumulate, GradReduction};
pub use centralize::Centralize;
#[cfg(test)]
pub(crate) use centralize::most_trips as centralize_trips;
pub use clip::{ClipGradNorm, NormType};
pub(crate) use fused::{FusedKernel, FusedTransforms, PenaltyFactors, real_elements};
pub use noise::Noise;
pub(crate) use norm_reduction::{
    NORM_LANES, NORM_PARTS, NORM_UNITS, NormReduction, NormSpec, Part, kernel_listings,
};
#[cfg(test)]
pub(crate) use norm_reduction::{decide_trips, norm_trips};
pub use penalty::Penalty;
pub use scaler::GradScaler;
pub use skip::Skip;
pub use transforms::{ORDER, Transform, Transforms};
