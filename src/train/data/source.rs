use std::fmt;

use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::graph::InputData;

/// A place in a stream of batches: the batch that comes next. Both numbers count from 0.
///
/// Store it beside the model (it serializes as `{"epoch": 2, "batch": 17}`), and [`seek`](BatchSource::seek) to it to
/// resume a run in the middle of an epoch.
///
/// ```
/// use gradus::train::data::Position;
///
/// let at: Position = serde_json::from_str(r#"{"epoch": 2, "batch": 17}"#)?;
/// assert!(Position::start_of(2) < at && at < Position::start_of(3));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Position {
    /// The epoch.
    pub epoch: u64,
    /// The batch of that epoch; the number of its batches once all were given.
    pub batch: u64,
}

impl Position {
    /// The first batch of an epoch.
    #[must_use]
    pub fn start_of(epoch: u64) -> Self {
        Self { epoch, batch: 0 }
    }

    /// An [`Error::BatchSource`] about the batch at this position, for a source of one's own.
    ///
    /// ```
    /// use gradus::train::data::Position;
    ///
    /// let error = Position { epoch: 2, batch: 17 }.refuse("the connection was closed");
    /// assert_eq!(error.to_string(), "batch 17 of epoch 2: the connection was closed");
    /// ```
    #[must_use]
    pub fn refuse(self, reason: impl fmt::Display) -> Error {
        Error::BatchSource { epoch: self.epoch, batch: self.batch, reason: reason.to_string() }
    }

    /// The next batch of the same epoch.
    pub(super) fn next(self) -> Self {
        Self { epoch: self.epoch, batch: self.batch.saturating_add(1) }
    }

    /// The first batch of the next epoch.
    pub(super) fn next_epoch(self) -> Self {
        Self::start_of(self.epoch.saturating_add(1))
    }
}

/// A stream of batches, one epoch after the other, that can be resumed at any batch.
///
/// ```
/// use gradus::train::data::{Batch, BatchSource, DataLoader, Dataset, Position};
///
/// let data = Dataset::new(vec![0.0, 0.1, 0.2], &[1], vec![0, 1, 1], 2)?;
/// let mut source = DataLoader::new(&data, 2)?.shuffle(7);
/// let mut batch = Batch::default();
/// while source.position().epoch < 3 {
///     while source.next_batch(&mut batch)? {
///         // trainer.step(&[("x", &batch.x), ("y", &batch.y)])?;
///         assert!(batch.y.len() <= 2);
///     }
/// }
/// source.seek(Position { epoch: 1, batch: 1 })?;
/// assert!(source.next_batch(&mut batch)?);
/// assert_eq!(batch.y.len(), 1);
/// # Ok::<(), gradus::Error>(())
/// ```
///
/// What is already in memory implements it as [`DataLoader`](super::DataLoader) and, on the device, as
/// [`ResidentLoader`](super::ResidentLoader). A closure becomes a source through [`from_fn`](super::from_fn), iterators
/// through [`from_epochs`](super::from_epochs), and [`Prefetch`](super::Prefetch) moves any source to a thread.
pub trait BatchSource {
    /// A batch, whose memory is used again.
    type Batch: Default;

    /// Replaces `batch` with the next batch of the epoch. Returns false at the end of an epoch; the call after that
    /// gives the first batch of the next epoch. At the end of an epoch and after an error, the contents of `batch` are
    /// unspecified.
    ///
    /// # Errors
    /// Those of the source; [`Error::BatchSource`] if it fails by itself. The position then stays where it was.
    fn next_batch(&mut self, batch: &mut Self::Batch) -> Result<bool, Error>;

    /// The batch that [`next_batch`](Self::next_batch) gives next.
    fn position(&self) -> Position;

    /// Continues with the batch at `position`. The batches from there on are those of a run that never stopped.
    ///
    /// # Errors
    /// [`Error::Constant`] if the epoch has fewer batches; those of the source.
    fn seek(&mut self, position: Position) -> Result<(), Error>;

    /// The number of batches of each epoch, if it is known and the same for all.
    fn batches_per_epoch(&self) -> Option<u64> {
        None
    }
}

impl<S: BatchSource + ?Sized> BatchSource for &mut S {
    type Batch = S::Batch;

    fn next_batch(&mut self, batch: &mut S::Batch) -> Result<bool, Error> {
        (**self).next_batch(batch)
    }

    fn position(&self) -> Position {
        (**self).position()
    }

    fn seek(&mut self, position: Position) -> Result<(), Error> {
        (**self).seek(position)
    }

    fn batches_per_epoch(&self) -> Option<u64> {
        (**self).batches_per_epoch()
    }
}

impl<S: BatchSource + ?Sized> BatchSource for Box<S> {
    type Batch = S::Batch;

    fn next_batch(&mut self, batch: &mut S::Batch) -> Result<bool, Error> {
        (**self).next_batch(batch)
    }

    fn position(&self) -> Position {
        (**self).position()
    }

    fn seek(&mut self, position: Position) -> Result<(), Error> {
        (**self).seek(position)
    }

    fn batches_per_epoch(&self) -> Option<u64> {
        (**self).batches_per_epoch()
    }
}

/// The data of one step by the names of the graph's inputs.
///
/// [`Batch`](super::Batch) has the inputs `x` and `y`. Implement it for a batch with other inputs:
///
/// ```
/// use gradus::graph::InputData;
/// use gradus::train::data::Inputs;
///
/// #[derive(Default)]
/// struct Text {
///     tokens: Vec<u32>,
///     weights: Vec<f32>,
/// }
///
/// impl Inputs for Text {
///     fn inputs(&self) -> Vec<(&str, InputData<'_>)> {
///         vec![("tokens", self.tokens[..].into()), ("weights", self.weights[..].into())]
///     }
/// }
/// # assert_eq!(Text::default().inputs().len(), 2);
/// ```
pub trait Inputs {
    /// The name and the data of each input.
    fn inputs(&self) -> Vec<(&str, InputData<'_>)>;
}
