//! The parameters in bf16, beside those in f32 that steps are made on.

use super::Optimizer;
use crate::Error;
use crate::optim::device::packed::Halves;
use crate::optim::rule::any::AnyRule;
use crate::params::{ParamStore, Weights};

impl<R: AnyRule + Clone> Optimizer<R> {
    /// Waits for the device and reads the parameters in bf16 that steps have written, of which
    /// [`Weights::write_bf16`] makes a file. They are those of the store, each as the nearest number of 16 bits, ties to even.
    ///
    /// Who writes parameters in another way than by steps, as by loading them, calls [`Optimizer::refresh_bf16_params`].
    ///
    /// # Errors
    /// [`Error::Config`] for an optimizer that was built without
    /// [`OptimizerOptions::bf16_params`](crate::optim::OptimizerOptions); [`Error::DeviceLost`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn read_bf16_weights(&self) -> Result<Weights, Error> {
        self.gpu.block_on(self.read_bf16_weights_async())
    }

    /// As [`Optimizer::read_bf16_weights`], without blocking.
    ///
    /// # Errors
    /// As [`Optimizer::read_bf16_weights`].
    pub async fn read_bf16_weights_async(&self) -> Result<Weights, Error> {
        let all = self.halves()?.read(&self.gpu).await?;
        let mut weights = Weights::new();
        for (name, tensor) in self.layout.names() {
            let span = &self.layout.spans()[tensor];
            weights.insert(name, span.shape.clone(), &all[span.first..span.first + span.len])?;
        }
        Ok(weights)
    }

    /// Waits for the device and makes the parameters in bf16 those of the store.
    ///
    /// # Errors
    /// As [`Optimizer::read_bf16_weights`]; [`Error::Mismatch`] for another store.
    pub fn refresh_bf16_params(&self, params: &ParamStore) -> Result<(), Error> {
        let halves = self.halves()?;
        self.check_store(params)?;
        self.write_halves(halves, params)
    }

    /// As [`Optimizer::refresh_bf16_params`], where they are kept.
    pub(crate) fn refresh_if_kept(&self, params: &ParamStore) -> Result<(), Error> {
        self.device.bf16_params.as_ref().map_or(Ok(()), |halves| self.write_halves(halves, params))
    }

    #[cfg(target_arch = "wasm32")]
    fn write_halves(&self, _: &Halves, _: &ParamStore) -> Result<(), Error> {
        let reason = "their first values are rounded on the host, for which a page cannot wait".into();
        Err(Error::Config { what: "parameters in bf16".into(), reason })
    }

    #[cfg(not(target_arch = "wasm32"))]
    fn write_halves(&self, halves: &Halves, params: &ParamStore) -> Result<(), Error> {
        let all = params.params().read_all(&self.gpu)?;
        let spans = self.layout.spans();
        halves.write_all(&self.gpu, |tensor| {
            let span = &spans[tensor];
            Some(&all[span.first..span.first + span.len])
        })
    }

    fn halves(&self) -> Result<&Halves, Error> {
        self.device.bf16_params.as_ref().ok_or_else(|| Error::Config {
            what: "parameters in bf16".into(),
            reason: "the optimizer was built without bf16_params".into(),
        })
    }
}
