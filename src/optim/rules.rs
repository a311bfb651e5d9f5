//! The table of rules. Each rule has a file with its options and its kernel's constants.

mod adabelief;
mod adadelta;
mod adafactor;
mod adagrad;
mod adam;
mod adamax;
mod adamw;
mod adan;
mod asgd;
mod fromage;
mod lamb;
mod lars;
mod lion;
pub(crate) mod lookahead;
mod muon;
mod nadam;
mod novograd;
mod radam;
mod rmsprop;
mod rprop;
mod schedule_free_adamw;
mod sgd;
mod sm3;
#[cfg(test)]
mod tests;
mod yogi;

use serde_json::Value;

use super::rule::any::AnyRule;
use super::rule::entry::{Entry, Registered};
use super::rule::sealed::Sealed;
use crate::config;
use crate::error::Error;

/// Declares the modules, the table and the names of rules.
macro_rules! rules {
    ($($file:ident::$rule:ident $(<$inner:ident>)?,)+) => {
        $(
            pub use $file::$rule;

            impl $(<$inner>)? Sealed for $rule $(<$inner>)? {}
        )+

        /// Every optimizer that [`from_json`] knows.
        pub const RULES: &[Entry] = &[$(<$rule as Registered>::ENTRY),+];
    };
}

// In order of the names.
rules! {
    asgd::ASGD,
    adabelief::AdaBelief,
    adadelta::Adadelta,
    adafactor::Adafactor,
    adagrad::Adagrad,
    adam::Adam,
    adamw::AdamW,
    adamax::Adamax,
    adan::Adan,
    fromage::Fromage,
    lamb::Lamb,
    lars::Lars,
    lion::Lion,
    lookahead::Lookahead<R>,
    muon::Muon,
    nadam::NAdam,
    novograd::Novograd,
    radam::RAdam,
    rmsprop::RMSprop,
    rprop::Rprop,
    sgd::SGD,
    sm3::SM3,
    schedule_free_adamw::ScheduleFreeAdamW,
    yogi::Yogi,
}

pub use adafactor::AdafactorEps;
pub use muon::{AdjustLr, MuonAdamW};

/// The optimizer that is not a rule.
pub(crate) const WITH_A_CLOSURE: &str = "LBFGS";

/// Creates an optimizer from a JSON object such as `{"name": "AdamW", "lr": 1e-3, "betas": [0.9, 0.999]}`.
///
/// Omitted fields take their defaults. Numbers may be written as integers.
///
/// # Errors
/// [`Error::UnknownName`] for a name or a field that does not exist, with the nearest one that does; [`Error::Config`]
/// for a field of another type; errors of [`Rule::check`](super::Rule::check).
///
/// ```
/// let refused = gradus::optim::from_json(&serde_json::json!({"name": "AdamW", "betas": [1, 0.999]}));
/// assert_eq!(refused.unwrap_err().to_string(), "betas[0] must be in [0, 1), got 1");
/// ```
pub fn from_json(json: &Value) -> Result<Box<dyn AnyRule>, Error> {
    let (name, fields) = config::named("optimizer", json)?;
    if name == WITH_A_CLOSURE {
        let reason = "it takes a closure: read it with LBFGS::from_json".into();
        return Err(Error::Config { what: format!("optimizer {name}"), reason });
    }
    let entry = RULES
        .iter()
        .find(|entry| entry.name == name)
        .ok_or_else(|| Error::unknown("optimizer", &name, RULES.iter().map(|entry| entry.name)))?;
    let rule = (entry.read)(&fields, from_json)?;
    rule.check()?;
    Ok(rule)
}
