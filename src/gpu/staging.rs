use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use super::counters::add;
use super::{Buffer, Gpu, Recorder};
use crate::Error;

const IN_USE: u8 = 0;
const MAPPED: u8 = 1;
const FAILED: u8 = 2;

/// Uploads of steps that follow each other, through memory that the host fills while the device still copies
/// from that of the steps before.
///
/// [`Staging::turn`] before the first write of each step. Unlike `Queue::write_buffer` it makes nothing once
/// it has seen the largest step.
#[derive(Debug)]
pub(crate) struct Staging {
    gpu: Gpu,
    /// For each step that may be on its way, a piece for each of its writes.
    slots: Vec<Vec<Piece>>,
    current: usize,
    used: usize,
}

#[derive(Debug)]
struct Piece {
    buffer: Buffer<u8>,
    state: Arc<AtomicU8>,
}

impl Piece {
    fn new(gpu: &Gpu, bytes: usize) -> Result<Self, Error> {
        let buffer = Buffer::mapped(gpu, "staging", bytes)?;
        Ok(Self { buffer, state: Arc::new(AtomicU8::new(MAPPED)) })
    }
}

impl Staging {
    /// For `slots` steps on their way.
    pub(crate) fn new(gpu: &Gpu, slots: usize) -> Self {
        Self { gpu: gpu.clone(), slots: (0..slots).map(|_| Vec::new()).collect(), current: 0, used: 0 }
    }

    /// Begins another step: the commands of the last one were submitted, or never will be.
    pub(crate) fn turn(&mut self) {
        for piece in &self.slots[self.current][..self.used] {
            let state = piece.state.clone();
            let asked = self.gpu.caught(|| {
                piece.buffer.raw().map_async(wgpu::MapMode::Write, .., move |result| {
                    state.store(if result.is_ok() { MAPPED } else { FAILED }, Ordering::Release);
                });
            });
            if asked.is_err() {
                piece.state.store(FAILED, Ordering::Release);
            }
        }
        self.current = (self.current + 1) % self.slots.len();
        self.used = 0;
    }

    /// Records that `bytes`, a multiple of 4 of them, land at the start of `target`.
    ///
    /// # Errors
    /// [`Error::Limit`], [`Error::Buffer`], [`Error::DeviceLost`].
    pub(crate) fn write(
        &mut self,
        recorder: &mut Recorder<'_>,
        target: &wgpu::Buffer,
        bytes: &[u8],
    ) -> Result<(), Error> {
        if bytes.is_empty() {
            return Ok(());
        }
        let place = self.used;
        if self.slots[self.current].get(place).is_none_or(|piece| piece.buffer.len() < bytes.len()) {
            // For all slots at once, so that nothing is made later for steps of this size.
            for slot in &mut self.slots {
                slot.truncate(place);
                slot.push(Piece::new(&self.gpu, bytes.len())?);
            }
        }
        let piece = &self.slots[self.current][place];
        while piece.state.load(Ordering::Acquire) == IN_USE {
            self.gpu.poll(wgpu::PollType::wait_indefinitely())?;
        }
        if piece.state.load(Ordering::Acquire) == FAILED {
            self.slots[self.current][place] = Piece::new(&self.gpu, bytes.len())?;
        }
        let piece = &self.slots[self.current][place];
        let (raw, len) = (piece.buffer.raw(), bytes.len() as u64);
        let filled = self.gpu.caught(|| {
            let view = raw.get_mapped_range_mut(0..len).map(|mut view| view.copy_from_slice(bytes));
            raw.unmap();
            view.map_err(|error| error.to_string())
        });
        if let Err(reason) = filled.flatten() {
            piece.state.store(FAILED, Ordering::Release);
            let refused = |reason| Error::Device { what: "staging memory".into(), reason };
            return Err(self.gpu.blame(reason, refused));
        }
        piece.state.store(IN_USE, Ordering::Release);
        self.used += 1;
        recorder.copy(raw, 0, target, 0, len);
        add(&self.gpu.tally().uploads, 1);
        add(&self.gpu.tally().upload_bytes, len);
        Ok(())
    }
}
