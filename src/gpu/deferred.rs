use std::sync::{Arc, Mutex, PoisonError};

use super::Gpu;
use super::counters::add;
use crate::Error;

/// The outcome of deferred commands, shared with whoever deferred them.
#[derive(Debug, Default)]
pub(crate) struct Deferral(Mutex<Option<Result<(), Error>>>);

impl Deferral {
    /// `Ok` once submitted, an error if that failed, `None` while they are deferred.
    pub(crate) fn outcome(&self) -> Option<Result<(), Error>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, outcome: Result<(), Error>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(outcome);
    }
}

/// Commands that are held back, to be submitted together with later ones.
#[derive(Debug, Default)]
pub(super) struct Deferred(Mutex<Option<(Vec<wgpu::CommandBuffer>, Arc<Deferral>)>>);

impl Gpu {
    /// Finishes an encoder.
    ///
    /// # Errors
    /// [`Error::Device`] for commands that wgpu refuses; [`Error::DeviceLost`].
    pub(crate) fn finish(&self, encoder: wgpu::CommandEncoder) -> Result<wgpu::CommandBuffer, Error> {
        self.check()?;
        let refused = |reason| Error::Device { what: "recorded commands".into(), reason };
        self.caught(|| encoder.finish()).map_err(|reason| self.blame(reason, refused))
    }

    /// Defers commands until anything else is submitted, written or waited for on this device, or until
    /// [`Gpu::flush`]. They join commands deferred earlier under the same `under`. So every other use of the
    /// device sees them submitted, in the order in which they were recorded.
    ///
    /// # Errors
    /// As [`Gpu::flush`], for commands deferred under another `Deferral`.
    pub(crate) fn defer(&self, commands: wgpu::CommandBuffer, under: &Arc<Deferral>) -> Result<(), Error> {
        let is_its =
            |held: &Option<(_, Arc<Deferral>)>| held.as_ref().is_none_or(|(_, of)| Arc::ptr_eq(of, under));
        if !is_its(&*self.deferred().lock()) {
            self.flush()?;
        }
        self.deferred().lock().get_or_insert_with(|| (Vec::new(), under.clone())).0.push(commands);
        Ok(())
    }

    /// Submits all deferred commands in one submit.
    ///
    /// # Errors
    /// As [`Gpu::submit`]. The deferral reports the same error.
    pub(crate) fn flush(&self) -> Result<(), Error> {
        let Some((commands, deferral)) = self.deferred().lock().take() else { return Ok(()) };
        let submitted = self.submit_all(commands).map(|_| ());
        deferral.set(submitted.clone());
        submitted
    }

    /// Drops the commands deferred under `under`.
    pub(crate) fn forget(&self, under: &Arc<Deferral>) {
        let mut held = self.deferred().lock();
        if held.as_ref().is_some_and(|(_, of)| Arc::ptr_eq(of, under)) {
            *held = None;
        }
    }

    pub(super) fn submit_all(
        &self,
        commands: impl IntoIterator<Item = wgpu::CommandBuffer>,
    ) -> Result<wgpu::SubmissionIndex, Error> {
        self.check()?;
        let submitted = self.caught(|| self.raw_queue().submit(commands));
        let refused = |reason| Error::Device { what: "submitted commands".into(), reason };
        let index = submitted.map_err(|reason| self.blame(reason, refused))?;
        self.accepted(&index)?;
        add(&self.tally().submits, 1);
        Ok(index)
    }
}

impl Deferred {
    fn lock(&self) -> std::sync::MutexGuard<'_, Option<(Vec<wgpu::CommandBuffer>, Arc<Deferral>)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
