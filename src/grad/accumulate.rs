use serde::{Deserialize, Serialize};

use crate::Error;

/// Gradient accumulation: one step for several backward passes, whose gradients are added in the store.
///
/// The caller adds the gradients: with plans made with
/// [`PlanOptions::accumulate`](crate::graph::PlanOptions::accumulate) from the second pass on, or with
/// [`ParamStore::record_add_grads`](crate::params::ParamStore::record_add_grads). The optimizer steps after every
/// `steps`-th pass. Passes left over at the end are not applied. Dividing costs nothing.
///
/// torch adds and lets the caller divide the loss, as [`GradReduction::Sum`] does; optax's `MultiSteps` takes the mean.
///
/// ```
/// use gradus::grad::{Accumulate, Transforms};
///
/// let transforms = Transforms { accumulate: Some(Accumulate::new(4)), ..Transforms::default() };
/// transforms.check()?;
/// # Ok::<(), gradus::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Accumulate {
    /// Backward passes in a step, at least 1. Required.
    pub steps: u64,
    /// Whether the sum is divided by `steps`. Default [`GradReduction::Mean`].
    #[serde(default)]
    pub reduction: GradReduction,
}

/// How gradients of several passes are combined.
///
/// ```
/// use gradus::grad::{Accumulate, GradReduction};
///
/// let sum = Accumulate { reduction: GradReduction::Sum, ..Accumulate::new(4) };
/// assert_ne!(sum, Accumulate::new(4));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GradReduction {
    /// The sum divided by the number of passes.
    #[default]
    Mean,
    /// The sum.
    Sum,
}

impl Accumulate {
    /// The mean over this many backward passes.
    #[must_use]
    pub fn new(steps: u64) -> Self {
        Self { steps, reduction: GradReduction::Mean }
    }

    pub(super) fn check(&self) -> Result<(), Error> {
        // The largest count up to which f32 is exact: gradients are divided by it.
        const MOST: u64 = 1 << 24;
        if (1..=MOST).contains(&self.steps) {
            return Ok(());
        }
        Err(Error::constant("accumulate.steps", format!("in [1, {MOST}]"), self.steps))
    }

    pub(super) fn scale(&self) -> f64 {
        match self.reduction {
            GradReduction::Mean => 1.0 / self.steps as f64,
            GradReduction::Sum => 1.0,
        }
    }
}
