use std::sync::Arc;

use super::counters::add;
use super::signal::{FAILED, PENDING, READY, Signal, arrived, map};
use super::{Buffer, Gpu, Recorder};
use crate::Error;

/// The device copies from it; mapping has been requested.
const IN_USE: u8 = PENDING;
const MAPPED: u8 = READY;
/// It holds data for commands that are not submitted yet.
const FILLED: u8 = 3;

/// Uploads through mapped memory. The host fills one piece of memory while the device still copies from the
/// pieces of earlier submits. All uploads of one submit share one piece, which is mapped once.
///
/// Call [`Staging::begin`] before the first write of each submit, [`Staging::record`] before the commands
/// that read the data, [`Staging::end`] before the submit, and [`Staging::submitted`] after it or after
/// several submits. Unlike `Queue::write_buffer`, it allocates nothing once it has seen the largest submit.
#[derive(Debug)]
pub(crate) struct Staging {
    gpu: Gpu,
    /// One for each submit that can be in flight.
    slots: Vec<Option<Piece>>,
    current: usize,
    /// Bytes of the current piece that have been written.
    used: usize,
    /// Writes since the last [`Staging::record`].
    copies: Vec<Copy>,
}

#[derive(Debug)]
struct Piece {
    buffer: Buffer<u8>,
    state: Arc<Signal>,
}

/// A copy from an offset in the piece to an offset in a buffer.
#[derive(Debug)]
struct Copy {
    from: u64,
    to: wgpu::Buffer,
    at: u64,
    bytes: u64,
}

impl Piece {
    fn new(gpu: &Gpu, bytes: usize) -> Result<Self, Error> {
        let buffer = Buffer::mapped(gpu, "staging", bytes)?;
        Ok(Self { buffer, state: Signal::new(MAPPED) })
    }

    /// Requests the mapping of memory that has been filled.
    fn map_again(&self, gpu: &Gpu) {
        if self.state.pass(FILLED, IN_USE) {
            let raw = self.buffer.raw();
            map(gpu, raw, wgpu::MapMode::Write, raw.size(), &self.state);
        }
    }
}

impl Staging {
    /// For up to `slots` submits in flight.
    pub(crate) fn new(gpu: &Gpu, slots: usize) -> Self {
        let slots = (0..slots).map(|_| None).collect();
        Self { gpu: gpu.clone(), slots, current: 0, used: 0, copies: Vec::new() }
    }

    /// Bytes of the piece that a write of `bytes` bytes takes up.
    pub(crate) fn room(bytes: usize) -> usize {
        bytes.next_multiple_of(usize::try_from(wgpu::MAP_ALIGNMENT).expect("it is 8"))
    }

    /// Bytes that can still be written.
    pub(crate) fn left(&self) -> usize {
        self.slots[self.current].as_ref().map_or(0, |piece| piece.buffer.len() - self.used)
    }

    /// Begins the next submit, with room for writes of `bytes` bytes. The commands of the last one must have been
    /// submitted or abandoned. Waits until the device has copied what the piece's last submit wrote.
    ///
    /// # Errors
    /// [`Error::Limit`], [`Error::Buffer`], [`Error::DeviceLost`].
    pub(crate) async fn begin(&mut self, bytes: usize) -> Result<(), Error> {
        self.end()?;
        self.current = (self.current + 1) % self.slots.len();
        self.copies.clear();
        if bytes == 0 {
            return Ok(());
        }
        if self.slots[self.current].as_ref().is_none_or(|piece| piece.buffer.len() < bytes) {
            // Allocates all slots at once, so that later submits of this size allocate nothing.
            for slot in &mut self.slots {
                *slot = Some(Piece::new(&self.gpu, bytes)?);
            }
        }
        let piece = self.slots[self.current].as_mut().expect("it was made");
        // If its commands were never submitted.
        piece.map_again(&self.gpu);
        arrived(&self.gpu, &piece.state).await?;
        if piece.state.state() == FAILED {
            *piece = Piece::new(&self.gpu, piece.buffer.len())?;
        }
        Ok(())
    }

    /// Call after submitting the commands that copy from the written memory. Requests its mapping, so that it
    /// is ready when its turn comes.
    pub(crate) fn submitted(&self) {
        self.slots.iter().flatten().for_each(|piece| piece.map_again(&self.gpu));
    }

    /// Writes `bytes`, whose length is a multiple of 4, into the piece; they will be copied into `target` at
    /// byte `at`.
    ///
    /// # Errors
    /// [`Error::Device`], [`Error::DeviceLost`].
    ///
    /// # Panics
    /// If there is not enough room.
    pub(crate) fn write(&mut self, target: &wgpu::Buffer, at: usize, bytes: &[u8]) -> Result<(), Error> {
        if bytes.is_empty() {
            return Ok(());
        }
        assert!(bytes.len() <= self.left(), "{} bytes do not fit {}", bytes.len(), self.left());
        let piece = self.slots[self.current].as_ref().expect("it has room");
        let (raw, from, len) = (piece.buffer.raw(), self.used as u64, bytes.len() as u64);
        let filled = self.gpu.caught(|| {
            let view = raw.get_mapped_range_mut(from..from + len).map(|mut view| view.copy_from_slice(bytes));
            view.map_err(|error| error.to_string())
        });
        if let Err(reason) = filled.flatten() {
            piece.state.set(FAILED);
            let refused = |reason| Error::Device { what: "staging memory".into(), reason };
            return Err(self.gpu.blame(reason, refused));
        }
        self.used += Self::room(bytes.len()).min(self.left());
        self.copies.push(Copy { from, to: target.clone(), at: at as u64, bytes: len });
        add(&self.gpu.tally().upload_bytes, len);
        Ok(())
    }

    /// Records the copies of all writes since the last call.
    pub(crate) fn record(&mut self, recorder: &mut Recorder<'_>) {
        let Some(piece) = &self.slots[self.current] else { return };
        for Copy { from, to, at, bytes } in self.copies.drain(..) {
            recorder.copy(piece.buffer.raw(), from, &to, at, bytes);
        }
    }

    /// Ends the writes of a submit.
    ///
    /// # Errors
    /// [`Error::DeviceLost`].
    pub(crate) fn end(&mut self) -> Result<(), Error> {
        let written = std::mem::take(&mut self.used) > 0;
        let Some(piece) = self.slots[self.current].as_ref().filter(|_| written) else { return Ok(()) };
        // Recreates a piece whose memory could not be written.
        if piece.state.state() != MAPPED {
            return Ok(());
        }
        let unmapped = self.gpu.caught(|| piece.buffer.raw().unmap());
        piece.state.set(FILLED);
        add(&self.gpu.tally().uploads, 1);
        unmapped.map_err(|reason| {
            let refused = |reason| Error::Device { what: "staging memory".into(), reason };
            self.gpu.blame(reason, refused)
        })
    }
}
