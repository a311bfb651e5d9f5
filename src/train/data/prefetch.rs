use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, SyncSender, TryRecvError, channel, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use super::{BatchSource, Position};
use crate::error::Error;

/// Takes batches from a source on a thread of its own, ahead of the loop that uses them.
///
/// At most `depth` batches are ready at a time, then the thread waits. [`position`](BatchSource::position) is that of
/// the batches *taken from here*, whatever the thread has read ahead, so that a run stored with it resumes with the
/// batch after the last one that it trained on. The thread goes on from one epoch into the next.
///
/// Errors of the source arrive with the batch that they belong to; a panic arrives as an [`Error::BatchSource`] with
/// its message, which every later call returns too. Dropping it ends the thread, and waits until the source has finished the batch that it is making.
///
/// ```
/// use std::sync::Arc;
///
/// use gradus::train::data::{Batch, BatchSource, DataLoader, Dataset, Prefetch};
///
/// let data = Arc::new(Dataset::new(vec![0.0, 0.1, 0.2], &[1], vec![0, 1, 1], 2)?);
/// let mut source = Prefetch::new(DataLoader::new(data, 2)?.shuffle(7), 2)?;
/// let mut batch = Batch::default();
/// while source.next_batch(&mut batch)? {
///     // trainer.step(&[("x", &batch.x), ("y", &batch.y)])?;
/// }
/// # Ok::<(), gradus::Error>(())
/// ```
pub struct Prefetch<S: BatchSource> {
    /// Never locked: a mutex makes a receiver shareable. `None` once the thread is asked to end.
    results: Option<Mutex<Receiver<Made<S::Batch>>>>,
    seeks: Option<Sender<Seek>>,
    /// Returns used batches to the thread.
    used: Sender<S::Batch>,
    thread: Option<JoinHandle<()>>,
    /// Number of the latest seek: results with another number are of no use.
    seek: u64,
    position: Position,
    batches_per_epoch: Option<u64>,
    /// The panic that ended the thread.
    ended: Option<Error>,
}

/// A request to the thread to go on from a position.
struct Seek {
    number: u64,
    position: Position,
}

/// What the thread made of a request.
enum Outcome<B> {
    Sought,
    Batch(B),
    EndOfEpoch,
    Failed(Error),
    /// A panic. The thread has ended.
    Ended(Error),
}

struct Made<B> {
    seek: u64,
    /// The position after it.
    position: Position,
    outcome: Outcome<B>,
}

impl<S> Prefetch<S>
where
    S: BatchSource + Send + 'static,
    S::Batch: Send,
{
    /// Starts the thread, at the position of the source.
    ///
    /// # Errors
    /// [`Error::Constant`] unless `depth` is from 1 to 1,024; [`Error::Config`] if the system cannot start a thread.
    pub fn new(source: S, depth: usize) -> Result<Self, Error> {
        const MOST: usize = 1024;
        if !(1..=MOST).contains(&depth) {
            return Err(Error::constant("depth", format!("in [1, {MOST}]"), depth));
        }
        let (position, batches_per_epoch) = (source.position(), source.batches_per_epoch());
        // The thread holds one more batch while it waits for room.
        let (made, results) = sync_channel(depth - 1);
        let (seeks, wanted) = channel();
        let (used, spare) = channel();
        let mut worker = Worker { source, made, wanted, spare, unused: None, seek: 0, position };
        let thread = thread::Builder::new().name("prefetch".into()).spawn(move || worker.run());
        let thread = thread.map_err(|e| Error::Config { what: "prefetch".into(), reason: e.to_string() })?;
        Ok(Self {
            results: Some(Mutex::new(results)),
            seeks: Some(seeks),
            used,
            thread: Some(thread),
            seek: 0,
            position,
            batches_per_epoch,
            ended: None,
        })
    }

    /// The next result of the latest seek.
    fn receive(&mut self) -> Result<Made<S::Batch>, Error> {
        if let Some(error) = &self.ended {
            return Err(error.clone());
        }
        loop {
            let results = self.results.as_mut();
            let results = results.map(|results| results.get_mut().unwrap_or_else(PoisonError::into_inner));
            let Some(made) = results.and_then(|results| results.recv().ok()) else {
                let error = self.position.refuse("the thread that prefetches has ended");
                self.ended = Some(error.clone());
                return Err(error);
            };
            match made.outcome {
                Outcome::Ended(error) => {
                    self.ended = Some(error.clone());
                    return Err(error);
                }
                _ if made.seek == self.seek => return Ok(made),
                Outcome::Batch(batch) => self.give_back(batch),
                _ => (),
            }
        }
    }

    // The thread has ended if one of these fails, which the next result tells.

    fn give_back(&self, batch: S::Batch) {
        let _ = self.used.send(batch);
    }

    fn send_seek(&mut self, position: Position) {
        self.seek += 1;
        let seek = Seek { number: self.seek, position };
        let _ = self.seeks.as_ref().map(|seeks| seeks.send(seek));
    }
}

impl<S> BatchSource for Prefetch<S>
where
    S: BatchSource + Send + 'static,
    S::Batch: Send,
{
    type Batch = S::Batch;

    fn next_batch(&mut self, batch: &mut S::Batch) -> Result<bool, Error> {
        loop {
            let Made { position, outcome, .. } = self.receive()?;
            match outcome {
                // Of a seek after an error.
                Outcome::Sought => continue,
                Outcome::Batch(made) => {
                    self.give_back(std::mem::replace(batch, made));
                    self.position = position;
                    return Ok(true);
                }
                Outcome::EndOfEpoch => {
                    self.position = position;
                    return Ok(false);
                }
                Outcome::Failed(error) | Outcome::Ended(error) => {
                    // The source may get over it: it is asked for the same batch again.
                    self.send_seek(self.position);
                    return Err(error);
                }
            }
        }
    }

    fn position(&self) -> Position {
        self.position
    }

    fn seek(&mut self, position: Position) -> Result<(), Error> {
        // What the thread has read ahead is what comes next.
        if position == self.position && self.ended.is_none() {
            return Ok(());
        }
        self.send_seek(position);
        match self.receive()?.outcome {
            Outcome::Failed(error) => {
                self.send_seek(self.position);
                Err(error)
            }
            _ => {
                self.position = position;
                Ok(())
            }
        }
    }

    fn batches_per_epoch(&self) -> Option<u64> {
        self.batches_per_epoch
    }
}

impl<S: BatchSource> Drop for Prefetch<S> {
    fn drop(&mut self) {
        // Without these, the thread does not wait for room or for a request.
        (self.results, self.seeks) = (None, None);
        if let Some(thread) = self.thread.take() {
            // Panics of the source were caught, and told if anybody asked.
            let _ = thread.join();
        }
    }
}

impl<S: BatchSource> fmt::Debug for Prefetch<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Prefetch").field("position", &self.position).finish_non_exhaustive()
    }
}

/// The thread's side.
struct Worker<S: BatchSource> {
    source: S,
    made: SyncSender<Made<S::Batch>>,
    wanted: Receiver<Seek>,
    spare: Receiver<S::Batch>,
    /// The batch of the call that found the end of an epoch.
    unused: Option<S::Batch>,
    /// Number of the latest seek.
    seek: u64,
    position: Position,
}

impl<S: BatchSource> Worker<S> {
    /// Makes batches until nobody takes them any more.
    fn run(&mut self) {
        loop {
            let outcome = self.guard(|worker| {
                let unused = worker.unused.take().or_else(|| worker.spare.try_recv().ok());
                let mut batch = unused.unwrap_or_default();
                if worker.source.next_batch(&mut batch)? {
                    return Ok(Outcome::Batch(batch));
                }
                worker.unused = Some(batch);
                Ok(Outcome::EndOfEpoch)
            });
            let mut waits = matches!(outcome, Outcome::Failed(_));
            if !self.tell(outcome) {
                return;
            }
            // After an error, only a seek tells where to go on.
            loop {
                let seek = match self.wanted.try_recv() {
                    Err(TryRecvError::Empty) if !waits => break,
                    Err(TryRecvError::Empty) => self.wanted.recv().ok(),
                    other => other.ok(),
                };
                let Some(Seek { number, position }) = seek else { return };
                (self.seek, self.position) = (number, position);
                let outcome = self.guard(|worker| worker.source.seek(position).map(|()| Outcome::Sought));
                waits = matches!(outcome, Outcome::Failed(_));
                if !self.tell(outcome) {
                    return;
                }
            }
        }
    }

    /// Calls the source, and notes its position.
    fn guard(
        &mut self,
        call: impl FnOnce(&mut Self) -> Result<Outcome<S::Batch>, Error>,
    ) -> Outcome<S::Batch> {
        let called = catch_unwind(AssertUnwindSafe(|| {
            let outcome = call(self)?;
            self.position = self.source.position();
            Ok(outcome)
        }));
        match called {
            Ok(outcome) => outcome.unwrap_or_else(Outcome::Failed),
            Err(panic) => {
                Outcome::Ended(self.position.refuse(format!("the source panicked: {}", message(&*panic))))
            }
        }
    }

    /// Whether the loop goes on.
    fn tell(&self, outcome: Outcome<S::Batch>) -> bool {
        let ends = matches!(outcome, Outcome::Ended(_));
        let made = Made { seek: self.seek, position: self.position, outcome };
        self.made.send(made).is_ok() && !ends
    }
}

/// The message of a panic.
fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without a message")
}
