//! What a rule is, as a type and as an object, and what all rules are made of.

pub(crate) mod any;
pub(crate) mod arithmetic;
mod boxed;
pub(crate) mod dynamic8;
pub(crate) mod entry;
pub(crate) mod family;
pub(crate) mod fields;
pub(crate) mod momenta;
pub(crate) mod newton_schulz;
mod options;
pub(crate) mod precision;
pub(crate) mod recurrence;
pub(crate) mod slot;
pub(crate) mod step_info;

use std::fmt::Debug;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{Optimizer, OptimizerOptions};
use crate::error::Error;
use crate::gpu::Uniform;
use crate::params::ParamStore;
pub(crate) use arithmetic::{check_moments, decays, f32_of, moment_sizes};
pub use family::Family;
pub use momenta::Mu;
pub use newton_schulz::NewtonSchulz;
pub(crate) use options::scheduled;
pub use precision::{Precisions, SlotBits, StatePrecision};
pub use recurrence::{Decay, Recurrence, Weight};
pub use slot::{Granularity, Reduced, Slot, Statistic};
pub use step_info::{EvalParams, Reset, StepInfo};

/// An optimizer that steps by gradients alone. The struct holds the options; the arithmetic is a WGSL function of the
/// same name's file.
pub trait Rule:
    Clone + Debug + Default + PartialEq + Serialize + DeserializeOwned + Send + Sync + 'static
{
    /// The constants of one step, as the kernel has them.
    type Hyper: Uniform;
    /// Name in JSON.
    const NAME: &'static str;
    /// What its update must know.
    const FAMILY: Family = Family::Element;
    /// The kernel.
    const SHADER: Shader<'static>;
    /// Every slot of state that some options need, in the order of the kernel's `State`.
    const SLOTS: &'static [Slot];

    /// Refuses options that are out of range or contradict each other.
    ///
    /// # Errors
    /// [`Error::Constant`] with the option, its range and its value; [`Error::Config`].
    fn check(&self) -> Result<(), Error>;

    /// Fields that the chosen variant does not have: refused in JSON, and left out of it.
    fn absent(&self) -> &'static [&'static str] {
        &[]
    }

    /// Whether these options need a slot of [`Rule::SLOTS`].
    fn uses(&self, _slot: usize) -> bool {
        true
    }

    /// What a slot of [`Rule::SLOTS`] may be stored as with these options.
    fn precisions(&self, slot: usize) -> Precisions {
        Self::SLOTS[slot].precisions
    }

    /// What the slot of [`Granularity::Statistics`] holds for a tensor, by its shape and the options.
    fn statistics(&self, _shape: &[usize]) -> Vec<Statistic> {
        Vec::new()
    }

    /// How the direction of a tensor of this shape is made orthogonal, of [`Family::Matrix`]; none where these options do not.
    ///
    /// # Errors
    /// [`Error::Shape`] if the options take no tensor of this shape.
    fn newton_schulz(&self, _shape: &[usize]) -> Result<Option<NewtonSchulz>, Error> {
        Ok(None)
    }

    /// What a slot of [`Rule::SLOTS`] holds before the step that uses it first. Padding holds zero.
    fn initial(&self, _slot: usize) -> f64 {
        0.0
    }

    /// The constants of a step, computed in f64.
    fn hyper(&self, step: &StepInfo) -> Self::Hyper;

    /// The learning rate.
    fn lr(&self) -> f64;

    /// The learning rate, to change it.
    fn lr_mut(&mut self) -> &mut f64;

    /// What a schedule cycles as momentum: `momentum` or `betas[0]`, if there is one.
    fn momentum_mut(&mut self) -> Option<&mut f64> {
        None
    }

    /// What a step with these options adds to what the rule must know of all steps of a tensor, if there is such a thing.
    fn recurrence(&self) -> Option<Recurrence> {
        None
    }

    /// Which parameters to evaluate with, where those that gradients are taken at are others.
    fn eval_params(&self) -> Option<EvalParams> {
        None
    }

    /// Whether the gradient is negated first.
    fn maximize(&self) -> bool {
        false
    }

    /// An optimizer that gives each of the store's groups a copy of this rule.
    ///
    /// # Errors
    /// What [`Rule::check`] says; [`Error::Limit`], [`Error::Kernel`].
    fn build(self, params: &ParamStore) -> Result<Optimizer<Self>, Error> {
        Optimizer::new(self, params, &[], &OptimizerOptions::default())
    }

    /// As [`Rule::build`], with fields that differ in some groups, as JSON objects by the group's name.
    ///
    /// # Errors
    /// As [`Rule::build`]; [`Error::UnknownName`] and [`Error::Config`] for what is wrong with the fields.
    fn build_with(self, params: &ParamStore, groups: &[(&str, Value)]) -> Result<Optimizer<Self>, Error> {
        Optimizer::new(self, params, groups, &OptimizerOptions::default())
    }

    /// As [`Rule::build_with`], with what its state is stored as.
    ///
    /// # Errors
    /// As [`Rule::build_with`]; [`Error::Constant`] for a precision that a slot does not allow; [`Error::UnknownName`] for
    /// a slot that the rule does not have.
    fn build_with_options(
        self,
        params: &ParamStore,
        groups: &[(&str, Value)],
        options: &OptimizerOptions,
    ) -> Result<Optimizer<Self>, Error> {
        Optimizer::new(self, params, groups, options)
    }
}

/// The text of a rule's kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shader<'a> {
    /// Stem of its file.
    pub stem: &'a str,
    /// The file's text.
    pub text: &'a str,
}
