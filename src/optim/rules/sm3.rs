use serde::{Deserialize, Serialize};

use crate::error::{Error, at_least, closed, half_open};
use crate::gpu::uniform;
use crate::optim::rule::{Family, Reduced, Rule, Shader, Slot, Statistic, StepInfo, f32_of, scheduled};

/// SM3, as optax has it: Adagrad with one accumulator for each index of each axis.
///
/// `s = min over axes of mu[axis] + g^2`, `u = g / sqrt(s + eps)`, or 0 where `s` is 0,
/// `m = momentum * m + (1 - momentum) * u`, `p -= lr * m`; the new `mu[axis]` is the largest `s` at its index. With `b2`
/// below 1, `s = b2 * min + (1 - b2) * g^2`. A weight decay is added to the gradient.
///
/// State: `accumulator.<axis>`, one for a tensor without axes; `momentum_buffer` unless the momentum is 0.
///
/// Source: Anil et al. 2019, arXiv:1901.11150, Alg. 2 (SM3-II).
///
/// ```
/// use gradus::optim::{self, AnyRule, SM3};
/// use gradus::serde_json::json;
///
/// let typed = SM3 { momentum: 0.5, ..SM3::default() };
/// let named = optim::from_json(&json!({"name": "SM3", "momentum": 0.5}))?;
/// assert_eq!(typed.to_json(), named.to_json());
/// # Ok::<(), gradus::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SM3 {
    /// Learning rate, at least 0. Default 1.
    pub lr: f64,
    /// Weight of the average of updates in itself, in `[0, 1)`. Default 0.9.
    pub momentum: f64,
    /// Weight of the accumulators, in `[0, 1]`; at 1 squares are added whole. Default 1.
    pub b2: f64,
    /// Added to sums of squares, at least 0. Default 1e-8.
    pub eps: f64,
    /// Share of the parameters in the gradient, at least 0. Default 0.
    pub weight_decay: f64,
}

impl Default for SM3 {
    fn default() -> Self {
        Self { lr: 1.0, momentum: 0.9, b2: 1.0, eps: 1e-8, weight_decay: 0.0 }
    }
}

uniform! {
    /// The constants of one step of [`SM3`].
    pub struct SM3Hyper {
        b2: f32,
        weight: f32,
        momentum: f32,
        one_minus_momentum: f32,
        eps: f32,
        weight_decay: f32,
    }
}

impl Rule for SM3 {
    type Hyper = SM3Hyper;
    const NAME: &'static str = "SM3";
    const FAMILY: Family = Family::Factored { ratio: false };
    const SHADER: Shader<'static> =
        Shader { stem: "sm3", text: include_str!("../../../shaders/optim/rules/sm3.wgsl") };
    const SLOTS: &'static [Slot] = &[Slot::statistics("accumulator"), Slot::bf16("momentum_buffer")];

    scheduled! { lr, momentum: momentum }

    fn check(&self) -> Result<(), Error> {
        at_least("lr", self.lr, 0.0)?;
        half_open("momentum", self.momentum, 0.0, 1.0)?;
        closed("b2", self.b2, 0.0, 1.0)?;
        at_least("eps", self.eps, 0.0)?;
        at_least("weight_decay", self.weight_decay, 0.0)
    }

    fn uses(&self, slot: usize) -> bool {
        slot == 0 || self.momentum != 0.0
    }

    fn statistics(&self, shape: &[usize]) -> Vec<Statistic> {
        (0..shape.len().max(1))
            .map(|axis| Statistic {
                key: format!("accumulator.{axis}").into(),
                reduced: Reduced::AllBut(axis),
            })
            .collect()
    }

    fn hyper(&self, _step: &StepInfo) -> SM3Hyper {
        SM3Hyper {
            b2: f32_of(self.b2),
            weight: if self.b2 == 1.0 { 1.0 } else { f32_of(1.0 - self.b2) },
            momentum: f32_of(self.momentum),
            one_minus_momentum: f32_of(1.0 - self.momentum),
            eps: f32_of(self.eps),
            weight_decay: f32_of(self.weight_decay),
        }
    }
}
