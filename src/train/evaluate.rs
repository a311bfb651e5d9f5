//! Evaluation and prediction with a trainer: computations that train nothing.

use std::collections::hash_map::Entry;

use super::Trainer;
use super::trainer::{PlanKey, part_names, record_scalars, scalars};
use crate::Error;
use crate::gpu::Recorder;
use crate::graph::{HostData, Var};
#[cfg(not(target_arch = "wasm32"))]
use crate::optim::look;
use crate::optim::{AnyRule, look_async};
use crate::predict::{Inference, Request};

/// The loss and the metrics over a whole data set; see [`Trainer::evaluate`].
///
/// ```
/// use gradus::train::Evaluation;
///
/// fn print(evaluation: &Evaluation) {
///     println!("loss {:.3} over {} samples, {:?}", evaluation.loss, evaluation.samples, evaluation.metrics);
/// }
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Evaluation {
    /// Samples seen.
    pub samples: usize,
    /// The loss.
    pub loss: f64,
    /// The metrics in the order in which they were requested.
    pub metrics: Vec<f64>,
}

impl<R: AnyRule + Clone> Trainer<R> {
    /// The loss and the metrics as if all samples of `data` were one batch, computed in batches of `batch` samples and
    /// a remainder. Up to rounding, the batch size makes no difference.
    ///
    /// A mean over samples becomes the mean over all samples, and a sum becomes their sum, not the mean of the batches'
    /// sums. A weighted mean, such as a cross-entropy with class weights or ignored labels, is the sum over all samples
    /// divided by the sum of all weights: a batch whose labels are all ignored adds nothing, and the result is NaN only
    /// if all weights are 0. Values that the graph computes only from such scalars, such as a sum of two losses or a
    /// relu of a loss, are computed from the scalars over all samples, in f64. Any other scalar, such as a
    /// [`gelu`](Var::gelu) of a loss, is the mean of the batches' values, weighted by their numbers of samples, and
    /// does depend on the batch size.
    ///
    /// Nothing is trained. Waits for the results; step reports that arrive meanwhile are kept.
    ///
    /// # Errors
    /// As [`Trainer::step`]; [`Error::Constant`] for a batch of 0.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn evaluate(&mut self, data: &[(&str, &dyn HostData)], batch: usize) -> Result<Evaluation, Error> {
        self.gpu.clone().block_on(self.evaluate_async(data, batch))
    }

    /// As [`Trainer::evaluate`], without blocking except while plans are compiled, see [`Trainer::step_async`]. The
    /// future may be dropped.
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
        // Reports all errors before anything is in flight.
        for size in [batch.min(samples), samples % batch] {
            if size > 0 {
                self.plan(PlanKey::evaluate(size)).await?;
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

    /// Calls `evaluate` with the evaluation parameters of the rule in place of the training parameters, as
    /// [`Optimizer::with_eval_params`](crate::optim::Optimizer::with_eval_params) does. Evaluations, predictions and
    /// exports inside use the averages. Steps and checkpoints inside are refused. Training continues unaffected, bit
    /// for bit. Waits for the steps in flight.
    ///
    /// # Errors
    /// As [`Optimizer::with_eval_params`](crate::optim::Optimizer::with_eval_params).
    #[cfg(not(target_arch = "wasm32"))]
    pub fn with_eval_params<T>(&mut self, evaluate: impl FnOnce(&mut Self) -> T) -> Result<T, Error> {
        self.gpu.clone().block_on(self.set_eval_params())?;
        look(
            self,
            |trainer| trainer.optimizer.restore_parameters(&trainer.params),
            |trainer| Ok(evaluate(trainer)),
        )
    }

    /// As [`Trainer::with_eval_params`], without blocking. The parameters are also restored if the future is dropped.
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

    /// The value of `var` for all samples of `data`: dense, in torch's order. `var` must have one row per sample.
    ///
    /// `data` needs only the inputs that `var` depends on: for logits, no labels. Waits for each batch.
    ///
    /// # Errors
    /// As [`Trainer::evaluate`]; [`Error::Mismatch`] for a `var` of another graph; [`Error::Shape`] if its first
    /// dimension is not the batch, as for a parameter, or for a loss if the declared batch is 1.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn predict(
        &mut self,
        var: &Var,
        data: &[(&str, &dyn HostData)],
        batch: usize,
    ) -> Result<Vec<f32>, Error> {
        self.gpu.clone().block_on(self.predict_async(var, data, batch))
    }

    /// As [`Trainer::predict`], without blocking except while plans are compiled, see [`Trainer::step_async`]. The
    /// future may be dropped.
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

/// A pass over data whose results arrive through the ring of step reports. Results still in flight at its end are
/// dropped, because they would be taken for results of steps.
pub(super) struct RingPass<'a, R: AnyRule>(pub(super) &'a mut Trainer<R>);

impl<R: AnyRule> Drop for RingPass<'_, R> {
    fn drop(&mut self) {
        self.0.ring.discard();
    }
}

/// Name of the prediction in its plan.
const PREDICTED: &str = "predicted";
