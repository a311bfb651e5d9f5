//! Which parameters are frozen.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::ParamStore;
use crate::Error;

/// What is frozen, by place in the layout, and the same for plans, which leave the gradients of frozen tensors out.
#[derive(Debug)]
pub(super) struct Frozen {
    now: Vec<bool>,
    shared: Arc<[AtomicBool]>,
}

impl Frozen {
    pub(super) fn new(now: Vec<bool>) -> Self {
        let shared = now.iter().map(|&frozen| AtomicBool::new(frozen)).collect();
        Self { now, shared }
    }

    /// For more tensors, which are not frozen.
    pub(super) fn grown(&self, tensors: usize) -> Self {
        let mut now = self.now.clone();
        now.resize(tensors, false);
        Self::new(now)
    }

    fn set(&mut self, index: usize, frozen: bool) {
        self.now[index] = frozen;
        self.shared[index].store(frozen, Ordering::Relaxed);
    }
}

impl ParamStore {
    /// Takes a tensor, or all tensors of a layer, out of training, as `requires_grad_(False)` and `grad = None` do in
    /// torch: neither it nor its state changes, it is not decayed, and its steps are not counted. A gradient of zero is
    /// another thing: it counts.
    ///
    /// `name` is a tensor's, or else what stands before a dot in the names of tensors: `conv1` for `conv1.weight` and
    /// `conv1.bias`. Buffers of the layer stay what they are.
    ///
    /// A plan that is compiled from now on computes no gradient of it, and has no backward pass below the last tensor
    /// that is trained; an earlier one still does. A [`Trainer`](crate::train::Trainer) makes such a plan when the next
    /// step needs it.
    ///
    /// # Errors
    /// [`Error::UnknownName`]; [`Error::Mismatch`] for a buffer.
    pub fn freeze(&mut self, name: &str) -> Result<(), Error> {
        self.set_frozen(name, true)
    }

    /// Undoes [`ParamStore::freeze`], for a tensor or a layer: it goes on with the state and the count of steps that it
    /// had. A plan that has left its gradient out refuses to be recorded from now on.
    ///
    /// # Errors
    /// As [`ParamStore::freeze`].
    pub fn thaw(&mut self, name: &str) -> Result<(), Error> {
        self.set_frozen(name, false)
    }

    fn set_frozen(&mut self, name: &str, frozen: bool) -> Result<(), Error> {
        let layer = self.layer(name);
        if layer.is_empty() {
            let index = self.trained(name)?;
            self.frozen.set(index, frozen);
        }
        layer.into_iter().for_each(|index| self.frozen.set(index, frozen));
        Ok(())
    }

    /// The parameters of a layer; none for the name of a tensor.
    fn layer(&self, name: &str) -> Vec<usize> {
        if self.find(name).is_ok() {
            return Vec::new();
        }
        let of_layer = |tensor: &str| tensor.strip_prefix(name).is_some_and(|rest| rest.starts_with('.'));
        self.layout().names().filter(|(tensor, _)| of_layer(tensor)).map(|(_, index)| index).collect()
    }

    /// Whether a tensor is frozen.
    ///
    /// # Errors
    /// As [`ParamStore::freeze`], for a layer too.
    pub fn is_frozen(&self, name: &str) -> Result<bool, Error> {
        Ok(self.frozen.now[self.trained(name)?])
    }

    /// By place in the layout.
    pub(crate) fn frozen(&self) -> &[bool] {
        &self.frozen.now
    }

    /// As [`ParamStore::frozen`], for what lives longer than a borrow of the store.
    pub(crate) fn shared_frozen(&self) -> &Arc<[AtomicBool]> {
        &self.frozen.shared
    }
}
