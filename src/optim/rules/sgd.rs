use serde::{Deserialize, Serialize};

use crate::error::{Error, at_least, finite, short};
use crate::gpu::uniform;
use crate::optim::rule::{Rule, Shader, Slot, StepInfo, f32_of, scheduled};

/// Stochastic gradient descent with momentum, as `torch.optim.SGD` has it.
///
/// `g += weight_decay * p`, `buf = momentum * buf + (1 - dampening) * g` (at first `buf = g`), then
/// `p -= lr * buf`, with Nesterov's step `p -= lr * (g + momentum * buf)`.
///
/// Source: Sutskever et al. 2013, ICML, section 2, in the form of PyTorch: the rate is outside the buffer.
///
/// ```
/// use gradus::optim::{self, AnyRule, SGD};
/// use gradus::serde_json::json;
///
/// let typed = SGD { momentum: 0.9, ..SGD::default() };
/// let named = optim::from_json(&json!({"name": "SGD", "momentum": 0.9}))?;
/// assert_eq!(typed.to_json(), named.to_json());
/// # Ok::<(), gradus::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SGD {
    /// Learning rate, at least 0. Default 1e-3.
    pub lr: f64,
    /// Weight of the buffer in itself, at least 0; 0 keeps no buffer. Default 0.
    pub momentum: f64,
    /// What the gradient loses when it enters the buffer. Default 0.
    pub dampening: f64,
    /// L2 penalty added to the gradient, at least 0. Default 0.
    pub weight_decay: f64,
    /// Nesterov's step; needs momentum and no dampening. Default false.
    pub nesterov: bool,
    /// Whether to go up the gradient. Default false.
    pub maximize: bool,
}

impl Default for SGD {
    fn default() -> Self {
        Self { lr: 1e-3, momentum: 0.0, dampening: 0.0, weight_decay: 0.0, nesterov: false, maximize: false }
    }
}

uniform! {
    /// The constants of one step of [`SGD`].
    pub struct SgdHyper {
        momentum: f32,
        keep: f32,
        take: f32,
        weight_decay: f32,
        nesterov: u32,
    }
}

impl Rule for SGD {
    type Hyper = SgdHyper;
    const NAME: &'static str = "SGD";
    const SHADER: Shader<'static> =
        Shader { stem: "sgd", text: include_str!("../../../shaders/optim/rules/sgd.wgsl") };
    const SLOTS: &'static [Slot] = &[Slot::signed("momentum_buffer")];

    scheduled! { lr, momentum: momentum, maximize }

    fn check(&self) -> Result<(), Error> {
        at_least("lr", self.lr, 0.0)?;
        at_least("momentum", self.momentum, 0.0)?;
        finite("dampening", self.dampening)?;
        at_least("weight_decay", self.weight_decay, 0.0)?;
        if self.nesterov && (self.momentum == 0.0 || self.dampening != 0.0) {
            return Err(Error::Config {
                what: "optimizer SGD".into(),
                reason: format!(
                    "nesterov needs a momentum above 0 and a dampening of 0, got {} and {}",
                    short(self.momentum),
                    short(self.dampening)
                ),
            });
        }
        Ok(())
    }

    fn uses(&self, _slot: usize) -> bool {
        self.momentum != 0.0
    }

    fn hyper(&self, step: &StepInfo) -> SgdHyper {
        let (keep, take) =
            if step.is_first_use(0) { (0.0, 1.0) } else { (self.momentum, 1.0 - self.dampening) };
        SgdHyper {
            momentum: f32_of(self.momentum),
            keep: f32_of(keep),
            take: f32_of(take),
            weight_decay: f32_of(self.weight_decay),
            nesterov: self.nesterov.into(),
        }
    }
}
