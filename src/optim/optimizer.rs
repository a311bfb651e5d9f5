use std::sync::Arc;

use serde_json::Value;

use super::any::{AnyRule, overridden, used_slots};
use super::plan::Plan;
use super::runs::Progress;
use super::shader::WORKGROUP;
use super::step::StepUniforms;
use crate::Error;
use crate::gpu::{Gpu, Held, Recorder, Ticket, grid};
use crate::layout::Layout;
use crate::params::ParamStore;
use crate::schedule::Schedule;

/// A rule at work on one [`ParamStore`]: each of the store's groups has its own copy of the rule, and each
/// tensor its own count of steps.
///
/// ```no_run
/// // Needs a device.
/// use gradus::optim::{AdamW, Rule};
/// use gradus::{Gpu, GpuOptions, ParamStore};
///
/// let gpu = Gpu::new(GpuOptions::default())?;
/// let mut params = ParamStore::builder()
///     .group("decay", |g| g.tensor("w", [2, 2], &[1.0; 4]))
///     .group("no_decay", |g| g.tensor("b", [2], &[0.0; 2]))
///     .build(&gpu)?;
/// let mut optimizer = AdamW { lr: 1e-3, ..Default::default() }.build(&params)?;
/// optimizer.group_mut("no_decay")?.weight_decay = 0.0;
/// params.write_grads(&[0.5; 6])?;
/// optimizer.step(&mut params)?;
/// assert!(params.read("w")?[0] < 1.0);
/// # Ok::<(), gradus::Error>(())
/// ```
#[derive(Debug)]
pub struct Optimizer<R> {
    pub(super) gpu: Gpu,
    pub(super) layout: Arc<Layout>,
    store: Arc<()>,
    pub(super) name: &'static str,
    pub(super) groups: Vec<Group<R>>,
    pub(super) progress: Vec<Progress>,
    pub(super) attempted: u64,
    pub(super) plan: Plan,
    uniforms: StepUniforms,
    /// The latest recorded step that is neither submitted nor abandoned.
    latest: Option<Held>,
}

#[derive(Debug)]
pub(super) struct Group<R> {
    pub(super) rule: R,
    /// The rate that schedules start from.
    pub(super) base_lr: f64,
    /// The rate when it was last looked at: another one was set by hand and is a new base.
    pub(super) seen_lr: f64,
}

impl<R: AnyRule + Clone> Optimizer<R> {
    pub(crate) fn new(rule: R, params: &ParamStore, overrides: &[(&str, Value)]) -> Result<Self, Error> {
        rule.check()?;
        let layout = params.layout().clone();
        let mut groups = vec![Group::new(rule.clone()); layout.groups().len()];
        for (number, (name, fields)) in overrides.iter().enumerate() {
            if overrides[..number].iter().any(|(earlier, _)| earlier == name) {
                return Err(Error::Duplicate { kind: "overrides of group", name: (*name).into() });
            }
            groups[layout.group(name)?] = Group::new(overridden(&rule, name, fields)?);
        }
        let mut optimizer = Self {
            gpu: params.gpu().clone(),
            store: params.id().clone(),
            name: rule.name(),
            groups,
            progress: vec![Progress::default(); layout.spans().len()],
            attempted: 0,
            plan: Plan::new(rule.slots().len()),
            uniforms: StepUniforms::default(),
            latest: None,
            layout,
        };
        // So that what is wrong with kernel or device is said here, not in the first step.
        optimizer.compute(params)?;
        optimizer.prepare(params)?;
        Ok(optimizer)
    }

    /// The rule of a group.
    ///
    /// # Errors
    /// [`Error::UnknownName`].
    pub fn group(&self, name: &str) -> Result<&R, Error> {
        Ok(&self.groups[self.layout.group(name)?].rule)
    }

    /// The rule of a group, to change options between steps. Another rate that is set here is also what
    /// [`Optimizer::schedule`] starts from then.
    ///
    /// # Errors
    /// [`Error::UnknownName`].
    pub fn group_mut(&mut self, name: &str) -> Result<&mut R, Error> {
        Ok(&mut self.groups[self.layout.group(name)?].rule)
    }

    /// The rules of all groups, in order of the layout.
    pub fn rules(&self) -> impl Iterator<Item = &R> {
        self.groups.iter().map(|group| &group.rule)
    }

    /// The rules of all groups, to change an option of each, as in `for group in optimizer.param_groups`.
    pub fn rules_mut(&mut self) -> impl Iterator<Item = &mut R> {
        self.groups.iter_mut().map(|group| &mut group.rule)
    }

    /// Where each tensor lies.
    pub fn layout(&self) -> &Arc<Layout> {
        &self.layout
    }

    /// The name of its rule.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Steps recorded so far: what schedules count.
    pub fn attempted(&self) -> u64 {
        self.attempted
    }

    /// Steps that have changed a tensor: what bias corrections count.
    ///
    /// # Errors
    /// [`Error::UnknownName`].
    pub fn applied(&self, tensor: &str) -> Result<u64, Error> {
        Ok(self.progress[self.layout.index(tensor)?].applied)
    }

    /// Sets each group's rate, and its momentum if the schedule cycles it, to what holds at `step`.
    ///
    /// A group's rate is computed from its own base: what it was built with, or what was last set by hand.
    /// `step` is an epoch if the schedule's [`Schedule::interval`] says so.
    ///
    /// # Errors
    /// What the schedule says; [`Error::Config`] if it cycles the momentum of a rule that has none. Then
    /// nothing was changed.
    pub fn schedule(&mut self, schedule: &(impl Schedule + ?Sized), step: u64) -> Result<(), Error> {
        schedule.check()?;
        let mut next = self.groups.clone();
        for group in &mut next {
            group.base_lr = group.base_lr_now();
            let point = schedule.at(step, group.base_lr)?;
            group.seen_lr = point.lr;
            *group.rule.lr_mut() = point.lr;
            if let Some(momentum) = point.momentum {
                let what = format!("schedule for {}", group.rule.name());
                let reason = "it cycles the momentum, but there is neither `momentum` nor `betas`".into();
                *group.rule.momentum_mut().ok_or(Error::Config { what, reason })? = momentum;
            }
            group.rule.check()?;
        }
        self.groups = next;
        Ok(())
    }

    /// One step, submitted at once.
    ///
    /// # Errors
    /// As [`Optimizer::record`].
    pub fn step(&mut self, params: &mut ParamStore) -> Result<(), Error> {
        let gpu = self.gpu.clone();
        let mut encoder = gpu.encoder("optimizer step");
        let ticket = self.record(&mut encoder, params)?;
        let result = gpu.submit(encoder);
        self.submitted(ticket)?;
        result.map(|_| ())
    }

    /// Records one step into a caller's encoder. Give the ticket back to [`Optimizer::submitted`] once the
    /// encoder's commands were submitted; at most eight steps may wait for that.
    ///
    /// # Errors
    /// What [`Rule::check`](super::Rule::check) says of a group's options; [`Error::RingFull`];
    /// [`Error::Mismatch`] for another store; [`Error::DeviceLost`]; [`Error::Limit`] where new options need
    /// another slot. Then nothing was recorded or counted.
    pub fn record(
        &mut self,
        encoder: &mut wgpu::CommandEncoder,
        params: &mut ParamStore,
    ) -> Result<Ticket, Error> {
        let gpu = self.gpu.clone();
        self.record_into(&mut Recorder::new(&gpu, encoder), params)
    }

    /// As [`Optimizer::record`], behind what a recorder has recorded.
    ///
    /// # Errors
    /// As [`Optimizer::record`].
    pub fn record_into(
        &mut self,
        recorder: &mut Recorder<'_>,
        params: &mut ParamStore,
    ) -> Result<Ticket, Error> {
        self.gpu.check()?;
        if !Arc::ptr_eq(&self.store, params.id()) {
            return Err(Error::Mismatch("this optimizer was built for another parameter store".into()));
        }
        if !recorder.gpu().is_same(&self.gpu) {
            return Err(Error::Mismatch("this recorder records for another device".into()));
        }
        self.plan.check()?;
        self.latest = None;
        self.compute(params)?;
        self.prepare(params)?;
        let (ticket, base, bound) = self.plan.write(&self.gpu, &self.uniforms.bytes)?;
        for dispatch in &self.uniforms.dispatches {
            let offsets = [base + dispatch.call, base + dispatch.hyper];
            let groups = grid(dispatch.vectors.div_ceil(WORKGROUP));
            recorder.dispatch(&bound.kernel, &bound.groups[dispatch.window], &offsets, groups);
        }
        self.count(params);
        self.latest = Some(ticket.held());
        Ok(ticket)
    }

    /// Says that the commands of a recorded step were submitted.
    ///
    /// # Errors
    /// [`Error::Mismatch`] for a ticket of another optimizer.
    pub fn submitted(&mut self, ticket: Ticket) -> Result<(), Error> {
        self.latest = self.latest.take().filter(|latest| !ticket.holds(latest));
        self.plan.submitted(ticket)
    }

    /// Says that the commands of the latest recorded step will never be submitted: it is as if it had not
    /// been recorded. Of an earlier one only the slot is freed, and its count stays.
    ///
    /// # Errors
    /// [`Error::Mismatch`] for a ticket of another optimizer.
    pub fn abandoned(&mut self, ticket: Ticket) -> Result<(), Error> {
        let is_latest = self.latest.as_ref().is_some_and(|latest| ticket.holds(latest));
        self.plan.submitted(ticket)?;
        if is_latest {
            self.latest = None;
            self.attempted -= 1;
            self.uniforms.undo(&self.layout, &mut self.progress);
        }
        Ok(())
    }

    /// Slots that some group's options use.
    fn used_slots(&self) -> u32 {
        self.groups.iter().fold(0, |mask, group| mask | used_slots(&group.rule))
    }

    fn prepare(&mut self, params: &ParamStore) -> Result<(), Error> {
        let mask = self.used_slots();
        self.plan.prepare(&self.groups[0].rule, params, mask, self.uniforms.bytes.len())
    }

    fn compute(&mut self, params: &ParamStore) -> Result<(), Error> {
        for (group, name) in self.groups.iter().zip(self.layout.groups()) {
            group.rule.check()?;
            if group.rule.name() != self.name {
                let reason =
                    format!("its rule is {}, the optimizer was built as {}", group.rule.name(), self.name);
                return Err(Error::Config { what: format!("group {name:?}"), reason });
            }
        }
        let rules = |group: usize| &self.groups[group].rule;
        self.uniforms.compute(&self.layout, rules, &self.progress, params.frozen())
    }

    fn count(&mut self, params: &ParamStore) {
        self.attempted += 1;
        let spans = self.layout.spans().iter().zip(params.frozen());
        for ((span, frozen), progress) in spans.zip(&mut self.progress) {
            if !frozen {
                progress.applied += 1;
                progress.live |= used_slots(&self.groups[span.group].rule);
            }
        }
    }
}

impl<R: AnyRule> Group<R> {
    pub(super) fn new(rule: R) -> Self {
        let lr = rule.lr();
        Self { rule, base_lr: lr, seen_lr: lr }
    }

    /// The rate that a schedule starts from now.
    pub(super) fn base_lr_now(&self) -> f64 {
        if self.rule.lr() == self.seen_lr { self.base_lr } else { self.rule.lr() }
    }
}

impl<R: Clone> Clone for Group<R> {
    fn clone(&self) -> Self {
        Self { rule: self.rule.clone(), base_lr: self.base_lr, seen_lr: self.seen_lr }
    }
}
