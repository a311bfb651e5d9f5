use serde::{Deserialize, Serialize};

use crate::config::Variant;
use crate::error::{Error, at_least};
use crate::gpu::uniform;
use crate::optim::rule::momenta::Mu;
use crate::optim::rule::recurrence::Recurrence;
use crate::optim::rule::{Rule, Shader, Slot, StepInfo, check_moments, decays, f32_of, scheduled};

/// Adam with Nesterov's momentum, as `torch.optim.NAdam` has it.
///
/// `g += weight_decay * p` (or, decoupled, `p *= 1 - lr * weight_decay`), `m` and `v` as in
/// [`Adam`](crate::optim::Adam), `mu(t) = beta1 * (1 - 0.96^(t * momentum_decay) / 2)`, `P` the product of all `mu`
/// so far, `d = sqrt(v / (1 - beta2^step)) + eps`, then
/// `p -= lr * ((1 - mu(step)) / (1 - P) * g + mu(step + 1) / (1 - P * mu(step + 1)) * m) / d`.
///
/// In optax `p -= lr * ((1 - beta1) / (1 - beta1^step) * g + beta1 / (1 - beta1^(step + 1)) * m) / d` with
/// `d = sqrt(v / (1 - beta2^step) + eps_root) + eps`.
///
/// Where a schedule cycles `betas[0]`, each `mu` in `P` is as it was in its step.
///
/// Source: Dozat 2016, ICLR workshop, Alg. 2.
///
/// ```
/// use gradus::optim::{self, AnyRule, NAdam};
/// use gradus::serde_json::json;
///
/// let typed = NAdam { momentum_decay: 0.01, ..NAdam::default() };
/// let named = optim::from_json(&json!({"name": "NAdam", "momentum_decay": 0.01}))?;
/// assert_eq!(typed.to_json(), named.to_json());
/// # Ok::<(), gradus::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NAdam {
    /// Learning rate, at least 0. Default 2e-3.
    pub lr: f64,
    /// Weights of the two moments in themselves, each in `[0, 1)`. Default `(0.9, 0.999)`.
    pub betas: (f64, f64),
    /// Added to the root of the second moment, at least 0. Default 1e-8.
    pub eps: f64,
    /// Added to the second moment under the root, after the correction of its bias, at least 0; optax's alone. Default 0.
    pub eps_root: f64,
    /// L2 penalty added to the gradient, or decoupled decay, at least 0. Default 0.
    pub weight_decay: f64,
    /// How fast the momentum rises from half of `betas[0]` to it, at least 0; torch's alone. Default 4e-3.
    pub momentum_decay: f64,
    /// Whether the decay acts on the parameters instead of the gradient; torch's alone. Default false.
    pub decoupled_weight_decay: bool,
    /// Whether to go up the gradient. Default false.
    pub maximize: bool,
    /// Whose rule. Default torch's.
    pub variant: Variant,
}

impl Default for NAdam {
    fn default() -> Self {
        Self {
            lr: 2e-3,
            betas: (0.9, 0.999),
            eps: 1e-8,
            eps_root: 0.0,
            weight_decay: 0.0,
            momentum_decay: 4e-3,
            decoupled_weight_decay: false,
            maximize: false,
            variant: Variant::Torch,
        }
    }
}

uniform! {
    /// The constants of one step of [`NAdam`].
    pub struct NAdamHyper {
        beta1: f32,
        one_minus_beta1: f32,
        beta2: f32,
        one_minus_beta2: f32,
        grad_size: f32,
        step_size: f32,
        root_scale: f32,
        eps_root: f32,
        eps: f32,
        weight_decay: f32,
        lr_weight_decay: f32,
    }
}

impl Rule for NAdam {
    type Hyper = NAdamHyper;
    const NAME: &'static str = "NAdam";
    const SHADER: Shader<'static> =
        Shader { stem: "nadam", text: include_str!("../../../shaders/optim/rules/nadam.wgsl") };
    const SLOTS: &'static [Slot] = &[Slot::signed("exp_avg"), Slot::unsigned("exp_avg_sq")];

    scheduled! { lr, momentum: betas.0, maximize }

    fn check(&self) -> Result<(), Error> {
        check_moments(self.lr, self.betas, self.eps, self.weight_decay)?;
        at_least("eps_root", self.eps_root, 0.0)?;
        at_least("momentum_decay", self.momentum_decay, 0.0)?;
        if self.variant == Variant::Torch && self.eps_root != 0.0 {
            return Err(Error::constant("eps_root", "0 in the variant torch", self.eps_root));
        }
        let torchs = Self { momentum_decay: self.momentum_decay, ..Self::default() };
        if self.variant == Variant::Optax && (self.decoupled_weight_decay || torchs != Self::default()) {
            return Err(Error::Config {
                what: "optimizer NAdam".into(),
                reason: "the variant optax has neither momentum_decay nor decoupled_weight_decay".into(),
            });
        }
        Ok(())
    }

    fn absent(&self) -> &'static [&'static str] {
        match self.variant {
            Variant::Torch => &["eps_root"],
            Variant::Optax => &["momentum_decay", "decoupled_weight_decay"],
        }
    }

    fn hyper(&self, step: &StepInfo) -> NAdamHyper {
        let (l2, decoupled) = decays(self.decoupled_weight_decay, self.lr, self.weight_decay);
        let (grad_size, step_size) = self.sizes(step);
        let c2 = step.correction(self.betas.1);
        NAdamHyper {
            beta1: f32_of(self.betas.0),
            one_minus_beta1: f32_of(1.0 - self.betas.0),
            beta2: f32_of(self.betas.1),
            one_minus_beta2: f32_of(1.0 - self.betas.1),
            grad_size: f32_of(self.lr * grad_size),
            step_size: f32_of(self.lr * step_size),
            root_scale: f32_of(1.0 / c2.sqrt()),
            eps_root: f32_of(self.eps_root * c2),
            eps: f32_of(self.eps),
            weight_decay: f32_of(l2),
            lr_weight_decay: f32_of(decoupled),
        }
    }

    fn recurrence(&self) -> Option<Recurrence> {
        let mu = Mu { beta1: self.betas.0, momentum_decay: self.momentum_decay };
        Some(Recurrence::Momentum(mu))
    }
}

impl NAdam {
    /// Weights of the gradient and of its average, bias corrections included.
    fn sizes(&self, step: &StepInfo) -> (f64, f64) {
        let beta1 = self.betas.0;
        match self.variant {
            Variant::Torch => {
                let now = Mu { beta1, momentum_decay: self.momentum_decay };
                let (mu, next) = (now.at(step.step), now.at(step.step + 1));
                let product = step.carried.momenta().then(now, step.step).product(step.step);
                ((1.0 - mu) / (1.0 - product), next / (1.0 - product * next))
            }
            Variant::Optax => {
                let after = StepInfo { step: step.step + 1, ..*step };
                ((1.0 - beta1) / step.correction(beta1), beta1 / after.correction(beta1))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_torch_lacks_is_refused_in_the_typed_form_too() {
        assert_eq!(
            Rule::check(&NAdam { eps_root: 0.5, ..Default::default() }).unwrap_err().to_string(),
            "eps_root must be 0 in the variant torch, got 0.5"
        );
    }

    #[test]
    fn what_optax_lacks_is_refused_in_the_typed_form_too() {
        let optax = NAdam { variant: Variant::Optax, ..Default::default() };
        assert_eq!(Rule::check(&optax), Ok(()));
        for rule in [
            NAdam { momentum_decay: 0.0, ..optax.clone() },
            NAdam { decoupled_weight_decay: true, ..optax.clone() },
        ] {
            assert_eq!(
                Rule::check(&rule).unwrap_err().to_string(),
                "optimizer NAdam: the variant optax has neither momentum_decay nor decoupled_weight_decay"
            );
        }
    }
}
