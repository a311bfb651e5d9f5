use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::declared::{Declared, Hypers};
use crate::error::{Error, at_least};
use crate::gpu::Field;
use crate::optim::rule::any::AnyRule;
use crate::optim::rule::sealed::Sealed;
use crate::optim::rule::{Family, Shader, Slot, Statistic, StepInfo, f32_of};

/// A custom rule: a function in WGSL, with declared slots, hyperparameters and constants.
///
/// ```
/// use gradus::optim::{AnyRule, CustomRule};
///
/// let rule = CustomRule::builder(
///     "Heavy ball",
///     "fn rule(p: vec4f, g: vec4f, s: ptr<function, State>) -> vec4f {
///         (*s).velocity = hyper.momentum * (*s).velocity + g;
///         return p - call.lr * (*s).velocity;
///     }",
/// )
/// .slot("velocity")
/// .hyper("momentum", 0.9, 0.0..1.0)
/// .build()?;
/// assert_eq!(rule.to_json(), serde_json::json!({
///     "name": "Heavy ball", "lr": 1e-3, "momentum": 0.9, "maximize": false,
/// }));
/// # Ok::<(), gradus::Error>(())
/// ```
///
/// `rule` gets four adjacent parameters, their gradients and their state, and returns the new parameters. It reads
/// `call.lr` and, as `hyper.<name>`, each hyperparameter and constant, all `f32`. `struct State` holds each slot as a
/// `vec4f`. Both structs are generated. The text may declare other functions, constants and structs. It may use WGSL's
/// arithmetic and, of the frame, `TINY` and `LARGEST` (the smallest normal and the largest number, as vectors of four)
/// and these functions:
///
/// | | |
/// |---|---|
/// | `averaged(average, x, beta, one_minus_beta)` | `beta * average + one_minus_beta * x`, rounded as torch's `lerp` |
/// | `squared(x)` | `x * x`, held at the largest number |
/// | `sign_of(x)` | -1, 0 or 1, or NaN |
/// | `at_least_tiny(x)` | `x`, but not below the smallest normal number: for what one divides by |
/// | `held(x)` | `x`, but with a magnitude of at most the largest number |
///
/// Everything else is refused: a rule must be a pure function of these that ends.
///
/// | | |
/// |---|---|
/// | declarations | `fn`, `const`, `struct` and `alias`, at most 256, under names that neither WGSL nor the frame has; no `var` outside functions, attributes, overrides, extensions or entry points |
/// | functions of WGSL | all but barriers, atomics, derivatives, textures and subgroups |
/// | loops | `for (var i = 0; i < 8; i++)`: from, to and by numbers or constants that are numbers, towards the bound, and `i` is not changed in the body. No `while`, no `loop` |
/// | work | a call of `rule` goes through at most 65,536 words and marks of the text, those of loops and functions each time they run |
/// | memory | at most 1 KiB of variables in a function and what it calls; arrays of at most 256 elements, with a plain length; only scalars, vectors and matrices in structs |
/// | state | slots change one by one: `State` may only be named in `ptr<function, State>` |
/// | text | at most 64 KiB, nested at most 64 deep, where operators in a row count and blocks and `else` count twice; only ASCII outside comments |
///
/// A rule that must detect a tensor's first step declares a constant for it, such as `.constant("has_previous", |step,
/// _| if step.step == 1 { 0.0 } else { 1.0 })`.
///
/// The result for the padding between tensors does not matter: the frame keeps padding at zero. For elements it does:
/// if gradients may be zero, `g / sqrt(v)` is NaN and `g / at_least_tiny(sqrt(v))` is not.
///
/// Groups, overrides, schedules, gradient transforms, state dicts and checkpoints support it as any other rule. A
/// schedule that cycles the momentum sets the hyperparameter `momentum` or, without one, `beta1`. Copies of a rule
/// share the declaration but have their own values.
#[derive(Clone, Debug)]
pub struct CustomRule {
    /// Learning rate, at least 0.
    pub lr: f64,
    /// Whether to negate the gradient first. Default false.
    pub maximize: bool,
    pub(crate) values: Vec<f64>,
    pub(crate) declared: Arc<Declared>,
}

impl CustomRule {
    /// Maximum number of slots. Every device can bind eight buffers to a stage; parameters, gradients, the slow weights
    /// of [`Lookahead`](crate::optim::Lookahead) and the lengths of tensors take the other four.
    pub const MOST_SLOTS: usize = 4;

    pub(crate) fn of(declared: Arc<Declared>) -> Self {
        let values = declared.hypers.iter().map(|hyper| hyper.default).collect();
        Self { lr: declared.lr, maximize: false, values, declared }
    }

    /// The value of a hyperparameter, or of `lr`.
    ///
    /// # Errors
    /// [`Error::UnknownName`].
    pub fn get(&self, name: &str) -> Result<f64, Error> {
        if name == "lr" {
            return Ok(self.lr);
        }
        Ok(self.values[self.index(name)?])
    }

    /// Sets a hyperparameter, or `lr`.
    ///
    /// # Errors
    /// [`Error::UnknownName`]; [`Error::Constant`] for a value out of its range.
    pub fn set(&mut self, name: &str, value: f64) -> Result<(), Error> {
        if name == "lr" {
            at_least(name, value, 0.0)?;
            self.lr = value;
            return Ok(());
        }
        let index = self.index(name)?;
        self.declared.hypers[index].check(value)?;
        self.values[index] = value;
        Ok(())
    }

    /// The values that constants of a step may depend on.
    pub(crate) fn hypers(&self) -> Hypers<'_> {
        Hypers::new(self.lr, &self.values, &self.declared)
    }

    fn index(&self, name: &str) -> Result<usize, Error> {
        let Declared { name: rule, hypers, .. } = &*self.declared;
        hypers.iter().position(|hyper| hyper.name == name).ok_or_else(|| {
            let known = ["lr"].into_iter().chain(hypers.iter().map(|hyper| &*hyper.name));
            Error::unknown(format!("hyperparameter of {rule}"), name, known)
        })
    }
}

impl Sealed for CustomRule {}

impl AnyRule for CustomRule {
    fn name(&self) -> &str {
        &self.declared.name
    }

    fn family(&self) -> Family {
        Family::Element
    }

    fn shader(&self) -> Shader<'_> {
        Shader { stem: &self.declared.name, text: &self.declared.text }
    }

    fn keeps_zeros(&self) -> bool {
        false
    }

    fn slots(&self) -> &[Slot] {
        &self.declared.slots
    }

    fn check(&self) -> Result<(), Error> {
        at_least("lr", self.lr, 0.0)?;
        self.declared.hypers.iter().zip(&self.values).try_for_each(|(hyper, &value)| hyper.check(value))
    }

    fn uses(&self, _slot: usize) -> bool {
        true
    }

    fn statistics(&self, _shape: &[usize]) -> Vec<Statistic> {
        Vec::new()
    }

    fn initial(&self, slot: usize) -> f64 {
        self.declared.initial[slot]
    }

    fn hyper_block(&self) -> (usize, &[Field]) {
        (4 * self.declared.fields.len(), &self.declared.fields)
    }

    fn hyper_bytes(&self, step: &StepInfo, bytes: &mut Vec<u8>) {
        let hypers = self.hypers();
        let constants = self.declared.constants.iter().map(|constant| (constant.compute)(step, &hypers));
        // A rule without hyperparameters and constants still has one member, because WGSL has no empty structs.
        let all = self.values.iter().copied().chain(constants).chain(std::iter::repeat(0.0));
        for value in all.take(self.declared.fields.len()) {
            bytes.extend_from_slice(&f32_of(value).to_ne_bytes());
        }
    }

    fn lr(&self) -> f64 {
        self.lr
    }

    fn lr_mut(&mut self) -> &mut f64 {
        &mut self.lr
    }

    fn momentum_mut(&mut self) -> Option<&mut f64> {
        let index = self.index("momentum").or_else(|_| self.index("beta1")).ok()?;
        self.values.get_mut(index)
    }

    fn maximize(&self) -> bool {
        self.maximize
    }

    fn to_json(&self) -> Value {
        let mut json = json!({"name": self.name(), "lr": self.lr});
        for (hyper, value) in self.declared.hypers.iter().zip(&self.values) {
            json[&hyper.name] = json!(value);
        }
        json["maximize"] = json!(self.maximize);
        json
    }

    fn not_in_json(&self) -> Option<String> {
        let hypers = self.declared.hypers.iter().map(|hyper| &*hyper.name).zip(self.values.iter().copied());
        let mut all = [("lr", self.lr)].into_iter().chain(hypers);
        all.find(|(_, value)| !value.is_finite()).map(|(name, value)| format!("{name} is {value}"))
    }

    fn boxed_with(&self, fields: &Map<String, Value>) -> Result<Box<dyn AnyRule>, Error> {
        Ok(Box::new(self.with_fields(fields)?))
    }

    fn boxed(&self) -> Box<dyn AnyRule> {
        Box::new(self.clone())
    }

    fn with_fields(&self, fields: &Map<String, Value>) -> Result<Self, Error> {
        let declared = &self.declared;
        let mut rule = Self::of(declared.clone());
        for (field, value) in fields {
            let what = || format!("optimizer {}", declared.name);
            let expected =
                |what, kind| Error::Config { what, reason: format!("{field}: expected {kind}, got {value}") };
            let number = || value.as_f64().ok_or_else(|| expected(what(), "a number"));
            match (field.as_str(), declared.hypers.iter().position(|hyper| hyper.name == *field)) {
                ("lr", _) => rule.lr = number()?,
                ("maximize", _) => {
                    rule.maximize = value.as_bool().ok_or_else(|| expected(what(), "a boolean"))?;
                }
                (_, Some(index)) => rule.values[index] = number()?,
                (_, None) => {
                    let names = declared.hypers.iter().map(|hyper| &*hyper.name);
                    let known = ["lr"].into_iter().chain(names).chain(["maximize"]);
                    return Err(Error::unknown(format!("field of {}", declared.name), field, known));
                }
            }
        }
        Ok(rule)
    }
}

impl From<CustomRule> for Box<dyn AnyRule> {
    fn from(rule: CustomRule) -> Self {
        Box::new(rule)
    }
}
