use serde::{Deserialize, Serialize};

use crate::error::{Error, at_least, half_open};
use crate::gpu::uniform;
use crate::optim::rule::{Precisions, Rule, Shader, Slot, StepInfo, f32_of, scheduled};

/// RMSprop, as `torch.optim.RMSprop` has it.
///
/// `g += weight_decay * p`, `v += (1 - alpha) * (g^2 - v)`, centered `v - mean(g)^2` in its place, then
/// `d = g / (sqrt(v) + eps)` and `p -= lr * d`, with momentum `buf = momentum * buf + d`, `p -= lr * buf`.
///
/// As optax has it, `v` may start at `initial_scale`; with `bias_correction`, `v / c` and `mean(g) / c` with
/// `c = 1 - alpha^step` replace them; and with `nesterov` and a momentum, `p -= lr * (d + momentum * buf)`.
/// Nothing corrects what `v` started at. A centered variance whose biases are corrected cancels to rounding in the first
/// step.
///
/// Source: Hinton 2012, lecture 6e; centered: Graves 2013, arXiv:1308.0850, eq. 38 to 45. Differs: a centered
/// variance that rounding takes below zero counts as zero, where PyTorch makes NaN.
///
/// ```
/// use gradus::optim::{self, AnyRule, RMSprop};
/// use gradus::serde_json::json;
///
/// let typed = RMSprop { alpha: 0.9, ..RMSprop::default() };
/// let named = optim::from_json(&json!({"name": "RMSprop", "alpha": 0.9}))?;
/// assert_eq!(typed.to_json(), named.to_json());
/// # Ok::<(), gradus::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RMSprop {
    /// Learning rate, at least 0. Default 1e-2.
    pub lr: f64,
    /// Weight of the averages in themselves, at least 0, and with `bias_correction` below 1. Default 0.99.
    pub alpha: f64,
    /// Added to the root of the second moment, at least 0. Default 1e-8.
    pub eps: f64,
    /// L2 penalty added to the gradient, at least 0. Default 0.
    pub weight_decay: f64,
    /// Weight of the buffer in itself, at least 0; 0 keeps no buffer. Default 0.
    pub momentum: f64,
    /// Nesterov's step, where there is a momentum; optax's. Default false.
    pub nesterov: bool,
    /// Whether to divide by an estimate of the standard deviation. Default false.
    pub centered: bool,
    /// Whether `eps` is added under the root, as in optax. Default false.
    pub eps_in_sqrt: bool,
    /// What the second moment starts at, at least 0; optax's. Default 0.
    pub initial_scale: f64,
    /// Whether to correct the biases of the averages; optax's. Default false.
    pub bias_correction: bool,
    /// Whether to go up the gradient. Default false.
    pub maximize: bool,
}

impl Default for RMSprop {
    fn default() -> Self {
        Self {
            lr: 1e-2,
            alpha: 0.99,
            eps: 1e-8,
            weight_decay: 0.0,
            momentum: 0.0,
            nesterov: false,
            centered: false,
            eps_in_sqrt: false,
            initial_scale: 0.0,
            bias_correction: false,
            maximize: false,
        }
    }
}

uniform! {
    /// The constants of one step of [`RMSprop`].
    pub struct RmsPropHyper {
        alpha: f32,
        one_minus_alpha: f32,
        eps: f32,
        weight_decay: f32,
        root_scale: f32,
        correction: f32,
        momentum: f32,
        nesterov: u32,
        centered: u32,
        eps_in_sqrt: u32,
    }
}

impl Rule for RMSprop {
    type Hyper = RmsPropHyper;
    const NAME: &'static str = "RMSprop";
    const SHADER: Shader<'static> =
        Shader { stem: "rmsprop", text: include_str!("../../../shaders/optim/rules/rmsprop.wgsl") };
    const SLOTS: &'static [Slot] =
        &[Slot::unsigned("square_avg"), Slot::signed("momentum_buffer"), Slot::bf16("grad_avg")];

    scheduled! { lr, momentum: momentum, maximize }

    fn check(&self) -> Result<(), Error> {
        at_least("lr", self.lr, 0.0)?;
        if self.bias_correction {
            half_open("alpha", self.alpha, 0.0, 1.0)?;
        }
        at_least("alpha", self.alpha, 0.0)?;
        at_least("eps", self.eps, 0.0)?;
        at_least("weight_decay", self.weight_decay, 0.0)?;
        at_least("momentum", self.momentum, 0.0)?;
        at_least("initial_scale", self.initial_scale, 0.0)
    }

    fn uses(&self, slot: usize) -> bool {
        [true, self.momentum != 0.0, self.centered][slot]
    }

    fn precisions(&self, slot: usize) -> Precisions {
        // Of what is centered the square of one is taken from the other, and little may be left.
        match (self.centered, slot) {
            (true, 0 | 2) => Precisions::F32,
            _ => Self::SLOTS[slot].precisions,
        }
    }

    fn initial(&self, slot: usize) -> f64 {
        if slot == 0 { self.initial_scale } else { 0.0 }
    }

    fn hyper(&self, step: &StepInfo) -> RmsPropHyper {
        let correction = if self.bias_correction { step.correction(self.alpha) } else { 1.0 };
        // A centered variance is corrected itself, because what cancels should be rounded equally. Otherwise its root is,
        // and eps under the root is as large as what it is added to.
        let (root_scale, scale, eps) = match (self.centered, self.eps_in_sqrt) {
            (true, _) => (1.0, 1.0 / correction, self.eps),
            (false, true) => (1.0 / correction.sqrt(), 1.0, self.eps * correction),
            (false, false) => (1.0 / correction.sqrt(), 1.0, self.eps),
        };
        RmsPropHyper {
            alpha: f32_of(self.alpha),
            one_minus_alpha: f32_of(1.0 - self.alpha),
            eps: f32_of(eps),
            weight_decay: f32_of(self.weight_decay),
            root_scale: f32_of(root_scale),
            correction: f32_of(scale),
            momentum: f32_of(self.momentum),
            nesterov: self.nesterov.into(),
            centered: self.centered.into(),
            eps_in_sqrt: self.eps_in_sqrt.into(),
        }
    }
}
