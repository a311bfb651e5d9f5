use std::fmt::Debug;

use crate::error::Error;
use crate::gpu::Gpu;
use crate::graph::{InputData, Resident};

/// The type of a [`Dataset`](super::Dataset)'s targets: `u32` for class labels, `f32` for numbers to predict. For no other
/// types.
///
/// ```
/// use gradus::train::data::{Dataset, Target};
///
/// fn half<Y: Target>(data: &Dataset<Y>) -> Result<Dataset<Y>, gradus::Error> {
///     data.subset(&(0..data.len() / 2).collect::<Vec<_>>())
/// }
/// assert_eq!(half(&Dataset::new(vec![0.0; 4], &[1], vec![0, 1, 0, 1], 2)?)?.y(), [0, 1]);
/// assert_eq!(half(&Dataset::regression(vec![0.0; 4], &[1], vec![0.5; 4], &[])?)?.y(), [0.5, 0.5]);
/// # Ok::<(), gradus::Error>(())
/// ```
pub trait Target: Copy + Debug + Default + PartialEq + Send + Sync + 'static {
    #[doc(hidden)]
    fn data(targets: &[Self]) -> InputData<'_>;
    #[doc(hidden)]
    fn resident(gpu: &Gpu, targets: &[Self], shape: &[usize]) -> Result<Resident, Error>;
}

impl Target for u32 {
    fn data(targets: &[Self]) -> InputData<'_> {
        InputData::Labels(targets)
    }

    fn resident(gpu: &Gpu, targets: &[Self], shape: &[usize]) -> Result<Resident, Error> {
        Resident::labels_of(gpu, targets, shape)
    }
}

impl Target for f32 {
    fn data(targets: &[Self]) -> InputData<'_> {
        InputData::F32(targets)
    }

    fn resident(gpu: &Gpu, targets: &[Self], shape: &[usize]) -> Result<Resident, Error> {
        Resident::numbers(gpu, targets, shape)
    }
}
