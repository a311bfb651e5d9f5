use super::Optimizer;
use crate::Error;
use crate::gpu::{Gpu, Recorder, Staging, Ticket, grid};
use crate::optim::device::bindings::{Needs, check_shape};
use crate::optim::device::stage::Stage;
use crate::optim::rule::any::{AnyRule, used_slots};
use crate::optim::rule::f32_of;
use crate::optim::step::counters::{StepCounter, StepEffect};
use crate::optim::step::results::StepResults;
use crate::optim::step::spec::{Inputs, ResetDispatch, StepUniforms};
use crate::params::{GateValues, ParamStore};

/// The step counters of an optimizer at some time.
#[derive(Clone, Debug)]
pub(crate) struct Mark {
    counters: Vec<StepCounter>,
    attempted: u64,
}

impl<R: AnyRule + Clone> Optimizer<R> {
    /// One step, submitted at once. Where steps may be skipped, it waits for the oldest of eight on their way.
    ///
    /// # Errors
    /// As [`Optimizer::record`]. What could not be submitted is as if it had not been recorded.
    pub fn step(&mut self, params: &mut ParamStore) -> Result<(), Error> {
        let gpu = self.gpu.clone();
        self.make_room()?;
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
    /// one's own says. Then nothing was recorded or counted, but what transforms of one's own recorded until then.
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
        self.compute_step(recorder.gpu(), params)?;
        self.record_custom(recorder, params)?;
        let (ticket, base) = self.device.ring_mut().write(&self.gpu, &self.uniforms.bytes)?;
        self.record_step(recorder, params, (ticket, base))
    }

    /// Computes the next step, and says how many bytes of uniforms it has. Those who record it through [`Staging`] call
    /// [`Optimizer::stage_step`] next, and [`Optimizer::record_custom`] and [`Optimizer::record_step`] behind what writes the
    /// gradients.
    ///
    /// # Errors
    /// As [`Optimizer::record_into`].
    pub(crate) fn compute_step(&mut self, recorder: &Gpu, params: &ParamStore) -> Result<usize, Error> {
        self.gpu.check()?;
        self.check_store(params)?;
        self.check_no_eval_params("optimizer step")?;
        if !recorder.is_same(&self.gpu) {
            return Err(Error::Mismatch("this recorder records for another device".into()));
        }
        self.abandon_dropped()?;
        self.device.check_ring()?;
        self.poll()?;
        self.check_results()?;
        self.latest = None;
        self.compute(params)?;
        self.prepare(params)?;
        self.write_first_values(params)?;
        Ok(self.uniforms.bytes.len())
    }

    /// Takes a slot for the uniforms of the computed step.
    pub(crate) fn stage_step(&mut self, staging: &mut Staging) -> Result<(Ticket, u32), Error> {
        self.device.ring_mut().stage(staging, &self.uniforms.bytes)
    }

    /// Records the transforms of one's own.
    pub(crate) fn record_custom(
        &mut self,
        recorder: &mut Recorder<'_>,
        params: &mut ParamStore,
    ) -> Result<(), Error> {
        self.transforms.custom.iter_mut().try_for_each(|custom| custom.record(recorder, params))
    }

    /// Records the computed step, whose uniforms begin at a byte of the ring.
    pub(crate) fn record_step(
        &mut self,
        recorder: &mut Recorder<'_>,
        params: &ParamStore,
        (ticket, base): (Ticket, u32),
    ) -> Result<Ticket, Error> {
        let bindings = self.device.bindings().expect("prepared");
        if self.transforms.need_norm_reduction() {
            self.norm_reduction.record(recorder, base);
        }
        if let (Some(pick), Some((kernel, group))) = (self.uniforms.pick, &bindings.pick) {
            let groups = grid((pick.segments * pick.words).div_ceil(64));
            recorder.dispatch(kernel, group, &[base + pick.call, base], groups);
        }
        let picked = bindings.pick.is_some();
        let hyper_of = |hyper: u32| if picked { hyper } else { base + hyper };
        if let Some(resets) = &bindings.resets {
            for ResetDispatch { slot, bindings, workgroups, call, hyper, .. } in &self.uniforms.resets {
                let offsets = [base + call, hyper_of(*hyper)];
                recorder.dispatch(
                    &resets.kernel,
                    &resets.groups[*slot][*bindings],
                    &offsets,
                    grid(*workgroups),
                );
            }
        }
        let stages = Stage::of(self.groups[0].rule.family());
        let mut products = self.device.orthogonal.as_ref();
        for dispatch in &self.uniforms.dispatches {
            if stages[dispatch.stage] == Stage::Update
                && let Some(orthogonal) = products.take()
            {
                orthogonal.record(recorder)?;
            }
            let offsets = [base + dispatch.call, hyper_of(dispatch.hyper), dispatch.gate];
            let stage = bindings.stages[dispatch.stage].of(dispatch.general);
            let groups = grid(dispatch.workgroups);
            recorder.dispatch(&stage.kernel, &stage.groups[dispatch.bindings], &offsets, groups);
        }
        self.count(params);
        // From here on the step is undone where its ticket is dropped.
        self.latest = Some(ticket.held());
        if let Some(results) = &mut self.results {
            let may_skip = self.transforms.may_skip();
            results.record(recorder, self.attempted - 1, &ticket, may_skip)?;
        }
        Ok(ticket)
    }

    /// Takes steps as abandoned whose tickets were dropped, the latest first: it is the one that can be undone.
    pub(crate) fn abandon_dropped(&mut self) -> Result<(), Error> {
        while let Some(ticket) = self.device.dropped(self.latest.as_ref()) {
            self.abandoned(ticket)?;
        }
        Ok(())
    }

    /// Says that the commands of a recorded step were submitted.
    ///
    /// # Errors
    /// [`Error::Mismatch`] for a ticket of another optimizer, which takes it as abandoned.
    pub fn submitted(&mut self, ticket: Ticket) -> Result<(), Error> {
        self.latest = self.latest.take().filter(|latest| !ticket.holds(latest));
        if let Some(results) = &mut self.results {
            results.submitted(&ticket);
        }
        self.device.submitted(ticket)
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
        let is_latest = self.latest.as_ref().is_some_and(|latest| ticket.holds(latest));
        let in_flight = self.results.as_mut().and_then(|results| results.abandoned(&ticket));
        self.device.submitted(ticket)?;
        match in_flight {
            Some(step) => self.counters.iter_mut().for_each(|counter| counter.resolve(step, false)),
            None if is_latest => self.uniforms.undo(&self.layout, &mut self.counters),
            None => {}
        }
        if is_latest {
            self.latest = None;
            self.attempted -= 1;
        }
        Ok(())
    }

    /// The step counters, to come back to.
    pub(crate) fn mark(&self) -> Mark {
        Mark { counters: self.counters.clone(), attempted: self.attempted }
    }

    /// Takes the step counters back to where they were, once all tickets since then were given back as abandoned.
    pub(crate) fn restore(&mut self, mark: Mark) {
        (self.counters, self.attempted, self.latest) = (mark.counters, mark.attempted, None);
    }

    /// Slots that some group's options use.
    fn used_slots(&self) -> u32 {
        self.groups.iter().fold(0, |mask, group| mask | used_slots(&group.rule))
    }

    pub(crate) fn prepare(&mut self, params: &ParamStore) -> Result<(), Error> {
        if let Some(orthogonal) = &mut self.device.orthogonal
            && orthogonal.prepare(params, |group| &self.groups[group].rule)?
        {
            self.device.rebind();
        }
        let mask = self.used_slots();
        let StepUniforms { bytes, pick, resets, .. } = &self.uniforms;
        let resets = !resets.is_empty() || self.rules().any(|rule| rule.reset().is_some());
        let needs =
            Needs { bytes: bytes.len(), fused: &self.fused, pick: pick.map(|pick| pick.segments), resets };
        if self.device.prepare(&self.groups[0].rule, params, mask, &needs)? {
            self.norm_reduction.rebind();
        }
        if self.transforms.need_norm_reduction() {
            self.norm_reduction.prepare(&self.transforms, params, self.device.ring())?;
        }
        Ok(())
    }

    pub(crate) fn compute(&mut self, params: &ParamStore) -> Result<(), Error> {
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
        self.uniforms.bytes.clear();
        if self.transforms.need_norm_reduction() {
            let bytes = &mut self.uniforms.bytes;
            let number = self.results.as_ref().map_or(0, StepResults::next);
            let place = (&*self.layout, self.gpu.capabilities());
            self.norm_reduction.compute(&self.transforms, place, params.frozen(), number, bytes);
        }
        let deviation = self.transforms.noise.as_ref().map_or(0.0, |noise| noise.deviation(self.attempted));
        let inputs = Inputs {
            layout: &self.layout,
            family: self.groups[0].rule.family(),
            reduction_tiles: self.device.reduction_tiles.as_ref(),
            statistics: self.device.statistics.as_ref(),
            counters: &self.counters,
            frozen: params.frozen(),
            fused: &self.fused,
            noise: f32_of(deviation),
            attempted: self.attempted,
            may_skip: self.transforms.may_skip(),
        };
        self.uniforms.compute(&inputs, |group| &self.groups[group].rule)
    }

    fn count(&mut self, params: &ParamStore) {
        self.attempted += 1;
        let may_skip = self.transforms.may_skip();
        let step = GateValues::history_bit(self.results.as_ref().map_or(0, StepResults::next));
        let spans = self.layout.spans().iter().zip(params.frozen());
        for ((span, frozen), counter) in spans.zip(&mut self.counters) {
            if *frozen {
                continue;
            }
            counter.begin(step, StepEffect::of(&self.groups[span.group].rule));
            if !may_skip {
                counter.resolve(step, true);
            }
        }
    }
}
