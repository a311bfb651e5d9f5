use serde::{Deserialize, Serialize};

use super::adam::Adam;
use crate::config::Variant;
use crate::error::Error;
use crate::optim::rule::{Rule, Shader, Slot, StepInfo, scheduled};

/// Adam with decoupled weight decay, as `torch.optim.AdamW` has it.
///
/// As [`Adam`], with `p *= 1 - lr * weight_decay` before the update.
///
/// Source: Loshchilov & Hutter 2019, arXiv:1711.05101, Alg. 2. Differs: the decay is scaled by the rate, as in
/// PyTorch; optax has the same rule with a default `weight_decay` of 1e-4.
///
/// ```
/// use gradus::optim::{self, AdamW, AnyRule};
/// use gradus::serde_json::json;
///
/// let typed = AdamW { weight_decay: 0.1, ..AdamW::default() };
/// let named = optim::from_json(&json!({"name": "AdamW", "weight_decay": 0.1}))?;
/// assert_eq!(typed.to_json(), named.to_json());
/// # Ok::<(), gradus::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdamW {
    /// Learning rate, at least 0. Default 1e-3.
    pub lr: f64,
    /// Decay factors of the two moments, each in `[0, 1)`. Default `(0.9, 0.999)`.
    pub betas: (f64, f64),
    /// Added to the square root of the second moment, at least 0. Default 1e-8.
    pub eps: f64,
    /// Added to the bias-corrected second moment under the root, at least 0. From optax; with `amsgrad`, only in
    /// optax's variant. Default 0.
    pub eps_root: f64,
    /// Decoupled weight decay, at least 0. Default 0.01.
    pub weight_decay: f64,
    /// Whether to take Nesterov's step, as in optax. Default false.
    pub nesterov: bool,
    /// Whether to divide by the largest second moment so far. Default false.
    pub amsgrad: bool,
    /// Whether to maximize instead of minimize. Default false.
    pub maximize: bool,
    /// Whose AMSGrad, see [`Adam`]. Default torch's.
    pub variant: Variant,
}

impl Default for AdamW {
    fn default() -> Self {
        Self {
            lr: 1e-3,
            betas: (0.9, 0.999),
            eps: 1e-8,
            eps_root: 0.0,
            weight_decay: 0.01,
            nesterov: false,
            amsgrad: false,
            maximize: false,
            variant: Variant::Torch,
        }
    }
}

impl AdamW {
    fn adam(&self) -> Adam {
        Adam {
            lr: self.lr,
            betas: self.betas,
            eps: self.eps,
            eps_root: self.eps_root,
            weight_decay: self.weight_decay,
            nesterov: self.nesterov,
            amsgrad: self.amsgrad,
            maximize: self.maximize,
            decoupled_weight_decay: true,
            variant: self.variant,
        }
    }
}

impl Rule for AdamW {
    type Hyper = <Adam as Rule>::Hyper;
    const NAME: &'static str = "AdamW";
    const SHADER: Shader<'static> = Adam::SHADER;
    const SLOTS: &'static [Slot] = Adam::SLOTS;

    scheduled! { lr, momentum: betas.0, maximize }

    fn check(&self) -> Result<(), Error> {
        Rule::check(&self.adam())
    }

    fn uses(&self, slot: usize) -> bool {
        Rule::uses(&self.adam(), slot)
    }

    fn hyper(&self, step: &StepInfo) -> Self::Hyper {
        self.adam().hyper(step)
    }
}
