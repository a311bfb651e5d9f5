use serde::{Deserialize, Serialize};

use crate::error::{Error, at_least};
use crate::gpu::uniform;
use crate::optim::rule::{Family, Rule, Shader, Slot, StepInfo, check_moments, f32_of, scheduled};

/// Novograd, as optax has it: momentum on gradients that are divided by a running norm of their tensor.
///
/// `v += (1 - beta2) * (|g|^2 - v)` with the norm over the tensor,
/// `u = g / (sqrt(v + eps_root) + eps) + weight_decay * p`, `m = beta1 * m + u`, `p -= lr * m`. At first `v = |g|^2` and `m = u`; biases are not corrected.
///
/// Source: Ginsburg et al. 2019, arXiv:1905.11286, Alg. 1. State keys: `exp_avg` is `m`, `exp_avg_sq` is `v`, one
/// number a tensor. A ratio `1 / (sqrt(v + eps_root) + eps)` that is not finite, as after a gradient of NaN, counts as 0 or as
/// the largest number.
///
/// ```
/// use gradus::optim::{self, AnyRule, Novograd};
/// use gradus::serde_json::json;
///
/// let typed = Novograd { weight_decay: 0.01, ..Novograd::default() };
/// let named = optim::from_json(&json!({"name": "Novograd", "weight_decay": 0.01}))?;
/// assert_eq!(typed.to_json(), named.to_json());
/// # Ok::<(), gradus::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Novograd {
    /// Learning rate, at least 0. Default 1e-3.
    pub lr: f64,
    /// Weights of the momentum and of the norm in themselves, each in `[0, 1)`. Default `(0.9, 0.25)`.
    pub betas: (f64, f64),
    /// Added to the norm, at least 0. Default 1e-6.
    pub eps: f64,
    /// Added to the norm's square under the root, at least 0. Default 0.
    pub eps_root: f64,
    /// Share of the parameters in the direction, at least 0. Default 0.
    pub weight_decay: f64,
}

impl Default for Novograd {
    fn default() -> Self {
        Self { lr: 1e-3, betas: (0.9, 0.25), eps: 1e-6, eps_root: 0.0, weight_decay: 0.0 }
    }
}

uniform! {
    /// The constants of one step of [`Novograd`].
    pub struct NovogradHyper {
        beta1: f32,
        keep: f32,
        take: f32,
        eps: f32,
        eps_root: f32,
        weight_decay: f32,
    }
}

impl Rule for Novograd {
    type Hyper = NovogradHyper;
    const NAME: &'static str = "Novograd";
    const FAMILY: Family = Family::Tensor { early_state: false };
    const SHADER: Shader<'static> =
        Shader { stem: "novograd", text: include_str!("../../../shaders/optim/rules/novograd.wgsl") };
    const SLOTS: &'static [Slot] = &[Slot::signed("exp_avg"), Slot::scalar("exp_avg_sq")];

    scheduled! { lr, momentum: betas.0 }

    fn check(&self) -> Result<(), Error> {
        check_moments(self.lr, self.betas, self.eps, self.weight_decay)?;
        at_least("eps_root", self.eps_root, 0.0)
    }

    fn hyper(&self, step: &StepInfo) -> NovogradHyper {
        let (keep, take) = if step.is_first_use(1) { (0.0, 1.0) } else { (self.betas.1, 1.0 - self.betas.1) };
        NovogradHyper {
            beta1: f32_of(self.betas.0),
            keep: f32_of(keep),
            take: f32_of(take),
            eps: f32_of(self.eps),
            eps_root: f32_of(self.eps_root),
            weight_decay: f32_of(self.weight_decay),
        }
    }
}
