use serde::{Deserialize, Serialize};

use crate::error::{Error, at_least, half_open};
use crate::gpu::uniform;
use crate::optim::rule::{Rule, Shader, Slot, StepInfo, f32_of, scheduled};

/// Lion, as optax has it: steps of one size along the sign of a momentum.
///
/// `u = sign(beta1 * m + (1 - beta1) * g)`, `m += (1 - beta2) * (g - m)`, `p -= lr * (u + weight_decay * p)`.
/// The sign of zero is zero.
///
/// Source: Chen et al. 2023, arXiv:2302.06675, Alg. 2. optax has the same rule with a default `weight_decay`
/// of 1e-3.
///
/// ```
/// use gradus::optim::{self, AnyRule, Lion};
/// use gradus::serde_json::json;
///
/// let typed = Lion { weight_decay: 0.1, ..Lion::default() };
/// let named = optim::from_json(&json!({"name": "Lion", "weight_decay": 0.1}))?;
/// assert_eq!(typed.to_json(), named.to_json());
/// # Ok::<(), gradus::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Lion {
    /// Learning rate, at least 0. Default 1e-4.
    pub lr: f64,
    /// Weights of the momentum in the step and in itself, each in `[0, 1)`. Default `(0.9, 0.99)`.
    pub betas: (f64, f64),
    /// Decoupled weight decay, at least 0. Default 0.
    pub weight_decay: f64,
}

impl Default for Lion {
    fn default() -> Self {
        Self { lr: 1e-4, betas: (0.9, 0.99), weight_decay: 0.0 }
    }
}

uniform! {
    /// The constants of one step of [`Lion`].
    pub struct LionHyper {
        beta1: f32,
        one_minus_beta1: f32,
        beta2: f32,
        one_minus_beta2: f32,
        weight_decay: f32,
    }
}

impl Rule for Lion {
    type Hyper = LionHyper;
    const NAME: &'static str = "Lion";
    const SHADER: Shader<'static> =
        Shader { stem: "lion", text: include_str!("../../../shaders/optim/rules/lion.wgsl") };
    const SLOTS: &'static [Slot] = &[Slot::signed("exp_avg")];

    scheduled! { lr, momentum: betas.0 }

    fn check(&self) -> Result<(), Error> {
        at_least("lr", self.lr, 0.0)?;
        half_open("betas[0]", self.betas.0, 0.0, 1.0)?;
        half_open("betas[1]", self.betas.1, 0.0, 1.0)?;
        at_least("weight_decay", self.weight_decay, 0.0)
    }

    fn hyper(&self, _step: &StepInfo) -> LionHyper {
        LionHyper {
            beta1: f32_of(self.betas.0),
            one_minus_beta1: f32_of(1.0 - self.betas.0),
            beta2: f32_of(self.betas.1),
            one_minus_beta2: f32_of(1.0 - self.betas.1),
            weight_decay: f32_of(self.weight_decay),
        }
    }
}
