//! L-BFGS: an optimizer with a closure, from inner products over all parameters.

mod backtracking;
mod device_objective;
mod history;
mod inner_products;
mod kernels;
mod measure;
mod memory;
mod moves;
mod objective;
mod optimizer;
mod state;
mod step;
mod tiles;
mod transforms;
#[cfg(test)]
mod trips;
mod vectors;
mod wolfe;
mod zoom;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::config;
use crate::config::Variant;
use crate::error::{Error, at_least};
use crate::params::ParamStore;

pub(super) use kernels::kernel_listings;
pub use optimizer::LbfgsOptimizer;
pub use state::{LbfgsState, LbfgsTensorState};
pub use step::{LbfgsStep, LbfgsStop};
#[cfg(test)]
pub(super) use trips::{MostTrips, most_trips};

/// Limited-memory BFGS, as `torch.optim.LBFGS` and `optax.lbfgs` have it.
///
/// Each iteration stores the step `s` and the change `y` of the gradient over it, moves along `d = -H g`, where the
/// stored pairs give the approximate inverse Hessian `H`, and chooses the step length. `H` starts from `s·y / y·y`
/// times the identity. The options are built into an [`LbfgsOptimizer`], whose [`step`](LbfgsOptimizer::step) takes a
/// closure.
///
/// - torch's variant takes up to `max_iter` iterations in a step. The first moves by `min(1, 1 / |g|_1) * lr` times
///   `-g`, later ones by `lr` times `d`, unless `strong_wolfe` chooses the length. A pair is stored if `y·s > 1e-10`.
/// - optax's variant takes one iteration in a step. The first `H` is `min(1, 1 / |g|_2)`, `d` is multiplied by `lr`,
///   and `backtracking` (at most 100 times) or `zoom` (at most 20 points) chooses the length. Every pair is stored.
///
/// Source: Liu and Nocedal 1989, Mathematical Programming 45; Nocedal and Wright 2006, Numerical Optimization, Alg. 7.4
/// and 7.5; in vector-free form, Chen et al. 2014, NIPS, "Large-scale L-BFGS using MapReduce". Differs: a loss or
/// gradient that is not finite is an error, after which the parameters are where the last good iteration left them.
///
/// ```
/// use gradus::optim::LBFGS;
///
/// let torchs = LBFGS::from_json(&serde_json::json!({"name": "LBFGS", "line_search_fn": "strong_wolfe"}))?;
/// assert_eq!((torchs.max_iter, torchs.history_size), (20, 100));
/// let refused = LBFGS::from_json(&serde_json::json!({"name": "LBFGS", "variant": "optax", "max_iter": 1}));
/// assert_eq!(refused.unwrap_err().to_string(), "optimizer LBFGS: the variant has no field `max_iter`");
/// # Ok::<(), gradus::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LBFGS {
    /// Learning rate, at least 0. Default 1.
    pub lr: f64,
    /// Whether to go to a maximum: loss and gradient are negated before they are used; torch's alone. Default false.
    pub maximize: bool,
    /// Iterations of a step at most, at least 1; torch's alone. Default 20.
    pub max_iter: u64,
    /// Calls of the closure in a step after which it ends, at least 1; torch's alone. Default `max_iter * 5 / 4`.
    pub max_eval: Option<u64>,
    /// A step ends where no gradient is larger, at least 0; torch's alone. Default 1e-7.
    pub tolerance_grad: f64,
    /// A step ends where neither the loss nor any parameter changes by more, at least 0; torch's alone. Default 1e-9.
    pub tolerance_change: f64,
    /// Pairs that are remembered, each twice the bytes of the parameters, at least 1. Default 100, in JSON with
    /// optax's variant and by [`LBFGS::optax`] 10.
    pub history_size: usize,
    /// How to look how far to go; `None` goes `lr`. Default `None`.
    pub line_search_fn: Option<LineSearch>,
    /// Whose rule. Default torch's.
    pub variant: Variant,
}

/// How [`LBFGS`] looks how far to go along a direction.
///
/// ```
/// use gradus::optim::{LBFGS, LineSearch};
///
/// let options = LBFGS { line_search_fn: Some(LineSearch::StrongWolfe), ..LBFGS::default() };
/// options.check()?;
/// # Ok::<(), gradus::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LineSearch {
    /// torch's: to a point that satisfies the strong Wolfe conditions, by cubic interpolation.
    StrongWolfe,
    /// optax's: back from a first guess until the loss has decreased enough.
    Backtracking,
    /// optax's: to a point that satisfies the strong Wolfe conditions, by interpolation within an interval.
    Zoom,
}

impl Default for LBFGS {
    fn default() -> Self {
        Self {
            lr: 1.0,
            maximize: false,
            max_iter: 20,
            max_eval: None,
            tolerance_grad: 1e-7,
            tolerance_change: 1e-9,
            history_size: 100,
            line_search_fn: None,
            variant: Variant::Torch,
        }
    }
}

impl LBFGS {
    /// Name in JSON.
    pub const NAME: &'static str = "LBFGS";
    const TORCHS: &'static [&'static str] =
        &["maximize", "max_iter", "max_eval", "tolerance_grad", "tolerance_change"];

    /// optax's variant with its defaults: `lr` 1, `history_size` 10 and no line search.
    pub fn optax() -> Self {
        Self { variant: Variant::Optax, history_size: 10, ..Self::default() }
    }

    /// The options of a JSON object, as in `{"name": "LBFGS", "history_size": 10}`.
    ///
    /// # Errors
    /// [`Error::UnknownName`] for a name or a field that does not exist; [`Error::Config`] for a field of another type or
    /// of the other variant; what [`LBFGS::check`] says.
    pub fn from_json(json: &Value) -> Result<Self, Error> {
        let (name, fields) = config::named("optimizer", json)?;
        if name != Self::NAME {
            return Err(Error::unknown("optimizer with a closure", &name, [Self::NAME]));
        }
        Self::with_fields(fields)
    }

    fn with_fields(mut fields: Map<String, Value>) -> Result<Self, Error> {
        let given: Self = config::read("optimizer", Self::NAME, &fields)?;
        if given.variant == Variant::Optax {
            if let Some(field) = Self::TORCHS.iter().find(|field| fields.contains_key(**field)) {
                return Err(Self::refused(format!("the variant has no field `{field}`")));
            }
            fields.entry("history_size").or_insert_with(|| Self::optax().history_size.into());
        }
        let options: Self = config::read("optimizer", Self::NAME, &fields)?;
        options.check()?;
        Ok(options)
    }

    /// The JSON object that [`LBFGS::from_json`] reads, without what the variant does not have.
    pub fn to_json(&self) -> Value {
        let mut json = config::write(Self::NAME, self);
        if let (Value::Object(fields), Variant::Optax) = (&mut json, self.variant) {
            fields.retain(|field, _| !Self::TORCHS.contains(&field.as_str()));
        }
        json
    }

    /// Refuses options that are out of range or contradict each other.
    ///
    /// # Errors
    /// [`Error::Constant`] with the option, its range and its value; [`Error::Config`].
    pub fn check(&self) -> Result<(), Error> {
        let positive = |name: &str, value: u64| match value {
            0 => Err(Error::constant(name, "at least 1", value)),
            _ => Ok(()),
        };
        at_least("lr", self.lr, 0.0)?;
        positive("max_iter", self.max_iter)?;
        positive("max_eval", self.max_eval.unwrap_or(1))?;
        at_least("tolerance_grad", self.tolerance_grad, 0.0)?;
        at_least("tolerance_change", self.tolerance_change, 0.0)?;
        positive("history_size", self.history_size as u64)?;
        let (theirs, known) = match self.variant {
            Variant::Torch => (self.line_search_fn == Some(LineSearch::StrongWolfe), "strong_wolfe"),
            Variant::Optax => {
                let shared = Self {
                    lr: self.lr,
                    history_size: self.history_size,
                    line_search_fn: self.line_search_fn,
                    ..Self::optax()
                };
                if *self != shared {
                    return Err(Self::refused(format!(
                        "the variant optax has no {}",
                        Self::TORCHS.join(", ")
                    )));
                }
                let theirs = self.line_search_fn != Some(LineSearch::StrongWolfe);
                (theirs, "backtracking or zoom")
            }
        };
        if self.line_search_fn.is_none() || theirs {
            return Ok(());
        }
        Err(Self::refused(format!("line_search_fn: the variant has {known}, or none")))
    }

    fn refused(reason: String) -> Error {
        Error::Config { what: format!("optimizer {}", Self::NAME), reason }
    }

    /// What loss and gradient are multiplied by.
    fn sign(&self) -> f64 {
        if self.maximize { -1.0 } else { 1.0 }
    }

    /// Calls of the closure in a step after which it ends.
    fn evaluations(&self) -> u64 {
        self.max_eval.unwrap_or((self.max_iter / 4).saturating_mul(5) + self.max_iter % 4 * 5 / 4)
    }

    /// An optimizer over all tensors of the store, which share these options.
    ///
    /// # Errors
    /// What [`LBFGS::check`] says; [`Error::Limit`], [`Error::Kernel`].
    pub fn build(self, params: &ParamStore) -> Result<LbfgsOptimizer, Error> {
        LbfgsOptimizer::new(self, params)
    }
}

#[cfg(test)]
mod tests;
