use serde::{Deserialize, Serialize};

use crate::error::{Error, at_least};
use crate::gpu::uniform;
use crate::optim::rule::f32_of;
use crate::optim::{Rule, Shader, Slot, StepInfo};

/// RMSprop, as `torch.optim.RMSprop` has it.
///
/// `g += weight_decay * p`, `v += (1 - alpha) * (g^2 - v)`, centered `v - mean(g)^2` in its place, then
/// `d = g / (sqrt(v) + eps)` and `p -= lr * d`, with momentum `buf = momentum * buf + d`, `p -= lr * buf`.
///
/// Source: Hinton 2012, lecture 6e; centered: Graves 2013, arXiv:1308.0850, eq. 38 to 45. Differs: a centered
/// variance that rounding takes below zero counts as zero, where PyTorch makes NaN.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RMSprop {
    /// Learning rate, at least 0. Default 1e-2.
    pub lr: f64,
    /// Weight of the averages in themselves, at least 0. Default 0.99.
    pub alpha: f64,
    /// Added to the root of the second moment, at least 0. Default 1e-8.
    pub eps: f64,
    /// L2 penalty added to the gradient, at least 0. Default 0.
    pub weight_decay: f64,
    /// Weight of the buffer in itself, at least 0; 0 keeps no buffer. Default 0.
    pub momentum: f64,
    /// Whether to divide by an estimate of the standard deviation. Default false.
    pub centered: bool,
    /// Whether `eps` is added under the root, as in optax. Default false.
    pub eps_in_sqrt: bool,
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
            centered: false,
            eps_in_sqrt: false,
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
        momentum: f32,
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
        &[Slot::f32("square_avg"), Slot::f32("momentum_buffer"), Slot::f32("grad_avg")];

    fn check(&self) -> Result<(), Error> {
        at_least("lr", self.lr, 0.0)?;
        at_least("alpha", self.alpha, 0.0)?;
        at_least("eps", self.eps, 0.0)?;
        at_least("weight_decay", self.weight_decay, 0.0)?;
        at_least("momentum", self.momentum, 0.0)
    }

    fn uses(&self, slot: usize) -> bool {
        [true, self.momentum != 0.0, self.centered][slot]
    }

    fn hyper(&self, _step: &StepInfo) -> RmsPropHyper {
        RmsPropHyper {
            alpha: f32_of(self.alpha),
            one_minus_alpha: f32_of(1.0 - self.alpha),
            eps: f32_of(self.eps),
            weight_decay: f32_of(self.weight_decay),
            momentum: f32_of(self.momentum),
            centered: self.centered.into(),
            eps_in_sqrt: self.eps_in_sqrt.into(),
        }
    }

    fn lr(&self) -> f64 {
        self.lr
    }

    fn lr_mut(&mut self) -> &mut f64 {
        &mut self.lr
    }

    fn momentum_mut(&mut self) -> Option<&mut f64> {
        Some(&mut self.momentum)
    }

    fn maximize(&self) -> bool {
        self.maximize
    }
}
