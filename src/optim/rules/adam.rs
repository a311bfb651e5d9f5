use serde::{Deserialize, Serialize};

use crate::config::Variant;
use crate::error::{Error, at_least};
use crate::gpu::uniform;
use crate::optim::rule::{
    Rule, Shader, Slot, StepInfo, check_moments, decays, f32_of, moment_sizes, scheduled,
};

/// Adam, as `torch.optim.Adam` has it.
///
/// `g += weight_decay * p` (or, decoupled, `p *= 1 - lr * weight_decay`), `m += (1 - beta1) * (g - m)`,
/// `v += (1 - beta2) * (g^2 - v)`, `p -= lr / c1 * m / (sqrt(v) / sqrt(c2) + eps)` with
/// `c = 1 - beta^step`. AMSGrad takes the largest `v` so far.
///
/// As optax has it, the root may be `sqrt(v / c2 + eps_root)`, and with `nesterov`
/// `beta1 * m / (1 - beta1^(step + 1)) + (1 - beta1) * g / c1` replaces `m / c1`.
///
/// Source: Kingma & Ba 2015, arXiv:1412.6980, Alg. 1; AMSGrad: Reddi et al. 2018, arXiv:1904.09237, Alg. 2;
/// Nesterov's step: Dozat 2016, ICLR workshop, Alg. 2, with a constant momentum.
///
/// ```
/// use gradus::optim::{self, Adam, AnyRule};
/// use gradus::serde_json::json;
///
/// let typed = Adam { eps: 1e-7, ..Adam::default() };
/// let named = optim::from_json(&json!({"name": "Adam", "eps": 1e-7}))?;
/// assert_eq!(typed.to_json(), named.to_json());
/// # Ok::<(), gradus::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Adam {
    /// Learning rate, at least 0. Default 1e-3.
    pub lr: f64,
    /// Weights of the two moments in themselves, each in `[0, 1)`. Default `(0.9, 0.999)`.
    pub betas: (f64, f64),
    /// Added to the root of the second moment, at least 0. Default 1e-8.
    pub eps: f64,
    /// Added to the second moment under the root, after the correction of its bias, at least 0; optax's, with `amsgrad` only in its variant. Default 0.
    pub eps_root: f64,
    /// L2 penalty added to the gradient, or decoupled decay, at least 0. Default 0.
    pub weight_decay: f64,
    /// Nesterov's step; optax's. Default false.
    pub nesterov: bool,
    /// Whether to divide by the largest second moment so far. Default false.
    pub amsgrad: bool,
    /// Whether to go up the gradient. Default false.
    pub maximize: bool,
    /// Whether the decay acts on the parameters instead of the gradient. Default false.
    pub decoupled_weight_decay: bool,
    /// Whose AMSGrad: torch takes the maximum of raw second moments and corrects its bias, optax that of corrected
    /// ones. Default torch's.
    pub variant: Variant,
}

impl Default for Adam {
    fn default() -> Self {
        Self {
            lr: 1e-3,
            betas: (0.9, 0.999),
            eps: 1e-8,
            eps_root: 0.0,
            weight_decay: 0.0,
            nesterov: false,
            amsgrad: false,
            maximize: false,
            decoupled_weight_decay: false,
            variant: Variant::Torch,
        }
    }
}

uniform! {
    /// The constants of one step of [`Adam`] and of [`AdamW`](crate::optim::AdamW).
    pub struct AdamHyper {
        beta1: f32,
        one_minus_beta1: f32,
        beta2: f32,
        one_minus_beta2: f32,
        step_size: f32,
        grad_size: f32,
        root_scale: f32,
        eps_root: f32,
        eps: f32,
        weight_decay: f32,
        lr_weight_decay: f32,
        amsgrad: u32,
        max_scale: f32,
    }
}

impl Rule for Adam {
    type Hyper = AdamHyper;
    const NAME: &'static str = "Adam";
    const SHADER: Shader<'static> =
        Shader { stem: "adam", text: include_str!("../../../shaders/optim/rules/adam.wgsl") };
    const SLOTS: &'static [Slot] =
        &[Slot::signed("exp_avg"), Slot::unsigned("exp_avg_sq"), Slot::f32("max_exp_avg_sq")];

    scheduled! { lr, momentum: betas.0, maximize }

    fn check(&self) -> Result<(), Error> {
        check_moments(self.lr, self.betas, self.eps, self.weight_decay)?;
        at_least("eps_root", self.eps_root, 0.0)?;
        if self.amsgrad && self.variant == Variant::Torch && self.eps_root != 0.0 {
            return Err(Error::constant("eps_root", "0 with amsgrad of the variant torch", self.eps_root));
        }
        Ok(())
    }

    fn uses(&self, slot: usize) -> bool {
        slot < 2 || self.amsgrad
    }

    fn hyper(&self, step: &StepInfo) -> AdamHyper {
        let c2 = step.correction(self.betas.1);
        let (step_size, grad_size) = moment_sizes(self.lr, self.betas.0, step, self.nesterov);
        let (l2, decoupled) = decays(self.decoupled_weight_decay, self.lr, self.weight_decay);
        // eps_root is as large as what it is added to.
        let (root_scale, max_scale, eps_root) = match self.variant {
            Variant::Optax if self.amsgrad => (1.0, 1.0 / c2, self.eps_root),
            _ => (1.0 / c2.sqrt(), 1.0, self.eps_root * c2),
        };
        AdamHyper {
            beta1: f32_of(self.betas.0),
            one_minus_beta1: f32_of(1.0 - self.betas.0),
            beta2: f32_of(self.betas.1),
            one_minus_beta2: f32_of(1.0 - self.betas.1),
            step_size: f32_of(step_size),
            grad_size: f32_of(grad_size),
            root_scale: f32_of(root_scale),
            eps_root: f32_of(eps_root),
            eps: f32_of(self.eps),
            weight_decay: f32_of(l2),
            lr_weight_decay: f32_of(decoupled),
            amsgrad: self.amsgrad.into(),
            max_scale: f32_of(max_scale),
        }
    }
}
