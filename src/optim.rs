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
//!     "name": "AdamW", "lr": 3e-4, "betas": [0.9, 0.999], "eps": 1e-8, "weight_decay": 0.01,
//!     "amsgrad": false, "maximize": false, "variant": "torch",
//! }));
//! # Ok::<(), gradus::Error>(())
//! ```
//!
//! Names, fields and defaults are PyTorch's. [`LBFGS`] asks a closure for the loss, and so has an optimizer of its own.

mod adabelief;
mod adadelta;
mod adafactor;
mod adagrad;
mod adam;
mod adamax;
mod adamw;
mod any;
mod begin;
mod chunks;
mod custom;
mod custom_builder;
mod factors;
mod fromage;
mod inspect;
mod lamb;
mod lars;
mod lbfgs;
mod lion;
mod lookahead;
mod momenta;
mod nadam;
mod novograd;
mod optimizer;
mod outcome;
mod param_groups;
mod plan;
mod progress;
mod radam;
mod ratios;
mod registry;
mod rmsprop;
mod rprop;
mod rule;
mod runs;
mod sgd;
mod shader;
mod slots;
mod sm3;
mod stage;
mod state;
mod step;
mod tiles;
mod torch;
mod views;
mod yogi;

pub use crate::config::Variant;
pub use adabelief::AdaBelief;
pub use adadelta::Adadelta;
pub use adafactor::{Adafactor, AdafactorEps};
pub use adagrad::Adagrad;
pub use adam::Adam;
pub use adamax::Adamax;
pub use adamw::AdamW;
pub use any::AnyRule;
pub use custom::{CustomRule, Hypers};
pub use custom_builder::CustomRuleBuilder;
pub use fromage::Fromage;
pub use lamb::Lamb;
pub use lars::Lars;
pub use lbfgs::{LBFGS, LbfgsOptimizer, LbfgsState, LbfgsStep, LbfgsStop, LbfgsTensorState, LineSearch};
pub use lion::Lion;
pub use lookahead::Lookahead;
pub use momenta::Mu;
pub use nadam::NAdam;
pub use novograd::Novograd;
pub use optimizer::Optimizer;
pub use outcome::Outcome;
pub use radam::RAdam;
pub use registry::{Entry, RULES, from_json};
pub use rmsprop::RMSprop;
pub use rprop::Rprop;
pub use rule::{Extent, Factor, Family, Over, Rule, Shader, Slot, StepInfo};
pub use sgd::SGD;
pub use sm3::SM3;
pub use state::{GroupState, StateDict, TensorState};
pub use yogi::Yogi;

pub(crate) use shader::kernel_listings;
