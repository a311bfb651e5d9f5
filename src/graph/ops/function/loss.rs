//! Losses of each element and its target; `nn` has their reductions.

use super::function;
use crate::graph::Var;

impl Var {
    /// The squares of the differences to a target.
    pub(crate) fn squared_error(&self, target: &Var) -> Var {
        let row = function!("squared_error", [OfInputs, OfInputs], Some(|x, _| (x[0] - x[1]).powi(2)));
        self.elementwise_loss("mse_loss", row, target, &[])
    }
}
