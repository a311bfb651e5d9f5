use serde::{Deserialize, Serialize};

use crate::Error;

/// Several backward passes make one step: their gradients are added in the store, and divided if that is asked for.
///
/// Whoever computes the gradients adds them: plans made with
/// [`PlanOptions::accumulate`](crate::graph::PlanOptions::accumulate) from the second pass on, or
/// [`ParamStore::record_add_grads`](crate::params::ParamStore::record_add_grads). The optimizer takes its step after every
/// `steps`-th; a rest is not applied. Dividing costs nothing.
///
/// torch adds and lets the caller divide the loss, which is [`Reduction::Sum`]; optax's `MultiSteps` takes the
/// mean.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Accumulate {
    /// Backward passes of a step, at least 1. Required.
    pub steps: u64,
    /// Default [`Reduction::Mean`].
    #[serde(default)]
    pub reduction: Reduction,
}

/// What becomes of the sum of gradients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reduction {
    /// It is divided by the number of passes.
    #[default]
    Mean,
    /// It stays.
    Sum,
}

impl Accumulate {
    /// The mean over this many backward passes.
    #[must_use]
    pub fn new(steps: u64) -> Self {
        Self { steps, reduction: Reduction::Mean }
    }

    pub(super) fn check(&self) -> Result<(), Error> {
        // As many as f32 counts exactly, because their number divides.
        const MOST: u64 = 1 << 24;
        if (1..=MOST).contains(&self.steps) {
            return Ok(());
        }
        Err(Error::constant("accumulate.steps", format!("in [1, {MOST}]"), self.steps))
    }

    pub(super) fn scale(&self) -> f64 {
        match self.reduction {
            Reduction::Mean => 1.0 / self.steps as f64,
            Reduction::Sum => 1.0,
        }
    }
}
