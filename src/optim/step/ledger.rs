use super::counters::StepCounter;
use super::results::StepResults;
use super::spec::StepSpec;
use crate::Error;
use crate::gpu::{Held, Ticket};
use crate::layout::{Layout, Span};
use crate::optim::device::bindings::DeviceState;
use crate::optim::norms::in_flight::NormReports;
use crate::params::{Gate, GateValues};

/// Step counters of an optimizer, and its results and reports in flight.
#[derive(Debug, Default)]
pub(crate) struct StepLedger {
    /// One per tensor.
    pub(crate) counters: Vec<StepCounter>,
    /// Number of recorded steps; includes one whose ticket was dropped until the next poll.
    pub(crate) attempted: u64,
    /// Set if transforms read the gradients before the rule.
    pub(crate) results: Option<StepResults>,
    /// Set if norms are reported.
    pub(crate) norms: Option<NormReports>,
    /// The latest recorded step, until it is submitted or abandoned.
    pub(crate) latest: Option<Held>,
    /// The description of the latest step.
    pub(crate) last: StepSpec,
    /// Memory for the description of the next step.
    pub(crate) spare: StepSpec,
}

/// A snapshot of an optimizer's step counters.
#[derive(Clone, Debug)]
pub(crate) struct Mark {
    counters: Vec<StepCounter>,
    attempted: u64,
}

impl StepLedger {
    pub(crate) fn new(tensors: usize) -> Self {
        Self { counters: vec![StepCounter::default(); tensors], ..Self::default() }
    }

    /// The number of the next step in the device's history.
    pub(crate) fn next_number(&self) -> u64 {
        self.results.as_ref().map_or(0, StepResults::next)
    }

    /// Whether the latest recorded step was abandoned by dropping its ticket, and is not undone yet.
    pub(crate) fn latest_is_dropped(&self) -> bool {
        self.latest.as_ref().is_some_and(Held::is_dropped)
    }

    /// Notes that the commands of a step were submitted.
    pub(crate) fn submitted(&mut self, ticket: Ticket, device: &mut DeviceState) -> Result<(), Error> {
        self.latest = self.latest.take().filter(|latest| !ticket.holds(latest));
        if let Some(results) = &mut self.results {
            results.submitted(&ticket);
        }
        if let Some(norms) = &mut self.norms {
            norms.submitted(&ticket);
        }
        device.submitted(ticket)
    }

    /// Undoes a step whose commands will never be submitted.
    pub(crate) fn abandoned(&mut self, ticket: Ticket, device: &mut DeviceState) -> Result<(), Error> {
        let is_latest = self.latest.as_ref().is_some_and(|latest| ticket.holds(latest));
        let in_flight = self.results.as_mut().and_then(|results| results.abandoned(&ticket));
        if let Some(norms) = &mut self.norms {
            norms.abandoned(&ticket);
        }
        device.submitted(ticket)?;
        match in_flight {
            Some(step) => self.counters.iter_mut().for_each(|counter| counter.resolve(step, false)),
            None if is_latest => self.last.undo(&mut self.counters),
            None => {}
        }
        if is_latest {
            self.latest = None;
            self.attempted -= 1;
        }
        Ok(())
    }

    /// Abandons steps whose tickets were dropped, the latest first, because only the latest can be undone.
    pub(crate) fn abandon_dropped(&mut self, device: &mut DeviceState) -> Result<(), Error> {
        while let Some(ticket) = device.dropped(self.latest.as_ref()) {
            self.abandoned(ticket, device)?;
        }
        Ok(())
    }

    /// Applies a step's result, as it was read, to the counters.
    pub(crate) fn apply(&mut self, number: u64, bytes: &[u8]) {
        let Some(results) = &mut self.results else { return };
        if let Some((bit, skipped)) = results.arrive(number, bytes) {
            self.counters.iter_mut().for_each(|counter| counter.resolve(bit, !skipped));
        }
    }

    /// The counters of a tensor, without a latest step whose ticket was dropped.
    pub(crate) fn counter(&self, tensor: usize, span: &Span) -> StepCounter {
        let undone = self.latest_is_dropped().then(|| self.last.before(span));
        undone.flatten().unwrap_or(self.counters[tensor])
    }

    /// The counters of each tensor once all submitted steps are done, given the gate's values then.
    pub(crate) fn counters_after(&self, layout: &Layout, gate: Option<GateValues>) -> Vec<StepCounter> {
        match gate {
            None => {
                let spans = layout.spans().iter().enumerate();
                spans.map(|(tensor, span)| self.counter(tensor, span)).collect()
            }
            Some(gate) => {
                let after = |counter: &StepCounter| StepCounter::at(&counter.after(gate.history));
                self.counters.iter().map(after).collect()
            }
        }
    }

    /// The gate, if results of steps are not known yet.
    pub(crate) fn unresolved_gate(&self) -> Option<&Gate> {
        let results = self.results.as_ref()?;
        results.is_unresolved().then_some(&*results.gate)
    }

    /// A snapshot of the step counters.
    pub(crate) fn mark(&self) -> Mark {
        Mark { counters: self.counters.clone(), attempted: self.attempted }
    }

    /// Restores the step counters from a snapshot, once all tickets since then were returned as abandoned.
    pub(crate) fn restore(&mut self, mark: Mark) {
        (self.counters, self.attempted, self.latest) = (mark.counters, mark.attempted, None);
    }

    /// Replaces the state: results of earlier steps no longer matter.
    pub(crate) fn replace(&mut self, counters: Vec<StepCounter>, attempted: u64) {
        (self.counters, self.attempted, self.latest) = (counters, attempted, None);
        if let Some(results) = &mut self.results {
            results.forget();
        }
        if let Some(norms) = &mut self.norms {
            norms.forget();
        }
    }
}
