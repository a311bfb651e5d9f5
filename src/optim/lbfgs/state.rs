mod check;
mod load;
mod read;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize, Serializer};

use super::optimizer::LbfgsOptimizer;
use crate::config;
use crate::error::Error;
use crate::layout::Layout;
use crate::optim::state::dict::GroupState;

/// The state of an [`LbfgsOptimizer`], in the form of torch's `state_dict`, with names in place of indices.
///
/// Its `Serialize` accepts only finite numbers, because JSON has no others; the error names the number that is not
/// finite.
///
/// ```
/// # use gradus::{ParamStore, optim::LbfgsOptimizer};
/// # fn keep(optimizer: &LbfgsOptimizer, params: &ParamStore) -> Result<(), Box<dyn std::error::Error>> {
/// let state = optimizer.read_state_dict(params)?;
/// std::fs::write("lbfgs.json", gradus::serde_json::to_string(&state)?)?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct LbfgsState {
    /// `LBFGS`.
    pub optimizer: String,
    /// The state under the name of the first tensor; it belongs to all of them.
    pub state: BTreeMap<String, LbfgsTensorState>,
    /// The groups in order. All have the same options.
    pub param_groups: Vec<GroupState>,
}

impl Serialize for LbfgsState {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        #[serde(rename = "LbfgsState")]
        struct Form<'a> {
            optimizer: &'a str,
            state: &'a BTreeMap<String, LbfgsTensorState>,
            param_groups: &'a [GroupState],
        }
        let Self { optimizer, state, param_groups } = self;
        config::serialize_finite(&Form { optimizer, state, param_groups }, serializer)
    }
}

/// The state under torch's keys. A vector is the concatenation of all tensors in layout order, without padding.
///
/// ```
/// # fn print(state: &gradus::optim::LbfgsState) {
/// for (name, tensor) in &state.state {
///     println!("{name}: {} iterations, {} pairs", tensor.n_iter, tensor.old_dirs.len());
/// }
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LbfgsTensorState {
    /// Number of calls of closures.
    pub func_evals: u64,
    /// Number of iterations.
    pub n_iter: u64,
    /// The last direction; `None` before the first iteration.
    #[serde(default)]
    pub d: Option<Vec<f32>>,
    /// Length of the last step, in multiples of the direction.
    #[serde(default)]
    pub t: Option<f64>,
    /// Changes of the gradient over the stored steps, oldest first; with `maximize`, of the negated gradient, as for
    /// all gradients here.
    #[serde(default)]
    pub old_dirs: Vec<Vec<f32>>,
    /// The stored steps, oldest first.
    #[serde(default)]
    pub old_stps: Vec<Vec<f32>>,
    /// One over the inner product of each remembered step and change.
    #[serde(default)]
    pub ro: Vec<f64>,
    /// Factor of the identity in the initial inverse Hessian.
    #[serde(default, rename = "H_diag")]
    pub h_diag: Option<f64>,
    /// The gradient at the start of the last step.
    #[serde(default)]
    pub prev_flat_grad: Option<Vec<f32>>,
    /// The loss at the start of the last step; negated with `maximize`.
    #[serde(default)]
    pub prev_loss: Option<f64>,
    /// Not in torch: inner products `s·s`, `s·y`, `y·s` and `y·y` of all stored steps and changes with one another.
    /// They are recomputed if left out, which can change the last bits.
    #[serde(default)]
    pub products: Option<Vec<Vec<[f64; 4]>>>,
    /// Not in torch: the index of the oldest pair.
    #[serde(default)]
    pub oldest: usize,
    /// Not in torch: the names of the frozen tensors.
    #[serde(default)]
    pub frozen: Vec<String>,
}

impl LbfgsOptimizer {
    /// Converts gradients, or their changes, between the device's sign and the rule's.
    fn signed(&self, mut vector: Vec<f32>) -> Vec<f32> {
        if self.options.maximize {
            vector.iter_mut().for_each(|value| *value = -*value);
        }
        vector
    }
}

fn tensors_of(layout: &Layout, group: usize) -> Vec<String> {
    layout.spans().iter().filter(|span| span.group == group).map(|span| span.name.clone()).collect()
}

fn refuse<T>(reason: String) -> Result<T, Error> {
    Err(Error::StateDict(reason))
}
