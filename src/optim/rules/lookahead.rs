mod around;

use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::sgd::SGD;
use crate::config;
use crate::error::{Error, closed};
use crate::gpu::{Block, Field};
use crate::optim::rule::any::{AnyRule, options};
use crate::optim::rule::entry::{Entry, FromJson, Registered};
use crate::optim::rule::fields::used_slots;
use crate::optim::rule::{
    EvalParams, Family, NewtonSchulz, Precisions, Recurrence, Reset, Shader, Slot, Statistic, StepInfo,
    f32_of,
};
pub(crate) use around::Ahead;
use around::{Around, BEGINS, RESETS, SLOW, SYNCS};

/// Lookahead around another rule, as in optax.
///
/// The inner rule makes fast steps. The slow weights start as the parameters. After every `sync_period` steps of a tensor
/// they move the fraction `alpha` of the way to the parameters, and the parameters are set to them.
///
/// With `reset_state`, the inner state is then reset: each slot to its first value, and the inner rule's step count to 0. In
/// a state dict, the inner slots of a tensor that was just reset count as unused; `step` counts all steps of the tensor, and
/// `inner_step` those since the reset. The schedule's steps are not reset.
///
/// The learning rate, schedules and the fields that a group overrides act on the inner rule. A group may override fields of
/// Lookahead too. A name that both have, such as `alpha` around RMSprop, means the inner rule's, unless the group also
/// overrides `inner` as a whole.
///
/// ```
/// use gradus::optim::{self, Adam, AnyRule, Lookahead};
/// use serde_json::json;
///
/// let mut typed = Lookahead::new(Adam { lr: 0.01, ..Default::default() });
/// typed.alpha = 0.8;
/// let json = json!({"name": "Lookahead", "inner": {"name": "Adam", "lr": 0.01}, "alpha": 0.8});
/// assert_eq!(typed.to_json(), optim::from_json(&json)?.to_json());
/// # Ok::<(), gradus::Error>(())
/// ```
///
/// Source: Zhang et al. 2019, arXiv:1907.08610, Alg. 1; `reset_state` is of optax.
#[derive(Clone, Debug)]
pub struct Lookahead<R = Box<dyn AnyRule>> {
    /// The rule that makes the fast steps. Its options may change between steps, but not the rule.
    pub inner: R,
    /// Number of steps between two synchronizations, at least 1. Default 5.
    pub sync_period: u64,
    /// Fraction of the way to the parameters that slow weights move, in `[0, 1]`. Default 0.5.
    pub alpha: f64,
    /// Whether the inner state is reset after each synchronization. Default false.
    pub reset_state: bool,
    around: Arc<Around>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    inner: Value,
    #[serde(default = "sync_period")]
    sync_period: u64,
    #[serde(default = "alpha")]
    alpha: f64,
    #[serde(default)]
    reset_state: bool,
}

const fn sync_period() -> u64 {
    5
}

const fn alpha() -> f64 {
    0.5
}

const NAME: &str = "Lookahead";

impl<R: AnyRule> Lookahead<R> {
    /// A Lookahead around `inner`, with the defaults.
    pub fn new(inner: R) -> Self {
        let around = Arc::new(Around::new(&inner));
        Self { inner, sync_period: sync_period(), alpha: alpha(), reset_state: false, around }
    }

    fn slow(&self) -> usize {
        self.around.slots.len() - 1
    }
}

impl<R: AnyRule + Clone + 'static> AnyRule for Lookahead<R> {
    fn name(&self) -> &str {
        NAME
    }

    fn family(&self) -> Family {
        self.inner.family()
    }

    fn shader(&self) -> Shader<'_> {
        Shader { stem: self.inner.shader().stem, text: &self.around.text }
    }

    fn looks_ahead(&self) -> bool {
        true
    }

    fn keeps_zeros(&self) -> bool {
        self.inner.keeps_zeros()
    }

    fn slots(&self) -> &[Slot] {
        &self.around.slots
    }

    fn check(&self) -> Result<(), Error> {
        let refuse = |reason: String| Err(Error::Config { what: format!("optimizer {NAME}"), reason });
        if self.inner.looks_ahead() {
            return refuse(format!("inner: {NAME} cannot be around {NAME}"));
        }
        if self.inner.shader().text != self.around.inner {
            let name = self.inner.name();
            return refuse(format!("inner is now {name}, and not the rule that it was made around"));
        }
        if let Some(EvalParams::Beyond { .. }) = self.inner.eval_params() {
            let inner = self.inner.name();
            return refuse(format!(
                "inner: the average of {inner} follows from parameters that {NAME} would move"
            ));
        }
        if self.inner.slots().iter().any(|slot| slot.name == SLOW.name) {
            return refuse(format!(
                "inner: {} has a slot {:?}, which is {NAME}'s",
                self.inner.name(),
                SLOW.name
            ));
        }
        if self.sync_period == 0 {
            return Err(Error::constant("sync_period", "at least 1", self.sync_period));
        }
        closed("alpha", self.alpha, 0.0, 1.0)?;
        self.inner.check()
    }

    fn uses(&self, slot: usize) -> bool {
        slot == self.slow() || self.inner.uses(slot)
    }

    fn precisions(&self, slot: usize) -> Precisions {
        if slot == self.slow() { Precisions::F32 } else { self.inner.precisions(slot) }
    }

    fn initial(&self, slot: usize) -> f64 {
        // The kernel takes over the parameters themselves.
        if slot == self.slow() { 0.0 } else { self.inner.initial(slot) }
    }

    fn hyper_block(&self) -> (usize, &[Field]) {
        (size_of::<Ahead>() + self.inner.hyper_block().0, &self.around.fields)
    }

    fn hyper_bytes(&self, step: &StepInfo, bytes: &mut Vec<u8>) {
        let begins = if step.is_first_use(self.slow()) { BEGINS } else { 0 };
        let syncs = if step.step.is_multiple_of(self.sync_period) { SYNCS } else { 0 };
        let resets = (step.dropped & used_slots(self)) << RESETS;
        let ahead = Ahead::new(begins | syncs | resets, f32_of(self.alpha));
        bytes.extend_from_slice(bytemuck::bytes_of(&ahead));
        self.inner.hyper_bytes(&StepInfo { step: step.step - step.reset_at, ..*step }, bytes);
    }

    fn lr(&self) -> f64 {
        self.inner.lr()
    }

    fn lr_mut(&mut self) -> &mut f64 {
        self.inner.lr_mut()
    }

    fn momentum_mut(&mut self) -> Option<&mut f64> {
        self.inner.momentum_mut()
    }

    fn statistics(&self, shape: &[usize]) -> Vec<Statistic> {
        self.inner.statistics(shape)
    }

    fn newton_schulz(&self, shape: &[usize]) -> Result<Option<NewtonSchulz>, Error> {
        self.inner.newton_schulz(shape)
    }

    fn recurrence(&self) -> Option<Recurrence> {
        self.inner.recurrence()
    }

    fn eval_params(&self) -> Option<EvalParams> {
        self.inner.eval_params()
    }

    fn reset(&self) -> Option<Reset> {
        let slots = (1 << self.slow()) - 1;
        self.reset_state.then_some(Reset { every: self.sync_period, slots })
    }

    fn maximize(&self) -> bool {
        self.inner.maximize()
    }

    fn to_json(&self) -> Value {
        json!({
            "name": NAME, "inner": self.inner.to_json(), "sync_period": self.sync_period, "alpha": self.alpha,
            "reset_state": self.reset_state,
        })
    }

    fn not_in_json(&self) -> Option<String> {
        let inner = self.inner.not_in_json().map(|found| format!("inner.{found}"));
        inner.or_else(|| (!self.alpha.is_finite()).then(|| format!("alpha is {}", self.alpha)))
    }

    fn boxed_with(&self, fields: &Map<String, Value>) -> Result<Box<dyn AnyRule>, Error> {
        Ok(self.with_fields(fields)?.into())
    }

    fn boxed(&self) -> Box<dyn AnyRule> {
        self.clone().into()
    }

    fn with_fields(&self, fields: &Map<String, Value>) -> Result<Self, Error> {
        let Fields { inner, sync_period, alpha, reset_state } = config::read("optimizer", NAME, fields)?;
        let (name, options) = config::named("inner", &inner)?;
        if name != self.inner.name() {
            let reason = format!("inner is {name}, expected {}", self.inner.name());
            return Err(Error::Config { what: format!("optimizer {NAME}"), reason });
        }
        let inner = self.inner.with_fields(&options)?;
        Ok(Self { inner, sync_period, alpha, reset_state, around: self.around.clone() })
    }

    fn merged(&self, fields: &Map<String, Value>) -> Map<String, Value> {
        let mut all = options(self);
        // Without a whole inner rule, whose fields stand in it, a name that both have is the inner rule's.
        let whole = fields.get("inner").cloned();
        let is_whole = whole.is_some();
        let mut inner = whole.unwrap_or_else(|| all["inner"].clone());
        for (field, value) in fields.iter().filter(|(field, _)| *field != "inner") {
            if all.contains_key(field) && (is_whole || inner.get(field).is_none()) {
                all.insert(field.clone(), value.clone());
            } else if let Some(options) = inner.as_object_mut() {
                options.insert(field.clone(), value.clone());
            }
        }
        all.insert("inner".into(), inner);
        all
    }
}

impl<R: AnyRule + Clone + 'static> From<Lookahead<R>> for Box<dyn AnyRule> {
    fn from(rule: Lookahead<R>) -> Self {
        Box::new(rule)
    }
}

/// Its entry in the table of rules, with the slot and constants that it adds to the inner rule's.
impl Registered for Lookahead {
    const ENTRY: Entry = Entry {
        name: NAME,
        family: Family::Around,
        shader: Shader {
            stem: "lookahead",
            text: include_str!("../../../shaders/optim/frame/lookahead.wgsl"),
        },
        slots: &[SLOW],
        hyper: Block::of::<Ahead>("Hyper"),
        read: Lookahead::read,
        default_rule: || Box::new(Lookahead::new(SGD::default())),
    };
}

impl Lookahead {
    /// From its JSON fields.
    fn read(fields: &Map<String, Value>, from_json: FromJson) -> Result<Box<dyn AnyRule>, Error> {
        let Fields { inner, .. } = config::read("optimizer", NAME, fields)?;
        Self::new(from_json(&inner)?).boxed_with(fields)
    }
}
