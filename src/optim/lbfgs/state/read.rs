//! Reads a state of L-BFGS.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{LbfgsState, LbfgsTensorState, refuse, tensors_of};
use crate::config;
use crate::error::Error;
use crate::gpu::Gpu;
use crate::layout::Layout;
use crate::optim::lbfgs::LBFGS;
use crate::optim::lbfgs::optimizer::LbfgsOptimizer;
use crate::optim::lbfgs::vectors::Vectors;
use crate::optim::state::dict::GroupState;
use crate::params::{Flat, ParamStore};

impl LbfgsOptimizer {
    /// Waits for the device and reads the state.
    ///
    /// # Errors
    /// [`Error::StateDict`] for an option that is not finite; [`Error::DeviceLost`].
    #[cfg(not(target_arch = "wasm32"))]
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
}

/// The buffers that vectors are read from.
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

    /// A vector without padding, with zeros for frozen tensors.
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

fn named(layout: &Layout, chosen: &[bool]) -> Vec<String> {
    let spans = layout.spans().iter().zip(chosen).filter(|(_, chosen)| **chosen);
    spans.map(|(span, _)| span.name.clone()).collect()
}
