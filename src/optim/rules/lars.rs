use serde::{Deserialize, Serialize};

use crate::error::{Error, at_least};
use crate::gpu::uniform;
use crate::optim::rule::{Family, Rule, Shader, Slot, StepInfo, f32_of, scheduled};

/// Lars, as optax has it: momentum on gradients whose length in each tensor is a share of the tensor's own.
///
/// `g += weight_decay * p`, `u = trust_coefficient * |p| / (|g| + eps) * g` with norms over the tensor, or `u = g`
/// where one of them is 0. Then `buf = momentum * buf + lr * u` and `p -= buf`, with Nesterov's step
/// `p -= momentum * buf + lr * u`. Without `lr_in_buffer`, `buf = momentum * buf + u` and `p -= lr * buf`, which under
/// a constant rate is the same.
///
/// Source: You et al. 2017, arXiv:1708.03888, Alg. 1. Differs, as in optax: the penalty is within `|g|`.
/// A ratio that is not finite, as after a gradient of NaN, counts as 0 or as the largest number.
///
/// ```
/// use gradus::optim::{self, AnyRule, Lars};
/// use gradus::serde_json::json;
///
/// let typed = Lars { trust_coefficient: 0.01, ..Lars::default() };
/// let named = optim::from_json(&json!({"name": "Lars", "trust_coefficient": 0.01}))?;
/// assert_eq!(typed.to_json(), named.to_json());
/// # Ok::<(), gradus::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Lars {
    /// Learning rate, at least 0. Default 1.
    pub lr: f64,
    /// Weight of the buffer in itself, at least 0; 0 keeps no buffer. Default 0.9.
    pub momentum: f64,
    /// L2 penalty added to the gradient, at least 0. Default 0.
    pub weight_decay: f64,
    /// Length of a direction over that of its tensor, at least 0. Default 1e-3.
    pub trust_coefficient: f64,
    /// Added to the norm of the gradient, at least 0. Default 0.
    pub eps: f64,
    /// Nesterov's step; without momentum it changes nothing. Default false.
    pub nesterov: bool,
    /// Whether the buffer holds steps, each at the rate of its time, as in the paper; otherwise the rate of today
    /// applies to the whole buffer, as in torch's SGD. Default true.
    pub lr_in_buffer: bool,
}

impl Default for Lars {
    fn default() -> Self {
        Self {
            lr: 1.0,
            momentum: 0.9,
            weight_decay: 0.0,
            trust_coefficient: 1e-3,
            eps: 0.0,
            nesterov: false,
            lr_in_buffer: true,
        }
    }
}

uniform! {
    /// The constants of one step of [`Lars`].
    pub struct LarsHyper {
        inside: f32,
        outside: f32,
        momentum: f32,
        nesterov: u32,
        trust_coefficient: f32,
        eps: f32,
        weight_decay: f32,
    }
}

impl Rule for Lars {
    type Hyper = LarsHyper;
    const NAME: &'static str = "Lars";
    const FAMILY: Family = Family::Tensor { early_state: false };
    const SHADER: Shader<'static> =
        Shader { stem: "lars", text: include_str!("../../../shaders/optim/rules/lars.wgsl") };
    const SLOTS: &'static [Slot] = &[Slot::signed("momentum_buffer")];

    scheduled! { lr, momentum: momentum }

    fn check(&self) -> Result<(), Error> {
        at_least("lr", self.lr, 0.0)?;
        at_least("momentum", self.momentum, 0.0)?;
        at_least("weight_decay", self.weight_decay, 0.0)?;
        at_least("trust_coefficient", self.trust_coefficient, 0.0)?;
        at_least("eps", self.eps, 0.0)
    }

    fn uses(&self, _slot: usize) -> bool {
        self.momentum != 0.0
    }

    fn hyper(&self, _step: &StepInfo) -> LarsHyper {
        let lr = f32_of(self.lr);
        let (inside, outside) = if self.lr_in_buffer { (lr, 1.0) } else { (1.0, lr) };
        LarsHyper {
            inside,
            outside,
            momentum: f32_of(self.momentum),
            nesterov: self.nesterov.into(),
            trust_coefficient: f32_of(self.trust_coefficient),
            eps: f32_of(self.eps),
            weight_decay: f32_of(self.weight_decay),
        }
    }
}
