use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;

use super::{Dataset, Inputs, Target};
use crate::error::Error;
use crate::graph::InputData;

/// A [`Dataset`] in the order of one epoch; see [`Dataset::shuffled`].
///
/// ```
/// use gradus::train::data::Dataset;
///
/// let data = Dataset::new(vec![0.0; 6 * 2], &[2], vec![0, 1, 0, 1, 0, 1], 2)?;
/// let mut order = data.shuffled(7, 0).order().to_vec(); // of seed and epoch alone
/// order.sort_unstable();
/// assert_eq!(order, [0, 1, 2, 3, 4, 5]);
/// # Ok::<(), gradus::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Shuffled<'a, Y: Target = u32> {
    data: &'a Dataset<Y>,
    order: Vec<u32>,
}

impl<'a, Y: Target> Shuffled<'a, Y> {
    pub(super) fn new(data: &'a Dataset<Y>, order: Vec<u32>) -> Self {
        Self { data, order }
    }

    /// The index of each sample in the dataset, in the order of the epoch.
    #[must_use]
    pub fn order(&self) -> &[u32] {
        &self.order
    }

    /// The samples in this order, `batch_size` at a time; the last batch may be smaller.
    ///
    /// # Errors
    /// [`Error::Constant`] if `batch_size` is 0.
    pub fn batches(self, batch_size: usize) -> Result<Batches<'a, Y>, Error> {
        Batches::new(self.data, self.order, batch_size)
    }
}

/// A batch: copies of some samples and their targets, which are labels (`Batch`, that is `Batch<u32>`) or numbers
/// (`Batch<f32>`).
///
/// As [`Inputs`], the samples are the input `x` and the targets the input `y`.
///
/// ```
/// use gradus::train::data::Dataset;
///
/// let data = Dataset::new(vec![0.0; 6 * 2], &[2], vec![0, 1, 0, 1, 0, 1], 2)?;
/// let batch = data.shuffled(7, 0).batches(3)?.next().expect("two batches");
/// assert_eq!((batch.x.len(), batch.y.len()), (6, 3));
/// # Ok::<(), gradus::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Batch<Y: Target = u32> {
    /// The samples, one after the other.
    pub x: Vec<f32>,
    /// Their targets.
    pub y: Vec<Y>,
}

impl<Y: Target> Inputs for Batch<Y> {
    fn inputs(&self) -> Vec<(&str, InputData<'_>)> {
        vec![("x", InputData::F32(&self.x)), ("y", Y::data(&self.y))]
    }
}

/// The batches of one epoch: every sample once.
///
/// ```
/// use gradus::train::data::Dataset;
///
/// let data = Dataset::new(vec![0.0; 7 * 2], &[2], vec![0; 7], 2)?;
/// assert_eq!(data.shuffled(7, 0).batches(3)?.count(), 3); // the last one is smaller
/// # Ok::<(), gradus::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Batches<'a, Y: Target = u32> {
    data: &'a Dataset<Y>,
    order: Vec<u32>,
    batch_size: usize,
    next: usize,
}

impl<'a, Y: Target> Batches<'a, Y> {
    pub(super) fn new(data: &'a Dataset<Y>, order: Vec<u32>, batch_size: usize) -> Result<Self, Error> {
        if batch_size == 0 {
            return Err(Error::constant("batch_size", "at least 1", batch_size));
        }
        Ok(Self { data, order, batch_size, next: 0 })
    }

    /// Continues with batch `batch` of the epoch, counted from 0, to resume an interrupted run. Skipped batches cost
    /// nothing.
    ///
    /// # Errors
    /// [`Error::Constant`] if `batch` is above the number of batches.
    pub fn skip_to(mut self, batch: usize) -> Result<Self, Error> {
        let batches = self.order.len().div_ceil(self.batch_size);
        if batch > batches {
            return Err(Error::constant("batch", format!("at most {batches}"), batch));
        }
        self.next = batch.saturating_mul(self.batch_size).min(self.order.len());
        Ok(self)
    }

    /// The indices of the samples of each remaining batch, for samples that are gathered elsewhere.
    pub fn indices(&self) -> std::slice::Chunks<'_, u32> {
        self.order[self.next..].chunks(self.batch_size)
    }
}

impl<Y: Target> Iterator for Batches<'_, Y> {
    type Item = Batch<Y>;

    fn next(&mut self) -> Option<Batch<Y>> {
        let rest = &self.order[self.next..];
        let taken = rest.len().min(self.batch_size);
        self.next += taken;
        (taken > 0).then(|| {
            let mut batch = Batch::default();
            self.data.gather_into(&rest[..taken], &mut batch);
            batch
        })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = (self.order.len() - self.next).div_ceil(self.batch_size);
        (left, Some(left))
    }
}

impl<Y: Target> ExactSizeIterator for Batches<'_, Y> {}

/// Fisher-Yates shuffle with a separate generator for each pair of `seed` and `stream`.
pub(super) fn shuffle<T>(items: &mut [T], seed: u64, stream: u64) {
    let mut random = generator(seed, stream);
    for last in (1..items.len()).rev() {
        items.swap(last, random.random_range(0..=last));
    }
}

/// A generator for each pair of `seed` and `stream`.
pub(super) fn generator(seed: u64, stream: u64) -> Pcg64 {
    let origin = Pcg64::seed_from_u64(seed).random::<u64>();
    Pcg64::seed_from_u64(origin.wrapping_add(stream))
}
