//! Which parameters are frozen.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::ParamStore;
use crate::Error;

/// Frozen flags by index of the parameter. The shared copy is for plans, which skip the gradients of frozen
/// parameters.
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

    /// The flags for a layout with more tensors. The new tensors are not frozen.
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
    /// Excludes a tensor, or all tensors of a layer, from training, like `requires_grad_(False)` with `grad =
    /// None` in torch: the tensor and its optimizer state do not change, it is not decayed, and its steps are
    /// not counted. A zero gradient is different: its step is counted.
    ///
    /// `name` is the name of a tensor, or the part before a dot: `conv1` means `conv1.weight` and
    /// `conv1.bias`. Buffers of the layer are not affected.
    ///
    /// Plans compiled from now on compute no gradient for it, and run no backward pass below the lowest
    /// trained tensor. Existing plans still do. A [`Trainer`](crate::train::Trainer) compiles a new plan when
    /// the next step needs one.
    ///
    /// # Errors
    /// [`Error::UnknownName`]; [`Error::Mismatch`] for a buffer.
    pub fn freeze(&mut self, name: &str) -> Result<(), Error> {
        self.set_frozen(name, true)
    }

    /// Undoes [`ParamStore::freeze`] for a tensor or layer. Training continues with the optimizer state and
    /// step count from before. A plan that skips its gradient can no longer be recorded.
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

    /// The parameters of a layer; empty if `name` is that of a tensor.
    fn layer(&self, name: &str) -> Vec<usize> {
        if self.find(name).is_ok() {
            return Vec::new();
        }
        let of_layer = |tensor: &str| tensor.strip_prefix(name).is_some_and(|rest| rest.starts_with('.'));
        self.layout().names().filter(|(tensor, _)| of_layer(tensor)).map(|(_, index)| index).collect()
    }

    /// Whether the tensor `name` is frozen.
    ///
    /// # Errors
    /// [`Error::UnknownName`], also for the name of a layer; [`Error::Mismatch`] for a buffer.
    pub fn is_frozen(&self, name: &str) -> Result<bool, Error> {
        Ok(self.frozen.now[self.trained(name)?])
    }

    /// Frozen flags by index of the parameter.
    pub(crate) fn frozen(&self) -> &[bool] {
        &self.frozen.now
    }

    /// Like [`ParamStore::frozen`], to be kept longer than a borrow of the store.
    pub(crate) fn shared_frozen(&self) -> &Arc<[AtomicBool]> {
        &self.frozen.shared
    }
}
