//! What the caller is told of steps.

use super::Optimizer;
use crate::Error;
use crate::optim::device::bindings::DeviceState;
use crate::optim::rule::any::AnyRule;
use crate::optim::step::counters::StepCounter;
use crate::optim::step::results::{InFlightStep, KEPT, StepResult, StepResults};
use crate::params::{Gate, GateValues};

impl<R: AnyRule + Clone> Optimizer<R> {
    /// The oldest result that has arrived and was not given out, without waiting; `None` also where transforms
    /// need no pass over the gradients.
    ///
    /// Of results that nobody asks for the latest 4,096 are kept. Where no step can be skipped, the norms of steps
    /// that are recorded while eight are on their way are not kept.
    ///
    /// # Errors
    /// [`Error::DeviceLost`].
    pub fn poll_step_result(&mut self) -> Result<Option<StepResult>, Error> {
        self.poll()?;
        Ok(self.results.as_mut().and_then(|results| results.arrived.pop_front()))
    }

    /// Waits for the results of all submitted steps.
    ///
    /// # Errors
    /// [`Error::DeviceLost`].
    pub fn read_step_results(&mut self) -> Result<Vec<StepResult>, Error> {
        self.abandon_dropped()?;
        while let Some(results) = &mut self.results
            && let Some((step, bytes)) = results.ring.read_next(&self.gpu)?
        {
            self.apply_result(step, &bytes);
        }
        Ok(self.results.iter_mut().flat_map(|results| results.arrived.drain(..)).collect())
    }

    /// Waits for the device and reads the norm of the gradients of the last submitted step, before they were
    /// clipped, as torch's `clip_grad_norm_` returns it; of one group, where each is clipped by its own.
    ///
    /// # Errors
    /// [`Error::Config`] if nothing clips by norm; [`Error::UnknownName`] for the group; [`Error::NonFinite`] if
    /// the norm is not finite and `error_if_nonfinite` says so; [`Error::DeviceLost`].
    pub fn read_norm(&self, group: Option<&str>) -> Result<f32, Error> {
        let (Some(clip), Some(results)) = (&self.transforms.clip_grad_norm, &self.results) else {
            let reason = "there is no norm without clip_grad_norm".into();
            return Err(Error::Config { what: "transforms".into(), reason });
        };
        let index = group.map_or(Ok(0), |name| self.layout.group(name))?;
        let norm = results.gate.read(&self.gpu, index)?.norm;
        if clip.error_if_nonfinite && !norm.is_finite() {
            return Err(Error::NonFinite(format!("the norm of the gradients is {norm}")));
        }
        Ok(norm)
    }

    /// Takes the results that have arrived, and steps as abandoned whose tickets were dropped.
    pub(crate) fn poll(&mut self) -> Result<(), Error> {
        self.abandon_dropped()?;
        while let Some(results) = &mut self.results
            && let Some((step, bytes)) = results.ring.poll(&self.gpu)?
        {
            self.apply_result(step, &bytes);
        }
        Ok(())
    }

    fn apply_result(&mut self, number: u64, bytes: &[u8]) {
        let Some(results) = &mut self.results else { return };
        let Some(place) = results.steps.iter().position(|step| step.number == number) else { return };
        let InFlightStep { step, in_flight, stale, .. } = results.steps.remove(place);
        if stale {
            return;
        }
        let values: GateValues = bytemuck::pod_read_unaligned(bytes);
        let skipped = values.skip != 0;
        if in_flight {
            let bit = GateValues::history_bit(number);
            self.counters.iter_mut().for_each(|counter| counter.resolve(bit, !skipped));
        }
        let GateValues { norm, loss_scale, skipped_in_a_row, .. } = values;
        results.arrived.push_back(StepResult { step, skipped, norm, loss_scale, skipped_in_a_row });
        if results.arrived.len() > KEPT {
            results.arrived.pop_front();
        }
        let most = self.transforms.skip.as_ref().and_then(|skip| skip.error_after);
        results.failed = most.filter(|&most| skipped && skipped_in_a_row >= most).map(|_| skipped_in_a_row);
    }

    /// Waits until the result of another step can be taken, if there is something to wait for.
    pub(crate) fn make_room(&mut self) -> Result<(), Error> {
        self.poll()?;
        while self.transforms.may_skip()
            && let Some(results) = self.results.as_mut().filter(|results| results.is_full())
            && let Some((number, bytes)) = results.ring.read_next(&self.gpu)?
        {
            self.apply_result(number, &bytes);
        }
        Ok(())
    }

    /// Whether another step can be recorded only after earlier ones were submitted, or their results have arrived.
    pub(crate) fn is_full(&self) -> bool {
        let results = self.results.as_ref().filter(|_| self.transforms.may_skip());
        self.device.check_ring().is_err() || results.is_some_and(StepResults::is_full)
    }

    /// Refuses if too many steps in a row were skipped, or no further result can be taken.
    pub(crate) fn check_results(&self) -> Result<(), Error> {
        let Some(results) = &self.results else { return Ok(()) };
        if let Some(steps) = results.failed {
            return Err(Error::NonFinite(format!("the gradients of {steps} steps in a row were not finite")));
        }
        if self.transforms.may_skip() && results.is_full() {
            return Err(Error::RingFull {
                ring: "step result",
                slots: DeviceState::RING,
                advice: "submit the recorded steps, and read_step_results of those on their way",
            });
        }
        Ok(())
    }

    /// Where each tensor stands once all submitted steps are done, with what the gate says then.
    pub(crate) fn counters_after(&self, gate: Option<GateValues>) -> Vec<StepCounter> {
        let Some(gate) = gate else {
            let mut counter = self.counters.clone();
            if self.latest_is_dropped() {
                self.uniforms.undo(&self.layout, &mut counter);
            }
            return counter;
        };
        self.counters.iter().map(|counter| StepCounter::at(&counter.after(gate.history))).collect()
    }

    /// The gate, if results of steps are not known yet.
    pub(crate) fn waiting(&self) -> Option<&Gate> {
        let results = self.results.as_ref()?;
        results.steps.iter().any(|step| step.in_flight).then_some(&*results.gate)
    }
}
