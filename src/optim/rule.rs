//! The trait of rules, its object form, and the types that rules are made of.

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

/// Keeps [`Rule`] and [`AnyRule`](any::AnyRule) to the rules of this crate, so that either may gain methods.
pub(crate) mod sealed {
    /// Of every rule.
    pub trait Sealed {}
}

/// An optimizer that steps by gradients alone. The struct holds the options. The arithmetic is a WGSL function in the file
/// of the same name.
///
/// It is sealed: a rule of your own is a [`CustomRule`](crate::optim::CustomRule).
///
/// ```
/// use gradus::optim::{AdamW, Rule};
///
/// let rule = AdamW { lr: 3e-4, ..AdamW::default() };
/// rule.check()?;
/// assert_eq!((AdamW::NAME, rule.lr()), ("AdamW", 3e-4));
/// # Ok::<(), gradus::Error>(())
/// ```
pub trait Rule:
    sealed::Sealed + Clone + Debug + Default + PartialEq + Serialize + DeserializeOwned + Send + Sync + 'static
{
    /// The constants of one step, laid out as in the kernel.
    type Hyper: Uniform;
    /// Name in JSON.
    const NAME: &'static str;
    /// What its update needs to know beside the element.
    const FAMILY: Family = Family::Element;
    /// The WGSL of its arithmetic.
    const SHADER: Shader<'static>;
    /// All slots of state that any options use, in the order of the kernel's `State`.
    const SLOTS: &'static [Slot];

    /// Refuses options that are out of range or contradict each other.
    ///
    /// # Errors
    /// [`Error::Constant`] with the option, its range and its value; [`Error::Config`].
    fn check(&self) -> Result<(), Error>;

    /// Fields that the chosen variant does not have. They are refused in JSON, and not written to it.
    fn absent(&self) -> &'static [&'static str] {
        &[]
    }

    /// Whether these options use a slot of [`Rule::SLOTS`].
    fn uses(&self, _slot: usize) -> bool {
        true
    }

    /// The precisions in which a slot of [`Rule::SLOTS`] may be stored with these options.
    fn precisions(&self, slot: usize) -> Precisions {
        Self::SLOTS[slot].precisions
    }

    /// The statistics in the slot of [`Granularity::Statistics`] of a tensor of this shape.
    fn statistics(&self, _shape: &[usize]) -> Vec<Statistic> {
        Vec::new()
    }

    /// For [`Family::Matrix`], how the direction of a tensor of this shape is made orthogonal; `None` if these options do not.
    ///
    /// # Errors
    /// [`Error::Shape`] if the options take no tensor of this shape.
    fn newton_schulz(&self, _shape: &[usize]) -> Result<Option<NewtonSchulz>, Error> {
        Ok(None)
    }

    /// The value of a slot of [`Rule::SLOTS`] before the first step that uses it. Padding is zero.
    fn initial(&self, _slot: usize) -> f64 {
        0.0
    }

    /// The constants of a step, computed in f64.
    fn hyper(&self, step: &StepInfo) -> Self::Hyper;

    /// The learning rate.
    fn lr(&self) -> f64;

    /// The learning rate, to change it.
    fn lr_mut(&mut self) -> &mut f64;

    /// The momentum that a schedule cycles: `momentum` or `betas[0]`, if there is one.
    fn momentum_mut(&mut self) -> Option<&mut f64> {
        None
    }

    /// The numbers that the rule carries from step to step of a tensor, if it does, and what a step adds to them.
    fn recurrence(&self) -> Option<Recurrence> {
        None
    }

    /// The parameters to evaluate with, if they differ from those at which gradients are taken.
    fn eval_params(&self) -> Option<EvalParams> {
        None
    }

    /// Whether the rule maximizes: gradients are then negated first.
    fn maximize(&self) -> bool {
        false
    }

    /// Builds an optimizer in which each of the store's groups has a copy of this rule.
    ///
    /// # Errors
    /// The errors of [`Rule::check`]; [`Error::Limit`], [`Error::Kernel`].
    fn build(self, params: &ParamStore) -> Result<Optimizer<Self>, Error> {
        Optimizer::new(self, params, &[], &OptimizerOptions::default())
    }

    /// As [`Rule::build`], with the fields that differ in some groups: a JSON object for each group's name.
    ///
    /// # Errors
    /// As [`Rule::build`]; [`Error::UnknownName`] and [`Error::Config`] for wrong groups and fields.
    fn build_with(self, params: &ParamStore, groups: &[(&str, Value)]) -> Result<Optimizer<Self>, Error> {
        Optimizer::new(self, params, groups, &OptimizerOptions::default())
    }

    /// As [`Rule::build_with`], with options such as the precision of state.
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

/// The WGSL of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shader<'a> {
    /// The file's name, without its extension.
    pub stem: &'a str,
    /// The file's text.
    pub text: &'a str,
}
