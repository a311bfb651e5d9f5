//! Steps that are submitted together.

use std::sync::Arc;

use super::Trainer;
use crate::Error;
use crate::gpu::{Deferral, Gpu, Ticket};
use crate::optim::{AnyRule, Mark};

/// The steps that were recorded and not submitted yet.
#[derive(Debug)]
pub(super) struct Group {
    gpu: Gpu,
    /// Steps, or batches, that are submitted at once.
    pub(super) most: usize,
    deferral: Arc<Deferral>,
    tickets: Vec<Ticket>,
    recorded: usize,
    /// Where the trainer and the optimizer were before the first of them: steps, batches, and the optimizer's counts.
    before: (u64, u64, Option<Mark>),
    /// What nobody was told yet.
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
    /// Steps, or batches where several make a step, of one submit at most.
    pub const MOST_STEPS_PER_SUBMIT: usize = 8;

    /// Submits the steps that [`TrainerBuilder::steps_per_submit`](super::TrainerBuilder::steps_per_submit) holds back, if
    /// there are any. Nothing else needs this call but who polls for the last reports: all that reads, writes or waits
    /// submits them first.
    ///
    /// # Errors
    /// As the submit of [`Trainer::step`]: then it is as if none of these steps had been taken.
    pub fn submit(&mut self) -> Result<(), Error> {
        // The outcome is told by the deferral, whoever has flushed.
        let _ = self.gpu.flush();
        self.settle()
    }

    /// Notes where everything is before the first step of a group, to come back if its submit fails.
    pub(super) fn begin_group(&mut self) {
        if self.group.is_empty() {
            // A single step is undone by its ticket.
            let mark = (self.group.most > 1).then(|| self.optimizer.mark());
            self.group.before = (self.steps, self.taken, mark);
        }
    }

    /// Holds a recorded step back.
    pub(super) fn hold(
        &mut self,
        commands: wgpu::CommandBuffer,
        ticket: Option<Ticket>,
    ) -> Result<(), Error> {
        // A transform of the user's own may have submitted those before while this one was recorded.
        let follows = self.group.deferral.outcome().is_some();
        if let Err(error) = self.gpu.defer(commands, &self.group.deferral) {
            return self.abandon_last(ticket, error);
        }
        self.group.tickets.extend(ticket);
        self.group.recorded += 1;
        if follows { self.submit() } else { Ok(()) }
    }

    /// Gives back what a step has taken that was recorded and will never be submitted.
    pub(super) fn abandon_last<T>(&mut self, ticket: Option<Ticket>, error: Error) -> Result<T, Error> {
        self.ring.abandoned_last();
        if let Some(ticket) = ticket {
            self.optimizer.abandoned(ticket)?;
        }
        Err(error)
    }

    /// Submits what is held back, for a caller who returns no error: that of a submit is kept for the next one who does.
    pub(super) fn settle_quietly(&mut self) {
        if let Err(error) = self.submit() {
            self.group.failed = Some(error);
        }
    }

    /// Notes what has become of the steps that were held back, if they were submitted meanwhile.
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
