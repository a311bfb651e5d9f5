//! Reading a trainer's state into a checkpoint, and loading it.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::Trainer;
use super::checkpoint::{Checkpoint, GateState};
use crate::Error;
use crate::error::countable;
use crate::optim::AnyRule;
use crate::params::{GateValues, Tensor};

impl<R: AnyRule + Clone> Trainer<R> {
    /// Waits for all steps and reads everything that later steps depend on. Reports that arrive meanwhile are kept.
    ///
    /// # Errors
    /// [`Error::Config`] between the batches of one step; [`Error::StateDict`] for an option of the optimizer that is not
    /// finite; [`Error::DeviceLost`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn read_checkpoint(&mut self) -> Result<Checkpoint, Error> {
        self.gpu.clone().block_on(self.read_checkpoint_async())
    }

    /// As [`Trainer::read_checkpoint`], without blocking.
    ///
    /// # Errors
    /// As [`Trainer::read_checkpoint`].
    pub async fn read_checkpoint_async(&mut self) -> Result<Checkpoint, Error> {
        self.optimizer.check_no_eval_params("checkpoint")?;
        if self.taken > 0 {
            let (taken, of) = (self.taken, self.batches_a_step());
            let reason = format!("{taken} of the {of} batches of a step were taken: save after the last");
            return Err(Error::Config { what: "checkpoint".into(), reason });
        }
        self.arrive_all().await?;
        let schedule = self.schedule.as_ref().map(|schedule| schedule.identity());
        let optimizer = self.optimizer.read_state_dict_async().await?;
        let mut checkpoint = Checkpoint::new(self.steps, self.seed, optimizer, schedule);
        if self.optimizer.transforms().may_skip() {
            let GateValues { loss_scale, growth_tracker, applied, skipped, skipped_in_a_row, .. } =
                self.params.gate().read_async(&self.gpu, 0).await?;
            checkpoint.gate =
                Some(GateState { loss_scale, growth_tracker, applied, skipped, skipped_in_a_row });
        }
        checkpoint.schedule_state = self.schedule_state();
        checkpoint.transforms = Some(self.optimizer.transforms().identity());
        for (span, values) in self.params.read_tensors().await? {
            checkpoint.params.insert(span.name.clone(), Tensor { shape: span.shape.clone(), values });
        }
        let spans = self.params.layout().spans().iter().zip(self.params.frozen());
        checkpoint.frozen = spans.filter(|(_, frozen)| **frozen).map(|(span, _)| span.name.clone()).collect();
        Ok(checkpoint)
    }

    /// Waits for the steps in flight and loads a checkpoint. Given the same data, later steps are the same, bit for bit, as
    /// those of the trainer that the checkpoint was read from.
    ///
    /// The schedule must have the same [`identity`](crate::schedule::Schedule::identity), and so must the
    /// [gradient transforms](crate::grad::Transforms::identity). A closure is identified by its name; closures without a name
    /// count as equal. To resume under other transforms, set [`Checkpoint::transforms`] to `None` first. A checkpoint holds
    /// neither the steps per epoch nor the text of a custom rule: set these as before.
    ///
    /// # Errors
    /// [`Error::File`] with the checkpoint's file if it is of another model, optimizer or schedule, or of other transforms;
    /// then nothing was changed. [`Error::DeviceLost`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn load_checkpoint(&mut self, checkpoint: &Checkpoint) -> Result<(), Error> {
        self.gpu.clone().block_on(self.load_checkpoint_async(checkpoint))
    }

    /// As [`Trainer::load_checkpoint`], without blocking. If the future is dropped before it is ready, nothing was changed.
    ///
    /// # Errors
    /// As [`Trainer::load_checkpoint`].
    pub async fn load_checkpoint_async(&mut self, checkpoint: &Checkpoint) -> Result<(), Error> {
        self.optimizer.check_no_eval_params("checkpoint")?;
        countable("step", checkpoint.step).map_err(|error| checkpoint.refuse(error.to_string()))?;
        self.check_model(checkpoint)?;
        self.check_schedule(checkpoint)?;
        if checkpoint.gate.is_some() != self.optimizer.transforms().may_skip() {
            let skips = |may_skip: bool| if may_skip { "may skip steps" } else { "skips no step" };
            let (theirs, ours) = (skips(checkpoint.gate.is_some()), skips(checkpoint.gate.is_none()));
            return Err(checkpoint.refuse(format!("its run {theirs}, this trainer {ours}")));
        }
        self.check_transforms(checkpoint)?;
        self.arrive_all().await?;
        let before = self.schedule_state();
        self.load_schedule_state(checkpoint.schedule_state.as_ref()).map_err(|error| match error {
            Error::StateDict(reason) => checkpoint.refuse(format!("schedule: {reason}")),
            other => other,
        })?;
        if let Err(error) = self.optimizer.load_state_dict(&checkpoint.optimizer) {
            self.load_schedule_state(before.as_ref())?;
            return Err(match error {
                Error::StateDict(reason) => checkpoint.refuse(format!("optimizer: {reason}")),
                other => other,
            });
        }
        self.params.write_tensors(|name| checkpoint.params.get(name).map(|tensor| &tensor.values[..]))?;
        self.optimizer.refresh_if_kept(&self.params)?;
        for span in self.params.layout().clone().spans() {
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

    /// Refuses a checkpoint that names other transforms.
    fn check_transforms(&self, checkpoint: &Checkpoint) -> Result<(), Error> {
        let ours = self.optimizer.transforms().identity();
        match &checkpoint.transforms {
            Some(theirs) if *theirs != ours => {
                let shown = |json: &Value| if json == &json!([]) { "none".into() } else { json.to_string() };
                let (theirs, ours) = (shown(theirs), shown(&ours));
                Err(checkpoint.refuse(format!("its transforms are {theirs}, this trainer's are {ours}")))
            }
            _ => Ok(()),
        }
    }

    /// Refuses a checkpoint that names another schedule.
    fn check_schedule(&self, checkpoint: &Checkpoint) -> Result<(), Error> {
        let theirs = &checkpoint.schedule;
        let ours = self.schedule.as_ref().map(|schedule| schedule.identity());
        // Version 0.1 wrote null for no schedule, and for any without a JSON form.
        let either = || self.schedule.as_ref().is_none_or(|schedule| schedule.to_json().is_none());
        if *theirs == ours || (*theirs == Some(Value::Null) && either()) {
            return Ok(());
        }
        let shown = |json: &Option<Value>| match json {
            None => "none".into(),
            Some(Value::Null) => "none, or one without a JSON form".into(),
            Some(json) => json.to_string(),
        };
        let (theirs, ours) = (shown(theirs), shown(&ours));
        Err(checkpoint.refuse(format!("its schedule is {theirs}, this trainer's is {ours}")))
    }

    fn schedule_state(&self) -> Option<Value> {
        self.schedule.as_ref().and_then(|schedule| schedule.state())
    }

    fn load_schedule_state(&mut self, state: Option<&Value>) -> Result<(), Error> {
        match (state, &mut self.schedule) {
            (Some(state), Some(schedule)) => schedule.load_state(state),
            (Some(_), None) => Err(Error::StateDict("this trainer has none".into())),
            (None, Some(schedule)) if schedule.takes_metric() => {
                Err(Error::StateDict("the state of one that follows a metric is missing".into()))
            }
            (None, _) => Ok(()),
        }
    }

    /// Reads parameters and buffers, by name.
    pub(super) async fn read_params(&self) -> Result<BTreeMap<String, Vec<f32>>, Error> {
        let tensors = self.params.read_tensors().await?.into_iter();
        Ok(tensors.map(|(span, values)| (span.name.clone(), values)).collect())
    }

    /// The gradients of the last step by name, as the norm reports measure them: of parameters that are not frozen, after
    /// accumulation and unscaling.
    #[expect(clippy::cast_possible_truncation, reason = "rounds to the nearest f32")]
    pub(super) async fn read_gradients(&self) -> Result<BTreeMap<String, Vec<f32>>, Error> {
        let transforms = self.optimizer.transforms();
        let mut scale = transforms.scale();
        if let Some(scaler) = &transforms.grad_scaler {
            let gate = self.params.gate().read_async(&self.gpu, 0).await?;
            scale /= f64::from(gate.loss_scale);
            // The factor may have changed after the gradients were computed.
            if gate.growth_tracker == 0 && gate.applied > 0 && gate.skipped_in_a_row == 0 {
                scale *= scaler.growth_factor;
            }
        }
        let all = self.params.grads().read_all_async(&self.gpu).await?;
        let trained = self.params.layout().spans().iter().zip(self.params.frozen());
        let trained = trained.filter(|(_, frozen)| !**frozen);
        Ok(trained
            .map(|(span, _)| {
                let values = &all[span.first..span.first + span.len];
                // Scaling is exact in f64.
                let scaled = values.iter().map(|value| (f64::from(*value) * scale) as f32);
                (span.name.clone(), scaled.collect())
            })
            .collect())
    }

    /// Writes parameters and buffers by name, all or none.
    pub(super) fn write_params(&mut self, values: &BTreeMap<String, Vec<f32>>) -> Result<(), Error> {
        let names = self.params.tensors().map(|span| (&span.name, span.len));
        if !values.iter().map(|(name, values)| (name, values.len())).eq(BTreeMap::from_iter(names)) {
            return Err(Error::StateDict("the best parameters are those of another model".into()));
        }
        self.params.write_tensors(|name| values.get(name).map(|values| &values[..]))?;
        self.optimizer.refresh_if_kept(&self.params)
    }

    fn check_model(&self, checkpoint: &Checkpoint) -> Result<(), Error> {
        for span in self.params.tensors() {
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
        let known = |name: &str| self.params.find(name).is_ok_and(|(_, span)| span.name == name);
        let trained = |name: &str| known(name) && !self.params.is_buffer(name);
        let foreign = checkpoint.params.keys().find(|name| !known(name));
        match foreign.or_else(|| checkpoint.frozen.iter().find(|name| !trained(name))) {
            None => Ok(()),
            Some(name) => {
                let reason = format!("it is of another model: this one has no parameter {name}");
                Err(checkpoint.refuse(reason))
            }
        }
    }
}
