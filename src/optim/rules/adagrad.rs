use serde::{Deserialize, Serialize};

use crate::error::{Error, at_least};
use crate::gpu::uniform;
use crate::optim::rule::{Rule, Shader, Slot, StepInfo, f32_of, scheduled};

/// Adagrad, as `torch.optim.Adagrad` has it.
///
/// `g += weight_decay * p`, `sum += g^2`, `p -= lr / (1 + (step - 1) * lr_decay) * g / (sqrt(sum) + eps)`.
///
/// Source: Duchi, Hazan & Singer 2011, JMLR 12, the diagonal form; optax: `eps_in_sqrt`. Differs: where sum
/// and `eps` are both zero, a parameter stays where it is, and PyTorch makes NaN.
///
/// ```
/// use gradus::optim::{self, Adagrad, AnyRule};
/// use gradus::serde_json::json;
///
/// let typed = Adagrad { lr_decay: 0.01, ..Adagrad::default() };
/// let named = optim::from_json(&json!({"name": "Adagrad", "lr_decay": 0.01}))?;
/// assert_eq!(typed.to_json(), named.to_json());
/// # Ok::<(), gradus::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Adagrad {
    /// Learning rate, at least 0. Default 1e-2.
    pub lr: f64,
    /// What the rate is divided by grows by this much in each step; at least 0. Default 0.
    pub lr_decay: f64,
    /// L2 penalty added to the gradient, at least 0. Default 0.
    pub weight_decay: f64,
    /// What the sum of squares starts at, at least 0. Default 0.
    pub initial_accumulator_value: f64,
    /// Added to the root of the sum, at least 0. Default 1e-10.
    pub eps: f64,
    /// Whether `eps` is added under the root, as in optax. Default false.
    pub eps_in_sqrt: bool,
    /// Whether to go up the gradient. Default false.
    pub maximize: bool,
}

impl Default for Adagrad {
    fn default() -> Self {
        Self {
            lr: 1e-2,
            lr_decay: 0.0,
            weight_decay: 0.0,
            initial_accumulator_value: 0.0,
            eps: 1e-10,
            eps_in_sqrt: false,
            maximize: false,
        }
    }
}

uniform! {
    /// The constants of one step of [`Adagrad`].
    pub struct AdagradHyper {
        step_size: f32,
        eps: f32,
        weight_decay: f32,
        eps_in_sqrt: u32,
    }
}

impl Rule for Adagrad {
    type Hyper = AdagradHyper;
    const NAME: &'static str = "Adagrad";
    const SHADER: Shader<'static> =
        Shader { stem: "adagrad", text: include_str!("../../../shaders/optim/rules/adagrad.wgsl") };
    const SLOTS: &'static [Slot] = &[Slot::bf16("sum")];

    scheduled! { lr, maximize }

    fn check(&self) -> Result<(), Error> {
        at_least("lr", self.lr, 0.0)?;
        at_least("lr_decay", self.lr_decay, 0.0)?;
        at_least("weight_decay", self.weight_decay, 0.0)?;
        at_least("initial_accumulator_value", self.initial_accumulator_value, 0.0)?;
        at_least("eps", self.eps, 0.0)
    }

    fn initial(&self, _slot: usize) -> f64 {
        self.initial_accumulator_value
    }

    #[expect(clippy::cast_precision_loss, reason = "step counts stay far below 2^53")]
    fn hyper(&self, step: &StepInfo) -> AdagradHyper {
        AdagradHyper {
            step_size: f32_of(self.lr / (1.0 + (step.step - 1) as f64 * self.lr_decay)),
            eps: f32_of(self.eps),
            weight_decay: f32_of(self.weight_decay),
            eps_in_sqrt: self.eps_in_sqrt.into(),
        }
    }
}
