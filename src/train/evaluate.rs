//! What a trainer computes without training.

use super::Trainer;
use super::trainer::{PlanKey, record_scalars, scalars};
use crate::Error;
use crate::gpu::Recorder;
use crate::graph::{HostData, PlanOptions, Var};
use crate::optim::AnyRule;

/// Means over a whole data set.
#[derive(Clone, Debug, PartialEq)]
pub struct Evaluation {
    /// Samples seen; every one counts the same.
    pub samples: usize,
    /// Mean loss.
    pub loss: f64,
    /// Mean metrics in the order in which they were asked for.
    pub metrics: Vec<f64>,
}

impl<R: AnyRule + Clone> Trainer<R> {
    /// Means of the loss and the metrics over all samples of `data`, in batches of `batch` and a rest.
    ///
    /// Nothing is trained. Waits for the results; step reports that arrive meanwhile are kept.
    ///
    /// # Errors
    /// As [`Trainer::step`]; [`Error::Constant`] for a batch of 0.
    pub fn evaluate(&mut self, data: &[(&str, &dyn HostData)], batch: usize) -> Result<Evaluation, Error> {
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
        self.arrive_all()?;
        let mut sums = vec![0.0; self.scalars.len()];
        let mut first = 0;
        while first < samples {
            let size = batch.min(samples - first);
            let plan = &self.plans[&PlanKey::evaluate(size)];
            let mut encoder = self.gpu.encoder("evaluate");
            let mut recorder = Recorder::new(&self.gpu, &mut encoder);
            self.staging.turn();
            plan.stage(data, first, &mut self.staging, &mut recorder)?;
            plan.record(&mut recorder)?;
            record_scalars(&mut self.ring, &mut recorder, plan, &self.scalars, size as u64)?;
            drop(recorder);
            self.gpu.submit(encoder)?;
            self.ring.submitted();
            first += size;
            while self.ring.is_full() || (first == samples && self.ring.in_flight() > 0) {
                if let Some((size, bytes)) = self.ring.read_next(&self.gpu)? {
                    for (sum, value) in sums.iter_mut().zip(scalars(&bytes)) {
                        *sum += f64::from(value) * size as f64;
                    }
                }
            }
        }
        let mut means = sums.into_iter().map(|sum| sum / samples as f64);
        let loss = means.next().expect("the loss is the first scalar");
        Ok(Evaluation { samples, loss, metrics: means.collect() })
    }

    /// The value of `var`, which must have one row a sample, for all samples of `data`: dense, in torch's order.
    ///
    /// Only the inputs that `var` depends on are given: for logits no labels. It waits for each batch.
    ///
    /// # Errors
    /// As [`Trainer::evaluate`]; [`Error::Shape`] for a `var` whose first dimension is not the batch.
    pub fn predict(
        &mut self,
        var: &Var,
        data: &[(&str, &dyn HostData)],
        batch: usize,
    ) -> Result<Vec<f32>, Error> {
        if batch == 0 {
            return Err(Error::constant("batch", "at least 1", batch));
        }
        let declared = self.graph.batch().unwrap_or(1);
        if var.shape().first() != Some(&declared) {
            let expected = format!("a row for each of the {declared} samples");
            return Err(Error::Shape { layer: var.name(), expected, got: var.shape() });
        }
        self.prediction(var, declared)?;
        let plan = &self.predictions[&(var.id(), declared)];
        let samples = plan.samples(data)?;
        plan.check_inputs(data, samples)?;
        let mut values = Vec::new();
        for first in (0..samples).step_by(batch) {
            let size = batch.min(samples - first);
            self.prediction(var, size)?;
            let plan = &self.predictions[&(var.id(), size)];
            let mut encoder = self.gpu.encoder("predict");
            let mut recorder = Recorder::new(&self.gpu, &mut encoder);
            self.staging.turn();
            plan.stage(data, first, &mut self.staging, &mut recorder)?;
            plan.record(&mut recorder)?;
            drop(recorder);
            self.gpu.submit(encoder)?;
            values.extend(plan.read(PREDICTED)?);
        }
        Ok(values)
    }

    fn prediction(&mut self, var: &Var, batch: usize) -> Result<(), Error> {
        let key = (var.id(), batch);
        if !self.predictions.contains_key(&key) {
            let options = PlanOptions::evaluate().output(PREDICTED, var).batch(batch);
            let plan = self.graph.compile(&self.params, &options, &mut self.workspace)?;
            self.predictions.insert(key, plan);
        }
        Ok(())
    }
}

/// The name of a prediction in its plan.
const PREDICTED: &str = "predicted";
