//! Norm reports in flight.

use std::collections::VecDeque;

use super::measured::{NormBuffers, Reported};
use super::report::NormReport;
use crate::Error;
use crate::gpu::{Dispatch, Gpu, Held, ReadRing, Recorder, Ticket};
use crate::params::ParamStore;

/// Number of unread reports kept; older ones are dropped.
const KEPT: usize = 4096;

/// Maximum number of reports in flight.
pub(crate) const SLOTS: usize = 8;

/// The norm reports of an optimizer.
#[derive(Debug)]
pub(crate) struct NormReports {
    /// Number of steps between reports.
    pub(crate) every: u64,
    current: Reports,
    /// Reports of earlier layouts, to which groups were added since; kept while any are in flight.
    retired: Vec<Reports>,
    arrived: VecDeque<NormReport>,
}

/// The reports of one layout.
#[derive(Debug)]
pub(crate) struct Reports {
    buffers: NormBuffers,
    ring: ReadRing,
    next: u64,
    in_flight: Vec<InFlightReport>,
}

#[derive(Debug)]
struct InFlightReport {
    number: u64,
    /// Set until the step is submitted or abandoned.
    ticket: Option<Held>,
    /// `None` if the report belongs to a state that was replaced.
    reported: Option<Reported>,
}

impl Reports {
    pub(crate) fn new(params: &ParamStore) -> Result<Self, Error> {
        let buffers = NormBuffers::new(params)?;
        let ring = ReadRing::with_slot_bytes(params.gpu(), SLOTS, buffers.bytes())?;
        Ok(Self { buffers, ring, next: 0, in_flight: Vec::new() })
    }

    fn take(&mut self, number: u64) -> Option<InFlightReport> {
        let place = self.in_flight.iter().position(|report| report.number == number)?;
        Some(self.in_flight.remove(place))
    }

    fn of_ticket(&mut self, ticket: &Ticket) -> Option<&mut InFlightReport> {
        let is_its = |held: &Held| ticket.holds(held);
        self.in_flight.iter_mut().find(|report| report.ticket.as_ref().is_some_and(is_its))
    }

    fn arrive(&mut self, (number, bytes): (u64, Vec<u8>)) -> Option<NormReport> {
        let reported = self.take(number)?.reported?;
        Some(self.buffers.report(&reported, &bytes))
    }
}

impl NormReports {
    pub(crate) fn new(every: u64, params: &ParamStore) -> Result<Self, Error> {
        Ok(Self { every, current: Reports::new(params)?, retired: Vec::new(), arrived: VecDeque::new() })
    }

    /// Whether a step is reported.
    pub(crate) fn are_due(&self, step: u64) -> bool {
        step.is_multiple_of(self.every) && !self.current.ring.is_full()
    }

    /// Records the commands before a reported step.
    pub(crate) fn record_before(&self, recorder: &mut Recorder<'_>, params: &ParamStore) {
        self.current.buffers.record_before(recorder, params);
    }

    /// Records the commands after it.
    ///
    /// # Errors
    /// [`Error::RingFull`].
    pub(crate) fn record_after(
        &mut self,
        recorder: &mut Recorder<'_>,
        params: &ParamStore,
        ticket: &Ticket,
        reported: Reported,
    ) -> Result<(), Error> {
        let Reports { buffers, ring, next, in_flight } = &mut self.current;
        buffers.record_after(recorder);
        ring.record(recorder, *next, &buffers.sources(params.gate()))?;
        let (number, ticket) = (*next, Some(ticket.held()));
        in_flight.push(InFlightReport { number, ticket, reported: Some(reported) });
        *next += 1;
        Ok(())
    }

    pub(crate) fn submitted(&mut self, ticket: &Ticket) {
        if let Some(report) = self.current.of_ticket(ticket) {
            report.ticket = None;
            let number = report.number;
            self.current.ring.submitted_one(number);
        }
    }

    pub(crate) fn abandoned(&mut self, ticket: &Ticket) {
        if let Some(report) = self.current.of_ticket(ticket) {
            let number = report.number;
            self.current.take(number);
            self.current.ring.abandoned_one(number);
        }
    }

    /// Takes reports that have arrived, without waiting.
    ///
    /// # Errors
    /// [`Error::DeviceLost`].
    pub(crate) fn poll(&mut self, gpu: &Gpu) -> Result<(), Error> {
        for reports in self.retired.iter_mut().chain([&mut self.current]) {
            while let Some(read) = reports.ring.poll(gpu)? {
                self.arrived.extend(reports.arrive(read));
            }
        }
        self.tidy();
        Ok(())
    }

    /// Waits for all submitted reports.
    ///
    /// # Errors
    /// [`Error::DeviceLost`].
    pub(crate) async fn read_all(&mut self, gpu: &Gpu) -> Result<(), Error> {
        for reports in self.retired.iter_mut().chain([&mut self.current]) {
            while let Some(read) = reports.ring.read_next_async(gpu).await? {
                self.arrived.extend(reports.arrive(read));
            }
        }
        self.tidy();
        Ok(())
    }

    fn tidy(&mut self) {
        self.retired.retain(|reports| !reports.in_flight.is_empty());
        let surplus = self.arrived.len().saturating_sub(KEPT);
        self.arrived.drain(..surplus);
    }

    pub(crate) fn give(&mut self) -> Option<NormReport> {
        self.arrived.pop_front()
    }

    pub(crate) fn give_all(&mut self) -> Vec<NormReport> {
        self.arrived.drain(..).collect()
    }

    /// Drops reports of a state that was replaced.
    pub(crate) fn forget(&mut self) {
        for reports in self.retired.iter_mut().chain([&mut self.current]) {
            reports.in_flight.iter_mut().for_each(|report| report.reported = None);
        }
        self.arrived.clear();
    }

    /// Switches to the resources for a layout that has grown, or back.
    pub(crate) fn swap(&mut self, other: &mut Reports) {
        std::mem::swap(&mut self.current, other);
    }

    /// Keeps the resources of the earlier layout until its reports have arrived.
    pub(crate) fn retire(&mut self, before: Reports) {
        self.retired.push(before);
        self.tidy();
    }

    /// What each dispatch of a report reads, writes and computes.
    pub(crate) fn dispatches(&self) -> impl Iterator<Item = Dispatch> {
        self.current.buffers.dispatches()
    }
}
