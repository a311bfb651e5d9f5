//! Checks and constants that several rules share.

use super::step_info::StepInfo;
use crate::error::{Error, at_least, half_open};

/// Refuses learning rates, betas and decays that are out of range for any rule with two moments.
pub(crate) fn check_moments(lr: f64, betas: (f64, f64), eps: f64, weight_decay: f64) -> Result<(), Error> {
    at_least("lr", lr, 0.0)?;
    half_open("betas[0]", betas.0, 0.0, 1.0)?;
    half_open("betas[1]", betas.1, 0.0, 1.0)?;
    at_least("eps", eps, 0.0)?;
    at_least("weight_decay", weight_decay, 0.0)
}

/// Factors of the first moment and of the gradient in a step, including the learning rate and bias corrections. optax's
/// Nesterov step uses the moment after one more gradient:
/// `beta1 * m / (1 - beta1^(step + 1)) + (1 - beta1) * g / (1 - beta1^step)` in place of `m / (1 - beta1^step)`.
///
/// Source: Dozat 2016, ICLR workshop, Alg. 2, with a constant momentum.
pub(crate) fn moment_sizes(lr: f64, beta1: f64, step: &StepInfo, nesterov: bool) -> (f64, f64) {
    let correction = step.correction(beta1);
    if !nesterov {
        return (lr / correction, 0.0);
    }
    let after = StepInfo { step: step.step + 1, ..*step };
    (lr * (beta1 / after.correction(beta1)), lr * ((1.0 - beta1) / correction))
}

/// Factors of the parameter in its gradient and in its update: weight decay is either an L2 penalty or decoupled.
pub(crate) fn decays(decoupled: bool, lr: f64, weight_decay: f64) -> (f64, f64) {
    if decoupled { (0.0, lr * weight_decay) } else { (weight_decay, 0.0) }
}

/// Converts f64 to the kernel's f32. What overflows becomes infinite and is refused before a step.
#[expect(clippy::cast_possible_truncation, reason = "rounding is the purpose")]
pub(crate) fn f32_of(value: f64) -> f32 {
    value as f32
}
