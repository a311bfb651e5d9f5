//! Loads a state of L-BFGS.

use super::check::check;
use super::{LbfgsState, LbfgsTensorState, refuse, tensors_of};
use crate::error::Error;
use crate::gpu::Gpu;
use crate::layout::{Layout, Span};
use crate::optim::lbfgs::LBFGS;
use crate::optim::lbfgs::memory::{Memory, Products};
use crate::optim::lbfgs::optimizer::LbfgsOptimizer;
use crate::optim::lbfgs::vectors::Vectors;
use crate::params::ParamStore;

impl LbfgsOptimizer {
    /// Loads a state and its options. Later steps are the same, bit for bit, as those of the optimizer that the state
    /// was read from.
    ///
    /// # Errors
    /// [`Error::StateDict`] if the state is of another optimizer, of other groups, tensors or lengths, or contradicts
    /// itself; [`Error::Mismatch`] for another store; [`Error::Limit`]. Then nothing was changed.
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
        let vectors = Self::vectors(&options, params, &self.transforms)?;
        let mut loaded = Self::with_vectors(options, params, vectors);
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
        loaded.transforms = std::mem::take(&mut self.transforms);
        *self = loaded;
        Ok(())
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

/// Splits a vector into its tensors.
fn parts<'d>(layout: &Layout, dense: &'d [f32]) -> Vec<&'d [f32]> {
    let mut rest = dense;
    let part = |span: &Span| {
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
