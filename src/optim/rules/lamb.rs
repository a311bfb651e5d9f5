use serde::{Deserialize, Serialize};

use crate::error::{Error, at_least};
use crate::gpu::uniform;
use crate::optim::rule::{Family, Rule, Shader, Slot, StepInfo, check_moments, f32_of, scheduled};

/// Lamb, as optax has it: Adam's direction, in each tensor as long as the tensor itself.
///
/// `m += (1 - beta1) * (g - m)`, `v += (1 - beta2) * (g^2 - v)`,
/// `u = m / c1 / (sqrt(v / c2 + eps_root) + eps) + weight_decay * p` with `c = 1 - beta^step`,
/// `p -= lr * |p| / |u| * u` with norms over the tensor; where one of them is 0, the ratio is 1.
///
/// Source: You et al. 2020, arXiv:1904.00962, Alg. 2. Differs, as in optax: the norm of the parameters is not bounded.
/// A ratio that is not finite, as after a gradient of NaN, counts as 0 or as the largest number.
///
/// ```
/// use gradus::optim::{self, AnyRule, Lamb};
/// use gradus::serde_json::json;
///
/// let typed = Lamb { weight_decay: 0.01, ..Lamb::default() };
/// let named = optim::from_json(&json!({"name": "Lamb", "weight_decay": 0.01}))?;
/// assert_eq!(typed.to_json(), named.to_json());
/// # Ok::<(), gradus::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Lamb {
    /// Learning rate, at least 0. Default 1e-3.
    pub lr: f64,
    /// Weights of the two moments in themselves, each in `[0, 1)`. Default `(0.9, 0.999)`.
    pub betas: (f64, f64),
    /// Added to the root of the second moment, at least 0. Default 1e-6.
    pub eps: f64,
    /// Added to the second moment under the root, after the correction of its bias, at least 0. Default 0.
    pub eps_root: f64,
    /// Share of the parameters in the direction, at least 0. Default 0.
    pub weight_decay: f64,
}

impl Default for Lamb {
    fn default() -> Self {
        Self { lr: 1e-3, betas: (0.9, 0.999), eps: 1e-6, eps_root: 0.0, weight_decay: 0.0 }
    }
}

uniform! {
    /// The constants of one step of [`Lamb`].
    pub struct LambHyper {
        beta1: f32,
        one_minus_beta1: f32,
        beta2: f32,
        one_minus_beta2: f32,
        correction: f32,
        root_scale: f32,
        eps_root: f32,
        eps: f32,
        weight_decay: f32,
    }
}

impl Rule for Lamb {
    type Hyper = LambHyper;
    const NAME: &'static str = "Lamb";
    const FAMILY: Family = Family::Tensor { early_state: true };
    const SHADER: Shader<'static> =
        Shader { stem: "lamb", text: include_str!("../../../shaders/optim/rules/lamb.wgsl") };
    const SLOTS: &'static [Slot] = &[Slot::bf16("exp_avg"), Slot::bf16("exp_avg_sq")];

    scheduled! { lr, momentum: betas.0 }

    fn check(&self) -> Result<(), Error> {
        check_moments(self.lr, self.betas, self.eps, self.weight_decay)?;
        at_least("eps_root", self.eps_root, 0.0)
    }

    fn hyper(&self, step: &StepInfo) -> LambHyper {
        let c2 = step.correction(self.betas.1);
        LambHyper {
            beta1: f32_of(self.betas.0),
            one_minus_beta1: f32_of(1.0 - self.betas.0),
            beta2: f32_of(self.betas.1),
            one_minus_beta2: f32_of(1.0 - self.betas.1),
            correction: f32_of(1.0 / step.correction(self.betas.0)),
            root_scale: f32_of(1.0 / c2.sqrt()),
            eps_root: f32_of(self.eps_root * c2),
            eps: f32_of(self.eps),
            weight_decay: f32_of(self.weight_decay),
        }
    }
}
