use super::{Dataset, Target, Values};
use crate::error::Error;
use crate::gpu::Gpu;
use crate::graph::Resident;

/// A [`Dataset`] on the device: steps use [`rows`](Resident::rows) of both tensors and upload no samples.
///
/// Samples of bytes take one byte per element on the device too. The numbers have the same bits as
/// [`Dataset::numbers`].
///
/// ```no_run
/// // Needs a device.
/// use gradus::train::data::Dataset;
/// use gradus::{Gpu, GpuOptions};
///
/// let data = Dataset::new(vec![0.0; 6 * 2], &[2], vec![0, 1, 0, 1, 0, 1], 2)?;
/// let resident = data.to_device(&Gpu::new(GpuOptions::default())?)?;
/// assert_eq!(resident.x.len(), 6);
/// # Ok::<(), gradus::Error>(())
/// ```
#[derive(Debug)]
pub struct ResidentDataset {
    /// The samples.
    pub x: Resident,
    /// Their labels or other targets.
    pub y: Resident,
}

impl<Y: Target> Dataset<Y> {
    /// Copies this data set to the device.
    ///
    /// # Errors
    /// [`Error::Limit`] if the device cannot bind it in one piece.
    pub fn to_device(&self, gpu: &Gpu) -> Result<ResidentDataset, Error> {
        let x = match (self.values(), self.table()) {
            (Values::U8(bytes), Some(table)) => Resident::bytes(gpu, bytes, self.shape(), table)?,
            _ => Resident::numbers(gpu, &self.numbers(), self.shape())?,
        };
        Ok(ResidentDataset { x, y: Y::resident(gpu, self.y(), self.target_shape())? })
    }
}
