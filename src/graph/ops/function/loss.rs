//! Losses of each element and its target; `nn` has their reductions.

use super::function;
use crate::graph::Var;

impl Var {
    /// The squares of the differences to a target.
    pub(crate) fn squared_error(&self, target: &Var) -> Var {
        let row = function!("squared_error", [OfInputs, OfInputs], Some(|x, _| (x[0] - x[1]).powi(2)));
        self.elementwise_loss("mse_loss", row, target, &[])
    }

    /// The sizes of the differences to a target.
    pub(crate) fn absolute_error(&self, target: &Var) -> Var {
        let row = function!("l1", [OfInputs, OfInputs], Some(|x, _| (x[0] - x[1]).abs()));
        self.elementwise_loss("l1_loss", row, target, &[])
    }

    /// The squares of small differences to a target, divided by `2 * beta`, and the sizes of others.
    pub(crate) fn smooth_error(&self, target: &Var, beta: f64) -> Var {
        let row = function!("smooth_l1", [OfInputs, OfInputs], None);
        self.elementwise_loss("smooth_l1_loss", row, target, &[beta])
    }

    /// Half of the squares of small differences to a target, and `delta` times the sizes of others.
    pub(crate) fn huber_error(&self, target: &Var, delta: f64) -> Var {
        let row = function!("huber", [OfInputs, OfInputs], None);
        self.elementwise_loss("huber_loss", row, target, &[delta])
    }

    /// The binary cross-entropies of probabilities.
    pub(crate) fn binary_cross_entropies(&self, target: &Var) -> Var {
        self.elementwise_loss("bce_loss", function!("bce", [OfInputs, OfInputs], None), target, &[])
    }

    /// The divergences of logarithms of probabilities from a target, which may be logarithms too.
    pub(crate) fn divergences(&self, target: &Var, log_target: bool) -> Var {
        let row = if log_target {
            function!("kl_div_log", [OfInputs, OfInputs], None)
        } else {
            function!("kl_div", [OfInputs, OfInputs], None)
        };
        self.elementwise_loss("kl_div", row, target, &[])
    }

    /// The binary cross-entropies of logits, with a weight of what is positive.
    pub(crate) fn logit_cross_entropies(&self, target: &Var, pos_weight: &Var) -> Var {
        let row = function!("bce_with_logits", [OfInputs, OfInputs, Absent], None);
        self.function_with(row, &[target, pos_weight], &[])
    }
}
