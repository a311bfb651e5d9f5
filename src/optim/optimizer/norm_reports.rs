//! Norms of gradients, parameters and updates, reported on request.

use super::Optimizer;
use crate::Error;
use crate::optim::norms::in_flight::NormReports;
use crate::optim::norms::report::NormReport;
use crate::optim::rule::any::AnyRule;
use crate::params::ParamStore;

impl<R: AnyRule + Clone> Optimizer<R> {
    /// Reports the norms of gradients, parameters and updates, of each tensor and in total, for the steps 0, `every`, 2
    /// `every` and so on, as [`Optimizer::attempted`] counts them. With 0, stops reporting and drops unread reports.
    /// Works with any rule and transforms; the results of steps do not change by a bit.
    ///
    /// Steps that are not reported cost nothing. A reported step also copies the parameters, and reads the parameters,
    /// the copy and the gradients in one dispatch for each window. The copy takes as many bytes as the parameters;
    /// other buffers take nine times 36 bytes for each 16,384 elements of a tensor, rounded up. Nothing waits: reports
    /// arrive some steps later, as step results do. A step that is recorded while eight reports are in flight is not
    /// reported.
    ///
    /// ```no_run
    /// // Needs a device.
    /// use gradus::optim::{AdamW, Rule};
    /// use gradus::{Gpu, GpuOptions, ParamStore};
    ///
    /// let gpu = Gpu::new(GpuOptions::default())?;
    /// let mut params = ParamStore::builder().tensor("w", [2], &[3.0, 4.0]).build(&gpu)?;
    /// let mut optimizer = AdamW::default().build(&params)?;
    /// optimizer.report_norms(100, &params)?;
    /// params.write_grads(&[0.6, 0.8])?;
    /// optimizer.step(&mut params)?;
    /// for report in optimizer.read_norm_reports()? {
    ///     assert_eq!((report.step, report.total.parameter), (0, 5.0));
    ///     println!("updates over parameters: {:.1e}", report.total.update_ratio());
    /// }
    /// # Ok::<(), gradus::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Mismatch`] for another store; [`Error::Limit`] and [`Error::Buffer`] if the device is out of memory;
    /// [`Error::Kernel`]; [`Error::DeviceLost`]. Then nothing was changed.
    pub fn report_norms(&mut self, every: u64, params: &ParamStore) -> Result<(), Error> {
        self.check_store(params)?;
        self.poll()?;
        match (&mut self.steps.norms, every) {
            (norms, 0) => *norms = None,
            (Some(norms), _) => norms.every = every,
            (norms, _) => *norms = Some(NormReports::new(every, params)?),
        }
        Ok(())
    }

    /// The oldest norm report that has arrived and was not returned yet, without waiting. Only the latest 4,096 unread
    /// reports are kept.
    ///
    /// # Errors
    /// [`Error::DeviceLost`].
    pub fn poll_norm_report(&mut self) -> Result<Option<NormReport>, Error> {
        self.poll()?;
        Ok(self.steps.norms.as_mut().and_then(NormReports::give))
    }

    /// Waits for the norm reports of all submitted steps and returns them.
    ///
    /// # Errors
    /// [`Error::DeviceLost`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn read_norm_reports(&mut self) -> Result<Vec<NormReport>, Error> {
        self.gpu.clone().block_on(self.read_norm_reports_async())
    }

    /// As [`Optimizer::read_norm_reports`], without blocking. If the future is dropped, no report is lost.
    ///
    /// # Errors
    /// As [`Optimizer::read_norm_reports`].
    pub async fn read_norm_reports_async(&mut self) -> Result<Vec<NormReport>, Error> {
        self.steps.abandon_dropped(&mut self.device)?;
        let Some(norms) = &mut self.steps.norms else { return Ok(Vec::new()) };
        norms.read_all(&self.gpu).await?;
        Ok(norms.give_all())
    }
}
