use std::fmt::Debug;

use super::batches::shuffle;
use crate::error::Error;

/// The order in which a loader takes the samples of an epoch; see [`DataLoader::sampler`](super::DataLoader::sampler).
///
/// The order is a pure function of the epoch, so that a resumed run has the same one.
///
/// ```
/// use gradus::Error;
/// use gradus::train::data::Sampler;
///
/// /// Every second sample, the odd ones in odd epochs.
/// #[derive(Debug)]
/// struct EverySecond;
///
/// impl Sampler for EverySecond {
///     fn indices(&self, samples: usize, epoch: u64) -> Result<Vec<u32>, Error> {
///         Ok((0..).take(samples).skip(usize::from(epoch % 2 == 1)).step_by(2).collect())
///     }
/// }
/// assert_eq!(EverySecond.indices(5, 1)?, [1, 3]);
/// # Ok::<(), gradus::Error>(())
/// ```
pub trait Sampler: Debug + Send + Sync {
    /// The indices of the samples of an epoch, in order, of a data set with `samples` samples. Indices may repeat.
    ///
    /// # Errors
    /// If the sampler does not fit this number of samples.
    fn indices(&self, samples: usize, epoch: u64) -> Result<Vec<u32>, Error>;
}

/// All samples in stored order, in each epoch.
///
/// ```
/// use gradus::train::data::{Sampler, SequentialSampler};
///
/// assert_eq!(SequentialSampler.indices(3, 7)?, [0, 1, 2]);
/// # Ok::<(), gradus::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct SequentialSampler;

impl Sampler for SequentialSampler {
    fn indices(&self, samples: usize, _: u64) -> Result<Vec<u32>, Error> {
        Ok((0..).take(samples).collect())
    }
}

/// All samples, in another random order in each epoch: that of [`Dataset::shuffled`](super::Dataset::shuffled).
///
/// ```
/// use gradus::train::data::{Dataset, RandomSampler, Sampler};
///
/// let data = Dataset::new(vec![0.0; 8], &[1], vec![0; 8], 1)?;
/// assert_eq!(RandomSampler::new(1).indices(8, 5)?, data.shuffled(1, 5).order());
/// # Ok::<(), gradus::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct RandomSampler {
    seed: u64,
}

impl RandomSampler {
    /// The orders that belong to `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { seed }
    }
}

impl Sampler for RandomSampler {
    fn indices(&self, samples: usize, epoch: u64) -> Result<Vec<u32>, Error> {
        let mut order = SequentialSampler.indices(samples, epoch)?;
        shuffle(&mut order, self.seed, epoch);
        Ok(order)
    }
}

/// Some samples, in another random order in each epoch: a fold of a cross-validation, without a copy of its samples.
///
/// ```
/// use gradus::train::data::{Sampler, SubsetRandomSampler};
///
/// let mut order = SubsetRandomSampler::new(vec![3, 5, 9], 7).indices(10, 0)?;
/// order.sort();
/// assert_eq!(order, [3, 5, 9]);
/// # Ok::<(), gradus::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct SubsetRandomSampler {
    indices: Vec<usize>,
    seed: u64,
}

impl SubsetRandomSampler {
    /// The samples with these indices, in the orders that belong to `seed`.
    #[must_use]
    pub fn new(indices: Vec<usize>, seed: u64) -> Self {
        Self { indices, seed }
    }
}

impl Sampler for SubsetRandomSampler {
    fn indices(&self, samples: usize, epoch: u64) -> Result<Vec<u32>, Error> {
        let place = |&index: &usize| match u32::try_from(index) {
            Ok(place) if index < samples => Ok(place),
            _ => Err(Error::constant("sample index", format!("below {samples}"), index)),
        };
        let mut order = self.indices.iter().map(place).collect::<Result<Vec<_>, Error>>()?;
        shuffle(&mut order, self.seed, epoch);
        Ok(order)
    }
}
