use serde::{Deserialize, Serialize};

use crate::error::{Error, at_least, closed};
use crate::gpu::uniform;
use crate::optim::rule::{Rule, Shader, Slot, StepInfo, f32_of, scheduled};

/// Adadelta, as `torch.optim.Adadelta` has it.
///
/// `g += weight_decay * p`, `v += (1 - rho) * (g^2 - v)`, `d = sqrt(a + eps) / sqrt(v + eps) * g`,
/// `a += (1 - rho) * (d^2 - a)`, `p -= lr * d`: the averages `v` and `a` are of gradients and of updates.
///
/// Source: Zeiler 2012, arXiv:1212.5701, Alg. 1; the rate is PyTorch's. Differs: where `a`, `v` and `eps` are
/// zero a parameter stays where it is, and PyTorch makes NaN.
///
/// ```
/// use gradus::optim::{self, Adadelta, AnyRule};
/// use gradus::serde_json::json;
///
/// let typed = Adadelta { rho: 0.95, ..Adadelta::default() };
/// let named = optim::from_json(&json!({"name": "Adadelta", "rho": 0.95}))?;
/// assert_eq!(typed.to_json(), named.to_json());
/// # Ok::<(), gradus::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Adadelta {
    /// Learning rate, at least 0. Default 1.0.
    pub lr: f64,
    /// Weight of the averages in themselves, in `[0, 1]`. Default 0.9.
    pub rho: f64,
    /// Added under both roots, at least 0. Default 1e-6.
    pub eps: f64,
    /// L2 penalty added to the gradient, at least 0. Default 0.
    pub weight_decay: f64,
    /// Whether to go up the gradient. Default false.
    pub maximize: bool,
}

impl Default for Adadelta {
    fn default() -> Self {
        Self { lr: 1.0, rho: 0.9, eps: 1e-6, weight_decay: 0.0, maximize: false }
    }
}

uniform! {
    /// The constants of one step of [`Adadelta`].
    pub struct AdadeltaHyper {
        rho: f32,
        one_minus_rho: f32,
        eps: f32,
        weight_decay: f32,
    }
}

impl Rule for Adadelta {
    type Hyper = AdadeltaHyper;
    const NAME: &'static str = "Adadelta";
    const SHADER: Shader<'static> =
        Shader { stem: "adadelta", text: include_str!("../../../shaders/optim/rules/adadelta.wgsl") };
    const SLOTS: &'static [Slot] = &[Slot::unsigned("square_avg"), Slot::unsigned("acc_delta")];

    scheduled! { lr, maximize }

    fn check(&self) -> Result<(), Error> {
        at_least("lr", self.lr, 0.0)?;
        closed("rho", self.rho, 0.0, 1.0)?;
        at_least("eps", self.eps, 0.0)?;
        at_least("weight_decay", self.weight_decay, 0.0)
    }

    fn hyper(&self, _step: &StepInfo) -> AdadeltaHyper {
        AdadeltaHyper {
            rho: f32_of(self.rho),
            one_minus_rho: f32_of(1.0 - self.rho),
            eps: f32_of(self.eps),
            weight_decay: f32_of(self.weight_decay),
        }
    }
}
