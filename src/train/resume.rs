//! A trainer's way into a checkpoint and back.

use super::Trainer;
use super::checkpoint::{Checkpoint, GateState, Tensor};
use crate::Error;
use crate::layout::Span;
use crate::optim::AnyRule;
use crate::params::GateValues;

impl<R: AnyRule + Clone> Trainer<R> {
    /// Waits for all steps and reads what the next ones need. Reports of steps that arrive are kept.
    ///
    /// # Errors
    /// [`Error::Config`] between the batches of one step; [`Error::DeviceLost`].
    pub fn read_checkpoint(&mut self) -> Result<Checkpoint, Error> {
        if self.taken > 0 {
            let (taken, of) = (self.taken, self.batches_a_step());
            let reason = format!("{taken} of the {of} batches of a step were taken: save after the last");
            return Err(Error::Config { what: "checkpoint".into(), reason });
        }
        self.arrive_all()?;
        let schedule = self.schedule.as_ref().and_then(|schedule| schedule.to_json());
        let optimizer = self.optimizer.read_state_dict()?;
        let mut checkpoint = Checkpoint::new(self.steps, self.seed, optimizer, schedule);
        if self.optimizer.transforms().may_skip() {
            let GateValues { loss_scale, growth_tracker, applied, skipped, skipped_in_a_row, .. } =
                self.params.gate().read(&self.gpu, 0)?;
            checkpoint.gate =
                Some(GateState { loss_scale, growth_tracker, applied, skipped, skipped_in_a_row });
        }
        let all = self.params.params().read_all(&self.gpu)?;
        for (span, frozen) in self.params.layout().spans().iter().zip(self.params.frozen()) {
            let values = all[span.first..span.first + span.len].to_vec();
            checkpoint.params.insert(span.name.clone(), Tensor { shape: span.shape.clone(), values });
            if *frozen {
                checkpoint.frozen.push(span.name.clone());
            }
        }
        Ok(checkpoint)
    }

    /// Goes on where a checkpoint was made: the steps that follow are the same, bit for bit, as those of the
    /// trainer that it was read from, if they are given the same data.
    ///
    /// # Errors
    /// [`Error::File`] with the checkpoint's file if it is of another model, optimizer or schedule; then
    /// nothing was changed. [`Error::DeviceLost`].
    pub fn load_checkpoint(&mut self, checkpoint: &Checkpoint) -> Result<(), Error> {
        self.check_model(checkpoint)?;
        let schedule = self.schedule.as_ref().and_then(|schedule| schedule.to_json());
        if schedule != checkpoint.schedule {
            let shown = |json: &Option<_>| json.as_ref().map_or("none".into(), serde_json::Value::to_string);
            let (theirs, ours) = (shown(&checkpoint.schedule), shown(&schedule));
            return Err(checkpoint.refuse(format!("its schedule is {theirs}, this trainer's is {ours}")));
        }
        if checkpoint.gate.is_some() != self.optimizer.transforms().may_skip() {
            let skips = |may_skip: bool| if may_skip { "may skip steps" } else { "skips no step" };
            let (theirs, ours) = (skips(checkpoint.gate.is_some()), skips(checkpoint.gate.is_none()));
            return Err(checkpoint.refuse(format!("its run {theirs}, this trainer {ours}")));
        }
        self.arrive_all()?;
        self.optimizer.load_state_dict(&checkpoint.optimizer).map_err(|error| match error {
            Error::StateDict(reason) => checkpoint.refuse(format!("optimizer: {reason}")),
            other => other,
        })?;
        let layout = self.params.layout().clone();
        let values = |span: &Span| checkpoint.params.get(&span.name).map(|tensor| &tensor.values[..]);
        self.params.params().write_all(&self.gpu, |index| values(&layout.spans()[index]))?;
        for span in layout.spans() {
            match checkpoint.frozen.contains(&span.name) {
                true => self.params.freeze(&span.name)?,
                false => self.params.thaw(&span.name)?,
            }
        }
        if let Some(GateState { loss_scale, growth_tracker, applied, skipped, skipped_in_a_row }) =
            checkpoint.gate
        {
            let counts =
                GateValues { growth_tracker, applied, skipped, skipped_in_a_row, ..GateValues::OPEN };
            self.params.gate().write(&self.gpu, GateValues { loss_scale, ..counts })?;
        }
        (self.steps, self.taken, self.seed) = (checkpoint.step, 0, checkpoint.seed);
        self.forget_reports();
        Ok(())
    }

    fn check_model(&self, checkpoint: &Checkpoint) -> Result<(), Error> {
        let spans = self.params.layout().spans();
        for span in spans {
            let name = &span.name;
            let Some(tensor) = checkpoint.params.get(name) else {
                return Err(checkpoint.refuse(format!("it is of another model: params.{name} is missing")));
            };
            if tensor.shape != span.shape || tensor.values.len() != span.len {
                let (got, expected) = (&tensor.shape, &span.shape);
                let reason = format!("params.{name} has the shape {got:?}, this model's has {expected:?}");
                return Err(checkpoint.refuse(reason));
            }
        }
        let foreign = |name: &&String| spans.iter().all(|span| span.name != **name);
        match checkpoint.params.keys().chain(&checkpoint.frozen).find(foreign) {
            None => Ok(()),
            Some(name) => {
                let reason = format!("it is of another model: this one has no parameter {name}");
                Err(checkpoint.refuse(reason))
            }
        }
    }
}
