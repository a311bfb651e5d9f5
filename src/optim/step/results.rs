//! Results of steps that the device may skip.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::Error;
use crate::gpu::{Gpu, Held, ReadRing, Recorder, Ticket};
use crate::optim::device::bindings::DeviceState;
use crate::params::{Gate, GateValues};

/// Number of unread results kept; older ones are dropped.
const KEPT: usize = 4096;

/// The result of one step's transforms; see [`Optimizer::poll_step_result`](crate::optim::Optimizer::poll_step_result).
///
/// ```
/// use gradus::optim::{AdamW, Optimizer};
///
/// fn skipped(optimizer: &mut Optimizer<AdamW>) -> Result<Vec<u64>, gradus::Error> {
///     let mut skipped = Vec::new();
///     while let Some(result) = optimizer.poll_step_result()? {
///         skipped.extend(result.skipped.then_some(result.step));
///     }
///     Ok(skipped)
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepResult {
    /// The step, from 0; skipped steps are counted.
    pub step: u64,
    /// Whether the step was skipped because its gradients were not all finite.
    pub skipped: bool,
    /// Norm of the gradients before clipping, over all tensors or over the first group; 0 if it was not computed.
    pub norm: f32,
    /// Loss factor of the next step.
    pub loss_scale: f32,
    /// Steps skipped since the last applied step.
    pub skipped_in_a_row: u32,
}

/// Results in flight, and results that were not returned yet.
#[derive(Debug)]
pub(crate) struct StepResults {
    pub(crate) ring: ReadRing,
    pub(crate) gate: Arc<Gate>,
    /// Number of the next step. It keeps counting when a state dict takes the steps back.
    next: u64,
    /// In the order in which they were recorded.
    steps: Vec<InFlightStep>,
    /// Number of skipped steps in a row after which steps are refused.
    error_after: Option<u32>,
    pub(crate) arrived: VecDeque<StepResult>,
    /// The number of skipped steps in a row that exceeded it.
    failed: Option<u32>,
}

#[derive(Debug)]
struct InFlightStep {
    number: u64,
    step: u64,
    /// Set until the step is submitted or abandoned.
    ticket: Option<Held>,
    /// Whether the step may yet turn out to have been skipped, and counters depend on it.
    unresolved: bool,
    /// Whether it belongs to a state that was replaced.
    stale: bool,
}

impl StepResults {
    pub(crate) fn new(gpu: &Gpu, gate: &Arc<Gate>, error_after: Option<u32>) -> Result<Self, Error> {
        Ok(Self {
            ring: ReadRing::new(gpu, DeviceState::RING)?,
            gate: gate.clone(),
            next: 0,
            steps: Vec::new(),
            error_after,
            arrived: VecDeque::new(),
            failed: None,
        })
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.steps.is_empty()
    }

    /// Number of the next recorded step.
    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    /// Whether the ring or the history has no room for another step.
    pub(crate) fn is_full(&self) -> bool {
        let oldest = self.steps.iter().filter(|step| step.unresolved).map(|step| step.number).min();
        self.ring.is_full() || oldest.is_some_and(|oldest| self.next - oldest >= GateValues::HISTORY)
    }

    /// Whether some steps may yet turn out to have been skipped.
    pub(crate) fn is_unresolved(&self) -> bool {
        self.steps.iter().any(|step| step.unresolved)
    }

    /// Refuses if too many steps in a row were skipped.
    pub(crate) fn check_skipped(&self) -> Result<(), Error> {
        let refuse =
            |steps| Error::NonFinite(format!("the gradients of {steps} steps in a row were not finite"));
        self.failed.map_or(Ok(()), |steps| Err(refuse(steps)))
    }

    /// Refuses if there is no room for another result.
    pub(crate) fn check_room(&self) -> Result<(), Error> {
        if !self.is_full() {
            return Ok(());
        }
        let advice = "submit the recorded steps, and read_step_results of those on their way";
        Err(Error::RingFull { ring: "step result", slots: DeviceState::RING, advice })
    }

    /// Stores a result that was read. Returns the step's bit in the history and whether it was skipped, if counters
    /// depend on it.
    pub(crate) fn arrive(&mut self, number: u64, bytes: &[u8]) -> Option<(u32, bool)> {
        let place = self.steps.iter().position(|step| step.number == number)?;
        let InFlightStep { step, unresolved, stale, .. } = self.steps.remove(place);
        if stale {
            return None;
        }
        let values: GateValues = bytemuck::pod_read_unaligned(bytes);
        let skipped = values.skip != 0;
        let GateValues { norm, loss_scale, skipped_in_a_row, .. } = values;
        self.arrived.push_back(StepResult { step, skipped, norm, loss_scale, skipped_in_a_row });
        if self.arrived.len() > KEPT {
            self.arrived.pop_front();
        }
        let is_too_many = |most: &u32| skipped && skipped_in_a_row >= *most;
        self.failed = self.error_after.filter(is_too_many).map(|_| skipped_in_a_row);
        unresolved.then(|| (GateValues::history_bit(number), skipped))
    }

    /// Records the copy of a step's result. If the ring is full, a result that is only a norm is dropped.
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
        self.steps.push(InFlightStep { number, step, ticket, unresolved: may_skip, stale: false });
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

    /// Drops a step that will never be submitted. Returns its bit in the history, if it was in flight.
    pub(crate) fn abandoned(&mut self, ticket: &Ticket) -> Option<u32> {
        let step = self.steps.remove(self.place(ticket)?);
        self.ring.abandoned_one(step.number);
        if step.number + 1 == self.next {
            self.next = step.number;
        }
        step.unresolved.then(|| GateValues::history_bit(step.number))
    }

    /// Drops the results of earlier steps, whose state was replaced.
    pub(crate) fn forget(&mut self) {
        for step in &mut self.steps {
            (step.unresolved, step.stale) = (false, true);
        }
        self.arrived.clear();
        self.failed = None;
    }
}
