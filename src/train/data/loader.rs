use std::borrow::Borrow;
use std::fmt;

use super::{
    Batch, BatchSource, Dataset, Inputs, Position, Random, RandomSampler, ResidentDataset, Sampler,
    SequentialSampler, Target,
};
use crate::error::Error;
use crate::graph::InputData;

/// Changes one sample and its target, with random numbers of its own.
type Augment<Y> = Box<dyn Fn(&mut [f32], &mut [Y], &mut Random) + Send + Sync>;

/// The batches of a [`Dataset`] as a [`BatchSource`]: epoch after epoch, in the order of a [`Sampler`].
///
/// `D` is the data set, a reference to it, or an `Arc` of it, which a [`Prefetch`](super::Prefetch) can take to its
/// thread.
///
/// ```
/// use gradus::train::data::{Batch, BatchSource, DataLoader, Dataset};
///
/// let data = Dataset::new(vec![0.0, 1.0, 2.0, 3.0, 4.0], &[1], vec![0; 5], 1)?;
/// let mut loader = DataLoader::new(&data, 2)?.drop_last();
/// assert_eq!(loader.batches_per_epoch(), Some(2));
/// let mut batch = Batch::default();
/// loader.next_batch(&mut batch)?;
/// assert_eq!(batch.x, [0.0, 1.0]);
/// # Ok::<(), gradus::Error>(())
/// ```
pub struct DataLoader<D, Y: Target = u32> {
    data: D,
    walk: Walk,
    augment: Option<(u64, Augment<Y>)>,
}

impl<Y: Target, D: Borrow<Dataset<Y>>> DataLoader<D, Y> {
    /// All samples in stored order, `batch_size` at a time; the last batch of an epoch may be smaller.
    ///
    /// # Errors
    /// [`Error::Constant`] if `batch_size` is 0.
    pub fn new(data: D, batch_size: usize) -> Result<Self, Error> {
        let walk = Walk::new(data.borrow().len(), batch_size)?;
        Ok(Self { data, walk, augment: None })
    }

    /// Takes the samples in another random order in each epoch: with a [`RandomSampler`].
    #[must_use]
    pub fn shuffle(mut self, seed: u64) -> Self {
        self.walk.shuffle(seed);
        self
    }

    /// Takes the samples in the order of `sampler`.
    ///
    /// # Errors
    /// Those of the sampler; [`Error::Constant`] if it names a sample past the end; [`Error::Config`] if it names none.
    pub fn sampler(mut self, sampler: impl Sampler + 'static) -> Result<Self, Error> {
        self.walk.set_sampler(Box::new(sampler))?;
        Ok(self)
    }

    /// Leaves out the last batch of each epoch if it is smaller than the others. An epoch without a whole batch is an
    /// error when it is begun.
    #[must_use]
    pub fn drop_last(mut self) -> Self {
        self.walk.drop_last = true;
        self
    }

    /// Changes each sample as it is taken: `augment` is given its normalised numbers, its target (one label, or the
    /// numbers of its target), and random numbers that depend only on `seed`, the epoch and the place in the epoch, so
    /// that a resumed run makes the same changes.
    ///
    /// ```
    /// use gradus::train::data::{Batch, BatchSource, DataLoader, Dataset};
    ///
    /// let data = Dataset::new(vec![0.0, 1.0, 2.0, 3.0], &[2], vec![0, 1], 2)?;
    /// let mut loader = DataLoader::new(&data, 2)?.augment(7, |sample, _label, random| {
    ///     if random.uniform() < 0.5 {
    ///         sample.reverse();
    ///     }
    ///     sample.iter_mut().for_each(|x| *x += 0.01 * random.normal());
    /// });
    /// let mut batch = Batch::default();
    /// loader.next_batch(&mut batch)?;
    /// assert_eq!(batch.y, [0, 1]);
    /// # Ok::<(), gradus::Error>(())
    /// ```
    #[must_use]
    pub fn augment(
        mut self,
        seed: u64,
        augment: impl Fn(&mut [f32], &mut [Y], &mut Random) + Send + Sync + 'static,
    ) -> Self {
        self.augment = Some((seed, Box::new(augment)));
        self
    }
}

impl<Y: Target, D: Borrow<Dataset<Y>>> BatchSource for DataLoader<D, Y> {
    type Batch = Batch<Y>;

    fn next_batch(&mut self, batch: &mut Batch<Y>) -> Result<bool, Error> {
        let (epoch, first) = (self.walk.epoch, self.walk.next);
        let Some(indices) = self.walk.next_indices()? else { return Ok(false) };
        let data = self.data.borrow();
        data.gather_into(indices, batch);
        if let Some((seed, augment)) = &self.augment {
            let samples = batch.x.chunks_mut(data.sample_size());
            for (at, (x, y)) in samples.zip(batch.y.chunks_mut(data.target_size())).enumerate() {
                augment(x, y, &mut Random::of_sample(*seed, epoch, (first + at) as u64));
            }
        }
        Ok(true)
    }

    fn position(&self) -> Position {
        self.walk.position()
    }

    fn seek(&mut self, position: Position) -> Result<(), Error> {
        self.walk.seek(position)
    }

    fn batches_per_epoch(&self) -> Option<u64> {
        Some(self.walk.batches())
    }
}

impl<D, Y: Target> fmt::Debug for DataLoader<D, Y> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DataLoader").field("walk", &self.walk).finish_non_exhaustive()
    }
}

/// As [`DataLoader`], for a [`ResidentDataset`]: a step uploads the indices of its samples only.
///
/// ```no_run
/// // Needs a device.
/// use gradus::train::data::{BatchSource, Dataset, Inputs, ResidentBatch, ResidentLoader};
/// use gradus::{Gpu, GpuOptions};
///
/// let gpu = Gpu::new(GpuOptions::default())?;
/// let data = Dataset::new(vec![0.0; 100 * 8], &[8], vec![0; 100], 10)?.to_device(&gpu)?;
/// let mut loader = ResidentLoader::new(&data, 32)?.shuffle(7);
/// let mut batch = ResidentBatch::default();
/// while loader.next_batch(&mut batch)? {
///     assert_eq!(batch.inputs()[0].0, "x");
/// }
/// # Ok::<(), gradus::Error>(())
/// ```
#[derive(Debug)]
pub struct ResidentLoader<'a> {
    data: &'a ResidentDataset,
    walk: Walk,
}

impl<'a> ResidentLoader<'a> {
    /// As [`DataLoader::new`].
    ///
    /// # Errors
    /// As of [`DataLoader::new`].
    pub fn new(data: &'a ResidentDataset, batch_size: usize) -> Result<Self, Error> {
        Ok(Self { data, walk: Walk::new(data.x.len(), batch_size)? })
    }

    /// As [`DataLoader::shuffle`].
    #[must_use]
    pub fn shuffle(mut self, seed: u64) -> Self {
        self.walk.shuffle(seed);
        self
    }

    /// As [`DataLoader::sampler`].
    ///
    /// # Errors
    /// As of [`DataLoader::sampler`].
    pub fn sampler(mut self, sampler: impl Sampler + 'static) -> Result<Self, Error> {
        self.walk.set_sampler(Box::new(sampler))?;
        Ok(self)
    }

    /// As [`DataLoader::drop_last`].
    #[must_use]
    pub fn drop_last(mut self) -> Self {
        self.walk.drop_last = true;
        self
    }
}

impl<'a> BatchSource for ResidentLoader<'a> {
    type Batch = ResidentBatch<'a>;

    fn next_batch(&mut self, batch: &mut ResidentBatch<'a>) -> Result<bool, Error> {
        let Some(indices) = self.walk.next_indices()? else { return Ok(false) };
        batch.data = Some(self.data);
        batch.indices.clear();
        batch.indices.extend(indices);
        Ok(true)
    }

    fn position(&self) -> Position {
        self.walk.position()
    }

    fn seek(&mut self, position: Position) -> Result<(), Error> {
        self.walk.seek(position)
    }

    fn batches_per_epoch(&self) -> Option<u64> {
        Some(self.walk.batches())
    }
}

/// A batch of a [`ResidentLoader`]: the inputs `x` and `y`, as rows of a data set on the device.
///
/// ```no_run
/// // Needs a device.
/// use gradus::Error;
/// use gradus::graph::HostData;
/// use gradus::optim::SGD;
/// use gradus::train::Trainer;
/// use gradus::train::data::{Inputs, ResidentBatch};
///
/// fn step(trainer: &mut Trainer<SGD>, batch: &ResidentBatch<'_>) -> Result<(), Error> {
///     let inputs = batch.inputs();
///     let data: Vec<(&str, &dyn HostData)> = inputs.iter().map(|(name, data)| (*name, data as _)).collect();
///     trainer.step(&data)
/// }
/// ```
#[derive(Clone, Debug, Default)]
pub struct ResidentBatch<'a> {
    data: Option<&'a ResidentDataset>,
    indices: Vec<u32>,
}

impl ResidentBatch<'_> {
    /// The indices of its samples.
    #[must_use]
    pub fn indices(&self) -> &[u32] {
        &self.indices
    }
}

impl Inputs for ResidentBatch<'_> {
    fn inputs(&self) -> Vec<(&str, InputData<'_>)> {
        let Some(data) = self.data else { return Vec::new() };
        vec![("x", data.x.rows(&self.indices).into()), ("y", data.y.rows(&self.indices).into())]
    }
}

/// A position among batches of indices, epoch after epoch.
#[derive(Debug)]
struct Walk {
    samples: usize,
    batch_size: usize,
    drop_last: bool,
    sampler: Box<dyn Sampler>,
    epoch: u64,
    /// The order of the epoch. If the sampler refused the next one, that of the epoch before.
    order: Vec<u32>,
    /// The epoch of `order`.
    ordered: u64,
    /// Samples taken.
    next: usize,
}

impl Walk {
    fn new(samples: usize, batch_size: usize) -> Result<Self, Error> {
        if batch_size == 0 {
            return Err(Error::constant("batch_size", "at least 1", batch_size));
        }
        let mut walk = Self {
            samples,
            batch_size,
            drop_last: false,
            sampler: Box::new(SequentialSampler),
            epoch: 0,
            order: Vec::new(),
            ordered: 0,
            next: 0,
        };
        walk.order = walk.order_of(0)?;
        Ok(walk)
    }

    fn shuffle(&mut self, seed: u64) {
        // It has an order for any number of samples.
        let shuffled = self.set_sampler(Box::new(RandomSampler::new(seed)));
        debug_assert_eq!(shuffled, Ok(()));
    }

    fn set_sampler(&mut self, sampler: Box<dyn Sampler>) -> Result<(), Error> {
        let before = std::mem::replace(&mut self.sampler, sampler);
        match self.order_of(self.epoch) {
            Ok(order) => {
                (self.order, self.ordered) = (order, self.epoch);
                Ok(())
            }
            Err(error) => {
                self.sampler = before;
                Err(error)
            }
        }
    }

    fn order_of(&self, epoch: u64) -> Result<Vec<u32>, Error> {
        let order = self.sampler.indices(self.samples, epoch)?;
        if order.is_empty() {
            let reason = format!("names no sample in epoch {epoch}");
            return Err(Error::Config { what: "sampler".into(), reason });
        }
        match order.iter().position(|&index| index as usize >= self.samples) {
            None => Ok(order),
            Some(at) => {
                let name = format!("sample {at} of a sampler's epoch {epoch}");
                Err(Error::constant(name, format!("below {}", self.samples), order[at]))
            }
        }
    }

    /// The batches of the epoch whose order is known.
    fn batches(&self) -> u64 {
        let samples = self.order.len();
        let batches =
            if self.drop_last { samples / self.batch_size } else { samples.div_ceil(self.batch_size) };
        batches as u64
    }

    fn position(&self) -> Position {
        Position { epoch: self.epoch, batch: self.next.div_ceil(self.batch_size) as u64 }
    }

    fn seek(&mut self, position: Position) -> Result<(), Error> {
        let order = (position.epoch != self.ordered).then(|| self.order_of(position.epoch)).transpose()?;
        let before = order.map(|order| std::mem::replace(&mut self.order, order));
        let batches = self.batches();
        if position.batch > batches {
            self.order = before.unwrap_or(std::mem::take(&mut self.order));
            let name = format!("batch of epoch {}", position.epoch);
            return Err(Error::constant(name, format!("at most {batches}"), position.batch));
        }
        (self.epoch, self.ordered) = (position.epoch, position.epoch);
        let next = usize::try_from(position.batch).unwrap_or(usize::MAX).saturating_mul(self.batch_size);
        self.next = next.min(self.order.len());
        Ok(())
    }

    /// The indices of the next batch; `None` at the end of an epoch.
    fn next_indices(&mut self) -> Result<Option<&[u32]>, Error> {
        if self.ordered != self.epoch {
            (self.order, self.ordered) = (self.order_of(self.epoch)?, self.epoch);
        }
        let rest = self.order.len() - self.next;
        if rest == 0 || self.drop_last && rest < self.batch_size {
            if self.next == 0 {
                // A training loop over such epochs would never end.
                let reason =
                    format!("drop_last leaves nothing of {rest} samples in batches of {}", self.batch_size);
                return Err(self.position().refuse(reason));
            }
            (self.epoch, self.next) = (self.epoch.saturating_add(1), 0);
            return Ok(None);
        }
        let first = self.next;
        self.next += rest.min(self.batch_size);
        Ok(Some(&self.order[first..self.next]))
    }
}
