use std::collections::BTreeMap;

use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;

use super::LBFGS;
use super::memory::{Memory, Products};
use super::optimizer::LbfgsOptimizer;
use super::vectors::Vectors;
use crate::config;
use crate::error::{Error, countable};
use crate::gpu::Gpu;
use crate::layout::Layout;
use crate::optim::state::dict::GroupState;
use crate::params::{Flat, ParamStore};

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
    /// Waits for the device and reads all state.
    ///
    /// # Errors
    /// [`Error::StateDict`] for an option that is not finite; [`Error::DeviceLost`].
    pub fn read_state_dict(&self, params: &ParamStore) -> Result<LbfgsState, Error> {
        params.gpu().block_on(self.read_state_dict_async(params))
    }

    /// As [`LbfgsOptimizer::read_state_dict`], without blocking.
    ///
    /// # Errors
    /// As [`LbfgsOptimizer::read_state_dict`].
    pub async fn read_state_dict_async(&self, params: &ParamStore) -> Result<LbfgsState, Error> {
        self.check_store(params)?;
        params.gpu().probe()?;
        let layout = params.layout();
        let from = Source { gpu: params.gpu(), layout, frozen: &self.frozen };
        let mut state = LbfgsTensorState {
            func_evals: self.func_evals,
            n_iter: self.n_iter,
            t: self.t,
            frozen: named(layout, &self.frozen),
            ..LbfgsTensorState::default()
        };
        if self.t.is_some() {
            state.d = Some(from.flat(&self.vectors.direction).await?);
            state.prev_flat_grad = Some(self.signed(from.flat(&self.vectors.before).await?));
            state.h_diag = Some(self.h_diag);
            state.prev_loss = Some(self.prev_loss);
            let places: Vec<usize> = self.memory.order().collect();
            for &place in &places {
                state.old_stps.push(from.pair(&self.vectors, place, true).await?);
                state.old_dirs.push(self.signed(from.pair(&self.vectors, place, false).await?));
                state.ro.push(self.memory.ro(place));
            }
            let row = |&one: &usize| places.iter().map(|&two| self.memory.products(one, two)).collect();
            state.products = Some(places.iter().map(row).collect());
            state.oldest = places.first().copied().unwrap_or_default();
        }
        if let Some(found) = config::not_finite(&self.options) {
            return refuse(format!("{found}, and options must be finite"));
        }
        let options = self.options.to_json();
        let options = options.as_object().into_iter().flatten().filter(|(field, _)| *field != "name");
        let options: serde_json::Map<String, Value> =
            options.map(|(field, value)| (field.clone(), value.clone())).collect();
        let groups = layout.groups().iter().enumerate();
        let groups = groups.map(|(group, name)| GroupState {
            name: name.clone(),
            params: tensors_of(layout, group),
            initial_lr: None,
            options: options.clone(),
        });
        Ok(LbfgsState {
            optimizer: LBFGS::NAME.into(),
            state: BTreeMap::from([(layout.spans()[0].name.clone(), state)]),
            param_groups: groups.collect(),
        })
    }

    /// Takes over a state and its options. Steps that follow are the same, bit for bit, as those of the optimizer that it
    /// was read from.
    ///
    /// # Errors
    /// [`Error::StateDict`] if it is of another optimizer, of other groups, tensors or lengths, or contradicts itself;
    /// [`Error::Mismatch`] for another store; [`Error::Limit`]. Then nothing was changed.
    pub fn load_state_dict(&mut self, params: &ParamStore, dict: &LbfgsState) -> Result<(), Error> {
        self.check_store(params)?;
        params.gpu().check()?;
        let layout = params.layout();
        let options = options_of(layout, dict)?;
        let first = &layout.spans()[0].name;
        let empty = LbfgsTensorState::default();
        let state = match dict.state.get(first) {
            Some(state) if dict.state.len() == 1 => state,
            None if dict.state.is_empty() => &empty,
            _ => {
                let names: Vec<&String> = dict.state.keys().collect();
                return refuse(format!("it has state of {names:?}, expected of {first:?} alone"));
            }
        };
        check(state, layout.parameters(), options.history_size)?;
        let mut frozen = vec![false; layout.spans().len()];
        for name in &state.frozen {
            let index = layout.index(name).map_err(|error| Error::StateDict(error.to_string()))?;
            frozen[index] = true;
        }
        let mut loaded = Self::new(options, params)?;
        (loaded.func_evals, loaded.n_iter, loaded.t) = (state.func_evals, state.n_iter, state.t);
        loaded.frozen = frozen;
        loaded.h_diag = state.h_diag.unwrap_or(1.0);
        loaded.prev_loss = state.prev_loss.unwrap_or_default();
        if state.t.is_some() {
            loaded.memory = memory_of(state);
            let gpu = params.gpu();
            let gradient = loaded.signed(state.prev_flat_grad.clone().unwrap_or_default());
            let direction = state.d.as_deref().unwrap_or_default();
            for (flat, dense) in
                [(&loaded.vectors.direction, direction), (&loaded.vectors.before, &gradient[..])]
            {
                let parts = parts(layout, dense);
                flat.write_all(gpu, |index| Some(parts[index]))?;
            }
            let places: Vec<usize> = loaded.memory.order().collect();
            for (place, (step, change)) in places.into_iter().zip(state.old_stps.iter().zip(&state.old_dirs))
            {
                loaded.vectors.reserve(params, place)?;
                write_pair(gpu, layout, &loaded.vectors, place, [step, &loaded.signed(change.clone())])?;
            }
        }
        *self = loaded;
        Ok(())
    }
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

/// Where vectors are read from.
struct Source<'a> {
    gpu: &'a Gpu,
    layout: &'a Layout,
    frozen: &'a [bool],
}

impl Source<'_> {
    async fn flat(&self, flat: &Flat) -> Result<Vec<f32>, Error> {
        let mut all = Vec::new();
        for buffer in flat.buffers() {
            all.extend(buffer.read_async(self.gpu, 0, buffer.len()).await?);
        }
        Ok(self.dense(&all))
    }

    async fn pair(&self, vectors: &Vectors, place: usize, steps: bool) -> Result<Vec<f32>, Error> {
        let history_block = &vectors.history_blocks[place / vectors.pairs_of_block];
        let mut all = Vec::new();
        for (window, bound) in self.layout.windows().zip(&history_block.windows) {
            let buffer = if steps { &bound.steps } else { &bound.changes };
            let first = place % vectors.pairs_of_block * window.len;
            all.extend(buffer.read_async(self.gpu, first, window.len).await?);
        }
        Ok(self.dense(&all))
    }

    /// Without padding, and zero where a tensor is frozen.
    fn dense(&self, all: &[f32]) -> Vec<f32> {
        let mut dense = Vec::with_capacity(self.layout.parameters());
        for (span, &frozen) in self.layout.spans().iter().zip(self.frozen) {
            if frozen {
                dense.resize(dense.len() + span.len, 0.0);
            } else {
                dense.extend(&all[span.first..span.first + span.len]);
            }
        }
        dense
    }
}

fn write_pair(
    gpu: &Gpu,
    layout: &Layout,
    vectors: &Vectors,
    place: usize,
    pair: [&Vec<f32>; 2],
) -> Result<(), Error> {
    let history_block = &vectors.history_blocks[place / vectors.pairs_of_block];
    for (dense, steps) in pair.into_iter().zip([true, false]) {
        let mut all = vec![0.0; layout.len()];
        for (span, part) in layout.spans().iter().zip(parts(layout, dense)) {
            all[span.first..span.first + span.len].copy_from_slice(part);
        }
        for (window, bound) in layout.windows().zip(&history_block.windows) {
            let buffer = if steps { &bound.steps } else { &bound.changes };
            let first = place % vectors.pairs_of_block * window.len;
            buffer.write(gpu, first, &all[window.first..window.first + window.len])?;
        }
    }
    Ok(())
}

/// The tensors of a vector.
fn parts<'d>(layout: &Layout, dense: &'d [f32]) -> Vec<&'d [f32]> {
    let mut rest = dense;
    let part = |span: &crate::layout::Span| {
        let (part, after) = rest.split_at(span.len);
        rest = after;
        part
    };
    layout.spans().iter().map(part).collect()
}

fn memory_of(state: &LbfgsTensorState) -> Memory {
    let count = state.ro.len();
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
    let products = |one: usize, two: usize| -> Products {
        match &state.products {
            Some(products) => products[one][two],
            None => {
                let (s, y) = (&state.old_stps, &state.old_dirs);
                [dot(&s[one], &s[two]), dot(&s[one], &y[two]), dot(&y[one], &s[two]), dot(&y[one], &y[two])]
            }
        }
    };
    let place = |age: usize| (state.oldest + age) % count;
    let mut memory = Memory::with_places(count);
    for age in 0..count {
        let with = (0..age).map(|other| (place(other), products(age, other))).collect();
        memory.insert(place(age), with, products(age, age), state.ro[age]);
    }
    memory
}

fn named(layout: &Layout, chosen: &[bool]) -> Vec<String> {
    let spans = layout.spans().iter().zip(chosen).filter(|(_, chosen)| **chosen);
    spans.map(|(span, _)| span.name.clone()).collect()
}

fn tensors_of(layout: &Layout, group: usize) -> Vec<String> {
    layout.spans().iter().filter(|span| span.group == group).map(|span| span.name.clone()).collect()
}

fn options_of(layout: &Layout, dict: &LbfgsState) -> Result<LBFGS, Error> {
    if dict.optimizer != LBFGS::NAME {
        return refuse(format!("it is of {}, this optimizer is {}", dict.optimizer, LBFGS::NAME));
    }
    let names: Vec<&str> = dict.param_groups.iter().map(|group| group.name.as_str()).collect();
    if names != layout.groups() {
        return refuse(format!("it has the groups {names:?}, expected {:?}", layout.groups()));
    }
    let mut shared: Option<LBFGS> = None;
    for (index, group) in dict.param_groups.iter().enumerate() {
        let expected = tensors_of(layout, index);
        if group.params != expected {
            return refuse(format!(
                "group {:?} has the tensors {:?}, expected {expected:?}",
                group.name, group.params
            ));
        }
        let options = LBFGS::with_fields(group.options.clone())
            .map_err(|error| Error::StateDict(format!("group {:?}: {error}", group.name)))?;
        if shared.as_ref().is_some_and(|shared| *shared != options) {
            return refuse(format!(
                "group {:?} has other options than the first; all must share them",
                group.name
            ));
        }
        shared = Some(options);
    }
    shared.ok_or_else(|| Error::StateDict("it has no groups".into()))
}

fn check(state: &LbfgsTensorState, elements: usize, history_size: usize) -> Result<(), Error> {
    for (name, count) in [("func_evals", state.func_evals), ("n_iter", state.n_iter)] {
        countable(name, count).map_err(|error| Error::StateDict(error.to_string()))?;
    }
    let pairs = state.ro.len();
    if pairs > history_size {
        return refuse(format!("ro has {pairs} pairs, history_size is {history_size}"));
    }
    if [state.old_dirs.len(), state.old_stps.len()] != [pairs; 2] {
        let (dirs, steps) = (state.old_dirs.len(), state.old_stps.len());
        return refuse(format!("old_dirs has {dirs} vectors, old_stps {steps} and ro {pairs} numbers"));
    }
    let moved = state.t.is_some();
    let present = [
        state.d.is_some(),
        state.prev_flat_grad.is_some(),
        state.h_diag.is_some(),
        state.prev_loss.is_some(),
    ];
    if present != [moved; 4] || (!moved && pairs > 0) {
        return refuse(
            "d, t, H_diag, prev_flat_grad and prev_loss come together, and pairs with them".into(),
        );
    }
    let vectors = [("d", state.d.as_ref()), ("prev_flat_grad", state.prev_flat_grad.as_ref())];
    let vectors = vectors.into_iter().filter_map(|(name, vector)| Some((name, vector?)));
    let old = state.old_dirs.iter().map(|vector| ("old_dirs", vector));
    let old = old.chain(state.old_stps.iter().map(|vector| ("old_stps", vector)));
    for (name, vector) in vectors.chain(old) {
        if vector.len() != elements {
            return refuse(format!("{name} has {} elements, expected {elements}", vector.len()));
        }
        if !vector.iter().all(|value| value.is_finite()) {
            return refuse(format!("{name} is not finite"));
        }
    }
    let numbers = state.ro.iter().chain(&state.t).chain(&state.h_diag).chain(&state.prev_loss);
    let products = state.products.iter().flatten().flatten().flatten();
    if !numbers.chain(products).all(|number| number.is_finite()) {
        return refuse("t, ro, H_diag, prev_loss or products is not finite".into());
    }
    let square = |products: &Vec<Vec<[f64; 4]>>| {
        products.len() == pairs && products.iter().all(|row| row.len() == pairs)
    };
    if !state.products.as_ref().is_none_or(square) {
        return refuse(format!("products is not a table of {pairs} by {pairs}"));
    }
    if state.oldest > 0 && (pairs < history_size || state.oldest >= pairs) {
        return refuse(format!("oldest is {}, with {pairs} of {history_size} pairs", state.oldest));
    }
    Ok(())
}

fn refuse<T>(reason: String) -> Result<T, Error> {
    Err(Error::StateDict(reason))
}
