//! What a trainer computes without training.

use std::collections::hash_map::Entry;

use super::Trainer;
use super::trainer::{PlanKey, part_names, record_scalars, scalars};
use crate::Error;
use crate::gpu::Recorder;
use crate::graph::{HostData, Var};
use crate::optim::{AnyRule, look, look_async};
use crate::predict::{Inference, Request};

/// The loss and the metrics over a whole data set; see [`Trainer::evaluate`].
#[derive(Clone, Debug, PartialEq)]
pub struct Evaluation {
    /// Samples seen.
    pub samples: usize,
    /// The loss.
    pub loss: f64,
    /// The metrics in the order in which they were asked for.
    pub metrics: Vec<f64>,
}

impl<R: AnyRule + Clone> Trainer<R> {
    /// The loss and the metrics as if all samples of `data` were one batch, computed in batches of `batch` and a rest:
    /// up to rounding, the size of the batches makes no difference.
    ///
    /// A mean over samples is that over all samples, and a sum is their sum, not the mean of the batches' sums. A mean
    /// with weights, as of a cross-entropy with class weights or ignored labels, is the sum over all samples divided by
    /// the sum of all weights: a batch whose labels are all ignored adds nothing, and the result is NaN only where the
    /// weights of all samples are 0. What the graph computes of such scalars alone, as a sum of two losses or a relu of
    /// one, is computed of those over all samples, in f64. Of other scalars, as a [`gelu`](Var::gelu) of a loss, it is
    /// the mean of the batches' values, each weighted by its samples, and does depend on the batches.
    ///
    /// Nothing is trained. Waits for the results; step reports that arrive meanwhile are kept.
    ///
    /// # Errors
    /// As [`Trainer::step`]; [`Error::Constant`] for a batch of 0.
    pub fn evaluate(&mut self, data: &[(&str, &dyn HostData)], batch: usize) -> Result<Evaluation, Error> {
        self.gpu.clone().block_on(self.evaluate_async(data, batch))
    }

    /// As [`Trainer::evaluate`], without blocking but where plans are compiled as [`Trainer::step_async`] says. The future
    /// may be dropped.
    ///
    /// # Errors
    /// As [`Trainer::evaluate`].
    pub async fn evaluate_async(
        &mut self,
        data: &[(&str, &dyn HostData)],
        batch: usize,
    ) -> Result<Evaluation, Error> {
        if batch == 0 {
            return Err(Error::constant("batch", "at least 1", batch));
        }
        let samples = self.batch_of(data)?;
        self.any_plan().check_inputs(data, samples)?;
        // What can be refused is refused before anything is in flight.
        for size in [batch.min(samples), samples % batch] {
            if size > 0 {
                self.plan(PlanKey::evaluate(size))?;
            }
        }
        self.arrive_all().await?;
        let pass = RingPass(self);
        let sums = pass.0.sum_parts(data, batch, samples).await?;
        drop(pass);
        let mut over_all = self.whole.scalars(&sums, samples).into_iter();
        let loss = over_all.next().expect("the loss is the first scalar");
        Ok(Evaluation { samples, loss, metrics: over_all.collect() })
    }

    /// Calls `evaluate` with the parameters that the rule means to be evaluated with in place of those that steps work on, as
    /// [`Optimizer::with_eval_params`](crate::optim::Optimizer::with_eval_params) does: evaluations, predictions and
    /// exports inside are of the averages. Steps and checkpoints inside are refused; training goes
    /// on as if nobody had looked, bit for bit. Waits for the steps in flight.
    ///
    /// # Errors
    /// As [`Optimizer::with_eval_params`](crate::optim::Optimizer::with_eval_params).
    pub fn with_eval_params<T>(&mut self, evaluate: impl FnOnce(&mut Self) -> T) -> Result<T, Error> {
        self.gpu.clone().block_on(self.set_eval_params())?;
        look(
            self,
            |trainer| trainer.optimizer.restore_parameters(&trainer.params),
            |trainer| Ok(evaluate(trainer)),
        )
    }

    /// As [`Trainer::with_eval_params`], without blocking. The parameters are put back also where the future is dropped.
    ///
    /// # Errors
    /// As [`Trainer::with_eval_params`].
    pub async fn with_eval_params_async<T>(
        &mut self,
        evaluate: impl AsyncFnOnce(&mut Self) -> T,
    ) -> Result<T, Error> {
        self.set_eval_params().await?;
        let back = |trainer: &mut Self| trainer.optimizer.restore_parameters(&trainer.params);
        look_async(self, back, async |trainer| Ok(evaluate(trainer).await)).await
    }

    async fn set_eval_params(&mut self) -> Result<(), Error> {
        self.arrive_all().await?;
        self.optimizer.set_eval_params(&self.params).await
    }

    /// Sums the parts of the scalars over all batches.
    async fn sum_parts(
        &mut self,
        data: &[(&str, &dyn HostData)],
        batch: usize,
        samples: usize,
    ) -> Result<Vec<f64>, Error> {
        let parts = self.whole.parts().len();
        let mut sums = vec![0.0; parts];
        let mut first = 0;
        while first < samples {
            let size = batch.min(samples - first);
            let plan = &self.plans[&PlanKey::evaluate(size)];
            let mut encoder = self.gpu.encoder("evaluate");
            let mut recorder = Recorder::new(&self.gpu, &mut encoder);
            self.staging.begin(plan.staged_bytes(data)).await?;
            plan.stage(data, first, &mut self.staging)?;
            self.staging.record(&mut recorder);
            self.staging.end()?;
            plan.record(&mut recorder)?;
            let names = part_names().take(parts);
            record_scalars(&mut self.ring, &mut recorder, plan, names, size as u64)?;
            drop(recorder);
            self.gpu.submit(encoder)?;
            self.ring.submitted();
            self.staging.submitted();
            first += size;
            while self.ring.is_full() || (first == samples && self.ring.in_flight() > 0) {
                if let Some((size, bytes)) = self.ring.read_next_async(&self.gpu).await? {
                    self.whole.add(&mut sums, scalars(&bytes), size);
                }
            }
        }
        Ok(sums)
    }

    /// The value of `var`, which must have one row a sample, for all samples of `data`: dense, in torch's order.
    ///
    /// Only the inputs that `var` depends on are given: for logits no labels. It waits for each batch.
    ///
    /// # Errors
    /// As [`Trainer::evaluate`]; [`Error::Mismatch`] for a `var` of another graph; [`Error::Shape`] for one whose first
    /// dimension is not the batch, as of a parameter, or of a loss where the declared batch is 1.
    pub fn predict(
        &mut self,
        var: &Var,
        data: &[(&str, &dyn HostData)],
        batch: usize,
    ) -> Result<Vec<f32>, Error> {
        self.gpu.clone().block_on(self.predict_async(var, data, batch))
    }

    /// As [`Trainer::predict`], without blocking but where plans are compiled as [`Trainer::step_async`] says. The future
    /// may be dropped.
    ///
    /// # Errors
    /// As [`Trainer::predict`].
    pub async fn predict_async(
        &mut self,
        var: &Var,
        data: &[(&str, &dyn HostData)],
        batch: usize,
    ) -> Result<Vec<f32>, Error> {
        if batch == 0 {
            return Err(Error::constant("batch", "at least 1", batch));
        }
        self.graph.check_owner(&var.name(), var)?;
        let inference = match self.predictions.entry(var.id()) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => {
                new.insert(Inference::new(&self.graph, &[(PREDICTED, var)])?.autocast(self.autocast))
            }
        };
        let Self { params, workspace, staging, .. } = self;
        let request = Request { params, workspace, staging, data, batch };
        Ok(inference.run(request).await?.take(PREDICTED)?.values)
    }
}

/// A pass over data whose results come through the ring of steps. What is on its way when it ends would pass for results of
/// steps, so that is forgotten.
pub(super) struct RingPass<'a, R: AnyRule>(pub(super) &'a mut Trainer<R>);

impl<R: AnyRule> Drop for RingPass<'_, R> {
    fn drop(&mut self) {
        self.0.ring.discard();
    }
}

/// The name of a prediction in its plan.
const PREDICTED: &str = "predicted";
