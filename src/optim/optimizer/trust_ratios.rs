//! What rules that know their tensor have scaled its steps by, to look at.

use super::Optimizer;
use crate::Error;
use crate::optim::rule::any::AnyRule;

impl<R: AnyRule + Clone> Optimizer<R> {
    /// Waits for the device and reads by how much the rule has scaled each tensor's direction: its trust ratio, as
    /// `|p| / |u|` of [`Lamb`](crate::optim::Lamb), by the tensor's name in order of the layout.
    ///
    /// It is that of the latest step that has changed the tensor, and 1 before the first; a state dict does not hold
    /// it. Rules that know only their element have none: for them the answer is empty.
    ///
    /// # Errors
    /// [`Error::DeviceLost`].
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
