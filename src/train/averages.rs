//! Averages of the weights in a trainer, and batch-normalisation statistics for them.

use super::Trainer;
use super::evaluate::RingPass;
use super::trainer::record_scalars;
use crate::Error;
use crate::gpu::Recorder;
use crate::graph::{HostData, Plan, PlanOptions};
#[cfg(not(target_arch = "wasm32"))]
use crate::optim::look;
use crate::optim::{AnyRule, look_async};
use crate::params::Weights;

impl<R: AnyRule + Clone> Trainer<R> {
    /// Calls `read` with the averages in place of the weights, to evaluate, predict and read with them. Then restores
    /// the weights bit for bit, also if `read` fails or panics, so later steps are not affected. See
    /// [`Optimizer::with_averages`](crate::optim::Optimizer::with_averages).
    ///
    /// ```no_run
    /// // Needs a device.
    /// use gradus::graph::Graph;
    /// use gradus::optim::{AdamW, Ema};
    /// use gradus::{Error, Gpu, GpuOptions};
    ///
    /// let graph = Graph::new();
    /// let (x, y) = (graph.input("x", [32, 8]), graph.labels("y", 32));
    /// let loss = x.linear(64).relu().linear(10).cross_entropy(&y);
    /// let trainer = graph.trainer(&loss, AdamW::default()).averages(Ema::new(0.99));
    /// let mut trainer = trainer.build(&Gpu::new(GpuOptions::default())?)?;
    /// let (x, y) = (vec![0.5; 32 * 8], vec![3; 32]);
    /// trainer.step(&[("x", &x), ("y", &y)])?;
    /// let averaged = trainer.with_averages(|trainer| trainer.evaluate(&[("x", &x), ("y", &y)], 32))?;
    /// println!("{:.3}", averaged.loss);
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// Waits for all steps. Inside, steps, checkpoints and everything else that would take the averages for the weights
    /// are refused with [`Error::Config`].
    ///
    /// # Errors
    /// As [`Optimizer::with_averages`](crate::optim::Optimizer::with_averages).
    #[cfg(not(target_arch = "wasm32"))]
    pub fn with_averages<T, E: From<Error>>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, E>,
    ) -> Result<T, E> {
        self.gpu.clone().block_on(self.swap_in())?;
        look(self, |trainer| trainer.optimizer.swap_out(&trainer.params), read)
    }

    /// As [`Trainer::with_averages`], without blocking. The weights are also restored if the future is dropped.
    ///
    /// # Errors
    /// As [`Trainer::with_averages`].
    pub async fn with_averages_async<T, E: From<Error>>(
        &mut self,
        read: impl AsyncFnOnce(&mut Self) -> Result<T, E>,
    ) -> Result<T, E> {
        self.swap_in().await?;
        look_async(self, |trainer| trainer.optimizer.swap_out(&trainer.params), read).await
    }

    async fn swap_in(&mut self) -> Result<(), Error> {
        self.arrive_all().await?;
        self.optimizer.swap_in(&self.params).await
    }

    /// Waits for all steps and reads the averages by name: see
    /// [`Optimizer::read_averages`](crate::optim::Optimizer::read_averages).
    ///
    /// # Errors
    /// As [`Optimizer::read_averages`](crate::optim::Optimizer::read_averages).
    #[cfg(not(target_arch = "wasm32"))]
    pub fn read_averages(&mut self) -> Result<Weights, Error> {
        self.gpu.clone().block_on(self.read_averages_async())
    }

    /// As [`Trainer::read_averages`], without blocking.
    ///
    /// # Errors
    /// As [`Trainer::read_averages`].
    pub async fn read_averages_async(&mut self) -> Result<Weights, Error> {
        self.arrive_all().await?;
        self.optimizer.read_averages_async(&self.params).await
    }

    /// Recomputes the running statistics of batch normalisations as means over the batches of `data`, with the current
    /// weights. This is torch's `update_bn`, which averages of weights need: no step has seen their activations.
    ///
    /// Call it inside [`Trainer::with_averages`] to update the statistics for the averages; its effect is undone when
    /// the weights are restored, so evaluate and save the averaged model inside as well. Outside, it updates the
    /// statistics for the weights themselves. Layers that the loss does not depend on, and layers that are not to
    /// [train](crate::nn::BatchNorm::training), keep their statistics. It runs the forward pass of a training step over
    /// each batch of `batch` samples and over the remainder; all batches have equal weight. Waits for all of them.
    ///
    /// ```no_run
    /// // Needs a device.
    /// # use gradus::optim::{Ema, SGD};
    /// # use gradus::{Error, Gpu, GpuOptions, graph::Graph, nn::BatchNorm};
    /// # let graph = Graph::new();
    /// # let loss = graph.input("x", [32, 8]).batch_norm1d(BatchNorm::new()).linear(1).mean();
    /// # let trainer = graph.trainer(&loss, SGD::default()).averages(Ema::default());
    /// # let mut trainer = trainer.build(&Gpu::new(GpuOptions::default())?)?;
    /// # let x = vec![0.5; 64 * 8];
    /// let averaged = trainer.with_averages(|trainer| {
    ///     trainer.update_bn(&[("x", &x)], 32)?;
    ///     trainer.params().read_weights()
    /// })?;
    /// averaged.write("averaged.safetensors")?;
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// Those of the data, as for [`Trainer::evaluate`]; [`Error::Shape`] for a batch or remainder with only one value
    /// per channel, which has no variance; then nothing was changed. [`Error::DeviceLost`].
    ///
    /// Source: <https://docs.pytorch.org/docs/2.15/optim.html#torch.optim.swa_utils.update_bn>.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn update_bn(&mut self, data: &[(&str, &dyn HostData)], batch: usize) -> Result<(), Error> {
        self.gpu.clone().block_on(self.update_bn_async(data, batch))
    }

    /// As [`Trainer::update_bn`], without blocking except while plans are compiled, see [`Trainer::step_async`]. If the
    /// future is dropped, the statistics are those of the batches so far.
    ///
    /// # Errors
    /// As [`Trainer::update_bn`].
    pub async fn update_bn_async(
        &mut self,
        data: &[(&str, &dyn HostData)],
        batch: usize,
    ) -> Result<(), Error> {
        if batch == 0 {
            return Err(Error::constant("batch", "at least 1", batch));
        }
        let samples = self.batch_of(data)?;
        self.any_plan().check_inputs(data, samples)?;
        let loss = &self.scalars[0].1;
        let statistics = self.graph.running_statistics(loss);
        if statistics.is_empty() {
            return Ok(());
        }
        let mut plans = Vec::new();
        for size in [batch.min(samples), samples % batch] {
            if size > 0 && plans.iter().all(|(known, _)| *known != size) {
                let options = PlanOptions::statistics().output("loss", loss).batch(size);
                let options = PlanOptions { autocast: self.autocast, ..options };
                let plan = self.graph.compile_async(&self.params, &options, &mut self.workspace).await?;
                plans.push((size, plan));
            }
        }
        self.arrive_all().await?;
        for (name, values) in &statistics {
            self.params.write(name, values)?;
        }
        let pass = RingPass(self);
        pass.0.take_statistics(data, batch, samples, &plans).await
    }

    async fn take_statistics(
        &mut self,
        data: &[(&str, &dyn HostData)],
        batch: usize,
        samples: usize,
        plans: &[(usize, Plan)],
    ) -> Result<(), Error> {
        let mut first = 0;
        while first < samples {
            let size = batch.min(samples - first);
            let (_, plan) = plans.iter().find(|(of, _)| *of == size).expect("compiled for both sizes");
            let room = plan.staged_bytes(data);
            self.staging.begin(room).await?;
            plan.stage(data, first, &mut self.staging)?;
            plan.stage_step(self.seed, first as u64, &mut self.staging)?;
            let mut encoder = self.gpu.encoder("running statistics");
            let mut recorder = Recorder::new(&self.gpu, &mut encoder);
            self.staging.record(&mut recorder);
            self.staging.end()?;
            plan.record(&mut recorder)?;
            // Read once as many batches are in flight as steps may be.
            record_scalars(&mut self.ring, &mut recorder, plan, ["loss"].into_iter(), size as u64)?;
            drop(recorder);
            self.gpu.submit(encoder)?;
            self.ring.submitted();
            self.staging.submitted();
            first += size;
            while self.ring.is_full() || (first == samples && self.ring.in_flight() > 0) {
                self.ring.read_next_async(&self.gpu).await?;
            }
        }
        Ok(())
    }
}
