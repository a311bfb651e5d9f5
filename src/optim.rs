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
//! f32 still has; those that sum squares (Adagrad, SM3) to ±2^56, about 7.2e16, so that 65,536 sums fit, and Adan, which squares a gradient with its change, to ±2^62. It is held after
//! a `weight_decay` that is a penalty was added, and in averages and squares alike: under constant gradients of any size
//! steps are as long as in exact arithmetic, where squares in f32 would overflow. RAdam's average is not held before its
//! rectification begins, when it takes no root. Squares below 1.2e-38, of gradients below 1.1e-19, may count as zero; then the
//! root of their average is taken to be the least that it can have been, so that where `eps` is smaller still no step is
//! longer than in exact arithmetic, and on a device that has no subnormal numbers none longer than the first would be. Norms that [`Lamb`], [`Lars`], [`Novograd`], [`Fromage`] and [`Muon`] take are right from 1e-33 to 1e36 a
//! tensor, of gradients held to ±2^96; ratios of them are one f32. State stays finite. Infinities and NaN go through as in
//! torch: [`Skip`](crate::grad::Skip) keeps them out.
//!
//! Names, fields and defaults are PyTorch's. [`LBFGS`] asks a closure for the loss, and so has an optimizer of its own.

mod averages;
mod custom;
mod device;
mod factored;
mod layerwise;
mod lbfgs;
mod listings;
mod norms;
mod optimizer;
mod rule;
mod rules;
mod state;
mod step;
#[cfg(test)]
mod trips;
mod windows;

pub use crate::config::Variant;
pub use averages::options::{Averages, Ema, Swa};
pub use custom::builder::CustomRuleBuilder;
pub use custom::declared::Hypers;
pub use custom::rule::CustomRule;
pub use device::options::OptimizerOptions;
pub use lbfgs::{LBFGS, LbfgsOptimizer, LbfgsState, LbfgsStep, LbfgsStop, LbfgsTensorState, LineSearch};
pub(crate) use norms::in_flight::SLOTS as NORM_REPORTS_IN_FLIGHT;
pub use norms::report::{NormReport, Norms, TensorNorms};
pub use optimizer::Optimizer;
pub use optimizer::build::from_json_with_options;
pub use rule::any::AnyRule;
pub use rule::entry::Entry;
// What rules are made of: no interface, because they are sealed.
#[doc(hidden)]
pub use rule::{
    Decay, EvalParams, Family, Granularity, Mu, NewtonSchulz, Recurrence, Reduced, Reset, Shader, Slot,
    Statistic, Weight,
};
pub use rule::{Precisions, Rule, SlotBits, StatePrecision, StepInfo};
pub use rules::*;
pub use state::dict::{AveragesState, GroupState, StateDict, TensorState};
pub use step::results::StepResult;

pub(crate) use listings::kernel_listings;
pub(crate) use optimizer::averages::{look, look_async};
pub(crate) use step::ledger::Mark;
pub(crate) use step::spec::StepSpec;
