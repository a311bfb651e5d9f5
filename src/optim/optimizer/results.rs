//! What the caller is told of steps.

use super::Optimizer;
use crate::Error;
use crate::optim::device::plan::Plan;
use crate::optim::rule::any::AnyRule;
use crate::optim::step::counters::Progress;
use crate::optim::step::results::{KEPT, Outcome, Outcomes, Underway};
use crate::params::{Gate, GateValues};

impl<R: AnyRule + Clone> Optimizer<R> {
    /// The oldest outcome that has arrived and was not given out, without waiting; `None` also where transforms
    /// need no pass over the gradients.
    ///
    /// Of outcomes that nobody asks for the latest 4,096 are kept. Where no step can be skipped, the norms of steps
    /// that are recorded while eight are on their way are not kept.
    ///
    /// # Errors
    /// [`Error::DeviceLost`].
    pub fn poll_outcome(&mut self) -> Result<Option<Outcome>, Error> {
        self.hear()?;
        Ok(self.outcomes.as_mut().and_then(|outcomes| outcomes.arrived.pop_front()))
    }

    /// Waits for the outcomes of all submitted steps.
    ///
    /// # Errors
    /// [`Error::DeviceLost`].
    pub fn read_outcomes(&mut self) -> Result<Vec<Outcome>, Error> {
        self.abandon_dropped()?;
        while let Some(outcomes) = &mut self.outcomes
            && let Some((step, bytes)) = outcomes.ring.read_next(&self.gpu)?
        {
            self.learn(step, &bytes);
        }
        Ok(self.outcomes.iter_mut().flat_map(|outcomes| outcomes.arrived.drain(..)).collect())
    }

    /// Waits for the device and reads the norm of the gradients of the last submitted step, before they were
    /// clipped, as torch's `clip_grad_norm_` returns it; of one group, where each is clipped by its own.
    ///
    /// # Errors
    /// [`Error::Config`] if nothing clips by norm; [`Error::UnknownName`] for the group; [`Error::NonFinite`] if
    /// the norm is not finite and `error_if_nonfinite` says so; [`Error::DeviceLost`].
    pub fn read_norm(&self, group: Option<&str>) -> Result<f32, Error> {
        let (Some(clip), Some(outcomes)) = (&self.transforms.clip_grad_norm, &self.outcomes) else {
            let reason = "there is no norm without clip_grad_norm".into();
            return Err(Error::Config { what: "transforms".into(), reason });
        };
        let index = group.map_or(Ok(0), |name| self.layout.group(name))?;
        let norm = outcomes.gate.read(&self.gpu, index)?.norm;
        if clip.error_if_nonfinite && !norm.is_finite() {
            return Err(Error::NonFinite(format!("the norm of the gradients is {norm}")));
        }
        Ok(norm)
    }

    /// Takes the outcomes that have arrived, and steps as abandoned whose tickets were dropped.
    pub(crate) fn hear(&mut self) -> Result<(), Error> {
        self.abandon_dropped()?;
        while let Some(outcomes) = &mut self.outcomes
            && let Some((step, bytes)) = outcomes.ring.poll(&self.gpu)?
        {
            self.learn(step, &bytes);
        }
        Ok(())
    }

    fn learn(&mut self, number: u64, bytes: &[u8]) {
        let Some(outcomes) = &mut self.outcomes else { return };
        let Some(place) = outcomes.underway.iter().position(|step| step.number == number) else { return };
        let Underway { step, pending, stale, .. } = outcomes.underway.remove(place);
        if stale {
            return;
        }
        let values: GateValues = bytemuck::pod_read_unaligned(bytes);
        let skipped = values.skip != 0;
        if pending {
            let bit = GateValues::history_bit(number);
            self.progress.iter_mut().for_each(|progress| progress.settle(bit, !skipped));
        }
        let GateValues { norm, loss_scale, skipped_in_a_row, .. } = values;
        outcomes.arrived.push_back(Outcome { step, skipped, norm, loss_scale, skipped_in_a_row });
        if outcomes.arrived.len() > KEPT {
            outcomes.arrived.pop_front();
        }
        let most = self.transforms.skip.as_ref().and_then(|skip| skip.error_after);
        outcomes.failed = most.filter(|&most| skipped && skipped_in_a_row >= most).map(|_| skipped_in_a_row);
    }

    /// Waits until the outcome of another step can be taken, if there is something to wait for.
    pub(crate) fn make_room(&mut self) -> Result<(), Error> {
        self.hear()?;
        while self.transforms.may_skip()
            && let Some(outcomes) = self.outcomes.as_mut().filter(|outcomes| outcomes.is_full())
            && let Some((number, bytes)) = outcomes.ring.read_next(&self.gpu)?
        {
            self.learn(number, &bytes);
        }
        Ok(())
    }

    /// Whether another step can be recorded only after earlier ones were submitted, or their outcomes have arrived.
    pub(crate) fn is_full(&self) -> bool {
        let outcomes = self.outcomes.as_ref().filter(|_| self.transforms.may_skip());
        self.plan.check_ring().is_err() || outcomes.is_some_and(Outcomes::is_full)
    }

    /// Refuses if too many steps in a row were skipped, or no further outcome can be taken.
    pub(crate) fn check_outcomes(&self) -> Result<(), Error> {
        let Some(outcomes) = &self.outcomes else { return Ok(()) };
        if let Some(steps) = outcomes.failed {
            return Err(Error::NonFinite(format!("the gradients of {steps} steps in a row were not finite")));
        }
        if self.transforms.may_skip() && outcomes.is_full() {
            return Err(Error::RingFull {
                ring: "outcome",
                slots: Plan::RING,
                advice: "submit the recorded steps, and read_outcomes of those on their way",
            });
        }
        Ok(())
    }

    /// Where each tensor stands once all submitted steps are done, with what the gate says then.
    pub(crate) fn progress_after(&self, gate: Option<GateValues>) -> Vec<Progress> {
        let Some(gate) = gate else {
            let mut progress = self.progress.clone();
            if self.latest_is_dropped() {
                self.uniforms.undo(&self.layout, &mut progress);
            }
            return progress;
        };
        self.progress.iter().map(|progress| Progress::at(&progress.after(gate.history))).collect()
    }

    /// The gate, if outcomes of steps are not known yet.
    pub(crate) fn waiting(&self) -> Option<&Gate> {
        let outcomes = self.outcomes.as_ref()?;
        outcomes.underway.iter().any(|step| step.pending).then_some(&*outcomes.gate)
    }
}
