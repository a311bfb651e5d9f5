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
//! # Large and small gradients
//!
//! Every finite gradient makes a finite step. Rules that square what they are given see it held to ±1.8e19, whose square
//! f32 still has; those that sum squares (Adagrad, SM3) to ±2^56, about 7.2e16, so that 65,536 sums fit. It is held after
//! a `weight_decay` that is a penalty was added, and in averages and squares alike: under constant gradients of any size
//! steps are as long as in exact arithmetic, where squares in f32 would overflow. RAdam's average is not held before its
//! rectification begins, when it takes no root. Squares below 1.2e-38, of gradients below 1.1e-19, may count as zero; then the
//! root of their average is taken to be the least that it can have been, so that where `eps` is smaller still no step is
//! longer than in exact arithmetic, and on a device that has no subnormal numbers none longer than the first would be. Norms that [`Lamb`], [`Lars`], [`Novograd`], [`Fromage`] and [`Muon`] take are right from 1e-33 to 1e36 a
//! tensor, of gradients held to ±2^96; ratios of them are one f32. State stays finite. Infinities and NaN go through as in
//! torch: [`Skip`](crate::grad::Skip) keeps them out.
//!
//! Names, fields and defaults are PyTorch's. [`LBFGS`] asks a closure for the loss, and so has an optimizer of its own.

mod any;
mod averages;
mod begin;
mod chunks;
mod custom;
mod custom_builder;
mod dispatches;
mod factors;
mod inspect;
mod lbfgs;
mod lookahead;
mod momenta;
mod optimizer;
mod orthogonal;
mod outcome;
mod param_groups;
mod plan;
mod progress;
mod ratios;
mod record;
mod recurrence;
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
#[cfg(test)]
mod trips;
mod views;

pub use crate::config::Variant;
pub use any::AnyRule;
pub use custom::{CustomRule, Hypers};
pub use custom_builder::CustomRuleBuilder;
pub use lbfgs::{LBFGS, LbfgsOptimizer, LbfgsState, LbfgsStep, LbfgsStop, LbfgsTensorState, LineSearch};
pub use lookahead::Lookahead;
pub use momenta::Mu;
pub use optimizer::Optimizer;
pub use orthogonal::NewtonSchulz;
pub use outcome::Outcome;
pub use recurrence::{Decay, Recurrence, Weight};
pub use registry::{Entry, RULES, from_json};
pub use rule::{Average, Extent, Factor, Family, Over, Reset, Rule, Shader, Slot, StepInfo};
pub use rules::adabelief::AdaBelief;
pub use rules::adadelta::Adadelta;
pub use rules::adafactor::{Adafactor, AdafactorEps};
pub use rules::adagrad::Adagrad;
pub use rules::adam::Adam;
pub use rules::adamax::Adamax;
pub use rules::adamw::AdamW;
pub use rules::asgd::ASGD;
pub use rules::fromage::Fromage;
pub use rules::lamb::Lamb;
pub use rules::lars::Lars;
pub use rules::lion::Lion;
pub use rules::muon::{AdjustLr, Muon, MuonAdamW};
pub use rules::nadam::NAdam;
pub use rules::novograd::Novograd;
pub use rules::radam::RAdam;
pub use rules::rmsprop::RMSprop;
pub use rules::rprop::Rprop;
pub use rules::schedule_free_adamw::ScheduleFreeAdamW;
pub use rules::sgd::SGD;
pub use rules::sm3::SM3;
pub use rules::yogi::Yogi;
pub use state::{GroupState, StateDict, TensorState};

pub(crate) use record::Mark;
pub(crate) use shader::kernel_listings;
