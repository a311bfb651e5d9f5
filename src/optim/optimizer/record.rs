use super::Optimizer;
use crate::Error;
use crate::gpu::{Gpu, Recorder, Staging, Ticket};
use crate::optim::device::bindings::check_shape;
use crate::optim::rule::any::AnyRule;
use crate::optim::rule::f32_of;
use crate::optim::step::commit::commit;
use crate::optim::step::describe::describe;
use crate::optim::step::encode::{ReadBacks, encode};
use crate::optim::step::inputs::Inputs;
use crate::optim::step::ledger::{Mark, StepLedger};
use crate::optim::step::prepare::{prepare, write_first_values};
use crate::optim::step::spec::StepSpec;
use crate::params::ParamStore;

impl<R: AnyRule + Clone> Optimizer<R> {
    /// One step, submitted at once. Where steps may be skipped, it waits for the oldest of eight on their way.
    ///
    /// # Errors
    /// As [`Optimizer::record`]. What could not be submitted is as if it had not been recorded.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn step(&mut self, params: &mut ParamStore) -> Result<(), Error> {
        self.gpu.clone().block_on(self.step_async(params))
    }

    /// As [`Optimizer::step`], without blocking: it suspends only where steps may be skipped and eight are on their way.
    /// Where the future is dropped before it is ready, the step was not taken.
    ///
    /// # Errors
    /// As [`Optimizer::step`].
    pub async fn step_async(&mut self, params: &mut ParamStore) -> Result<(), Error> {
        let gpu = self.gpu.clone();
        self.make_room().await?;
        let mut encoder = gpu.encoder("optimizer step");
        let ticket = self.record(&mut encoder, params)?;
        match gpu.submit(encoder) {
            Ok(_) => self.submitted(ticket),
            Err(error) => {
                self.abandoned(ticket)?;
                Err(error)
            }
        }
    }

    /// Records one step into a caller's encoder, which must be one of the same device: wgpu does not say whose an
    /// encoder is, and panics, or spoils the commands, where a kernel meets one of another device.
    ///
    /// Give the ticket back to [`Optimizer::submitted`] once the encoder's commands were submitted; at most eight
    /// steps may wait for that. A [`Ticket`] that is dropped instead is taken as [`Optimizer::abandoned`].
    ///
    /// # Errors
    /// What [`Rule::check`](crate::optim::Rule::check) says of a group's options; [`Error::RingFull`];
    /// [`Error::Mismatch`] for another store, or one to which another optimizer has added a group;
    /// [`Error::DeviceLost`]; [`Error::Limit`] where new options need another slot; [`Error::NonFinite`] after as many skipped steps in a row as are allowed; what a transform of
    /// one's own says. Then nothing was recorded or counted.
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
    /// As [`Optimizer::record`]; [`Error::Mismatch`] for a recorder of another device.
    pub fn record_into(
        &mut self,
        recorder: &mut Recorder<'_>,
        params: &mut ParamStore,
    ) -> Result<Ticket, Error> {
        let spec = self.compute_step(recorder.gpu(), params)?;
        let slot = self.device.ring_mut().write(&self.gpu, &spec.bytes)?;
        self.record_step(recorder, params, spec, slot)
    }

    /// The first three phases of a step. Those who record it through [`Staging`] call [`Optimizer::stage_step`] next, and
    /// [`Optimizer::record_step`] behind what writes the gradients.
    ///
    /// # Errors
    /// As [`Optimizer::record_into`].
    pub(crate) fn compute_step(&mut self, recorder: &Gpu, params: &ParamStore) -> Result<StepSpec, Error> {
        self.gpu.check()?;
        self.check_store(params)?;
        self.check_no_eval_params("optimizer step")?;
        if !recorder.is_same(&self.gpu) {
            return Err(Error::Mismatch("this recorder records for another device".into()));
        }
        self.check_places()?;
        self.steps.abandon_dropped(&mut self.device)?;
        self.device.check_ring()?;
        self.poll()?;
        self.check_results()?;
        let spec = self.describe(params)?;
        self.prepare(&spec, params)?;
        write_first_values(&spec, &self.device, &self.rules().collect::<Vec<_>>(), params)?;
        Ok(spec)
    }

    /// Takes a slot for the uniforms of a step.
    pub(crate) fn stage_step(
        &mut self,
        spec: &StepSpec,
        staging: &mut Staging,
    ) -> Result<(Ticket, u32), Error> {
        self.device.ring_mut().stage(staging, &spec.bytes)
    }

    /// The last two phases of a step, whose uniforms begin at a byte of the ring, behind the transforms of one's own. Where
    /// one of these refuses, nothing is recorded or counted.
    pub(crate) fn record_step(
        &mut self,
        recorder: &mut Recorder<'_>,
        params: &ParamStore,
        spec: StepSpec,
        (ticket, base): (Ticket, u32),
    ) -> Result<Ticket, Error> {
        let custom = &mut self.transforms.custom;
        if !custom.is_empty() {
            recorder.all_or_nothing(|recorder| {
                custom.iter_mut().try_for_each(|custom| custom.record(recorder, params))
            })?;
        }
        let StepLedger { results, norms, .. } = &mut self.steps;
        let read_backs = ReadBacks { results: results.as_mut(), norms: norms.as_mut() };
        let reduction = (&self.norm_reduction, &self.transforms);
        encode(&spec, &self.device, reduction, read_backs, (recorder, params), (&ticket, base))?;
        commit(&mut self.steps, spec, &ticket);
        Ok(ticket)
    }

    /// Says that the commands of a recorded step were submitted.
    ///
    /// # Errors
    /// [`Error::Mismatch`] for a ticket of another optimizer, which takes it as abandoned.
    pub fn submitted(&mut self, ticket: Ticket) -> Result<(), Error> {
        self.steps.submitted(ticket, &mut self.device)
    }

    /// Says that the commands of the latest recorded step will never be submitted: it is as if it had not
    /// been recorded. Of an earlier one the slot is freed; it stays attempted, and applied too unless steps may be
    /// skipped.
    ///
    /// A [`Ticket`] that is dropped says the same; it is heeded when the optimizer is next used. Where its commands
    /// were submitted after all, the parameters and the state have that step and the counts have not.
    ///
    /// # Errors
    /// [`Error::Mismatch`] for a ticket of another optimizer, which takes it as abandoned.
    pub fn abandoned(&mut self, ticket: Ticket) -> Result<(), Error> {
        self.steps.abandoned(ticket, &mut self.device)
    }

    /// The step counters, to come back to.
    pub(crate) fn mark(&self) -> Mark {
        self.steps.mark()
    }

    /// Takes the step counters back to where they were, once all tickets since then were given back as abandoned.
    pub(crate) fn restore(&mut self, mark: Mark) {
        self.steps.restore(mark);
    }

    /// The second phase of a step, of today's options.
    pub(super) fn describe(&mut self, params: &ParamStore) -> Result<StepSpec, Error> {
        self.check_rules()?;
        let mut spec = std::mem::take(&mut self.steps.spare);
        spec.bytes.clear();
        spec.norms.clear();
        let number = self.steps.next_number();
        if self.transforms.need_norm_reduction() {
            let place = (&*self.layout, self.gpu.capabilities());
            spec.norms.describe(&self.transforms, place, params.frozen(), number, &mut spec.bytes);
        }
        let attempted = self.steps.attempted;
        let deviation = self.transforms.noise.as_ref().map_or(0.0, |noise| noise.deviation(attempted));
        let rules: Vec<&R> = self.rules().collect();
        let buffers = self.average.as_ref().and_then(|average| average.buffers.as_ref());
        let inputs = Inputs {
            layout: &self.layout,
            rules: &rules,
            state: &self.device.state,
            blocks: self.device.blocks.as_ref().map(|blocks| &blocks.ranges),
            reduction_tiles: self.device.reduction_tiles.as_ref().map(|tiles| &tiles.ranges),
            statistics: self.device.statistics.as_ref().map(|statistics| &statistics.ranges),
            counters: &self.steps.counters,
            frozen: params.frozen(),
            fused: &self.fused,
            average: self.average.as_ref().map(|average| &average.counts),
            buffers: buffers.map(|buffers| &**buffers.flat.layout()),
            noise: f32_of(deviation),
            number,
            attempted,
            may_skip: self.transforms.may_skip(),
        };
        describe(&inputs, &mut spec)?;
        spec.reports_norms = self.steps.norms.as_ref().is_some_and(|norms| norms.are_due(attempted));
        Ok(spec)
    }

    /// The third phase of a step.
    pub(super) fn prepare(&mut self, spec: &StepSpec, params: &ParamStore) -> Result<(), Error> {
        let rules: Vec<&R> = self.groups.iter().map(|group| &group.rule).collect();
        let transforms = (&self.transforms, &self.fused);
        let average = self.average.as_ref();
        prepare(spec, &mut self.device, &mut self.norm_reduction, transforms, average, &rules, params)
    }

    /// Refuses what has become of the groups' rules: options out of range, or another rule than that of the kernels.
    fn check_rules(&self) -> Result<(), Error> {
        for (number, (group, name)) in self.groups.iter().zip(self.layout.groups()).enumerate() {
            group.rule.check().map_err(|error| error.in_group_of(self.layout.groups(), number))?;
            let reason = match group.rule.name() {
                other if other != self.name => {
                    Some(format!("its rule is {other}, the optimizer was built as {}", self.name))
                }
                name if group.rule.shader().text != self.text => {
                    Some(format!("its rule is another {name} than the one that the optimizer was built with"))
                }
                _ => None,
            };
            if let Some(reason) = reason {
                return Err(Error::Config { what: format!("group {name:?}"), reason });
            }
            self.device.check(number, &group.rule)?;
        }
        for span in self.layout.spans() {
            check_shape(span, &self.groups[span.group].rule)?;
        }
        Ok(())
    }
}
