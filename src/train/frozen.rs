//! Which of a trainer's plans a step needs: one that leaves out the gradients of what is frozen.

use std::mem::take;

use crate::gpu::Recorder;
use crate::params::ParamStore;

/// The sets of frozen parameters that steps were taken with, each by a number.
#[derive(Debug, Default)]
pub(super) struct FrozenSets {
    /// The parameters that the loss depends on: others make no difference.
    matters: Vec<bool>,
    /// The latest last.
    known: Vec<(u64, Vec<bool>)>,
    next: u64,
    /// The parameters whose gradients the batches of this step have written.
    written: Vec<bool>,
}

impl FrozenSets {
    /// Sets whose plans are kept.
    const MOST: usize = 8;

    /// For parameters of which only these matter; what is frozen now is the set number 0.
    pub(super) fn new(matters: Vec<bool>, params: &ParamStore) -> Self {
        let mut sets = Self { matters, ..Self::default() };
        sets.number(params);
        sets
    }

    /// Whether each parameter is frozen and makes a difference.
    fn frozen<'a>(&'a self, params: &'a ParamStore) -> impl Iterator<Item = bool> + 'a {
        self.matters.iter().zip(params.frozen()).map(|(matters, frozen)| *matters && *frozen)
    }

    /// The number of the set of what is frozen now.
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

    /// The set that was not used for the longest time, if there are too many: its plans are to be dropped.
    pub(super) fn forget(&mut self) -> Option<u64> {
        (self.known.len() > Self::MOST).then(|| self.known.remove(0).0)
    }

    /// Records that gradients become zero to which a batch will add and which none of this step has written, because
    /// their tensors were frozen until now.
    pub(super) fn record_zeros(&self, params: &ParamStore, recorder: &mut Recorder<'_>) {
        for (index, frozen) in self.frozen(params).enumerate() {
            if self.matters[index] && !frozen && !self.written[index] {
                params.record_zero_grad(recorder, index);
            }
        }
    }

    /// Notes a batch that was submitted, the first of its step or one that adds to others.
    pub(super) fn submitted(&mut self, params: &ParamStore, adds: bool) {
        let mut written = take(&mut self.written);
        written.resize(self.matters.len(), false);
        for (written, frozen) in written.iter_mut().zip(self.frozen(params)) {
            *written = !frozen || (adds && *written);
        }
        self.written = written;
    }
}
