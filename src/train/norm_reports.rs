//! Norms of gradients, parameters and updates of a trainer's steps.

use super::Trainer;
use super::trainer::IN_FLIGHT;
use crate::Error;
use crate::optim::{AnyRule, NORM_REPORTS_IN_FLIGHT as SLOTS, NormReport};

impl<R: AnyRule + Clone> Trainer<R> {
    /// Reports the norms of gradients, parameters and updates of the steps 0, `every`, 2 `every` and so on; 0 turns
    /// reports off. See [`Optimizer::report_norms`](crate::optim::Optimizer::report_norms) for the cost.
    ///
    /// ```no_run
    /// // Needs a device.
    /// use gradus::graph::Graph;
    /// use gradus::optim::AdamW;
    /// use gradus::{Gpu, GpuOptions};
    ///
    /// let graph = Graph::new();
    /// let (x, y) = (graph.input("x", [32, 8]), graph.labels("y", 32));
    /// let loss = x.linear(64).relu().linear(10).cross_entropy(&y);
    /// let mut trainer = graph.trainer(&loss, AdamW::default()).build(&Gpu::new(GpuOptions::default())?)?;
    /// trainer.report_norms(100)?;
    /// for _ in 0..1000 {
    ///     trainer.step(&[("x", &vec![0.5; 32 * 8]), ("y", &vec![3; 32])])?;
    ///     while let Some(report) = trainer.poll_norm_report()? {
    ///         for tensor in &report.tensors {
    ///             println!("{}: {:.1e} of {}", report.step, tensor.norms.update_ratio(), tensor.name);
    ///         }
    ///     }
    /// }
    /// # Ok::<(), gradus::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Optimizer::report_norms`](crate::optim::Optimizer::report_norms).
    pub fn report_norms(&mut self, every: u64) -> Result<(), Error> {
        self.submit()?;
        self.optimizer.report_norms(every, &self.params)
    }

    /// The oldest norm report that has arrived and was not returned yet, without waiting.
    ///
    /// # Errors
    /// [`Error::DeviceLost`].
    pub fn poll_norm_report(&mut self) -> Result<Option<NormReport>, Error> {
        self.gpu.poll(wgpu::PollType::Poll)?;
        self.settle()?;
        self.optimizer.poll_norm_report()
    }

    /// Waits for the norm reports of all steps so far and returns them.
    ///
    /// # Errors
    /// [`Error::DeviceLost`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn read_norm_reports(&mut self) -> Result<Vec<NormReport>, Error> {
        self.gpu.clone().block_on(self.read_norm_reports_async())
    }

    /// As [`Trainer::read_norm_reports`], without blocking.
    ///
    /// # Errors
    /// As [`Trainer::read_norm_reports`].
    pub async fn read_norm_reports_async(&mut self) -> Result<Vec<NormReport>, Error> {
        self.submit()?;
        self.optimizer.read_norm_reports_async().await
    }

    /// Steps whose reports may be in flight.
    pub(super) fn in_flight(&self) -> u64 {
        (IN_FLIGHT * self.group.most) as u64
    }

    /// Refuses intervals at which more norm reports could be in flight than there are slots, because which of them is
    /// dropped would depend on the speed of the device.
    pub(super) fn check_norms_every(&self, every: u64) -> Result<(), Error> {
        let least = self.in_flight().div_ceil(SLOTS as u64 - 1);
        if (1..least).contains(&every) {
            return Err(Error::constant("steps between norms", format!("0 or at least {least}"), every));
        }
        Ok(())
    }
}
