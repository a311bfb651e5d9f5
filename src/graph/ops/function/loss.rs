//! Pointwise losses. Their reductions are in `nn`.

use super::function;
use crate::Error;
use crate::error::{above, at_least, closed};
use crate::graph::Var;

/// The properties of a function that is a loss.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Loss {
    /// Its name for errors. The first two inputs must have the same shape; the others broadcast to it.
    pub(super) name: &'static str,
    /// Checks the constants; errors name the layer.
    pub(super) check: fn(&str, &[f64]) -> Result<(), Error>,
}

impl Loss {
    /// A loss without restrictions on its constants.
    const fn of(name: &'static str) -> Self {
        Self { name, check: |_, _| Ok(()) }
    }
}

/// Refuses a value that is infinite as f32.
#[expect(clippy::cast_possible_truncation, reason = "kernels compute in f32")]
fn narrow(name: &str, value: f64) -> Result<(), Error> {
    if (value as f32).is_finite() {
        return Ok(());
    }
    Err(Error::constant(name, "finite in 32 bits", value))
}

impl Var {
    /// The squared differences to a target.
    pub(crate) fn squared_error(&self, target: &Var) -> Var {
        let row = function!("squared_error", [OfInputs, OfInputs], Some(|x, _| (x[0] - x[1]).powi(2)));
        self.elementwise_loss(Loss::of("mse_loss"), row, &[target], &[])
    }

    /// The absolute differences to a target.
    pub(crate) fn absolute_error(&self, target: &Var) -> Var {
        let row = function!("l1", [OfInputs, OfInputs], Some(|x, _| (x[0] - x[1]).abs()));
        self.elementwise_loss(Loss::of("l1_loss"), row, &[target], &[])
    }

    /// The smooth L1 loss of each element.
    pub(crate) fn smooth_error(&self, target: &Var, beta: f64) -> Var {
        let check = |layer: &str, beta: &[f64]| {
            let name = format!("{layer}: beta");
            at_least(&name, beta[0], 0.0)?;
            narrow(&name, beta[0])
        };
        let row = function!("smooth_l1", [OfInputs, OfInputs], None);
        self.elementwise_loss(Loss { name: "smooth_l1_loss", check }, row, &[target], &[beta])
    }

    /// The Huber loss of each element.
    pub(crate) fn huber_error(&self, target: &Var, delta: f64) -> Var {
        let check = |layer: &str, delta: &[f64]| {
            let name = format!("{layer}: delta");
            above(&name, delta[0], 0.0)?;
            narrow(&name, delta[0])
        };
        let row = function!("huber", [OfInputs, OfInputs], None);
        self.elementwise_loss(Loss { name: "huber_loss", check }, row, &[target], &[delta])
    }

    /// The binary cross-entropy of each probability.
    pub(crate) fn binary_cross_entropies(&self, target: &Var) -> Var {
        let row = function!("bce", [OfInputs, OfInputs], None);
        self.elementwise_loss(Loss::of("binary_cross_entropy"), row, &[target], &[])
    }

    /// The binary cross-entropy of each logit, with an optional weight for positive targets.
    pub(crate) fn logit_cross_entropies(&self, target: &Var, pos_weight: Option<&Var>) -> Var {
        let loss = Loss::of("binary_cross_entropy_with_logits");
        match pos_weight {
            None => {
                let row = function!("bce_of_logits", [OfInputs, OfInputs], None);
                self.elementwise_loss(loss, row, &[target], &[])
            }
            Some(weight) => {
                let row = function!("bce_with_logits", [OfInputs, OfInputs, Absent], None);
                self.elementwise_loss(loss, row, &[target, weight], &[])
            }
        }
    }

    /// The terms of the Kullback-Leibler divergence of a target from these log-probabilities. The target can hold
    /// log-probabilities too.
    pub(crate) fn divergences(&self, target: &Var, log_target: bool) -> Var {
        let row = if log_target {
            function!("kl_div_log", [OfInputs, OfInputs], None)
        } else {
            function!("kl_div", [OfInputs, OfInputs], None)
        };
        self.elementwise_loss(Loss::of("kl_div"), row, &[target], &[])
    }

    /// Minus these log-softmax values times the probabilities of a target, smoothed over `classes` classes.
    pub(crate) fn soft_cross_entropies(&self, target: &Var, label_smoothing: f64, classes: usize) -> Var {
        let check = |layer: &str, c: &[f64]| closed(&format!("{layer}: label_smoothing"), c[0], 0.0, 1.0);
        let row = function!("soft_cross_entropy", [OfInputs, OfInputs], None);
        let constants = [label_smoothing, classes as f64];
        self.elementwise_loss(Loss { name: "cross_entropy", check }, row, &[target], &constants)
    }

    /// The products with a value of the same shape, for the cosine of a loss.
    pub(crate) fn cosine_products(&self, other: &Var) -> Var {
        let row = function!("mul", [OfInputs, OfInputs], Some(|x, _| x[0] * x[1]));
        self.elementwise_loss(Loss::of("cosine_embedding_loss"), row, &[other], &[])
    }

    /// The cosine embedding losses: `1 - cosine` if the target is 1, `max(cosine - margin, 0)` if it is -1.
    pub(crate) fn cosine_errors(&self, target: &Var, margin: f64) -> Var {
        let check = |layer: &str, c: &[f64]| closed(&format!("{layer}: margin"), c[0], -1.0, 1.0);
        let row = function!("cosine_embedding", [OfInputs, Absent], None);
        self.elementwise_loss(Loss { name: "cosine_embedding_loss", check }, row, &[target], &[margin])
    }
}
