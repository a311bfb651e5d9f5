//! Optimizers: pure rules, and the one [`Optimizer`] that runs them over a fused store.
//!
//! A rule is a typed struct or a JSON object. Each parameter group has its own copy, which may differ in every field:
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
//! Every finite gradient makes a finite step, and state stays finite. Infinities and NaN pass through as in torch:
//! [`Skip`](crate::grad::Skip) keeps them out.
//!
//! - **Large.** A rule that squares gradients clamps them to ±1.8e19, whose square f32 can hold. Adagrad and SM3, which sum
//!   squares, clamp to ±2^56 (about 7.2e16), so that 65,536 squares fit, and Adan, which squares a gradient plus its change,
//!   to ±2^62. A `weight_decay` that acts as a penalty is added before the clamp. Averages and squares see the same clamped
//!   gradient, so under a constant gradient of any size steps are as long as in exact arithmetic. RAdam clamps only once its
//!   rectification begins; before, it takes no root.
//! - **Small.** Devices may flush squares below 1.2e-38 to zero, those of gradients below 1.1e-19. The root of their average
//!   is then the smallest that it can have been. So where `eps` is smaller still, no step is longer than in exact arithmetic;
//!   on a device without subnormal numbers, none is longer than the first one would be.
//! - **Norms** that [`Lamb`], [`Lars`], [`Novograd`], [`Fromage`] and [`Muon`] take are accurate from 1e-33 to 1e36 per tensor,
//!   for gradients clamped to ±2^96. Their ratios are single f32 numbers.
//!
//! Names, fields and defaults are PyTorch's. [`LBFGS`] calls a closure for the loss, so it has its own optimizer.

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
#[cfg(not(target_arch = "wasm32"))]
pub(crate) use optimizer::averages::look;
pub(crate) use optimizer::averages::look_async;
pub(crate) use step::ledger::Mark;
pub(crate) use step::spec::StepSpec;
