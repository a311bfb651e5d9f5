use std::fmt;
use std::marker::PhantomData;

use super::{BatchSource, Position};
use crate::error::Error;

/// A source that makes each batch from its position: for data that are computed, or that are read by number.
///
/// `fill` replaces the batch and returns true, or returns false if the epoch has no such batch. It must depend only on
/// the position, so that a resumed run sees the same batches. An epoch must have a batch.
///
/// ```
/// use gradus::train::data::{Batch, BatchSource, from_fn};
///
/// // Four batches an epoch, of numbers and their squares.
/// let mut source = from_fn(|position, batch: &mut Batch<f32>| {
///     let first = (position.epoch * 4 + position.batch) as f32;
///     batch.x = vec![first, first + 0.5];
///     batch.y = batch.x.iter().map(|x| x * x).collect();
///     Ok(position.batch < 4)
/// });
/// let mut batch = Batch::default();
/// while source.next_batch(&mut batch)? {}
/// assert_eq!(source.position().epoch, 1);
/// # Ok::<(), gradus::Error>(())
/// ```
pub fn from_fn<B, F>(fill: F) -> FnSource<B, F>
where
    B: Default,
    F: FnMut(Position, &mut B) -> Result<bool, Error>,
{
    FnSource { fill, position: Position::default(), makes: PhantomData }
}

/// A closure as a source; see [`from_fn`].
///
/// ```
/// use gradus::train::data::{Batch, BatchSource, FnSource, Position, from_fn};
///
/// fn resumed<F>(mut source: FnSource<Batch, F>, at: Position) -> Result<Batch, gradus::Error>
/// where
///     F: FnMut(Position, &mut Batch) -> Result<bool, gradus::Error>,
/// {
///     let mut batch = Batch::default();
///     source.seek(at)?;
///     source.next_batch(&mut batch)?;
///     Ok(batch)
/// }
/// let source = from_fn(|position, batch: &mut Batch| {
///     batch.x = vec![position.batch as f32];
///     Ok(position.batch < 5)
/// });
/// assert_eq!(resumed(source, Position { epoch: 0, batch: 3 })?.x, [3.0]);
/// # Ok::<(), gradus::Error>(())
/// ```
pub struct FnSource<B, F> {
    fill: F,
    position: Position,
    makes: PhantomData<fn() -> B>,
}

impl<B, F> BatchSource for FnSource<B, F>
where
    B: Default,
    F: FnMut(Position, &mut B) -> Result<bool, Error>,
{
    type Batch = B;

    fn next_batch(&mut self, batch: &mut B) -> Result<bool, Error> {
        let more = (self.fill)(self.position, batch)?;
        self.position = after(self.position, more)?;
        Ok(more)
    }

    fn position(&self) -> Position {
        self.position
    }

    fn seek(&mut self, position: Position) -> Result<(), Error> {
        self.position = position;
        Ok(())
    }
}

impl<B, F> fmt::Debug for FnSource<B, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FnSource").field("position", &self.position).finish_non_exhaustive()
    }
}

/// The position after a batch, or after the end of an epoch. Refuses an epoch without batches, over which a training
/// loop would never end.
fn after(position: Position, more: bool) -> Result<Position, Error> {
    match more {
        true => Ok(position.next()),
        false if position.batch == 0 => Err(position.refuse("the source has no batches in this epoch")),
        false => Ok(position.next_epoch()),
    }
}

/// A source whose epochs are iterators: for data that are read from front to back.
///
/// `open` starts an epoch. The batches of an epoch must depend only on its number, so that a resumed run sees the same
/// ones: [`seek`](BatchSource::seek) draws those before the position and drops them. An epoch must have a batch.
///
/// ```
/// use gradus::train::data::{Batch, BatchSource, from_epochs};
///
/// let lines = "0.5 1\n0.7 0\n";
/// let mut source = from_epochs(|_epoch| {
///     Ok(lines.lines().enumerate().map(|(number, line)| {
///         let refuse = || gradus::Error::File { path: "lines".into(), reason: format!("line {}", number + 1) };
///         let (x, y) = line.split_once(' ').ok_or_else(refuse)?;
///         let (x, y) = (x.parse().map_err(|_| refuse())?, y.parse().map_err(|_| refuse())?);
///         Ok(Batch { x: vec![x], y: vec![y] })
///     }))
/// });
/// let mut batch = Batch::<u32>::default();
/// assert!(source.next_batch(&mut batch)?);
/// assert_eq!(batch, Batch { x: vec![0.5], y: vec![1] });
/// # Ok::<(), gradus::Error>(())
/// ```
pub fn from_epochs<B, I, F>(open: F) -> EpochSource<I, F>
where
    B: Default,
    I: Iterator<Item = Result<B, Error>>,
    F: FnMut(u64) -> Result<I, Error>,
{
    EpochSource { open, current: None, position: Position::default() }
}

/// Iterators as a source; see [`from_epochs`].
///
/// ```
/// use gradus::train::data::{Batch, BatchSource, EpochSource, Position, from_epochs};
///
/// let batches = |_| Ok((0..4_u8).map(|x| Ok(Batch { x: vec![x.into()], y: vec![0_u32] })));
/// let mut source: EpochSource<_, _> = from_epochs(batches);
/// source.seek(Position { epoch: 1, batch: 2 })?;
/// let mut batch = Batch::default();
/// source.next_batch(&mut batch)?;
/// assert_eq!(batch.x, [2.0]);
/// # Ok::<(), gradus::Error>(())
/// ```
pub struct EpochSource<I, F> {
    open: F,
    /// The rest of the epoch; `None` if it must be opened.
    current: Option<I>,
    position: Position,
}

impl<B, I, F> EpochSource<I, F>
where
    B: Default,
    I: Iterator<Item = Result<B, Error>>,
    F: FnMut(u64) -> Result<I, Error>,
{
    /// The batches of an epoch from `position` on.
    fn open_at(&mut self, position: Position) -> Result<I, Error> {
        let mut batches = (self.open)(position.epoch)?;
        for batch in 0..position.batch {
            if batches.next().transpose()?.is_none() {
                let name = format!("batch of epoch {}", position.epoch);
                return Err(Error::constant(name, format!("at most {batch}"), position.batch));
            }
        }
        Ok(batches)
    }
}

impl<B, I, F> BatchSource for EpochSource<I, F>
where
    B: Default,
    I: Iterator<Item = Result<B, Error>>,
    F: FnMut(u64) -> Result<I, Error>,
{
    type Batch = B;

    fn next_batch(&mut self, batch: &mut B) -> Result<bool, Error> {
        // After an error, the epoch is opened again.
        let mut batches = match self.current.take() {
            Some(batches) => batches,
            None => self.open_at(self.position)?,
        };
        let next = batches.next().transpose()?;
        let more = next.is_some();
        self.position = after(self.position, more)?;
        if let Some(next) = next {
            *batch = next;
            self.current = Some(batches);
        }
        Ok(more)
    }

    fn position(&self) -> Position {
        self.position
    }

    fn seek(&mut self, position: Position) -> Result<(), Error> {
        self.current = Some(self.open_at(position)?);
        self.position = position;
        Ok(())
    }
}

impl<I, F> fmt::Debug for EpochSource<I, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EpochSource").field("position", &self.position).finish_non_exhaustive()
    }
}
