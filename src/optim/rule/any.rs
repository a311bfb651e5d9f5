use std::fmt::Debug;

use serde_json::{Map, Value};

use super::sealed::Sealed;
use super::{
    EvalParams, Family, NewtonSchulz, Precisions, Recurrence, Reset, Rule, Shader, Slot, Statistic, StepInfo,
};
use crate::config;
use crate::error::Error;
use crate::gpu::{Field, Uniform};

/// Any [`Rule`] as an object, for optimizers that are chosen by name. It is sealed, as [`Rule`] is.
///
/// ```
/// use gradus::optim::{self, AnyRule};
/// use gradus::serde_json::json;
///
/// let rule: Box<dyn AnyRule> = optim::from_json(&json!({"name": "Lion", "lr": 1e-4}))?;
/// assert_eq!((rule.name(), rule.lr()), ("Lion", 1e-4));
/// # Ok::<(), gradus::Error>(())
/// ```
pub trait AnyRule: Sealed + Debug + Send + Sync {
    /// [`Rule::NAME`].
    fn name(&self) -> &str;
    /// [`Rule::FAMILY`].
    fn family(&self) -> Family;
    /// [`Rule::SHADER`].
    fn shader(&self) -> Shader<'_>;
    /// Whether it is a [`Lookahead`](crate::optim::Lookahead) around the rule whose text it has.
    fn looks_ahead(&self) -> bool {
        false
    }
    /// Whether it is known to map zero parameters with zero gradients to zeros. Otherwise the frame keeps the padding between
    /// tensors at zero.
    fn keeps_zeros(&self) -> bool {
        true
    }
    /// [`Rule::SLOTS`].
    fn slots(&self) -> &[Slot];
    /// [`Rule::check`].
    ///
    /// # Errors
    /// As [`Rule::check`].
    fn check(&self) -> Result<(), Error>;
    /// [`Rule::uses`].
    fn uses(&self, slot: usize) -> bool;
    /// [`Rule::precisions`].
    fn precisions(&self, slot: usize) -> Precisions {
        self.slots()[slot].precisions
    }
    /// [`Rule::statistics`].
    fn statistics(&self, shape: &[usize]) -> Vec<Statistic>;
    /// [`Rule::newton_schulz`].
    ///
    /// # Errors
    /// As [`Rule::newton_schulz`].
    fn newton_schulz(&self, _shape: &[usize]) -> Result<Option<NewtonSchulz>, Error> {
        Ok(None)
    }
    /// [`Rule::initial`].
    fn initial(&self, slot: usize) -> f64;
    /// Bytes and fields of [`Rule::Hyper`].
    fn hyper_block(&self) -> (usize, &[Field]);
    /// Appends the bytes of [`Rule::hyper`].
    fn hyper_bytes(&self, step: &StepInfo, bytes: &mut Vec<u8>);
    /// [`Rule::lr`].
    fn lr(&self) -> f64;
    /// [`Rule::lr_mut`].
    fn lr_mut(&mut self) -> &mut f64;
    /// [`Rule::momentum_mut`].
    fn momentum_mut(&mut self) -> Option<&mut f64>;
    /// [`Rule::recurrence`].
    fn recurrence(&self) -> Option<Recurrence> {
        None
    }
    /// [`Rule::eval_params`].
    fn eval_params(&self) -> Option<EvalParams> {
        None
    }
    /// When its state is reset, if it is.
    fn reset(&self) -> Option<Reset> {
        None
    }
    /// [`Rule::maximize`].
    fn maximize(&self) -> bool;
    /// All options as a JSON object, `name` included.
    fn to_json(&self) -> Value;
    /// The first option that JSON cannot hold, such as `eps is inf`; `None` by default.
    fn not_in_json(&self) -> Option<String> {
        None
    }
    /// All options except the name, with a group's overrides.
    fn merged(&self, fields: &Map<String, Value>) -> Map<String, Value> {
        let mut all = options(self);
        all.extend(fields.clone());
        all
    }
    /// A rule of the same kind from all its fields except `name`. Does not check ranges.
    ///
    /// # Errors
    /// [`Error::UnknownName`], [`Error::Config`].
    fn boxed_with(&self, fields: &Map<String, Value>) -> Result<Box<dyn AnyRule>, Error>;
    /// A copy of the same kind.
    fn boxed(&self) -> Box<dyn AnyRule>;
    /// As [`AnyRule::boxed_with`], but returns the type itself.
    ///
    /// # Errors
    /// As [`AnyRule::boxed_with`].
    fn with_fields(&self, fields: &Map<String, Value>) -> Result<Self, Error>
    where
        Self: Sized;
}

impl<R: Rule> AnyRule for R {
    fn name(&self) -> &str {
        R::NAME
    }

    fn family(&self) -> Family {
        R::FAMILY
    }

    fn shader(&self) -> Shader<'_> {
        R::SHADER
    }

    fn slots(&self) -> &[Slot] {
        R::SLOTS
    }

    fn check(&self) -> Result<(), Error> {
        Rule::check(self)
    }

    fn uses(&self, slot: usize) -> bool {
        Rule::uses(self, slot)
    }

    fn precisions(&self, slot: usize) -> Precisions {
        Rule::precisions(self, slot)
    }

    fn statistics(&self, shape: &[usize]) -> Vec<Statistic> {
        // A tensor without elements has none to keep anything of.
        if shape.contains(&0) { Vec::new() } else { Rule::statistics(self, shape) }
    }

    fn newton_schulz(&self, shape: &[usize]) -> Result<Option<NewtonSchulz>, Error> {
        Rule::newton_schulz(self, shape)
    }

    fn initial(&self, slot: usize) -> f64 {
        Rule::initial(self, slot)
    }

    fn hyper_block(&self) -> (usize, &[Field]) {
        (size_of::<R::Hyper>(), R::Hyper::FIELDS)
    }

    fn hyper_bytes(&self, step: &StepInfo, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(bytemuck::bytes_of(&self.hyper(step)));
    }

    fn lr(&self) -> f64 {
        Rule::lr(self)
    }

    fn lr_mut(&mut self) -> &mut f64 {
        Rule::lr_mut(self)
    }

    fn momentum_mut(&mut self) -> Option<&mut f64> {
        Rule::momentum_mut(self)
    }

    fn recurrence(&self) -> Option<Recurrence> {
        Rule::recurrence(self)
    }

    fn eval_params(&self) -> Option<EvalParams> {
        Rule::eval_params(self)
    }

    fn maximize(&self) -> bool {
        Rule::maximize(self)
    }

    fn to_json(&self) -> Value {
        let mut json = config::write(R::NAME, self);
        if let Value::Object(fields) = &mut json {
            fields.retain(|field, _| !self.absent().contains(&field.as_str()));
        }
        json
    }

    fn not_in_json(&self) -> Option<String> {
        config::not_finite(self)
    }

    fn boxed_with(&self, fields: &Map<String, Value>) -> Result<Box<dyn AnyRule>, Error> {
        Ok(Box::new(self.with_fields(fields)?))
    }

    fn boxed(&self) -> Box<dyn AnyRule> {
        Box::new(self.clone())
    }

    fn with_fields(&self, fields: &Map<String, Value>) -> Result<Self, Error> {
        let rule: R = config::read("optimizer", R::NAME, fields)?;
        match rule.absent().iter().find(|field| fields.contains_key(**field)) {
            Some(field) => Err(Error::Config {
                what: format!("optimizer {}", R::NAME),
                reason: format!("the variant has no field `{field}`"),
            }),
            None => Ok(rule),
        }
    }
}

/// All options except the name.
pub(crate) fn options(rule: &(impl AnyRule + ?Sized)) -> Map<String, Value> {
    let Value::Object(mut all) = rule.to_json() else { unreachable!("options are an object") };
    all.remove("name");
    all
}
