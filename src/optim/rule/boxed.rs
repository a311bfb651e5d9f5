//! The methods of a boxed rule: those of the rule in the box.

use serde_json::{Map, Value};

use super::any::AnyRule;
use super::sealed::Sealed;
use super::{
    EvalParams, Family, NewtonSchulz, Precisions, Recurrence, Reset, Rule, Shader, Slot, Statistic, StepInfo,
};
use crate::error::Error;
use crate::gpu::Field;

impl Sealed for Box<dyn AnyRule> {}

impl AnyRule for Box<dyn AnyRule> {
    fn name(&self) -> &str {
        (**self).name()
    }

    fn family(&self) -> Family {
        (**self).family()
    }

    fn shader(&self) -> Shader<'_> {
        (**self).shader()
    }

    fn looks_ahead(&self) -> bool {
        (**self).looks_ahead()
    }

    fn keeps_zeros(&self) -> bool {
        (**self).keeps_zeros()
    }

    fn slots(&self) -> &[Slot] {
        (**self).slots()
    }

    fn check(&self) -> Result<(), Error> {
        (**self).check()
    }

    fn uses(&self, slot: usize) -> bool {
        (**self).uses(slot)
    }

    fn precisions(&self, slot: usize) -> Precisions {
        (**self).precisions(slot)
    }

    fn statistics(&self, shape: &[usize]) -> Vec<Statistic> {
        (**self).statistics(shape)
    }

    fn newton_schulz(&self, shape: &[usize]) -> Result<Option<NewtonSchulz>, Error> {
        (**self).newton_schulz(shape)
    }

    fn initial(&self, slot: usize) -> f64 {
        (**self).initial(slot)
    }

    fn hyper_block(&self) -> (usize, &[Field]) {
        (**self).hyper_block()
    }

    fn hyper_bytes(&self, step: &StepInfo, bytes: &mut Vec<u8>) {
        (**self).hyper_bytes(step, bytes);
    }

    fn lr(&self) -> f64 {
        (**self).lr()
    }

    fn lr_mut(&mut self) -> &mut f64 {
        (**self).lr_mut()
    }

    fn momentum_mut(&mut self) -> Option<&mut f64> {
        (**self).momentum_mut()
    }

    fn recurrence(&self) -> Option<Recurrence> {
        (**self).recurrence()
    }

    fn eval_params(&self) -> Option<EvalParams> {
        (**self).eval_params()
    }

    fn reset(&self) -> Option<Reset> {
        (**self).reset()
    }

    fn maximize(&self) -> bool {
        (**self).maximize()
    }

    fn to_json(&self) -> Value {
        (**self).to_json()
    }

    fn not_in_json(&self) -> Option<String> {
        (**self).not_in_json()
    }

    fn merged(&self, fields: &Map<String, Value>) -> Map<String, Value> {
        (**self).merged(fields)
    }

    fn boxed_with(&self, fields: &Map<String, Value>) -> Result<Box<dyn AnyRule>, Error> {
        (**self).boxed_with(fields)
    }

    fn boxed(&self) -> Box<dyn AnyRule> {
        (**self).boxed()
    }

    fn with_fields(&self, fields: &Map<String, Value>) -> Result<Self, Error> {
        self.boxed_with(fields)
    }
}

impl Clone for Box<dyn AnyRule> {
    fn clone(&self) -> Self {
        (**self).boxed()
    }
}

impl<R: Rule> From<R> for Box<dyn AnyRule> {
    fn from(rule: R) -> Self {
        Box::new(rule)
    }
}
