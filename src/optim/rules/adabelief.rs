use serde::{Deserialize, Serialize};

use crate::error::{Error, at_least};
use crate::gpu::uniform;
use crate::optim::rule::{Rule, Shader, Slot, StepInfo, check_moments, f32_of, moment_sizes, scheduled};

/// AdaBelief, as optax has it: Adam whose second moment is that of the gradient around its average.
///
/// `g += weight_decay * p`, `m += (1 - beta1) * (g - m)`,
/// `v = beta2 * v + (1 - beta2) * (g - m)^2 + eps_root`, `p -= lr * m / c1 / (sqrt(v / c2) + eps)` with
/// `c = 1 - beta^step`. With `nesterov`, `beta1 * m / (1 - beta1^(step + 1)) + (1 - beta1) * g / c1` replaces
/// `m / c1`.
///
/// Source: Zhuang et al. 2020, arXiv:2010.07468, Alg. 2, whose two `eps` are here `eps_root`, which stays in
/// `v`, and `eps`.
///
/// ```
/// use gradus::optim::{self, AdaBelief, AnyRule};
/// use gradus::serde_json::json;
///
/// let typed = AdaBelief { weight_decay: 0.01, ..AdaBelief::default() };
/// let named = optim::from_json(&json!({"name": "AdaBelief", "weight_decay": 0.01}))?;
/// assert_eq!(typed.to_json(), named.to_json());
/// # Ok::<(), gradus::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdaBelief {
    /// Learning rate, at least 0. Default 1e-3.
    pub lr: f64,
    /// Weights of the two moments in themselves, each in `[0, 1)`. Default `(0.9, 0.999)`.
    pub betas: (f64, f64),
    /// Added to the root of the second moment, at least 0. Default 1e-16.
    pub eps: f64,
    /// Added to the second moment in each step, at least 0. Default 1e-16.
    pub eps_root: f64,
    /// L2 penalty added to the gradient, at least 0. Default 0.
    pub weight_decay: f64,
    /// Nesterov's step. Default false.
    pub nesterov: bool,
}

impl Default for AdaBelief {
    fn default() -> Self {
        Self {
            lr: 1e-3,
            betas: (0.9, 0.999),
            eps: 1e-16,
            eps_root: 1e-16,
            weight_decay: 0.0,
            nesterov: false,
        }
    }
}

uniform! {
    /// The constants of one step of [`AdaBelief`].
    pub struct AdaBeliefHyper {
        beta1: f32,
        one_minus_beta1: f32,
        beta2: f32,
        one_minus_beta2: f32,
        step_size: f32,
        grad_size: f32,
        root_scale: f32,
        eps: f32,
        eps_root: f32,
        weight_decay: f32,
    }
}

impl Rule for AdaBelief {
    type Hyper = AdaBeliefHyper;
    const NAME: &'static str = "AdaBelief";
    const SHADER: Shader<'static> =
        Shader { stem: "adabelief", text: include_str!("../../../shaders/optim/rules/adabelief.wgsl") };
    const SLOTS: &'static [Slot] = &[Slot::signed("exp_avg"), Slot::unsigned("exp_avg_sq")];

    scheduled! { lr, momentum: betas.0 }

    fn check(&self) -> Result<(), Error> {
        check_moments(self.lr, self.betas, self.eps, self.weight_decay)?;
        at_least("eps_root", self.eps_root, 0.0)
    }

    fn hyper(&self, step: &StepInfo) -> AdaBeliefHyper {
        let (step_size, grad_size) = moment_sizes(self.lr, self.betas.0, step, self.nesterov);
        AdaBeliefHyper {
            beta1: f32_of(self.betas.0),
            one_minus_beta1: f32_of(1.0 - self.betas.0),
            beta2: f32_of(self.betas.1),
            one_minus_beta2: f32_of(1.0 - self.betas.1),
            step_size: f32_of(step_size),
            grad_size: f32_of(grad_size),
            root_scale: f32_of(1.0 / step.correction(self.betas.1).sqrt()),
            eps: f32_of(self.eps),
            eps_root: f32_of(self.eps_root),
            weight_decay: f32_of(self.weight_decay),
        }
    }
}
