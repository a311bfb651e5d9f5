use serde::{Deserialize, Deserializer, Serialize};

use crate::error::{Error, at_least, half_open, open};
use crate::gpu::uniform;
use crate::optim::rule::recurrence::{Recurrence, Weight};
use crate::optim::rule::{EvalParams, Rule, Shader, Slot, StepInfo, f32_of, scheduled};

/// AdamW without a schedule, as `optax.contrib.schedule_free_adamw`: an average of all iterates replaces a falling learning
/// rate.
///
/// The parameters are `y`, where gradients are taken; `z` begins where they are. `v += (1 - beta2) * (g^2 - v)`,
/// `x = (y - (1 - beta1) * z) / beta1`, `z -= rate * (g / (sqrt(v / c2) + eps) + weight_decay * y)` with
/// `c2 = 1 - beta2^step`, `x += ck * (z - x)`, `y = beta1 * x + (1 - beta1) * z`. There is no first moment. The weight of a
/// step is `w = max(lr of all steps so far)^weight_lr_power`, and `ck = w / sum of w`.
///
/// In a warm-up the rate of a step, counted from 1, is `lr * min(step - 1, warmup_steps) / warmup_steps`, 0 at first, and
/// that in its weight is one step ahead.
///
/// [`Optimizer::with_eval_params`](crate::optim::Optimizer::with_eval_params) evaluates with `x`, the result of training:
/// optax's `schedule_free_eval_params`. It is computed of the parameters and `z`, and kept nowhere else, so that
/// [`Lookahead`](crate::optim::Lookahead) cannot be around this rule.
///
/// Source: Defazio et al. 2024, arXiv:2405.15682, Alg. 1;
/// <https://optax.readthedocs.io/en/latest/api/contrib.html#optax.contrib.schedule_free_adamw>. Differs: rates of the warm-up
/// are computed in f64.
///
/// ```
/// use gradus::optim::{self, AnyRule, ScheduleFreeAdamW};
/// use gradus::serde_json::json;
///
/// let typed = ScheduleFreeAdamW { warmup_steps: 100, ..ScheduleFreeAdamW::default() };
/// let named = optim::from_json(&json!({"name": "ScheduleFreeAdamW", "warmup_steps": 100}))?;
/// assert_eq!(typed.to_json(), named.to_json());
/// # Ok::<(), gradus::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ScheduleFreeAdamW {
    /// Learning rate, at least 0. Default 2.5e-3.
    pub lr: f64,
    /// Weight of the average in the parameters, in `(0, 1)`, and of the second moment in itself, in `[0, 1)`. Default
    /// `(0.9, 0.999)`.
    pub betas: (f64, f64),
    /// Added to the root of the second moment, at least 0. Default 1e-8.
    pub eps: f64,
    /// Decoupled weight decay, of the parameters `y`, at least 0. Default 0.
    pub weight_decay: f64,
    /// Steps in which the rate rises from 0; null counts as 0. Default 0.
    #[serde(deserialize_with = "count_or_null")]
    pub warmup_steps: u64,
    /// Power of the rate that the weight of a step is, at least 0. Default 2.
    pub weight_lr_power: f64,
}

fn count_or_null<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or(0))
}

impl Default for ScheduleFreeAdamW {
    fn default() -> Self {
        Self {
            lr: 2.5e-3,
            betas: (0.9, 0.999),
            eps: 1e-8,
            weight_decay: 0.0,
            warmup_steps: 0,
            weight_lr_power: 2.0,
        }
    }
}

uniform! {
    /// The constants of one step of [`ScheduleFreeAdamW`].
    pub struct ScheduleFreeHyper {
        beta2: f32,
        one_minus_beta2: f32,
        root_scale: f32,
        eps: f32,
        weight_decay: f32,
        rate: f32,
        share: f32,
        follows: f32,
        begins: u32,
    }
}

/// The slot of `z`.
const Z: usize = 0;

impl ScheduleFreeAdamW {
    fn weight(&self) -> Weight {
        Weight { lr: self.lr, warmup_steps: self.warmup_steps, power: self.weight_lr_power }
    }
}

impl Rule for ScheduleFreeAdamW {
    type Hyper = ScheduleFreeHyper;
    const NAME: &'static str = "ScheduleFreeAdamW";
    const SHADER: Shader<'static> = Shader {
        stem: "schedule_free_adamw",
        text: include_str!("../../../shaders/optim/rules/schedule_free_adamw.wgsl"),
    };
    const SLOTS: &'static [Slot] = &[Slot::f32("z"), Slot::unsigned("exp_avg_sq")];

    scheduled! { lr, momentum: betas.0 }

    fn check(&self) -> Result<(), Error> {
        at_least("lr", self.lr, 0.0)?;
        open("betas[0]", self.betas.0, 0.0, 1.0)?;
        half_open("betas[1]", self.betas.1, 0.0, 1.0)?;
        at_least("eps", self.eps, 0.0)?;
        at_least("weight_decay", self.weight_decay, 0.0)?;
        at_least("weight_lr_power", self.weight_lr_power, 0.0)
    }

    fn hyper(&self, step: &StepInfo) -> ScheduleFreeHyper {
        let (before, _) = step.carried.weighted();
        let (sum, _) = step.carried.then(self.recurrence(), step.step).weighted();
        // Of a rate of 0 all weights are 0.
        let share = if sum == 0.0 { 0.0 } else { (sum - before) / sum };
        ScheduleFreeHyper {
            beta2: f32_of(self.betas.1),
            one_minus_beta2: f32_of(1.0 - self.betas.1),
            root_scale: f32_of(1.0 / step.correction(self.betas.1).sqrt()),
            eps: f32_of(self.eps),
            weight_decay: f32_of(self.weight_decay),
            rate: f32_of(self.weight().rate(step.step - 1)),
            share: f32_of(share),
            follows: f32_of(1.0 - self.betas.0 * (1.0 - share)),
            begins: step.is_first_use(Z).into(),
        }
    }

    fn recurrence(&self) -> Option<Recurrence> {
        Some(Recurrence::Weight(self.weight()))
    }

    fn eval_params(&self) -> Option<EvalParams> {
        Some(EvalParams::Beyond { slot: Z, by: (1.0 - self.betas.0) / self.betas.0 })
    }
}
