use std::mem::swap;
use std::sync::Arc;

use serde_json::Value;

use super::{Group, Optimizer};
use crate::Error;
use crate::gpu::Recorder;
use crate::grad::{FusedTransforms, NormReduction};
use crate::layout::Layout;
use crate::optim::averages::average::Average;
use crate::optim::device::bindings::DeviceState;
use crate::optim::norms::in_flight::Reports;
use crate::optim::rule::any::AnyRule;
use crate::optim::rule::fields::overridden;
use crate::optim::step::counters::StepCounter;
use crate::params::{Gate, GroupBuilder, ParamStore};

/// The parts of an optimizer that depend on the layout.
struct Laid<R> {
    layout: Arc<Layout>,
    groups: Vec<Group<R>>,
    counters: Vec<StepCounter>,
    device: DeviceState,
    norm_reduction: NormReduction,
    fused: FusedTransforms,
    average: Option<Average>,
    gate: Arc<Gate>,
    norms: Option<Reports>,
}

impl<R: AnyRule + Clone> Optimizer<R> {
    /// Adds a group of new tensors behind the others, at any time. It changes no bit of earlier tensors, of their state and
    /// counts, or of their later steps. The new tensors start with their own first step.
    ///
    /// `overrides` is a JSON object of the fields that differ, as in
    /// [`Rule::build_with`](crate::optim::Rule::build_with). Other fields have the values that the optimizer was built with,
    /// torch's `defaults`, even if other groups have changed since. Schedules start from the group's own learning rate.
    /// Transforms apply to it too. Accumulated gradients are kept; those of the new tensors are zero. Submitted steps may
    /// still be in flight.
    ///
    /// It submits one copy. It waits only if parameters are also kept in bf16. Buffers that grow are replaced, so until the
    /// copy is done both are allocated. Plans of a graph and other optimizers of this store refuse to go on, because they
    /// use the former buffers. Commands that were recorded before and not submitted yet would still use these, and so would
    /// your own bind groups.
    ///
    /// ```no_run
    /// // Needs a device.
    /// use gradus::optim::{AdamW, Rule};
    /// use gradus::{Gpu, GpuOptions, ParamStore};
    /// use serde_json::json;
    ///
    /// let gpu = Gpu::new(GpuOptions::default())?;
    /// let mut params = ParamStore::builder().tensor("backbone", [4], &[1.0; 4]).build(&gpu)?;
    /// let mut optimizer = AdamW::default().build(&params)?;
    /// optimizer.step(&mut params)?;
    /// let overrides = json!({"lr": 1e-2});
    /// optimizer.add_param_group(&mut params, "head", &overrides, |g| g.tensor("head.bias", [2], &[0.0; 2]))?;
    /// assert_eq!((optimizer.applied("backbone")?, optimizer.applied("head.bias")?), (1, 0));
    /// # Ok::<(), gradus::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Duplicate`], [`Error::Config`], [`Error::Shape`], [`Error::Length`] and [`Error::Limit`] for names,
    /// shapes and values, as when a store is built; [`Error::UnknownName`], [`Error::Config`] and [`Error::Constant`]
    /// for the overrides; [`Error::Config`] while a recorded step is neither submitted nor abandoned;
    /// [`Error::Mismatch`] for another store; [`Error::Buffer`] for adopted buffers, and where the device has no
    /// memory left; [`Error::Kernel`]; [`Error::DeviceLost`]; the errors of custom transforms, which are prepared
    /// again. Then nothing was changed.
    ///
    /// Source: <https://docs.pytorch.org/docs/stable/generated/torch.optim.Optimizer.add_param_group.html>.
    pub fn add_param_group<'d>(
        &mut self,
        params: &mut ParamStore,
        name: &str,
        overrides: &Value,
        tensors: impl FnOnce(GroupBuilder<'d>) -> GroupBuilder<'d>,
    ) -> Result<(), Error> {
        let gpu = self.gpu.clone();
        gpu.check()?;
        self.check_store(params)?;
        self.check_no_eval_params("parameter group")?;
        self.check_places()?;
        self.steps.abandon_dropped(&mut self.device)?;
        if !self.device.is_idle() {
            let reason = "a recorded step is not submitted: submit it and give its ticket back first";
            return Err(Error::Config { what: format!("group {name:?}"), reason: reason.into() });
        }
        let rule = overridden(&self.defaults, name, overrides)?;
        let mut encoder = gpu.encoder("add a group");
        let mut recorder = Recorder::new(&gpu, &mut encoder);
        let grown = params.grown(&mut recorder, name, tensors)?;
        let mut other = self.laid(&mut recorder, &grown, rule)?;
        drop(recorder);
        self.swap(&mut other);
        // As when an optimizer is built, errors of the kernel and the device are reported here instead of in the next step.
        let ready = self.describe(&grown).and_then(|first| self.prepare(&first, &grown).map(|()| first));
        let copied = ready.and_then(|first| gpu.submit(encoder).map(|_| first));
        let prepared = copied.and_then(|first| self.prepare_own(&grown, params).map(|()| first));
        match prepared {
            Ok(first) => {
                self.steps.last = first;
                grown.replace(params);
                if let (Some(norms), Some(before)) = (&mut self.steps.norms, other.norms) {
                    norms.retire(before);
                }
                self.refresh_if_kept(params)
            }
            Err(error) => {
                self.swap(&mut other);
                Err(error)
            }
        }
    }

    /// The parts of this optimizer for the layout of a store that has grown.
    fn laid(&self, recorder: &mut Recorder<'_>, grown: &ParamStore, rule: R) -> Result<Laid<R>, Error> {
        let layout = grown.layout().clone();
        let mut groups = self.groups.clone();
        groups.push(Group::new(rule));
        let rule_of = |group: usize| &groups[group].rule;
        let mut device = DeviceState::new(rule_of, &self.gpu, &layout, &self.options)?;
        for ((slot, new), known) in self.device.slots.iter().zip(&mut device.slots).zip(rule_of(0).slots()) {
            let statistics = (device.statistics.as_ref(), device.blocks.as_ref());
            let slot = slot.as_ref().map(|kept| kept.grown(recorder, known, &layout, statistics));
            *new = slot.transpose()?;
        }
        let mut counters = self.steps.counters.clone();
        counters.resize(layout.spans().len(), StepCounter::default());
        let (norm_reduction, gate) = (NormReduction::default(), grown.shared_gate().clone());
        let fused = FusedTransforms::new(&self.gpu, &self.transforms, &layout)?;
        let average = self.average.as_ref().map(|average| average.grown(recorder, &layout)).transpose()?;
        let norms = self.steps.norms.as_ref().map(|_| Reports::new(grown)).transpose()?;
        Ok(Laid { layout, groups, counters, device, norm_reduction, fused, average, gate, norms })
    }

    fn swap(&mut self, other: &mut Laid<R>) {
        let Laid { layout, groups, counters, device, norm_reduction, fused, average, gate, norms } = other;
        swap(&mut self.layout, layout);
        swap(&mut self.groups, groups);
        swap(&mut self.steps.counters, counters);
        swap(&mut self.device, device);
        swap(&mut self.norm_reduction, norm_reduction);
        swap(&mut self.fused, fused);
        swap(&mut self.average, average);
        if let Some(results) = &mut self.steps.results {
            swap(&mut results.gate, gate);
        }
        if let (Some(current), Some(norms)) = (&mut self.steps.norms, norms) {
            current.swap(norms);
        }
    }

    /// Prepares custom transforms for the store that has grown. If one refuses, prepares all for the former store.
    fn prepare_own(&mut self, grown: &ParamStore, before: &ParamStore) -> Result<(), Error> {
        let mut prepare =
            |params| self.transforms.custom.iter_mut().try_for_each(|custom| custom.prepare(params));
        prepare(grown).or_else(|error| {
            prepare(before)?;
            Err(error)
        })
    }
}
