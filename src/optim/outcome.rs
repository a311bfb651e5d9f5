//! What has become of steps that the device decides over.

use std::collections::VecDeque;
use std::sync::Arc;

use super::any::AnyRule;
use super::optimizer::Optimizer;
use super::runs::Progress;
use crate::Error;
use crate::gpu::{Gpu, Held, ReadRing, Recorder, Ticket};
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

/// Steps on their way whose outcomes the host does not know yet.
#[derive(Debug)]
pub(super) struct Outcomes {
    ring: ReadRing,
    gate: Arc<Gate>,
    /// Steps that may turn out to have been skipped, the oldest first.
    pending: VecDeque<u64>,
    /// Recorded steps that are neither submitted nor abandoned.
    recorded: Vec<(Held, u64)>,
    /// Steps before this one belong to a state that was replaced.
    since: u64,
    arrived: VecDeque<Outcome>,
    failed: Option<u32>,
}

impl Outcomes {
    pub(super) fn new(gpu: &Gpu, gate: &Arc<Gate>, slots: usize, since: u64) -> Result<Self, Error> {
        Ok(Self {
            ring: ReadRing::new(gpu, slots)?,
            gate: gate.clone(),
            pending: VecDeque::new(),
            recorded: Vec::new(),
            since,
            arrived: VecDeque::new(),
            failed: None,
        })
    }

    pub(super) fn is_idle(&self) -> bool {
        self.recorded.is_empty() && self.ring.in_flight() == 0
    }

    pub(super) fn record(
        &mut self,
        recorder: &mut Recorder<'_>,
        step: u64,
        ticket: &Ticket,
        may_skip: bool,
    ) -> Result<(), Error> {
        let source = (self.gate.raw(), size_of::<GateValues>() as u64);
        self.ring.record(recorder, step, &[source])?;
        self.recorded.push((ticket.held(), step));
        if may_skip {
            self.pending.push_back(step);
        }
        Ok(())
    }

    fn take_recorded(&mut self, ticket: &Ticket) -> Option<u64> {
        let place = self.recorded.iter().position(|(held, _)| ticket.holds(held))?;
        Some(self.recorded.remove(place).1)
    }

    pub(super) fn submitted(&mut self, ticket: &Ticket) {
        if let Some(step) = self.take_recorded(ticket) {
            self.ring.submitted_one(step);
        }
    }

    /// How many steps ago a step that will never be was recorded, if it was pending.
    pub(super) fn abandoned(&mut self, ticket: &Ticket) -> Option<u32> {
        let step = self.take_recorded(ticket)?;
        self.ring.abandoned_one(step);
        let place = self.pending.iter().position(|pending| *pending == step)?;
        self.pending.remove(place);
        u32::try_from(self.pending.len() - place).ok()
    }

    /// Forgets what earlier steps will turn out to be: their state was replaced.
    pub(super) fn forget(&mut self, attempted: u64) {
        self.since = attempted;
        self.pending.clear();
        self.arrived.clear();
        self.failed = None;
    }

    /// Bits of the device's history that steps recorded and not submitted will push.
    fn ahead(&self) -> u32 {
        let ahead = self.recorded.iter().filter(|(_, step)| self.pending.contains(step)).count();
        u32::try_from(ahead).expect("few steps are recorded")
    }
}

impl<R: AnyRule + Clone> Optimizer<R> {
    /// The oldest outcome that has arrived and was not given out, without waiting; `None` also where transforms
    /// need no pass over the gradients.
    ///
    /// Of outcomes that nobody asks for the latest 4,096 are kept.
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

    /// Takes the outcomes that have arrived.
    pub(super) fn hear(&mut self) -> Result<(), Error> {
        while let Some(outcomes) = &mut self.outcomes
            && let Some((step, bytes)) = outcomes.ring.poll(&self.gpu)?
        {
            self.learn(step, &bytes);
        }
        Ok(())
    }

    fn learn(&mut self, step: u64, bytes: &[u8]) {
        let Some(outcomes) = &mut self.outcomes else { return };
        if step < outcomes.since {
            return;
        }
        let values: GateValues = bytemuck::pod_read_unaligned(bytes);
        let skipped = values.skip != 0;
        if outcomes.pending.front() == Some(&step) {
            let oldest = u32::try_from(outcomes.pending.len() - 1).expect("few steps are pending");
            outcomes.pending.pop_front();
            for progress in &mut self.progress {
                progress.settle(oldest, !skipped);
            }
        }
        let GateValues { norm, loss_scale, skipped_in_a_row, .. } = values;
        outcomes.arrived.push_back(Outcome { step, skipped, norm, loss_scale, skipped_in_a_row });
        if outcomes.arrived.len() > KEPT {
            outcomes.arrived.pop_front();
        }
        let most = self.transforms.skip.as_ref().and_then(|skip| skip.error_after);
        outcomes.failed = most.filter(|&most| skipped && skipped_in_a_row >= most).map(|_| skipped_in_a_row);
    }

    /// Refuses if too many steps in a row were skipped, or no further outcome can be taken.
    pub(super) fn check_outcomes(&self) -> Result<(), Error> {
        let Some(outcomes) = &self.outcomes else { return Ok(()) };
        if let Some(steps) = outcomes.failed {
            return Err(Error::NonFinite(format!("the gradients of {steps} steps in a row were not finite")));
        }
        if outcomes.ring.is_full() {
            return Err(Error::RingFull {
                ring: "outcome",
                slots: super::plan::Plan::RING,
                advice: "submit the recorded steps, and read_outcomes of those on their way",
            });
        }
        Ok(())
    }

    /// Where each tensor stands once all submitted steps are done, with what the gate says then.
    pub(super) fn progress_after(&self, gate: Option<GateValues>) -> Vec<Progress> {
        let (Some(outcomes), Some(gate)) = (&self.outcomes, gate) else { return self.progress.clone() };
        let settled = |progress: &Progress| {
            let applied = (gate.history & (progress.pending >> outcomes.ahead())).count_ones();
            let after = progress.after(applied);
            Progress { applied: after.step - 1, live: after.live, ..Progress::default() }
        };
        self.progress.iter().map(settled).collect()
    }

    /// The gate, if outcomes of steps are not known yet.
    pub(super) fn waiting(&self) -> Option<&Gate> {
        let outcomes = self.outcomes.as_ref().filter(|outcomes| !outcomes.pending.is_empty())?;
        Some(&outcomes.gate)
    }
}
