use serde::{Deserialize, Serialize};

use crate::error::{Error, at_least};
use crate::gpu::uniform;
use crate::optim::rule::{Rule, Shader, Slot, StepInfo, check_moments, f32_of, scheduled};

/// Yogi, as optax has it: Adam whose second moment moves by steps of the squared gradient, up or down.
///
/// `g += weight_decay * p`, `m += (1 - beta1) * (g - m)`, `v -= (1 - beta2) * sign(v - g^2) * g^2`,
/// `p -= lr * m / c1 / (sqrt(v / c2 + eps_root) + eps)` with `c = 1 - beta^step`.
///
/// Source: Zaheer et al. 2018, NeurIPS, Alg. 2. Differs, as in optax: `m` starts at
/// `initial_accumulator_value` as `v` does, so that parameters move under gradients of zero too, and biases
/// are corrected.
///
/// ```
/// use gradus::optim::{self, AnyRule, Yogi};
/// use gradus::serde_json::json;
///
/// let typed = Yogi { lr: 1e-3, ..Yogi::default() };
/// let named = optim::from_json(&json!({"name": "Yogi", "lr": 1e-3}))?;
/// assert_eq!(typed.to_json(), named.to_json());
/// # Ok::<(), gradus::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Yogi {
    /// Learning rate, at least 0. Default 1e-3.
    pub lr: f64,
    /// Weights of the two moments in themselves, each in `[0, 1)`. Default `(0.9, 0.999)`.
    pub betas: (f64, f64),
    /// Added to the root of the second moment, at least 0. Default 1e-3.
    pub eps: f64,
    /// Added to the second moment under the root, after the correction of its bias, at least 0. Default 0.
    pub eps_root: f64,
    /// What both moments start at, at least 0. Default 1e-6.
    pub initial_accumulator_value: f64,
    /// L2 penalty added to the gradient, at least 0. Default 0.
    pub weight_decay: f64,
}

impl Default for Yogi {
    fn default() -> Self {
        Self {
            lr: 1e-3,
            betas: (0.9, 0.999),
            eps: 1e-3,
            eps_root: 0.0,
            initial_accumulator_value: 1e-6,
            weight_decay: 0.0,
        }
    }
}

uniform! {
    /// The constants of one step of [`Yogi`].
    pub struct YogiHyper {
        beta1: f32,
        one_minus_beta1: f32,
        one_minus_beta2: f32,
        step_size: f32,
        root_scale: f32,
        eps_root: f32,
        eps: f32,
        weight_decay: f32,
    }
}

impl Rule for Yogi {
    type Hyper = YogiHyper;
    const NAME: &'static str = "Yogi";
    const SHADER: Shader<'static> =
        Shader { stem: "yogi", text: include_str!("../../../shaders/optim/rules/yogi.wgsl") };
    const SLOTS: &'static [Slot] = &[Slot::signed("exp_avg"), Slot::unsigned("exp_avg_sq")];

    scheduled! { lr, momentum: betas.0 }

    fn check(&self) -> Result<(), Error> {
        check_moments(self.lr, self.betas, self.eps, self.weight_decay)?;
        at_least("eps_root", self.eps_root, 0.0)?;
        at_least("initial_accumulator_value", self.initial_accumulator_value, 0.0)
    }

    fn initial(&self, _slot: usize) -> f64 {
        self.initial_accumulator_value
    }

    fn hyper(&self, step: &StepInfo) -> YogiHyper {
        let c2 = step.correction(self.betas.1);
        YogiHyper {
            beta1: f32_of(self.betas.0),
            one_minus_beta1: f32_of(1.0 - self.betas.0),
            one_minus_beta2: f32_of(1.0 - self.betas.1),
            step_size: f32_of(self.lr / step.correction(self.betas.0)),
            root_scale: f32_of(1.0 / c2.sqrt()),
            eps_root: f32_of(self.eps_root * c2),
            eps: f32_of(self.eps),
            weight_decay: f32_of(self.weight_decay),
        }
    }
}
