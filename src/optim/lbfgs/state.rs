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

/// All that an [`LbfgsOptimizer`] remembers, in the shape of torch's `state_dict`, with names in place of indices.
///
/// As text, JSON for one, it holds finite numbers alone: its `Serialize` refuses others, and names their place.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct LbfgsState {
    /// `LBFGS`.
    pub optimizer: String,
    /// The state, which belongs to all tensors, under the name of the first one.
    pub state: BTreeMap<String, LbfgsTensorState>,
    /// The groups in order, with the options that they share.
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

/// The state under torch's keys. Vectors are all tensors one after the other in order of the layout, without padding.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LbfgsTensorState {
    /// Calls of closures.
    pub func_evals: u64,
    /// Iterations.
    pub n_iter: u64,
    /// The last direction; `None` before the first iteration.
    #[serde(default)]
    pub d: Option<Vec<f32>>,
    /// How many times the direction the last step was long.
    #[serde(default)]
    pub t: Option<f64>,
    /// Changes of the gradient over the remembered steps, from the oldest on; with `maximize` of the negated gradient, as
    /// the other gradients here.
    #[serde(default)]
    pub old_dirs: Vec<Vec<f32>>,
    /// The remembered steps.
    #[serde(default)]
    pub old_stps: Vec<Vec<f32>>,
    /// One over the inner product of each remembered step and change.
    #[serde(default)]
    pub ro: Vec<f64>,
    /// The first approximation of the inverse Hessian, times the identity.
    #[serde(default, rename = "H_diag")]
    pub h_diag: Option<f64>,
    /// The gradient where the last step began.
    #[serde(default)]
    pub prev_flat_grad: Option<Vec<f32>>,
    /// The loss there; with `maximize` negated.
    #[serde(default)]
    pub prev_loss: Option<f64>,
    /// Not torch's: inner products of the remembered steps and changes, `s·s`, `s·y`, `y·s` and `y·y` of each with each.
    /// Computed anew where it is left out, with other last bits.
    #[serde(default)]
    pub products: Option<Vec<Vec<[f64; 4]>>>,
    /// Not torch's: the place of the oldest pair.
    #[serde(default)]
    pub oldest: usize,
    /// Not torch's: the tensors that were frozen.
    #[serde(default)]
    pub frozen: Vec<String>,
}

impl LbfgsOptimizer {
    /// Gradients, or changes of them, as the rule takes them, of those on the device, and back.
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
