use std::borrow::Cow;
use std::fmt::Debug;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::Optimizer;
use super::orthogonal::NewtonSchulz;
use super::recurrence::{Carried, Recurrence};
use crate::error::{Error, at_least, half_open};
use crate::gpu::Uniform;
use crate::params::ParamStore;

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

    /// What the slot of [`Extent::Factors`] holds for a tensor, by its shape and the options.
    fn factors(&self, _shape: &[usize]) -> Vec<Factor> {
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
    fn average(&self) -> Option<Average> {
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
        Optimizer::new(self, params, &[])
    }

    /// As [`Rule::build`], with fields that differ in some groups, as JSON objects by the group's name.
    ///
    /// # Errors
    /// As [`Rule::build`]; [`Error::UnknownName`] and [`Error::Config`] for what is wrong with the fields.
    fn build_with(self, params: &ParamStore, groups: &[(&str, Value)]) -> Result<Optimizer<Self>, Error> {
        Optimizer::new(self, params, groups)
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

/// What the update of an element must know beside the element, its gradient and its state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// Nothing: one dispatch a window.
    Element,
    /// A ratio of sums over its tensor: they are measured, made a ratio, and applied, in three dispatches. With
    /// `early_state` the first writes the state, so that the last needs no gradient.
    Tensor {
        /// Whether state is written where sums are measured, rather than in the update.
        early_state: bool,
    },
    /// A direction that is made orthogonal over its tensor, a matrix, as [`Rule::newton_schulz`] says: it is measured, which
    /// writes the state, divided by its norm, goes through products, and is applied.
    Matrix,
    /// What the rule knows that it is around.
    Around,
    /// Values that stand for many elements: those that the rule's [`Rule::factors`] name are gathered over each tensor.
    Factored {
        /// Whether they are means, renewed before the update, which also has a ratio of sums over the tensor. Otherwise
        /// they are maxima, and the update is made with the old ones.
        ratio: bool,
    },
}

/// Values that a rule keeps of a tensor, with their name in state dicts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Factor {
    /// The name.
    pub key: Cow<'static, str>,
    /// What there is a value for.
    pub over: Over,
}

/// What a [`Factor`] has a value for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    /// Each element.
    Elements,
    /// Each index of an axis, gathered over all others.
    Axis(usize),
    /// Each index of all other axes, gathered over this one.
    AllBut(usize),
}

impl Factor {
    /// How many values it has for a shape; an axis that the shape lacks has the size 1.
    pub fn len(&self, shape: &[usize]) -> usize {
        let elements: usize = shape.iter().product();
        let size = |axis: usize| shape.get(axis).copied().unwrap_or(1);
        match self.over {
            Over::Elements => elements,
            Over::Axis(axis) => size(axis),
            Over::AllBut(axis) => elements / size(axis),
        }
    }

    /// Never: no dimension is 0.
    pub fn is_empty(&self) -> bool {
        false
    }
}

/// What a rule keeps from step to step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slot {
    /// Its name in state dicts and in the kernel.
    pub name: Cow<'static, str>,
    /// What it holds a value for.
    pub extent: Extent,
    /// Whether it belongs to what follows a rule rather than to the rule: only the update knows it.
    pub(super) late: bool,
    /// Of [`Family::Matrix`], whether only the update reads it, and no direction depends on it.
    pub(super) apart: bool,
}

/// What a slot holds values for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Extent {
    /// Each element: a member of the kernel's `State`.
    Element,
    /// Each tensor: an argument of the kernel's `ratio`.
    Tensor,
    /// What [`Rule::factors`] says; at most one slot, the first.
    Factors,
}

impl Slot {
    /// A 32-bit float for each element.
    pub const fn f32(name: &'static str) -> Self {
        Self { name: Cow::Borrowed(name), extent: Extent::Element, late: false, apart: false }
    }

    /// A 32-bit float for each tensor.
    pub const fn scalar(name: &'static str) -> Self {
        Self { name: Cow::Borrowed(name), extent: Extent::Tensor, late: false, apart: false }
    }

    /// What [`Rule::factors`] says.
    pub const fn factors(name: &'static str) -> Self {
        Self { name: Cow::Borrowed(name), extent: Extent::Factors, late: false, apart: false }
    }

    /// As [`Slot::f32`], of [`Family::Matrix`]: only the update reads it, and no direction depends on it.
    pub const fn apart(name: &'static str) -> Self {
        Self { name: Cow::Borrowed(name), extent: Extent::Element, late: false, apart: true }
    }
}

/// Where a tensor stands when a step reaches it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepInfo {
    /// Steps of the tensor, this one included; of a rule whose state began anew, those since then.
    pub step: u64,
    /// One bit for each slot that one of the earlier steps among these has used.
    pub live: u32,
    /// What earlier steps have left.
    pub(super) carried: Carried,
    /// Of a rule around another, steps up to the latest one after which the other's state began anew.
    pub(super) reset_at: u64,
    /// Slots whose values are from before that: they begin anew when a step uses them.
    pub(super) dropped: u32,
}

/// The parameters to evaluate with; see [`Optimizer::with_averages`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Average {
    /// A slot of [`Rule::SLOTS`] holds them.
    Slot(usize),
    /// They lie on the line from a slot through the parameters, beyond these by so many times the distance.
    Beyond {
        /// The slot's number.
        slot: usize,
        /// How far.
        by: f64,
    },
}

/// When the state of a rule begins anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reset {
    /// After every so many steps of a tensor, at least 1.
    pub every: u64,
    /// One bit for each slot that does.
    pub slots: u32,
}

impl StepInfo {
    /// `1 - beta^step`: what a running average that began at zero has of its weights.
    #[expect(clippy::cast_precision_loss, reason = "step counts stay far below 2^53")]
    pub fn correction(&self, beta: f64) -> f64 {
        1.0 - beta.powf(self.step as f64)
    }

    /// Whether this step is the first that uses a slot.
    pub fn is_first_use(&self, slot: usize) -> bool {
        self.live & (1 << slot) == 0
    }
}

/// Refuses what no rule with two moments can have: rates, weights and decays out of their ranges.
pub(super) fn check_moments(lr: f64, betas: (f64, f64), eps: f64, weight_decay: f64) -> Result<(), Error> {
    at_least("lr", lr, 0.0)?;
    half_open("betas[0]", betas.0, 0.0, 1.0)?;
    half_open("betas[1]", betas.1, 0.0, 1.0)?;
    at_least("eps", eps, 0.0)?;
    at_least("weight_decay", weight_decay, 0.0)
}

/// Weights of the first moment and of the gradient in a step, the rate and corrections of biases included. Nesterov's
/// step, as optax has it, takes the moment as it will be after one more gradient:
/// `beta1 * m / (1 - beta1^(step + 1)) + (1 - beta1) * g / (1 - beta1^step)` in place of `m / (1 - beta1^step)`.
///
/// Source: Dozat 2016, ICLR workshop, Alg. 2, with a constant momentum.
pub(super) fn moment_sizes(lr: f64, beta1: f64, step: &StepInfo, nesterov: bool) -> (f64, f64) {
    let correction = step.correction(beta1);
    if !nesterov {
        return (lr / correction, 0.0);
    }
    let after = StepInfo { step: step.step + 1, ..*step };
    (lr * (beta1 / after.correction(beta1)), lr * ((1.0 - beta1) / correction))
}

/// Factors of the parameter in its gradient and in its update: a decay is either a penalty or decoupled.
pub(super) fn decays(decoupled: bool, lr: f64, weight_decay: f64) -> (f64, f64) {
    if decoupled { (0.0, lr * weight_decay) } else { (weight_decay, 0.0) }
}

/// f64 to the kernel's f32; what does not fit becomes infinite and is refused before a step.
#[expect(clippy::cast_possible_truncation, reason = "rounding is the purpose")]
pub(super) fn f32_of(value: f64) -> f32 {
    value as f32
}
