use std::borrow::Cow;
use std::fmt::Write;
use std::ops::RangeBounds;
use std::sync::Arc;

use super::declared::{Constant, Declared, Hyper, Hypers};
use super::inspect::{Names, inspect};
use super::rule::CustomRule;
use crate::error::{Error, at_least, finite};
use crate::gpu::{Field, UniformRing};
use crate::optim::rule::{Precisions, Slot, StepInfo, f32_of};
use crate::wgsl::names::is_identifier;

/// What a [`CustomRule`] declares; see there.
///
/// ```
/// use gradus::optim::CustomRule;
///
/// let rule = CustomRule::builder(
///     "SignSGD",
///     "fn rule(p: vec4f, g: vec4f, s: ptr<function, State>) -> vec4f { return p - call.lr * sign_of(g); }",
/// )
/// .lr(1e-3)
/// .build()?;
/// # Ok::<(), gradus::Error>(())
/// ```
#[derive(Debug)]
#[must_use]
pub struct CustomRuleBuilder {
    name: String,
    wgsl: String,
    lr: f64,
    slots: Vec<(String, f64)>,
    precisions: Vec<(String, Precisions)>,
    hypers: Vec<Hyper>,
    constants: Vec<Constant>,
}

/// Fields of every rule and of the group that its options stand in, and what `Lookahead` and averages add to the block.
const TAKEN_HYPERS: [&str; 11] = [
    "lr",
    "maximize",
    "name",
    "variant",
    "params",
    "initial_lr",
    "lookahead",
    "lookahead_alpha",
    "averaging",
    "averaging_beta",
    "averaging_weight",
];

/// What stands beside the slots in a state dict, and what `Lookahead` and averages add to them.
const TAKEN_SLOTS: [&str; 7] =
    ["step", "shape", "mu_product", "inner_step", "stored", "slow_param", "average_param"];

impl CustomRule {
    /// A rule in the making: its name in JSON and in state dicts, and WGSL with `fn rule`.
    pub fn builder(name: impl Into<String>, wgsl: impl Into<String>) -> CustomRuleBuilder {
        CustomRuleBuilder::new(name.into(), wgsl.into())
    }
}

impl CustomRuleBuilder {
    pub(crate) fn new(name: String, wgsl: String) -> Self {
        Self { name, wgsl, lr: 1e-3, slots: vec![], precisions: vec![], hypers: vec![], constants: vec![] }
    }

    /// The default of the learning rate, at least 0. Default 1e-3.
    pub fn lr(mut self, lr: f64) -> Self {
        self.lr = lr;
        self
    }

    /// A value that is kept for each element from step to step, zero at first: `(*s).<name>`. At most
    /// [`CustomRule::MOST_SLOTS`].
    pub fn slot(self, name: impl Into<String>) -> Self {
        self.slot_from(name, 0.0)
    }

    /// As [`CustomRuleBuilder::slot`], with another first value, which must be finite.
    pub fn slot_from(mut self, name: impl Into<String>, initial: f64) -> Self {
        self.slots.push((name.into(), initial));
        self
    }

    /// What a slot may be stored as, where it is not f32 alone: see
    /// [`OptimizerOptions`](crate::optim::OptimizerOptions). The rule itself always sees f32.
    pub fn allow(mut self, slot: impl Into<String>, precisions: Precisions) -> Self {
        self.precisions.push((slot.into(), precisions));
        self
    }

    /// A hyperparameter: `hyper.<name>`, a field of JSON, and [`CustomRule::set`]. Values must be finite and in
    /// `range`, as in `0.0..1.0` or `0.0..`.
    pub fn hyper(mut self, name: impl Into<String>, default: f64, range: impl RangeBounds<f64>) -> Self {
        let range = (range.start_bound().cloned(), range.end_bound().cloned());
        self.hypers.push(Hyper { name: name.into(), default, range });
        self
    }

    /// A constant of a step, computed in f64: `hyper.<name>`. `compute` must depend on nothing but its arguments; it
    /// runs some times for each step and group, also for steps that turn out to have been skipped.
    ///
    /// ```
    /// # use gradus::optim::CustomRule;
    /// # let builder = CustomRule::builder("Mine", "").hyper("beta1", 0.9, 0.0..1.0);
    /// builder.constant("step_size", |step, h| h.get("lr") / step.correction(h.get("beta1")));
    /// ```
    pub fn constant(
        mut self,
        name: impl Into<String>,
        compute: impl Fn(&StepInfo, &Hypers<'_>) -> f64 + Send + Sync + 'static,
    ) -> Self {
        self.constants.push(Constant { name: name.into(), compute: Box::new(compute) });
        self
    }

    /// The rule with its defaults, once names, defaults and the WGSL have been checked; needs no device.
    ///
    /// # Errors
    /// [`Error::Wgsl`] with the place of what is wrong in the text; [`Error::Config`] for a name that cannot be used or if
    /// there is no `fn rule`; [`Error::Duplicate`]; [`Error::Constant`] for too many slots or constants, a default
    /// out of its range, or a constant that is not finite in the first step; [`Error::UnknownName`] for a
    /// hyperparameter that a constant asks for.
    pub fn build(self) -> Result<CustomRule, Error> {
        self.check()?;
        let hypers = self.hypers.iter().map(|hyper| &hyper.name);
        let mut words: Vec<String> =
            hypers.chain(self.constants.iter().map(|constant| &constant.name)).cloned().collect();
        let mut slots: Vec<String> = self.slots.iter().map(|(name, _)| name.clone()).collect();
        let names = Names { words: words.clone(), slots: slots.clone() };
        // WGSL has no empty structs.
        if words.is_empty() {
            words.push("nothing".into());
        }
        if slots.is_empty() {
            slots.push("nothing".into());
        }
        let mut text = structure("Hyper", &words, "f32") + &structure("State", &slots, "vec4f");
        let prefix = text.len();
        text.push_str(&self.wgsl);
        let fields =
            (0..).zip(words).map(|(at, name)| Field { name: name.into(), kind: "f32", offset: 4 * at });
        let declared = Declared {
            name: self.name,
            lr: self.lr,
            text,
            slots: self
                .slots
                .iter()
                .map(|(name, _)| {
                    let own = self.precisions.iter().rev().find(|(slot, _)| slot == name);
                    let precisions = own.map_or(Precisions::F32, |(_, precisions)| *precisions);
                    Slot { name: Cow::Owned(name.clone()), precisions, ..Slot::f32("") }
                })
                .collect(),
            initial: self.slots.iter().map(|(_, initial)| *initial).collect(),
            hypers: self.hypers,
            constants: self.constants,
            fields: fields.collect(),
        };
        inspect(&declared, prefix, &names)?;
        let rule = CustomRule::of(Arc::new(declared));
        check_constants(&rule)?;
        Ok(rule)
    }

    fn check(&self) -> Result<(), Error> {
        let refuse = |reason: String| Err(Error::Config { what: format!("rule {}", self.name), reason });
        if self.name.is_empty() {
            return refuse("the name is empty".into());
        }
        let most = CustomRule::MOST_SLOTS;
        if self.slots.len() > most {
            return Err(Error::constant("slots", format!("at most {most}"), self.slots.len()));
        }
        let most = UniformRing::ALIGN / 4;
        let words = self.hypers.len() + self.constants.len();
        if words > most {
            return Err(Error::constant("hyperparameters and constants", format!("at most {most}"), words));
        }
        let slots: Vec<&str> = self.slots.iter().map(|(name, _)| &**name).collect();
        let hypers = self.hypers.iter().map(|hyper| &*hyper.name);
        let words: Vec<&str> = hypers.chain(self.constants.iter().map(|constant| &*constant.name)).collect();
        for (kind, names, taken) in
            [("slot", &slots, &TAKEN_SLOTS[..]), ("hyperparameter or constant", &words, &TAKEN_HYPERS[..])]
        {
            for (number, name) in names.iter().enumerate() {
                if !is_identifier(name) {
                    return refuse(format!(
                        "{kind} {name:?}: expected a name of WGSL: letters, digits and underscores, no digit \
                         first, no two underscores first, no keyword or reserved word"
                    ));
                }
                if taken.contains(name) {
                    return refuse(format!("{kind} {name:?}: reserved, as are {}", taken.join(", ")));
                }
                if names[..number].contains(name) {
                    return Err(Error::Duplicate { kind, name: (*name).into() });
                }
            }
        }
        if let Some((name, _)) = self.precisions.iter().find(|(name, _)| !slots.contains(&&**name)) {
            return Err(Error::unknown(format!("slot of {}", self.name), name, slots.iter().copied()));
        }
        at_least("lr", self.lr, 0.0)?;
        self.hypers.iter().try_for_each(|hyper| hyper.check(hyper.default))?;
        self.slots.iter().try_for_each(|(name, value)| finite(&format!("the first value of {name}"), *value))
    }
}

fn structure(name: &str, members: &[String], kind: &str) -> String {
    let mut text = format!("struct {name} {{\n");
    for member in members {
        writeln!(text, "    {member}: {kind},").expect("a string takes everything");
    }
    text + "}\n"
}

/// Computes the constants of the first step, which says what is wrong with them before there is one.
fn check_constants(rule: &CustomRule) -> Result<(), Error> {
    let mut hypers = rule.hypers();
    for constant in &rule.declared.constants {
        let value = (constant.compute)(&StepInfo::FIRST, &hypers);
        if let Some(name) = hypers.unknown.take() {
            let known = ["lr"].into_iter().chain(rule.declared.hypers.iter().map(|hyper| &*hyper.name));
            let kind = format!("hyperparameter of {}, in the constant {}", rule.declared.name, constant.name);
            return Err(Error::unknown(kind, &name, known));
        }
        if !f32_of(value).is_finite() {
            let name = format!("constant {} in the first step", constant.name);
            return Err(Error::constant(name, "finite in 32 bits", value));
        }
    }
    Ok(())
}
