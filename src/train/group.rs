//! Groups of steps that are submitted together.

use std::sync::Arc;

use super::Trainer;
use crate::Error;
use crate::gpu::{Deferral, Gpu, Ticket};
use crate::optim::{AnyRule, Mark};

/// Steps that were recorded but not yet submitted.
#[derive(Debug)]
pub(super) struct Group {
    gpu: Gpu,
    /// Number of steps, or batches, in one submit.
    pub(super) most: usize,
    deferral: Arc<Deferral>,
    tickets: Vec<Ticket>,
    recorded: usize,
    /// Counters of the trainer and the optimizer before the first of these steps: steps, batches, and the optimizer's
    /// counters.
    before: (u64, u64, Option<Mark>),
    /// An error that was not reported yet.
    failed: Option<Error>,
}

impl Group {
    pub(super) fn new(gpu: &Gpu, most: usize) -> Self {
        let (deferral, tickets) = (Arc::default(), Vec::new());
        Self { gpu: gpu.clone(), most, deferral, tickets, recorded: 0, before: (0, 0, None), failed: None }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.recorded == 0
    }

    pub(super) fn is_full(&self) -> bool {
        self.recorded >= self.most
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.gpu.forget(&self.deferral);
    }
}

impl<R: AnyRule + Clone> Trainer<R> {
    /// Maximum number of steps in one submit; of batches, if several batches make a step.
    pub const MOST_STEPS_PER_SUBMIT: usize = 8;

    /// Submits the steps that [`TrainerBuilder::steps_per_submit`](super::TrainerBuilder::steps_per_submit) holds back,
    /// if any. It is needed only before polling for the last reports: everything else that reads, writes or waits
    /// submits them first.
    ///
    /// # Errors
    /// As the submit of [`Trainer::step`]: then none of these steps has been taken.
    pub fn submit(&mut self) -> Result<(), Error> {
        // The deferral reports the result, whoever flushes.
        let _ = self.gpu.flush();
        self.settle()
    }

    /// Saves the counters before the first step of a group, to restore them if its submit fails.
    pub(super) fn begin_group(&mut self) {
        if self.group.is_empty() {
            // A single step is rolled back with its ticket.
            let mark = (self.group.most > 1).then(|| self.optimizer.mark());
            self.group.before = (self.steps, self.taken, mark);
        }
    }

    /// Holds back a recorded step.
    pub(super) fn hold(
        &mut self,
        commands: wgpu::CommandBuffer,
        ticket: Option<Ticket>,
    ) -> Result<(), Error> {
        // A custom transform may have submitted the earlier steps while this one was recorded.
        let follows = self.group.deferral.outcome().is_some();
        if let Err(error) = self.gpu.defer(commands, &self.group.deferral) {
            return self.abandon_last(ticket, error);
        }
        self.group.tickets.extend(ticket);
        self.group.recorded += 1;
        if follows { self.submit() } else { Ok(()) }
    }

    /// Rolls back the counters of a recorded step that will never be submitted.
    pub(super) fn abandon_last<T>(&mut self, ticket: Option<Ticket>, error: Error) -> Result<T, Error> {
        self.ring.abandoned_last();
        if let Some(ticket) = ticket {
            self.optimizer.abandoned(ticket)?;
        }
        Err(error)
    }

    /// Submits the steps held back when the caller cannot return an error. The error is kept for the next caller that
    /// can.
    pub(super) fn settle_quietly(&mut self) {
        if let Err(error) = self.submit() {
            self.group.failed = Some(error);
        }
    }

    /// Applies the result of the submit of the steps held back, if they have been submitted.
    pub(super) fn settle(&mut self) -> Result<(), Error> {
        if let Some(error) = self.group.failed.take() {
            return Err(error);
        }
        if self.group.is_empty() {
            return Ok(());
        }
        let Some(outcome) = self.group.deferral.outcome() else { return Ok(()) };
        self.group.deferral = Arc::default();
        self.group.recorded = 0;
        let tickets = std::mem::take(&mut self.group.tickets);
        match outcome {
            Ok(()) => {
                self.ring.submitted();
                self.staging.submitted();
                tickets.into_iter().try_for_each(|ticket| self.optimizer.submitted(ticket))
            }
            Err(error) => {
                self.ring.abandoned();
                for ticket in tickets.into_iter().rev() {
                    self.optimizer.abandoned(ticket)?;
                }
                let (steps, taken, mark) = std::mem::take(&mut self.group.before);
                (self.steps, self.taken) = (steps, taken);
                if let Some(mark) = mark {
                    self.optimizer.restore(mark);
                }
                Err(error)
            }
        }
    }
}
