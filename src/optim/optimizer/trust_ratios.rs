//! Trust ratios of layer-wise rules, for inspection.

use super::Optimizer;
use crate::Error;
use crate::optim::rule::any::AnyRule;

impl<R: AnyRule + Clone> Optimizer<R> {
    /// Waits for the device and reads the trust ratio of each tensor by name, in layout order: the factor with which
    /// the rule scaled the tensor's direction, such as `|p| / |u|` for [`Lamb`](crate::optim::Lamb).
    ///
    /// It is the ratio of the latest step that changed the tensor, and 1 before the first such step. State dicts do not
    /// hold it. Empty for rules that are not layer-wise.
    ///
    /// # Errors
    /// [`Error::DeviceLost`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn read_trust_ratios(&self) -> Result<Vec<(String, f32)>, Error> {
        self.gpu.block_on(self.read_trust_ratios_async())
    }

    /// As [`Optimizer::read_trust_ratios`], without blocking.
    ///
    /// # Errors
    /// As [`Optimizer::read_trust_ratios`].
    pub async fn read_trust_ratios_async(&self) -> Result<Vec<(String, f32)>, Error> {
        match &self.device.reduction_tiles {
            Some(tiles) => Ok(self.named(tiles.ratios.read_async(&self.gpu, 0, tiles.ratios.len()).await?)),
            None => Ok(Vec::new()),
        }
    }

    fn named(&self, ratios: Vec<f32>) -> Vec<(String, f32)> {
        self.layout.spans().iter().map(|span| span.name.clone()).zip(ratios).collect()
    }
}
