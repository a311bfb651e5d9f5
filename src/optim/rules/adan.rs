use serde::{Deserialize, Serialize};

use crate::error::{Error, at_least, half_open};
use crate::gpu::uniform;
use crate::optim::rule::{Rule, Shader, Slot, StepInfo, check_moments, f32_of, scheduled};

/// Adan, as in optax: Adam with a look-ahead by an average of the gradient's changes.
///
/// `d = g - g_prev`, 0 in the first step, `m += (1 - beta1) * (g - m)`, `v += (1 - beta2) * (d - v)`,
/// `n += (1 - beta3) * ((g + (1 - beta2) * d)^2 - n)`, `u = (m / c1 + (1 - beta2) * v / c2) / (sqrt(n / c3 + eps_root) + eps)`
/// with `c = 1 - beta^step`, `p -= lr * (u + weight_decay * p)`.
///
/// The gradient before is that of the tensor's latest step. Gradients are held to ±2^62, so that squares stay finite.
///
/// Source: Xie et al. 2022, arXiv:2208.06677, Alg. 1;
/// <https://optax.readthedocs.io/en/latest/api/optimizers.html#optax.adan>. Differs, as in optax: `eps_root`; the decay is
/// subtracted, where the paper divides by `1 + lr * weight_decay`; a beta is the weight of an average in itself, where the
/// paper's is that of the new value.
///
/// ```
/// use gradus::optim::{self, Adan, AnyRule};
/// use gradus::serde_json::json;
///
/// let typed = Adan { weight_decay: 0.02, ..Adan::default() };
/// let named = optim::from_json(&json!({"name": "Adan", "weight_decay": 0.02}))?;
/// assert_eq!(typed.to_json(), named.to_json());
/// # Ok::<(), gradus::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Adan {
    /// Learning rate, at least 0. Default 1e-3.
    pub lr: f64,
    /// Weights in themselves of the averages of the gradient, of its change and of squares, each in `[0, 1)`. Default
    /// `(0.98, 0.92, 0.99)`.
    pub betas: (f64, f64, f64),
    /// Added to the root of the second moment, at least 0. Default 1e-8.
    pub eps: f64,
    /// Added to the second moment under the root, after the correction of its bias, at least 0. Default 1e-8.
    pub eps_root: f64,
    /// Decoupled weight decay, at least 0. Default 0.
    pub weight_decay: f64,
}

impl Default for Adan {
    fn default() -> Self {
        Self { lr: 1e-3, betas: (0.98, 0.92, 0.99), eps: 1e-8, eps_root: 1e-8, weight_decay: 0.0 }
    }
}

uniform! {
    /// The constants of one step of [`Adan`].
    pub struct AdanHyper {
        beta1: f32,
        one_minus_beta1: f32,
        beta2: f32,
        one_minus_beta2: f32,
        beta3: f32,
        one_minus_beta3: f32,
        step_size: f32,
        diff_size: f32,
        root_scale: f32,
        eps_root: f32,
        eps: f32,
        lr_weight_decay: f32,
        begins: u32,
    }
}

/// The slot of the gradient before.
const G_PREV: usize = 3;

impl Rule for Adan {
    type Hyper = AdanHyper;
    const NAME: &'static str = "Adan";
    const SHADER: Shader<'static> =
        Shader { stem: "adan", text: include_str!("../../../shaders/optim/rules/adan.wgsl") };
    /// The change of the gradient is a small difference of two, and a code would leave little of it.
    const SLOTS: &'static [Slot] = &[
        Slot::signed("exp_avg"),
        Slot::signed("exp_avg_diff"),
        Slot::unsigned("exp_avg_sq"),
        Slot::bf16("g_prev"),
    ];

    scheduled! { lr, momentum: betas.0 }

    fn check(&self) -> Result<(), Error> {
        check_moments(self.lr, (self.betas.0, self.betas.1), self.eps, self.weight_decay)?;
        half_open("betas[2]", self.betas.2, 0.0, 1.0)?;
        at_least("eps_root", self.eps_root, 0.0)
    }

    fn hyper(&self, step: &StepInfo) -> AdanHyper {
        let (beta1, beta2, beta3) = self.betas;
        let c3 = step.correction(beta3);
        AdanHyper {
            beta1: f32_of(beta1),
            one_minus_beta1: f32_of(1.0 - beta1),
            beta2: f32_of(beta2),
            one_minus_beta2: f32_of(1.0 - beta2),
            beta3: f32_of(beta3),
            one_minus_beta3: f32_of(1.0 - beta3),
            step_size: f32_of(self.lr / step.correction(beta1)),
            diff_size: f32_of(self.lr * (1.0 - beta2) / step.correction(beta2)),
            root_scale: f32_of(1.0 / c3.sqrt()),
            eps_root: f32_of(self.eps_root * c3),
            eps: f32_of(self.eps),
            lr_weight_decay: f32_of(self.lr * self.weight_decay),
            begins: step.is_first_use(G_PREV).into(),
        }
    }
}
