//! Optimizers of rules that are no [`Rule`]: objects, and those that are made of others or of text.

use serde_json::Value;

use super::Optimizer;
use crate::Error;
use crate::optim::custom::rule::CustomRule;
use crate::optim::rule::any::AnyRule;
use crate::optim::rules::Lookahead;
use crate::params::ParamStore;

/// Gives a type that is an [`AnyRule`] what [`Rule`](crate::optim::Rule) gives a rule.
macro_rules! builds {
    () => {
        /// As [`Rule::build`](crate::optim::Rule::build).
        ///
        /// # Errors
        /// As [`Rule::build`](crate::optim::Rule::build).
        pub fn build(self, params: &ParamStore) -> Result<Optimizer<Self>, Error> {
            Optimizer::new(self, params, &[])
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
            Optimizer::new(self, params, groups)
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
        Optimizer::new(self, params, &[])
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
        Optimizer::new(self, params, groups)
    }
}
