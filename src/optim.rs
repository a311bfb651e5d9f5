//! Optimizers: pure rules, and the one [`Optimizer`] that runs them over a fused store.
//!
//! A rule is a typed struct or JSON, and its groups may differ in every field:
//!
//! ```
//! use gradus::optim::{self, AdamW, Rule};
//! use serde_json::json;
//!
//! let typed = AdamW { lr: 3e-4, ..Default::default() };
//! typed.check()?;
//! let named = optim::from_json(&json!({"name": "AdamW", "lr": 3e-4}))?;
//! assert_eq!(named.to_json(), json!({
//!     "name": "AdamW", "lr": 3e-4, "betas": [0.9, 0.999], "eps": 1e-8, "eps_root": 0.0, "weight_decay": 0.01,
//!     "nesterov": false, "amsgrad": false, "maximize": false, "variant": "torch",
//! }));
//! # Ok::<(), gradus::Error>(())
//! ```
//!
//! Names, fields and defaults are PyTorch's. [`LBFGS`] asks a closure for the loss, and so has an optimizer of its own.

mod any;
mod begin;
mod chunks;
mod custom;
mod custom_builder;
mod factors;
mod inspect;
mod lbfgs;
mod lookahead;
mod momenta;
mod optimizer;
mod outcome;
mod param_groups;
mod plan;
mod progress;
mod ratios;
mod record;
mod registry;
mod reset;
mod rule;
mod rules;
mod runs;
mod shader;
mod slots;
mod stage;
mod state;
mod step;
mod tiles;
mod torch;
mod views;

pub use crate::config::Variant;
pub use any::AnyRule;
pub use custom::{CustomRule, Hypers};
pub use custom_builder::CustomRuleBuilder;
pub use lbfgs::{LBFGS, LbfgsOptimizer, LbfgsState, LbfgsStep, LbfgsStop, LbfgsTensorState, LineSearch};
pub use lookahead::Lookahead;
pub use momenta::Mu;
pub use optimizer::Optimizer;
pub use outcome::Outcome;
pub use registry::{Entry, RULES, from_json};
pub use rule::{Extent, Factor, Family, Over, Reset, Rule, Shader, Slot, StepInfo};
pub use rules::adabelief::AdaBelief;
pub use rules::adadelta::Adadelta;
pub use rules::adafactor::{Adafactor, AdafactorEps};
pub use rules::adagrad::Adagrad;
pub use rules::adam::Adam;
pub use rules::adamax::Adamax;
pub use rules::adamw::AdamW;
pub use rules::fromage::Fromage;
pub use rules::lamb::Lamb;
pub use rules::lars::Lars;
pub use rules::lion::Lion;
pub use rules::nadam::NAdam;
pub use rules::novograd::Novograd;
pub use rules::radam::RAdam;
pub use rules::rmsprop::RMSprop;
pub use rules::rprop::Rprop;
pub use rules::sgd::SGD;
pub use rules::sm3::SM3;
pub use rules::yogi::Yogi;
pub use state::{GroupState, StateDict, TensorState};

pub(crate) use shader::kernel_listings;
