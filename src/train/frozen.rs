//! Selects the plan of a step by its frozen parameters: plans leave out the gradients of what is frozen.

use std::mem::take;

use crate::gpu::Recorder;
use crate::params::ParamStore;

/// The sets of frozen parameters of past steps, with a number for each.
#[derive(Debug, Default)]
pub(super) struct FrozenSets {
    /// Whether the loss depends on each parameter. Others do not matter.
    matters: Vec<bool>,
    /// Latest last.
    known: Vec<(u64, Vec<bool>)>,
    next: u64,
    /// The parameters whose gradients the batches of this step have written.
    written: Vec<bool>,
}

impl FrozenSets {
    /// Number of sets whose plans are kept.
    const MOST: usize = 8;

    /// `matters` says which parameters the loss depends on. The currently frozen ones become set number 0.
    pub(super) fn new(matters: Vec<bool>, params: &ParamStore) -> Self {
        let mut sets = Self { matters, ..Self::default() };
        sets.number(params);
        sets
    }

    /// Whether each parameter is frozen and the loss depends on it.
    fn frozen<'a>(&'a self, params: &'a ParamStore) -> impl Iterator<Item = bool> + 'a {
        self.matters.iter().zip(params.frozen()).map(|(matters, frozen)| *matters && *frozen)
    }

    /// The number of the set that is frozen now.
    pub(super) fn number(&mut self, params: &ParamStore) -> u64 {
        let same = |(_, set): &(u64, Vec<bool>)| set.iter().copied().eq(self.frozen(params));
        let set = match self.known.iter().rposition(same) {
            Some(place) => self.known.remove(place),
            None => {
                self.next += 1;
                (self.next - 1, self.frozen(params).collect())
            }
        };
        let number = set.0;
        self.known.push(set);
        number
    }

    /// Removes the least recently used set if there are too many, and returns its number: its plans are to be dropped.
    pub(super) fn forget(&mut self) -> Option<u64> {
        (self.known.len() > Self::MOST).then(|| self.known.remove(0).0)
    }

    /// Records the zeroing of gradients that a batch will add to although no batch of this step has written them,
    /// because their tensors were frozen until now.
    pub(super) fn record_zeros(&self, params: &ParamStore, recorder: &mut Recorder<'_>) {
        for (index, frozen) in self.frozen(params).enumerate() {
            if self.matters[index] && !frozen && !self.written[index] {
                params.record_zero_grad(recorder, index);
            }
        }
    }

    /// Notes a submitted batch, which either is the first of its step or adds to earlier ones.
    pub(super) fn submitted(&mut self, params: &ParamStore, adds: bool) {
        let mut written = take(&mut self.written);
        written.resize(self.matters.len(), false);
        for (written, frozen) in written.iter_mut().zip(self.frozen(params)) {
            *written = !frozen || (adds && *written);
        }
        self.written = written;
    }
}
