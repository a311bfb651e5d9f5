use serde::{Deserialize, Serialize};

use crate::error::{Error, at_least};
use crate::gpu::uniform;
use crate::optim::rule::{Family, Rule, Shader, Slot, StepInfo, f32_of, scheduled};

/// Fromage, as in optax: a step along the gradient whose length in each tensor is proportional to the tensor's norm.
///
/// `p = (p - lr * max(|p|, min_norm) / max(|g|, min_norm) * g) / sqrt(1 + lr^2)` with norms over the tensor. If one of
/// the norms is still 0, their ratio is 1.
///
/// Source: Bernstein et al. 2020, arXiv:2002.03432, Alg. 1, which is `min_norm: 0`. It keeps no state. A ratio that is
/// not finite, for example after a NaN gradient, is replaced by 0 or by the largest number.
///
/// ```
/// use gradus::optim::{self, AnyRule, Fromage};
/// use gradus::serde_json::json;
///
/// let typed = Fromage { lr: 0.02, ..Fromage::default() };
/// let named = optim::from_json(&json!({"name": "Fromage", "lr": 0.02}))?;
/// assert_eq!(typed.to_json(), named.to_json());
/// # Ok::<(), gradus::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Fromage {
    /// Learning rate, at least 0: the length of a step relative to the tensor's norm. Default 1.
    pub lr: f64,
    /// Lower bound of both norms, at least 0. Default 1e-6.
    pub min_norm: f64,
}

impl Default for Fromage {
    fn default() -> Self {
        Self { lr: 1.0, min_norm: 1e-6 }
    }
}

uniform! {
    /// The constants of one step of [`Fromage`].
    pub struct FromageHyper {
        lost: f32,
        rate: f32,
        min_norm: f32,
    }
}

impl Rule for Fromage {
    type Hyper = FromageHyper;
    const NAME: &'static str = "Fromage";
    const FAMILY: Family = Family::Tensor { early_state: false };
    const SHADER: Shader<'static> =
        Shader { stem: "fromage", text: include_str!("../../../shaders/optim/rules/fromage.wgsl") };
    const SLOTS: &'static [Slot] = &[];

    scheduled! { lr }

    fn check(&self) -> Result<(), Error> {
        at_least("lr", self.lr, 0.0)?;
        at_least("min_norm", self.min_norm, 0.0)
    }

    fn hyper(&self, _step: &StepInfo) -> FromageHyper {
        let root = 1f64.hypot(self.lr);
        let rate = self.lr / root;
        FromageHyper {
            lost: f32_of(rate * self.lr / (1.0 + root)),
            rate: f32_of(rate),
            min_norm: f32_of(self.min_norm),
        }
    }
}
