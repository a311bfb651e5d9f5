use std::fmt;

use crate::error::Error;
use crate::graph::HostData;
use crate::train::data::{Batch, Batches, Dataset};

/// The inputs of one batch: names and data.
pub type BatchInputs<'a> = Vec<(&'a str, Box<dyn HostData + 'a>)>;

/// The batches of a run, epoch by epoch.
///
/// They must depend on nothing but the epoch and the number of the batch in it, so that a resumed run takes the same
/// batches. [`Dataset::epochs`] shuffles a data set; [`FnBatches`] calls a function.
///
/// ```
/// use gradus::Error;
/// use gradus::train::{BatchInputs, TrainData};
///
/// /// Numbers, each a batch of its own.
/// struct Numbers {
///     all: Vec<f32>,
///     next: usize,
/// }
///
/// impl TrainData for Numbers {
///     fn batches(&self) -> u64 {
///         self.all.len() as u64
///     }
///
///     fn start_epoch(&mut self, _epoch: u64, batch: u64) -> Result<(), Error> {
///         self.next = batch as usize;
///         Ok(())
///     }
///
///     fn next_batch(&mut self) -> Result<Option<BatchInputs<'_>>, Error> {
///         self.next += 1;
///         let number = self.all.get(self.next - 1);
///         Ok(number.map(|number| vec![("x", Box::new([*number]) as Box<_>)]))
///     }
/// }
/// ```
pub trait TrainData {
    /// Batches in an epoch, at least 1.
    fn batches(&self) -> u64;

    /// Goes to batch `batch`, from 0, of epoch `epoch`, from 0.
    ///
    /// # Errors
    /// Any ends the run.
    fn start_epoch(&mut self, epoch: u64, batch: u64) -> Result<(), Error>;

    /// The next batch, `None` after the last one of the epoch.
    ///
    /// # Errors
    /// Any ends the run.
    fn next_batch(&mut self) -> Result<Option<BatchInputs<'_>>, Error>;
}

/// A [`Dataset`] in batches, in another order in each epoch; see [`Dataset::epochs`].
#[derive(Clone, Debug)]
pub struct DatasetBatches<'a> {
    data: &'a Dataset,
    seed: u64,
    batch_size: usize,
    names: (String, String),
    rest: Option<Batches<'a>>,
    batch: Option<Batch>,
}

impl Dataset {
    /// Batches for [`Trainer::fit`](crate::train::Trainer::fit): of `batch_size` samples and the remainder, in the order of
    /// [`Dataset::shuffled`]. They are the inputs `x` and `y`, which [`DatasetBatches::inputs`] renames.
    ///
    /// # Errors
    /// [`Error::Constant`] if `batch_size` is 0.
    pub fn epochs(&self, seed: u64, batch_size: usize) -> Result<DatasetBatches<'_>, Error> {
        if batch_size == 0 {
            return Err(Error::constant("batch_size", "at least 1", batch_size));
        }
        let names = ("x".into(), "y".into());
        Ok(DatasetBatches { data: self, seed, batch_size, names, rest: None, batch: None })
    }
}

impl DatasetBatches<'_> {
    /// Names the inputs that take samples and labels.
    #[must_use]
    pub fn inputs(mut self, samples: impl Into<String>, labels: impl Into<String>) -> Self {
        self.names = (samples.into(), labels.into());
        self
    }
}

impl TrainData for DatasetBatches<'_> {
    fn batches(&self) -> u64 {
        self.data.len().div_ceil(self.batch_size) as u64
    }

    fn start_epoch(&mut self, epoch: u64, batch: u64) -> Result<(), Error> {
        let batches = self.data.shuffled(self.seed, epoch).batches(self.batch_size)?;
        self.rest = Some(batches.skip_to(usize::try_from(batch).unwrap_or(usize::MAX))?);
        Ok(())
    }

    fn next_batch(&mut self) -> Result<Option<BatchInputs<'_>>, Error> {
        self.batch = self.rest.as_mut().and_then(Iterator::next);
        let (x, y) = (&self.names.0[..], &self.names.1[..]);
        let Some(batch) = &self.batch else { return Ok(None) };
        Ok(Some(vec![(x, Box::new(&batch.x)), (y, Box::new(&batch.y))]))
    }
}

/// Batches that a function makes of the epoch and the number of the batch in it, both from 0.
///
/// ```
/// use gradus::train::{FnBatches, TrainData};
///
/// let mut batches = FnBatches::new(2, |epoch, batch| {
///     Ok(vec![("x", Box::new(vec![epoch as f32, batch as f32]) as Box<_>)])
/// });
/// batches.start_epoch(3, 1)?;
/// assert_eq!(batches.next_batch()?.map(|inputs| inputs.len()), Some(1));
/// assert!(batches.next_batch()?.is_none());
/// # Ok::<(), gradus::Error>(())
/// ```
pub struct FnBatches<F> {
    batches: u64,
    make: F,
    epoch: u64,
    next: u64,
}

impl<F> fmt::Debug for FnBatches<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { batches, epoch, next, .. } = self;
        f.debug_struct("FnBatches")
            .field("batches", batches)
            .field("epoch", epoch)
            .field("next", next)
            .finish_non_exhaustive()
    }
}

impl<F: FnMut(u64, u64) -> Result<BatchInputs<'static>, Error>> FnBatches<F> {
    /// `batches` in each epoch, made by `make`.
    pub fn new(batches: u64, make: F) -> Self {
        Self { batches, make, epoch: 0, next: batches }
    }
}

impl<F: FnMut(u64, u64) -> Result<BatchInputs<'static>, Error>> TrainData for FnBatches<F> {
    fn batches(&self) -> u64 {
        self.batches
    }

    fn start_epoch(&mut self, epoch: u64, batch: u64) -> Result<(), Error> {
        (self.epoch, self.next) = (epoch, batch);
        Ok(())
    }

    fn next_batch(&mut self) -> Result<Option<BatchInputs<'_>>, Error> {
        if self.next >= self.batches {
            return Ok(None);
        }
        self.next += 1;
        (self.make)(self.epoch, self.next - 1).map(Some)
    }
}
