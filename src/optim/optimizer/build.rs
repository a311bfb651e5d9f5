//! Optimizers of rules that are no [`Rule`]: objects, and those that are made of others or of text.

use serde_json::Value;

use super::{Optimizer, OptimizerOptions};
use crate::optim::custom::rule::CustomRule;
use crate::optim::rule::any::AnyRule;
use crate::optim::rules::{Lookahead, from_json};
use crate::params::ParamStore;
use crate::{Error, config};

/// As [`from_json`](crate::optim::from_json), of an object that also has fields of [`OptimizerOptions`].
///
/// ```
/// use gradus::optim::{self, StatePrecision};
///
/// let json = serde_json::json!({"name": "AdamW", "lr": 1e-3, "state": "8bit"});
/// let (rule, options) = optim::from_json_with_options(&json)?;
/// assert_eq!((rule.name(), options.state), ("AdamW", StatePrecision::Int8));
/// # Ok::<(), gradus::Error>(())
/// ```
///
/// # Errors
/// As [`from_json`](crate::optim::from_json).
pub fn from_json_with_options(json: &Value) -> Result<(Box<dyn AnyRule>, OptimizerOptions), Error> {
    let (name, mut fields) = config::named("optimizer", json)?;
    let options = OptimizerOptions::taken(&name, &mut fields)?;
    fields.insert("name".into(), Value::String(name));
    Ok((from_json(&Value::Object(fields))?, options))
}

/// Gives a type that is an [`AnyRule`] what [`Rule`](crate::optim::Rule) gives a rule.
macro_rules! builds {
    () => {
        /// As [`Rule::build`](crate::optim::Rule::build).
        ///
        /// # Errors
        /// As [`Rule::build`](crate::optim::Rule::build).
        pub fn build(self, params: &ParamStore) -> Result<Optimizer<Self>, Error> {
            Optimizer::new(self, params, &[], &OptimizerOptions::default())
        }

        /// As [`Rule::build_with`](crate::optim::Rule::build_with).
        ///
        /// # Errors
        /// As [`Rule::build_with`](crate::optim::Rule::build_with).
        pub fn build_with(
            self,
            params: &ParamStore,
            groups: &[(&str, Value)],
        ) -> Result<Optimizer<Self>, Error> {
            Optimizer::new(self, params, groups, &OptimizerOptions::default())
        }

        /// As [`Rule::build_with_options`](crate::optim::Rule::build_with_options).
        ///
        /// # Errors
        /// As [`Rule::build_with_options`](crate::optim::Rule::build_with_options).
        pub fn build_with_options(
            self,
            params: &ParamStore,
            groups: &[(&str, Value)],
            options: &OptimizerOptions,
        ) -> Result<Optimizer<Self>, Error> {
            Optimizer::new(self, params, groups, options)
        }
    };
}

impl<R: AnyRule + Clone + 'static> Lookahead<R> {
    builds!();
}

impl CustomRule {
    builds!();
}

impl dyn AnyRule {
    /// As [`Rule::build`](crate::optim::Rule::build).
    ///
    /// # Errors
    /// As [`Rule::build`](crate::optim::Rule::build).
    pub fn build(self: Box<Self>, params: &ParamStore) -> Result<Optimizer<Box<dyn AnyRule>>, Error> {
        Optimizer::new(self, params, &[], &OptimizerOptions::default())
    }

    /// As [`Rule::build_with`](crate::optim::Rule::build_with).
    ///
    /// # Errors
    /// As [`Rule::build_with`](crate::optim::Rule::build_with).
    pub fn build_with(
        self: Box<Self>,
        params: &ParamStore,
        groups: &[(&str, Value)],
    ) -> Result<Optimizer<Box<dyn AnyRule>>, Error> {
        Optimizer::new(self, params, groups, &OptimizerOptions::default())
    }

    /// As [`Rule::build_with_options`](crate::optim::Rule::build_with_options).
    ///
    /// # Errors
    /// As [`Rule::build_with_options`](crate::optim::Rule::build_with_options).
    pub fn build_with_options(
        self: Box<Self>,
        params: &ParamStore,
        groups: &[(&str, Value)],
        options: &OptimizerOptions,
    ) -> Result<Optimizer<Box<dyn AnyRule>>, Error> {
        Optimizer::new(self, params, groups, options)
    }
}
