use serde::{Deserialize, Serialize};

use crate::config::Variant;
use crate::error::{Error, at_least};
use crate::gpu::uniform;
use crate::optim::rule::{
    Rule, Shader, Slot, StepInfo, check_moments, decays, f32_of, moment_sizes, scheduled,
};

/// Adam whose variance is rectified, as `torch.optim.RAdam` has it.
///
/// `g += weight_decay * p` (or, decoupled, `p *= 1 - lr * weight_decay`), `m` and `v` as in
/// [`Adam`](crate::optim::Adam), `c = 1 - beta^step`, `R = 2 / (1 - beta2) - 1`,
/// `rho = R - 2 * step * beta2^step / c2`. Where `rho > 5`,
/// `p -= lr * m / c1 * sqrt((rho - 4) * (rho - 2) * R / ((R - 4) * (R - 2) * rho)) * sqrt(c2) / (sqrt(v) + eps)`;
/// in the steps before, `p -= lr * m / c1`. In optax `rho >= threshold` is enough, `eps` is added to
/// `sqrt(v / c2 + eps_root)`, and with `nesterov`
/// `beta1 * m / (1 - beta1^(step + 1)) + (1 - beta1) * g / c1` replaces `m / c1` in all steps.
///
/// Source: Liu et al. 2020, arXiv:1908.03265, Alg. 2; there `rho > 4` is enough.
///
/// ```
/// use gradus::optim::{self, AnyRule, RAdam};
/// use gradus::serde_json::json;
///
/// let typed = RAdam { weight_decay: 0.01, ..RAdam::default() };
/// let named = optim::from_json(&json!({"name": "RAdam", "weight_decay": 0.01}))?;
/// assert_eq!(typed.to_json(), named.to_json());
/// # Ok::<(), gradus::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RAdam {
    /// Learning rate, at least 0. Default 1e-3.
    pub lr: f64,
    /// Weights of the two moments in themselves, each in `[0, 1)`. Default `(0.9, 0.999)`.
    pub betas: (f64, f64),
    /// Added to the root of the second moment, at least 0. Default 1e-8.
    pub eps: f64,
    /// Added to the second moment under the root, after the correction of its bias, at least 0; optax's alone. Default 0.
    pub eps_root: f64,
    /// L2 penalty added to the gradient, or decoupled decay, at least 0. Default 0.
    pub weight_decay: f64,
    /// Whether the decay acts on the parameters instead of the gradient. Default false.
    pub decoupled_weight_decay: bool,
    /// What `rho` must reach, at least 4; optax's alone. Default 5.
    pub threshold: f64,
    /// Nesterov's step; optax's alone. Default false.
    pub nesterov: bool,
    /// Whether to go up the gradient. Default false.
    pub maximize: bool,
    /// Whose rule. Default torch's.
    pub variant: Variant,
}

impl Default for RAdam {
    fn default() -> Self {
        Self {
            lr: 1e-3,
            betas: (0.9, 0.999),
            eps: 1e-8,
            eps_root: 0.0,
            weight_decay: 0.0,
            decoupled_weight_decay: false,
            threshold: 5.0,
            nesterov: false,
            maximize: false,
            variant: Variant::Torch,
        }
    }
}

uniform! {
    /// The constants of one step of [`RAdam`].
    pub struct RAdamHyper {
        beta1: f32,
        one_minus_beta1: f32,
        beta2: f32,
        one_minus_beta2: f32,
        step_size: f32,
        grad_size: f32,
        root_scale: f32,
        eps_root: f32,
        eps: f32,
        weight_decay: f32,
        lr_weight_decay: f32,
    }
}

impl Rule for RAdam {
    type Hyper = RAdamHyper;
    const NAME: &'static str = "RAdam";
    const SHADER: Shader<'static> =
        Shader { stem: "radam", text: include_str!("../../../shaders/optim/rules/radam.wgsl") };
    const SLOTS: &'static [Slot] = &[Slot::signed("exp_avg"), Slot::unsigned("exp_avg_sq")];

    scheduled! { lr, momentum: betas.0, maximize }

    fn check(&self) -> Result<(), Error> {
        check_moments(self.lr, self.betas, self.eps, self.weight_decay)?;
        at_least("eps_root", self.eps_root, 0.0)?;
        // Below, the root in the rectification is of a negative number.
        at_least("threshold", self.threshold, 4.0)?;
        match self.variant {
            Variant::Torch if self.eps_root != 0.0 => {
                Err(Error::constant("eps_root", "0 in the variant torch", self.eps_root))
            }
            Variant::Torch if self.threshold != 5.0 => {
                Err(Error::constant("threshold", "5 in the variant torch", self.threshold))
            }
            Variant::Torch if self.nesterov => {
                Err(Error::constant("nesterov", "false in the variant torch", self.nesterov))
            }
            Variant::Torch | Variant::Optax => Ok(()),
        }
    }

    fn absent(&self) -> &'static [&'static str] {
        match self.variant {
            Variant::Torch => &["eps_root", "threshold", "nesterov"],
            Variant::Optax => &[],
        }
    }

    fn hyper(&self, step: &StepInfo) -> RAdamHyper {
        let (l2, decoupled) = decays(self.decoupled_weight_decay, self.lr, self.weight_decay);
        let c2 = step.correction(self.betas.1);
        let (step_size, grad_size) = moment_sizes(self.lr, self.betas.0, step, self.nesterov);
        // Without a rectification the denominator is 1.
        let (rectification, root_scale, eps_root, eps) = match (self.rectification(step), self.variant) {
            (None, _) => (1.0, 0.0, 0.0, 1.0),
            (Some(r), Variant::Torch) => (r, 1.0 / c2.sqrt(), 0.0, self.eps / c2.sqrt()),
            (Some(r), Variant::Optax) => (r, 1.0 / c2.sqrt(), self.eps_root * c2, self.eps),
        };
        RAdamHyper {
            beta1: f32_of(self.betas.0),
            one_minus_beta1: f32_of(1.0 - self.betas.0),
            beta2: f32_of(self.betas.1),
            one_minus_beta2: f32_of(1.0 - self.betas.1),
            step_size: f32_of(step_size * rectification),
            grad_size: f32_of(grad_size * rectification),
            root_scale: f32_of(root_scale),
            eps_root: f32_of(eps_root),
            eps: f32_of(eps),
            weight_decay: f32_of(l2),
            lr_weight_decay: f32_of(decoupled),
        }
    }
}

impl RAdam {
    /// What the variance is trusted with, once enough steps are behind.
    #[expect(clippy::cast_precision_loss, reason = "step counts stay far below 2^53")]
    fn rectification(&self, step: &StepInfo) -> Option<f64> {
        let (beta2, t) = (self.betas.1, step.step as f64);
        let limit = 2.0 / (1.0 - beta2) - 1.0;
        let length = limit - 2.0 * t * beta2.powf(t) / step.correction(beta2);
        let trusted = match self.variant {
            Variant::Torch => length > 5.0,
            Variant::Optax => length >= self.threshold,
        };
        let ratio = (length - 4.0) * (length - 2.0) * limit / ((limit - 4.0) * (limit - 2.0) * length);
        trusted.then(|| ratio.sqrt())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::optim::step::counters::StepCounter;

    fn first_rectified(beta2: f64, variant: Variant) -> Option<u64> {
        let rule = RAdam { betas: (0.9, beta2), variant, ..Default::default() };
        (1..1000)
            .find(|&step| rule.rectification(&StepInfo { step, ..StepCounter::default().after(0) }).is_some())
    }

    #[test]
    fn rectification_begins_when_five_steps_are_behind() {
        for variant in [Variant::Torch, Variant::Optax] {
            assert_eq!(first_rectified(0.999, variant), Some(6));
            assert_eq!(first_rectified(0.5, variant), None);
        }
    }
}
