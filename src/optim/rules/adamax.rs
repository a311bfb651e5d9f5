use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::gpu::uniform;
use crate::optim::rule::{Rule, Shader, Slot, StepInfo, check_moments, f32_of, scheduled};

/// Adamax, as `torch.optim.Adamax` has it: Adam with the largest gradient in place of the second moment.
///
/// `g += weight_decay * p`, `m += (1 - beta1) * (g - m)`, `u = max(beta2 * u, |g| + eps)`,
/// `p -= lr / (1 - beta1^step) * m / u`.
///
/// Source: Kingma & Ba 2015, arXiv:1412.6980, Alg. 2; `eps` is PyTorch's.
///
/// ```
/// use gradus::optim::{self, Adamax, AnyRule};
/// use gradus::serde_json::json;
///
/// let typed = Adamax { lr: 1e-3, ..Adamax::default() };
/// let named = optim::from_json(&json!({"name": "Adamax", "lr": 1e-3}))?;
/// assert_eq!(typed.to_json(), named.to_json());
/// # Ok::<(), gradus::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Adamax {
    /// Learning rate, at least 0. Default 2e-3.
    pub lr: f64,
    /// Weights of the moment and of the largest gradient in themselves, each in `[0, 1)`. Default
    /// `(0.9, 0.999)`.
    pub betas: (f64, f64),
    /// Added to the size of the gradient, at least 0. Default 1e-8.
    pub eps: f64,
    /// L2 penalty added to the gradient, at least 0. Default 0.
    pub weight_decay: f64,
    /// Whether to go up the gradient. Default false.
    pub maximize: bool,
}

impl Default for Adamax {
    fn default() -> Self {
        Self { lr: 2e-3, betas: (0.9, 0.999), eps: 1e-8, weight_decay: 0.0, maximize: false }
    }
}

uniform! {
    /// The constants of one step of [`Adamax`].
    pub struct AdamaxHyper {
        beta1: f32,
        one_minus_beta1: f32,
        beta2: f32,
        step_size: f32,
        eps: f32,
        weight_decay: f32,
    }
}

impl Rule for Adamax {
    type Hyper = AdamaxHyper;
    const NAME: &'static str = "Adamax";
    const SHADER: Shader<'static> =
        Shader { stem: "adamax", text: include_str!("../../../shaders/optim/rules/adamax.wgsl") };
    const SLOTS: &'static [Slot] = &[Slot::signed("exp_avg"), Slot::bf16("exp_inf")];

    scheduled! { lr, momentum: betas.0, maximize }

    fn check(&self) -> Result<(), Error> {
        check_moments(self.lr, self.betas, self.eps, self.weight_decay)
    }

    fn hyper(&self, step: &StepInfo) -> AdamaxHyper {
        AdamaxHyper {
            beta1: f32_of(self.betas.0),
            one_minus_beta1: f32_of(1.0 - self.betas.0),
            beta2: f32_of(self.betas.1),
            step_size: f32_of(self.lr / step.correction(self.betas.0)),
            eps: f32_of(self.eps),
            weight_decay: f32_of(self.weight_decay),
        }
    }
}
