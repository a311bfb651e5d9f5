use serde::{Deserialize, Serialize};

use crate::error::{Error, at_least};
use crate::gpu::uniform;
use crate::optim::rule::recurrence::{Carried, Decay, Recurrence};
use crate::optim::rule::{EvalParams, Rule, Shader, Slot, StepInfo, f32_of, scheduled};

/// Averaged stochastic gradient descent, as `torch.optim.ASGD` has it.
///
/// `g += weight_decay * p`, `p *= 1 - lambd * eta`, `p -= eta * g`, `ax += mu * (p - ax)`, then `eta = lr / (1 + lambd
/// * lr * step)^alpha` and `mu = 1 / max(1, step - t0)` for the next step. In the first step `eta` is `lr`. While `mu`
/// is 1, up to step `t0 + 2`, the average `ax` is a copy of the parameters.
///
/// As in torch, a change of the learning rate, by hand or by a schedule, takes effect one step later than with other
/// rules. [`Optimizer::with_eval_params`](crate::optim::Optimizer::with_eval_params) evaluates with `ax`.
///
/// Source: Polyak & Juditsky 1992, "Acceleration of stochastic approximation by averaging", SIAM J. Control Optim. 30(4);
/// <https://docs.pytorch.org/docs/2.15/generated/torch.optim.ASGD.html>. Differs: `eta` and `mu` are kept in f64, where
/// torch rounds them to f32.
///
/// ```
/// use gradus::optim::{self, ASGD, AnyRule};
/// use gradus::serde_json::json;
///
/// let typed = ASGD { lambd: 1e-3, ..ASGD::default() };
/// let named = optim::from_json(&json!({"name": "ASGD", "lambd": 1e-3}))?;
/// assert_eq!(typed.to_json(), named.to_json());
/// # Ok::<(), gradus::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ASGD {
    /// Learning rate of the first step, at least 0. Default 1e-2.
    pub lr: f64,
    /// Decay factor of the parameters and of the learning rate, at least 0. Default 1e-4.
    pub lambd: f64,
    /// Exponent of the learning rate's decay, at least 0. Default 0.75.
    pub alpha: f64,
    /// Number of steps before averaging starts, at least 0. Default 1e6.
    pub t0: f64,
    /// L2 penalty added to the gradient, at least 0. Default 0.
    pub weight_decay: f64,
    /// Whether to maximize instead of minimize. Default false.
    pub maximize: bool,
}

impl Default for ASGD {
    fn default() -> Self {
        Self { lr: 1e-2, lambd: 1e-4, alpha: 0.75, t0: 1e6, weight_decay: 0.0, maximize: false }
    }
}

uniform! {
    /// The constants of one step of [`ASGD`].
    pub struct AsgdHyper {
        eta: f32,
        eta_lambd: f32,
        weight_decay: f32,
        mu: f32,
        one_minus_mu: f32,
    }
}

impl Rule for ASGD {
    type Hyper = AsgdHyper;
    const NAME: &'static str = "ASGD";
    const SHADER: Shader<'static> =
        Shader { stem: "asgd", text: include_str!("../../../shaders/optim/rules/asgd.wgsl") };
    const SLOTS: &'static [Slot] = &[Slot::f32("ax")];

    scheduled! { lr, maximize }

    fn check(&self) -> Result<(), Error> {
        at_least("lr", self.lr, 0.0)?;
        at_least("lambd", self.lambd, 0.0)?;
        at_least("alpha", self.alpha, 0.0)?;
        at_least("t0", self.t0, 0.0)?;
        at_least("weight_decay", self.weight_decay, 0.0)
    }

    fn hyper(&self, step: &StepInfo) -> AsgdHyper {
        let (eta, mu) = match step.carried {
            Carried::Decayed { eta, mu } => (eta, mu),
            _ => (self.lr, 1.0),
        };
        AsgdHyper {
            eta: f32_of(eta),
            eta_lambd: f32_of(eta * self.lambd),
            weight_decay: f32_of(self.weight_decay),
            mu: f32_of(mu),
            one_minus_mu: f32_of(1.0 - mu),
        }
    }

    fn recurrence(&self) -> Option<Recurrence> {
        let Self { lr, lambd, alpha, t0, .. } = *self;
        Some(Recurrence::Decay(Decay { lr, lambd, alpha, t0 }))
    }

    fn eval_params(&self) -> Option<EvalParams> {
        Some(EvalParams::Slot(0))
    }
}
