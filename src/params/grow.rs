use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::add::Added;
use super::buffers::check_apart;
use super::flat::check_len;
use super::{GroupBuilder, ParamStore};
use crate::Error;
use crate::gpu::{Buffer, Recorder};

impl ParamStore {
    /// This store with one more group. Its buffers are filled once the recorded copies are submitted. This
    /// store is unchanged until [`ParamStore::replace`].
    pub(crate) fn grown<'d>(
        &self,
        recorder: &mut Recorder<'_>,
        name: &str,
        tensors: impl FnOnce(GroupBuilder<'d>) -> GroupBuilder<'d>,
    ) -> Result<Self, Error> {
        let GroupBuilder { group, data } = tensors(GroupBuilder::new(name));
        for (kind, flat) in [("params", &self.params), ("grads", &self.grads)] {
            if flat.buffers().iter().any(|buffer| Buffer::is_foreign(buffer)) {
                let reason = format!("an adopted buffer cannot grow to hold the group {name:?}");
                return Err(Error::Buffer { what: kind.into(), reason });
            }
        }
        let layout = Arc::new(self.layout().with_group(&group)?);
        if let Some(buffers) = self.buffers() {
            check_apart(&layout, buffers.layout())?;
        }
        let new = &layout.spans()[self.layout().spans().len()..];
        for (span, data) in new.iter().zip(&data) {
            check_len(&span.name, span.len, data.len())?;
        }
        let params = self.params.grown(recorder, "params", &layout)?;
        let grads = self.grads.grown(recorder, "grads", &layout)?;
        let gate = Arc::new(self.gate.grown(recorder, layout.groups().len())?);
        let frozen = self.frozen.grown(layout.spans().len());
        let (gpu, id, buffers) = (self.gpu.clone(), self.id.clone(), self.buffers.clone());
        let outgrown = Arc::default();
        let mut grown = Self { gpu, params, grads, buffers, gate, frozen, added: None, id, outgrown };
        if self.added.is_some() {
            grown.added = Some(Added::new(&grown)?);
        }
        for (span, data) in new.iter().zip(data) {
            grown.params.write(&grown.gpu, span, data)?;
        }
        Ok(grown)
    }

    /// Replaces the store `before`, from which this one has grown. The old buffers must no longer be used.
    pub(crate) fn replace(self, before: &mut Self) {
        std::mem::replace(before, self).outgrown.store(true, Ordering::Relaxed);
    }

    /// Set when the store's current buffers have been replaced.
    pub(crate) fn outgrown(&self) -> &Arc<AtomicBool> {
        &self.outgrown
    }
}
