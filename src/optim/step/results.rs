//! What has become of steps that the device decides over.

use std::collections::VecDeque;
use std::sync::Arc;

use super::counters::Progress;
use crate::Error;
use crate::gpu::{Gpu, Held, ReadRing, Recorder, Ticket};
use crate::optim::optimizer::Optimizer;
use crate::optim::rule::any::AnyRule;
use crate::params::{Gate, GateValues};

/// Outcomes that are kept for a caller who does not ask; older ones are dropped.
const KEPT: usize = 4096;

/// What the transforms made of one step; see [`Optimizer::poll_outcome`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Outcome {
    /// The step, from 0, skipped ones counted.
    pub step: u64,
    /// Whether its gradients were not all finite, so that nothing has changed.
    pub skipped: bool,
    /// Norm of its gradients before they were clipped, over all or over the first group; 0 if none was taken.
    pub norm: f32,
    /// What the loss of the next step is multiplied by.
    pub loss_scale: f32,
    /// Skipped steps since the last one that was applied.
    pub skipped_in_a_row: u32,
}

/// Steps whose outcomes the host does not know yet, and outcomes that nobody has asked for.
#[derive(Debug)]
pub(crate) struct Outcomes {
    ring: ReadRing,
    pub(crate) gate: Arc<Gate>,
    /// The number of the next step. It goes on where a state dict takes the steps back.
    next: u64,
    /// In the order in which they were recorded.
    underway: Vec<Underway>,
    arrived: VecDeque<Outcome>,
    failed: Option<u32>,
}

#[derive(Debug)]
struct Underway {
    number: u64,
    step: u64,
    /// Until it is submitted or abandoned.
    ticket: Option<Held>,
    /// Whether it may turn out to have been skipped, and somebody still wants to know.
    pending: bool,
    /// Whether it belongs to a state that was replaced.
    stale: bool,
}

impl Outcomes {
    pub(crate) fn new(gpu: &Gpu, gate: &Arc<Gate>, slots: usize) -> Result<Self, Error> {
        Ok(Self {
            ring: ReadRing::new(gpu, slots)?,
            gate: gate.clone(),
            next: 0,
            underway: Vec::new(),
            arrived: VecDeque::new(),
            failed: None,
        })
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.underway.is_empty()
    }

    /// The number of the step that is recorded next.
    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    /// Whether another step could not be told from one that is on its way.
    fn is_full(&self) -> bool {
        let oldest = self.underway.iter().filter(|step| step.pending).map(|step| step.number).min();
        self.ring.is_full() || oldest.is_some_and(|oldest| self.next - oldest >= GateValues::HISTORY)
    }

    /// Records the copy of a step's outcome; a norm alone is not kept where the ring is full.
    pub(crate) fn record(
        &mut self,
        recorder: &mut Recorder<'_>,
        step: u64,
        ticket: &Ticket,
        may_skip: bool,
    ) -> Result<(), Error> {
        if !may_skip && self.ring.is_full() {
            return Ok(());
        }
        let (number, source) = (self.next, (self.gate.raw(), size_of::<GateValues>() as u64));
        self.ring.record(recorder, number, &[source])?;
        self.next += 1;
        let ticket = Some(ticket.held());
        self.underway.push(Underway { number, step, ticket, pending: may_skip, stale: false });
        Ok(())
    }

    fn place(&self, ticket: &Ticket) -> Option<usize> {
        let is_its = |held: &Held| ticket.holds(held);
        self.underway.iter().position(|step| step.ticket.as_ref().is_some_and(is_its))
    }

    pub(crate) fn submitted(&mut self, ticket: &Ticket) {
        if let Some(place) = self.place(ticket) {
            let step = &mut self.underway[place];
            step.ticket = None;
            self.ring.submitted_one(step.number);
        }
    }

    /// Forgets a step that will never be. Its bit in the history, if it was pending.
    pub(crate) fn abandoned(&mut self, ticket: &Ticket) -> Option<u32> {
        let step = self.underway.remove(self.place(ticket)?);
        self.ring.abandoned_one(step.number);
        if step.number + 1 == self.next {
            self.next = step.number;
        }
        step.pending.then(|| GateValues::history_bit(step.number))
    }

    /// Forgets what earlier steps will turn out to be: their state was replaced.
    pub(crate) fn forget(&mut self) {
        for step in &mut self.underway {
            (step.pending, step.stale) = (false, true);
        }
        self.arrived.clear();
        self.failed = None;
    }
}

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
                slots: crate::optim::device::plan::Plan::RING,
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
