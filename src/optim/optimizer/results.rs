//! Step results and gradient norms.

use super::Optimizer;
use crate::Error;
use crate::optim::rule::any::AnyRule;
use crate::optim::step::poll::poll;
use crate::optim::step::results::{StepResult, StepResults};
use crate::params::GateValues;

impl<R: AnyRule + Clone> Optimizer<R> {
    /// The oldest step result that has arrived and was not returned yet, without waiting. Always `None` if no transform
    /// needs a pass over the gradients.
    ///
    /// Only the latest 4,096 unread results are kept. If steps cannot be skipped, norms of steps that are recorded
    /// while eight are in flight are dropped.
    ///
    /// # Errors
    /// [`Error::DeviceLost`].
    pub fn poll_step_result(&mut self) -> Result<Option<StepResult>, Error> {
        self.poll()?;
        Ok(self.steps.results.as_mut().and_then(|results| results.arrived.pop_front()))
    }

    /// Waits for the results of all submitted steps and returns them.
    ///
    /// # Errors
    /// [`Error::DeviceLost`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn read_step_results(&mut self) -> Result<Vec<StepResult>, Error> {
        self.gpu.clone().block_on(self.read_step_results_async())
    }

    /// As [`Optimizer::read_step_results`], without blocking. If the future is dropped, no result is lost.
    ///
    /// # Errors
    /// As [`Optimizer::read_step_results`].
    pub async fn read_step_results_async(&mut self) -> Result<Vec<StepResult>, Error> {
        self.steps.abandon_dropped(&mut self.device)?;
        while let Some(results) = &mut self.steps.results
            && let Some((step, bytes)) = results.ring.read_next_async(&self.gpu).await?
        {
            self.steps.apply(step, &bytes);
        }
        Ok(self.steps.results.iter_mut().flat_map(|results| results.arrived.drain(..)).collect())
    }

    /// Waits for the device and reads the norm of the gradients of the last submitted step before clipping, which
    /// torch's `clip_grad_norm_` returns. With `group`, the norm of one group, if groups are clipped separately.
    ///
    /// # Errors
    /// [`Error::Config`] if gradients are not clipped by norm; [`Error::UnknownName`] for the group;
    /// [`Error::NonFinite`] if the norm is not finite and `error_if_nonfinite` is set; [`Error::DeviceLost`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn read_norm(&self, group: Option<&str>) -> Result<f32, Error> {
        self.gpu.block_on(self.read_norm_async(group))
    }

    /// As [`Optimizer::read_norm`], without blocking.
    ///
    /// # Errors
    /// As [`Optimizer::read_norm`].
    pub async fn read_norm_async(&self, group: Option<&str>) -> Result<f32, Error> {
        let (Some(clip), Some(results)) = (&self.transforms.clip_grad_norm, &self.steps.results) else {
            let reason = "there is no norm without clip_grad_norm".into();
            return Err(Error::Config { what: "transforms".into(), reason });
        };
        let index = group.map_or(Ok(0), |name| self.layout.group(name))?;
        let norm = results.gate.read_async(&self.gpu, index).await?.norm;
        if clip.error_if_nonfinite && !norm.is_finite() {
            return Err(Error::NonFinite(format!("the norm of the gradients is {norm}")));
        }
        Ok(norm)
    }

    /// Takes the results that have arrived: the first phase of a step, also run before any query about steps.
    pub(crate) fn poll(&mut self) -> Result<(), Error> {
        poll(&mut self.steps, &mut self.device, &self.gpu)
    }

    /// The gate's values once all submitted steps are done, if results of steps are not known yet.
    pub(crate) async fn read_unresolved_gate(&self) -> Result<Option<GateValues>, Error> {
        match self.steps.unresolved_gate() {
            Some(gate) => gate.read_async(&self.gpu, 0).await.map(Some),
            None => Ok(None),
        }
    }

    /// Waits until there is room for the result of another step, if steps are in flight.
    pub(crate) async fn make_room(&mut self) -> Result<(), Error> {
        self.poll()?;
        while self.transforms.may_skip()
            && let Some(results) = self.steps.results.as_mut().filter(|results| results.is_full())
            && let Some((number, bytes)) = results.ring.read_next_async(&self.gpu).await?
        {
            self.steps.apply(number, &bytes);
        }
        Ok(())
    }

    /// Whether there is no room for the result of another step until earlier ones were submitted or have arrived.
    pub(crate) fn is_full(&self) -> bool {
        let results = self.steps.results.as_ref().filter(|_| self.transforms.may_skip());
        self.device.check_ring().is_err() || results.is_some_and(StepResults::is_full)
    }

    /// Refuses if too many steps in a row were skipped, or there is no room for another result.
    pub(super) fn check_results(&self) -> Result<(), Error> {
        let Some(results) = &self.steps.results else { return Ok(()) };
        results.check_skipped()?;
        if self.transforms.may_skip() { results.check_room() } else { Ok(()) }
    }
}
