pub(crate) mod averages;
pub(crate) mod bf16_params;
pub(crate) mod build;
pub(crate) mod dispatches;
pub(crate) mod eval_params;
mod norm_reports;
pub(crate) mod param_groups;
pub(crate) mod record;
mod results;
mod state_bytes;
pub(crate) mod trust_ratios;

use std::sync::Arc;

use serde_json::Value;

use super::averages::average::Average;
use super::device::bindings::DeviceState;
use super::device::options::OptimizerOptions;
use super::rule::any::AnyRule;
use super::rule::fields::{overridden, used_slots};
use super::rule::{Slot, StatePrecision, f32_of};
use super::step::ledger::StepLedger;
use super::step::results::StepResults;
use crate::Error;
use crate::gpu::Gpu;
use crate::grad::{FusedTransforms, NormReduction, Transforms};
use crate::layout::Layout;
use crate::params::{Flat, GateValues, ParamStore};
use crate::schedule::Schedule;

/// Runs a rule over one [`ParamStore`]. Each of the store's groups has its own copy of the rule, and each tensor its own
/// step count.
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
    pub(crate) gpu: Gpu,
    pub(crate) layout: Arc<Layout>,
    pub(crate) store: Arc<()>,
    pub(crate) name: String,
    /// WGSL of the rule.
    pub(crate) text: String,
    /// The rule as it was built: the defaults of groups that are added.
    pub(crate) defaults: R,
    pub(crate) groups: Vec<Group<R>>,
    pub(crate) device: DeviceState,
    pub(crate) steps: StepLedger,
    pub(crate) transforms: Transforms,
    pub(crate) norm_reduction: NormReduction,
    pub(crate) fused: FusedTransforms,
    pub(crate) options: OptimizerOptions,
    /// The parameters that are trained, while evaluation parameters replace them in the store.
    pub(crate) aside: Option<Flat>,
    /// The average of the weights, if one is kept.
    pub(crate) average: Option<Average>,
}

#[derive(Debug)]
pub(crate) struct Group<R> {
    pub(crate) rule: R,
    /// The learning rate that schedules start from.
    pub(crate) base_lr: f64,
    /// The learning rate that was last read. If the rule's differs, it was set by hand and becomes the new base.
    pub(crate) seen_lr: f64,
}

impl<R: AnyRule + Clone> Optimizer<R> {
    pub(crate) fn new(
        rule: R,
        params: &ParamStore,
        overrides: &[(&str, Value)],
        options: &OptimizerOptions,
    ) -> Result<Self, Error> {
        rule.check()?;
        let layout = params.layout().clone();
        let mut groups = vec![Group::new(rule.clone()); layout.groups().len()];
        for (number, (name, fields)) in overrides.iter().enumerate() {
            if overrides[..number].iter().any(|(earlier, _)| earlier == name) {
                return Err(Error::Duplicate { kind: "overrides of group", name: (*name).into() });
            }
            groups[layout.group(name)?] = Group::new(overridden(&rule, name, fields)?);
        }
        let device = DeviceState::new(|group| &groups[group].rule, params.gpu(), &layout, options)?;
        let mut optimizer = Self {
            gpu: params.gpu().clone(),
            store: params.id().clone(),
            name: rule.name().into(),
            text: rule.shader().text.into(),
            defaults: rule.clone(),
            groups,
            steps: StepLedger::new(layout.spans().len()),
            device,
            transforms: Transforms::default(),
            norm_reduction: NormReduction::default(),
            fused: FusedTransforms::new(params.gpu(), &Transforms::default(), &layout)?,
            options: options.clone(),
            aside: None,
            average: None,
            layout,
        };
        params.gate().write(&optimizer.gpu, GateValues::OPEN)?;
        // Reports errors of the kernel and the device here instead of in the first step.
        let first = optimizer.describe(params)?;
        optimizer.prepare(&first, params)?;
        optimizer.steps.last = first;
        optimizer.refresh_if_kept(params)?;
        Ok(optimizer)
    }

    /// The rule of a group.
    ///
    /// # Errors
    /// [`Error::UnknownName`].
    pub fn group(&self, name: &str) -> Result<&R, Error> {
        Ok(&self.groups[self.layout.group(name)?].rule)
    }

    /// The rule of a group, to change its options between steps. A learning rate that is set here becomes the base of
    /// [`Optimizer::schedule`].
    ///
    /// # Errors
    /// [`Error::UnknownName`].
    pub fn group_mut(&mut self, name: &str) -> Result<&mut R, Error> {
        Ok(&mut self.groups[self.layout.group(name)?].rule)
    }

    /// The name and precision of each slot that a tensor uses. A tensor with fewer elements than
    /// [`OptimizerOptions::least_8bit`] has f32 instead of 8 bits.
    ///
    /// # Errors
    /// [`Error::UnknownName`].
    pub fn state_precisions(&self, tensor: &str) -> Result<Vec<(String, StatePrecision)>, Error> {
        let index = self.layout.index(tensor)?;
        let rule = &self.groups[self.layout.spans()[index].group].rule;
        let used = used_slots(rule);
        let slots = rule.slots().iter().enumerate().filter(|(bit, _)| used & (1 << bit) != 0);
        let of = |(bit, slot): (usize, &Slot)| (slot.name.to_string(), self.device.precision(bit, index));
        Ok(slots.map(of).collect())
    }

    /// The rules of all groups, in the order of the layout.
    pub fn rules(&self) -> impl Iterator<Item = &R> {
        self.groups.iter().map(|group| &group.rule)
    }

    /// The rules of all groups, to change their options, as `for group in optimizer.param_groups` in torch.
    pub fn rules_mut(&mut self) -> impl Iterator<Item = &mut R> {
        self.groups.iter_mut().map(|group| &mut group.rule)
    }

    /// Sets the gradient transforms. Resets the counts of skipped steps and the loss scale.
    ///
    /// # Errors
    /// [`Error::Constant`] for an option out of its range; [`Error::UnknownName`] for a group or tensor of a
    /// penalty; [`Error::Mismatch`] for another store; [`Error::Config`] while results of steps are in flight, for
    /// which [`Optimizer::read_step_results`] waits; the errors of custom transforms. Then nothing was changed.
    pub fn set_transforms(&mut self, mut transforms: Transforms, params: &ParamStore) -> Result<(), Error> {
        transforms.check()?;
        self.check_store(params)?;
        self.poll()?;
        if self.steps.results.as_ref().is_some_and(|results| !results.is_idle()) {
            let reason =
                "the results of some steps are on their way: submit these, and read_step_results first";
            return Err(Error::Config { what: "transforms".into(), reason: reason.into() });
        }
        let fused = FusedTransforms::new(&self.gpu, &transforms, &self.layout)?;
        for custom in &mut transforms.custom {
            custom.prepare(params)?;
        }
        let loss_scale = transforms.grad_scaler.as_ref().map_or(1.0, |scaler| f32_of(scaler.init_scale));
        let need_norm_reduction = transforms.need_norm_reduction();
        let error_after = transforms.skip.as_ref().and_then(|skip| skip.error_after);
        let results = || StepResults::new(&self.gpu, params.shared_gate(), error_after);
        let results = need_norm_reduction.then(results).transpose()?;
        params.gate().write(&self.gpu, GateValues { loss_scale, ..GateValues::OPEN })?;
        (self.transforms, self.fused, self.steps.results) = (transforms, fused, results);
        self.norm_reduction = NormReduction::default();
        self.device.rebind();
        Ok(())
    }

    /// The gradient transforms, which act before the rule.
    pub fn transforms(&self) -> &Transforms {
        &self.transforms
    }

    /// Waits for the device and computes, in f64, the sum that the penalties add to the loss at the current parameters,
    /// frozen tensors included. 0 without penalties.
    ///
    /// # Errors
    /// [`Error::Mismatch`] for another store; [`Error::DeviceLost`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn read_penalty(&self, params: &ParamStore) -> Result<f64, Error> {
        self.gpu.block_on(self.read_penalty_async(params))
    }

    /// As [`Optimizer::read_penalty`], without blocking.
    ///
    /// # Errors
    /// As [`Optimizer::read_penalty`].
    pub async fn read_penalty_async(&self, params: &ParamStore) -> Result<f64, Error> {
        self.check_store(params)?;
        self.transforms.read_penalty(params).await
    }

    /// The layout of the store: where each tensor lies.
    pub fn layout(&self) -> &Arc<Layout> {
        &self.layout
    }

    /// The name of the rule.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Number of steps recorded so far, which schedules count.
    pub fn attempted(&self) -> u64 {
        self.steps.attempted - u64::from(self.steps.latest_is_dropped())
    }

    /// Number of steps that have updated a tensor, which bias corrections count. If steps may be skipped, only those whose
    /// results have arrived; [`Optimizer::read_step_results`] waits for all.
    ///
    /// # Errors
    /// [`Error::UnknownName`].
    pub fn applied(&self, tensor: &str) -> Result<u64, Error> {
        let index = self.layout.index(tensor)?;
        Ok(self.steps.counter(index, &self.layout.spans()[index]).applied)
    }

    /// Sets each group's learning rate to the schedule's at `step`, and its momentum if the schedule cycles it.
    ///
    /// A group's rate is computed from its own base: the rate that it was built with, or that was last set by hand.
    /// `step` counts epochs if the schedule's [`Schedule::interval`] is an epoch.
    ///
    /// # Errors
    /// The errors of the schedule; [`Error::Config`] if it cycles the momentum of a rule that has none. Then nothing was
    /// changed.
    pub fn schedule(&mut self, schedule: &(impl Schedule + ?Sized), step: u64) -> Result<(), Error> {
        schedule.check()?;
        let mut next = self.groups.clone();
        for (number, group) in next.iter_mut().enumerate() {
            let in_group = |error| Error::in_group_of(error, self.layout.groups(), number);
            group.base_lr = group.base_lr_now();
            let point = schedule.at(step, group.base_lr).map_err(in_group)?;
            group.seen_lr = point.lr;
            *group.rule.lr_mut() = point.lr;
            if let Some(momentum) = point.momentum {
                let what = format!("schedule for {}", group.rule.name());
                let reason = "it cycles the momentum, but there is neither `momentum` nor `betas`".into();
                *group.rule.momentum_mut().ok_or(Error::Config { what, reason }).map_err(in_group)? =
                    momentum;
            }
            group.rule.check().map_err(in_group)?;
        }
        self.groups = next;
        Ok(())
    }

    pub(crate) fn check_store(&self, params: &ParamStore) -> Result<(), Error> {
        params.check_optimizer(&self.store, &self.layout)
    }
}

impl<R: AnyRule> Group<R> {
    pub(crate) fn new(rule: R) -> Self {
        let lr = rule.lr();
        Self { rule, base_lr: lr, seen_lr: lr }
    }

    /// The learning rate that a schedule starts from now.
    pub(crate) fn base_lr_now(&self) -> f64 {
        if self.rule.lr() == self.seen_lr { self.base_lr } else { self.rule.lr() }
    }
}

impl<R: Clone> Clone for Group<R> {
    fn clone(&self) -> Self {
        Self { rule: self.rule.clone(), base_lr: self.base_lr, seen_lr: self.seen_lr }
    }
}
