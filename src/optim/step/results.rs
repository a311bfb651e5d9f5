//! What has become of steps that the device decides over.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::Error;
use crate::gpu::{Gpu, Held, ReadRing, Recorder, Ticket};
use crate::params::{Gate, GateValues};

/// Outcomes that are kept for a caller who does not ask; older ones are dropped.
pub(crate) const KEPT: usize = 4096;

/// What the transforms made of one step; see [`Optimizer::poll_step_result`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepResult {
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

/// Steps whose results the host does not know yet, and results that nobody has asked for.
#[derive(Debug)]
pub(crate) struct StepResults {
    pub(crate) ring: ReadRing,
    pub(crate) gate: Arc<Gate>,
    /// The number of the next step. It goes on where a state dict takes the steps back.
    next: u64,
    /// In the order in which they were recorded.
    pub(crate) steps: Vec<InFlightStep>,
    pub(crate) arrived: VecDeque<StepResult>,
    pub(crate) failed: Option<u32>,
}

#[derive(Debug)]
pub(crate) struct InFlightStep {
    pub(crate) number: u64,
    pub(crate) step: u64,
    /// Until it is submitted or abandoned.
    ticket: Option<Held>,
    /// Whether it may turn out to have been skipped, and somebody still wants to know.
    pub(crate) in_flight: bool,
    /// Whether it belongs to a state that was replaced.
    pub(crate) stale: bool,
}

impl StepResults {
    pub(crate) fn new(gpu: &Gpu, gate: &Arc<Gate>, slots: usize) -> Result<Self, Error> {
        Ok(Self {
            ring: ReadRing::new(gpu, slots)?,
            gate: gate.clone(),
            next: 0,
            steps: Vec::new(),
            arrived: VecDeque::new(),
            failed: None,
        })
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.steps.is_empty()
    }

    /// The number of the step that is recorded next.
    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    /// Whether another step could not be told from one that is on its way.
    pub(crate) fn is_full(&self) -> bool {
        let oldest = self.steps.iter().filter(|step| step.in_flight).map(|step| step.number).min();
        self.ring.is_full() || oldest.is_some_and(|oldest| self.next - oldest >= GateValues::HISTORY)
    }

    /// Records the copy of a step's result; a norm alone is not kept where the ring is full.
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
        self.steps.push(InFlightStep { number, step, ticket, in_flight: may_skip, stale: false });
        Ok(())
    }

    fn place(&self, ticket: &Ticket) -> Option<usize> {
        let is_its = |held: &Held| ticket.holds(held);
        self.steps.iter().position(|step| step.ticket.as_ref().is_some_and(is_its))
    }

    pub(crate) fn submitted(&mut self, ticket: &Ticket) {
        if let Some(place) = self.place(ticket) {
            let step = &mut self.steps[place];
            step.ticket = None;
            self.ring.submitted_one(step.number);
        }
    }

    /// Forgets a step that will never be. Its bit in the history, if it was in-flight.
    pub(crate) fn abandoned(&mut self, ticket: &Ticket) -> Option<u32> {
        let step = self.steps.remove(self.place(ticket)?);
        self.ring.abandoned_one(step.number);
        if step.number + 1 == self.next {
            self.next = step.number;
        }
        step.in_flight.then(|| GateValues::history_bit(step.number))
    }

    /// Forgets what earlier steps will turn out to be: their state was replaced.
    pub(crate) fn forget(&mut self) {
        for step in &mut self.steps {
            (step.in_flight, step.stale) = (false, true);
        }
        self.arrived.clear();
        self.failed = None;
    }
}
