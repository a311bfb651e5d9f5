use std::sync::atomic::Ordering;

use super::Plan;
use crate::Error;
use crate::gpu::Recorder;
use crate::graph::input::Input;
use crate::params::GateValues;

impl Plan {
    /// Records the whole plan.
    ///
    /// # Errors
    /// [`Error::Mismatch`] for a recorder of another device; if the store has grown since the plan was compiled; or
    /// if a tensor was thawed whose gradient the plan skips. Nothing is recorded then.
    pub fn record(&self, recorder: &mut Recorder<'_>) -> Result<(), Error> {
        self.check(recorder)?;
        self.record_inputs(recorder, |_| true);
        self.record_part(recorder, 0..self.steps.len())?;
        self.links().record_after(recorder, &self.outputs, |_| true);
        Ok(())
    }

    /// Records the forward pass, including all outputs. Commands that compute the upstream gradient from the outputs
    /// can follow; [`Plan::record_backward`] records the rest.
    ///
    /// # Errors
    /// As [`Plan::record`].
    pub fn record_forward(&self, recorder: &mut Recorder<'_>) -> Result<(), Error> {
        self.check(recorder)?;
        self.record_inputs(recorder, |input| Some(&input.name) != self.upstream.as_ref());
        self.record_part(recorder, 0..self.forward)?;
        self.links().record_after(recorder, &self.outputs, |output| !output.backward);
        Ok(())
    }

    /// Records the rest of the plan after [`Plan::record_forward`]; nothing for a plan without a backward pass.
    ///
    /// It reads results of the forward pass from the workspace and from regions that outputs are bound to. In
    /// between, no other plan of this workspace may run, and these regions must not be changed.
    ///
    /// # Errors
    /// As [`Plan::record`].
    pub fn record_backward(&self, recorder: &mut Recorder<'_>) -> Result<(), Error> {
        self.check(recorder)?;
        self.record_inputs(recorder, |input| Some(&input.name) == self.upstream.as_ref());
        self.record_part(recorder, self.forward..self.steps.len())?;
        self.links().record_after(recorder, &self.outputs, |output| output.backward);
        Ok(())
    }

    fn record_inputs(&self, recorder: &mut Recorder<'_>, wanted: impl Fn(&Input) -> bool) {
        if let Some((gate, seed)) = &self.loss_scale {
            let offset = std::mem::offset_of!(GateValues, loss_scale) as u64;
            recorder.copy(gate, offset, seed.raw(), 0, size_of::<f32>() as u64);
        }
        self.links().record_before(recorder, |number| wanted(&self.inputs[number]));
        for input in self.inputs.iter().filter(|input| wanted(input)) {
            input.record(recorder);
        }
    }

    /// Records some of its dispatches, by their index in [`Plan::labels`], to measure them.
    ///
    /// # Errors
    /// As [`Plan::record`].
    ///
    /// # Panics
    /// If the plan has fewer.
    pub fn record_part(
        &self,
        recorder: &mut Recorder<'_>,
        part: std::ops::Range<usize>,
    ) -> Result<(), Error> {
        self.check(recorder)?;
        let links = self.links();
        for (number, step) in part.clone().zip(&self.steps[part]) {
            let group = links.group(number).unwrap_or(&step.group);
            recorder.dispatch(&step.kernel, group, &[], step.grid);
        }
        Ok(())
    }

    fn check(&self, recorder: &Recorder<'_>) -> Result<(), Error> {
        if !recorder.gpu().is_same(&self.gpu) {
            return Err(Error::Mismatch("this recorder records for another device".into()));
        }
        if self.outgrown.load(Ordering::Relaxed) {
            let reason = "a group was added to the parameters after this plan was compiled: compile it again";
            return Err(Error::Mismatch(reason.into()));
        }
        let thawed = self.left_out.iter().find(|(index, _)| !self.frozen[*index].load(Ordering::Relaxed));
        if let Some((_, name)) = thawed {
            let reason = "it was frozen when this plan was compiled and is trained now: compile it again";
            return Err(Error::Mismatch(format!("{name}: {reason}")));
        }
        Ok(())
    }
}
