use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::Poll;

use super::counters::add;
use super::{Buffer, Gpu, Recorder};
use crate::Error;

pub(super) const PENDING: u8 = 0;
pub(super) const READY: u8 = 1;
pub(super) const FAILED: u8 = 2;

/// Reads small results back some steps later, through a ring of `slots` buffers.
///
/// Record copies into a slot, submit, then call [`ReadRing::submitted`]. [`ReadRing::poll`] returns the
/// results that have arrived, in order, without waiting.
#[derive(Debug)]
pub struct ReadRing {
    gpu: Gpu,
    slot_bytes: usize,
    free: Vec<Buffer<u8>>,
    recorded: VecDeque<Slot>,
    flying: VecDeque<Slot>,
    slots: usize,
}

#[derive(Debug)]
struct Slot {
    buffer: Buffer<u8>,
    bytes: u64,
    tag: u64,
    state: Arc<AtomicU8>,
}

impl ReadRing {
    /// Default size of a slot, in bytes.
    pub const SLOT_BYTES: usize = 256;

    /// A ring of `slots` slots.
    ///
    /// # Errors
    /// [`Error::Limit`] if the device cannot hold it.
    pub fn new(gpu: &Gpu, slots: usize) -> Result<Self, Error> {
        Self::with_slot_bytes(gpu, slots, Self::SLOT_BYTES)
    }

    /// A ring of `slots` slots of `slot_bytes` bytes.
    pub(crate) fn with_slot_bytes(gpu: &Gpu, slots: usize, slot_bytes: usize) -> Result<Self, Error> {
        let usage = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
        let free = (0..slots)
            .map(|_| Buffer::with_usage(gpu, "read ring", slot_bytes, usage))
            .collect::<Result<_, _>>()?;
        let (recorded, flying) = (VecDeque::new(), VecDeque::new());
        Ok(Self { gpu: gpu.clone(), slot_bytes, free, recorded, flying, slots })
    }

    /// Whether every slot is in use.
    pub fn is_full(&self) -> bool {
        self.free.is_empty()
    }

    /// Number of slots that were submitted and whose results were not yet taken.
    pub fn in_flight(&self) -> usize {
        self.flying.len()
    }

    /// Records copies of the first `bytes` bytes of each source, back to back, into the next slot.
    ///
    /// # Errors
    /// [`Error::RingFull`]; [`Error::Length`] if the copies exceed a slot; [`Error::Mismatch`] for a recorder
    /// of another device.
    pub fn record(
        &mut self,
        recorder: &mut Recorder<'_>,
        tag: u64,
        sources: &[(&wgpu::Buffer, u64)],
    ) -> Result<(), Error> {
        if !recorder.gpu().is_same(&self.gpu) {
            return Err(Error::Mismatch("this recorder records for another device".into()));
        }
        let total: u64 = sources.iter().map(|(_, bytes)| bytes).sum();
        if total > self.slot_bytes as u64 {
            return Err(Error::Length {
                what: "read-back slot".into(),
                expected: self.slot_bytes,
                got: usize::try_from(total).unwrap_or(usize::MAX),
            });
        }
        let Some(buffer) = self.free.pop() else {
            return Err(Error::RingFull {
                ring: "read-back",
                slots: self.slots,
                advice: "read what has arrived first",
            });
        };
        let mut at = 0;
        for (source, bytes) in sources {
            recorder.copy(source, 0, buffer.raw(), at, *bytes);
            at += bytes;
        }
        self.recorded.push_back(Slot { buffer, bytes: total, tag, state: Arc::new(AtomicU8::new(PENDING)) });
        Ok(())
    }

    /// Tells the ring that everything recorded so far was submitted. Starts mapping the slots.
    pub fn submitted(&mut self) {
        for slot in self.recorded.drain(..) {
            map(&self.gpu, slot.buffer.raw(), slot.bytes, &slot.state);
            self.flying.push_back(slot);
        }
    }

    /// Like [`ReadRing::abandoned`], for the last recording only.
    pub(crate) fn abandoned_last(&mut self) {
        self.free.extend(self.recorded.pop_back().map(|slot| slot.buffer));
    }

    /// Like [`ReadRing::submitted`], for the recording with this tag only.
    pub(crate) fn submitted_one(&mut self, tag: u64) {
        let others = self.take_others(tag);
        self.submitted();
        self.recorded = others;
    }

    /// Like [`ReadRing::abandoned`], for the recording with this tag only.
    pub(crate) fn abandoned_one(&mut self, tag: u64) {
        let others = self.take_others(tag);
        self.abandoned();
        self.recorded = others;
    }

    fn take_others(&mut self, tag: u64) -> VecDeque<Slot> {
        let (this, others) = std::mem::take(&mut self.recorded).into_iter().partition(|slot| slot.tag == tag);
        self.recorded = this;
        others
    }

    /// Tells the ring that what was recorded since the last submit will never be submitted. Frees its slots.
    pub fn abandoned(&mut self) {
        self.free.extend(self.recorded.drain(..).map(|slot| slot.buffer));
    }

    /// The tag and the bytes of the oldest result, or `None` if it has not arrived.
    ///
    /// Does not poll the device: results arrive during submits and waits.
    ///
    /// # Errors
    /// [`Error::DeviceLost`] if the device was lost in the meantime.
    pub fn poll(&mut self, gpu: &Gpu) -> Result<Option<(u64, Vec<u8>)>, Error> {
        let Some(slot) = self.flying.front() else { return Ok(None) };
        match slot.state.load(Ordering::Acquire) {
            PENDING => gpu.check().map(|()| None),
            state => {
                let slot = self.flying.pop_front().expect("there is a front");
                let taken = if state == READY {
                    take_mapped(gpu, slot.buffer.raw(), slot.bytes)
                } else {
                    Err(failed(gpu))
                };
                // The slot is free even if reading its result failed.
                self.free.push(slot.buffer);
                Ok(Some((slot.tag, taken?)))
            }
        }
    }

    /// Waits for all results and discards them, together with recordings that were not submitted.
    pub(crate) fn clear(&mut self) {
        self.abandoned();
        let gpu = self.gpu.clone();
        while let before @ 1.. = self.flying.len() {
            if self.read_next(&gpu).is_err() && self.flying.len() == before {
                return;
            }
        }
    }

    /// Waits for the oldest result; `None` if nothing is in flight.
    ///
    /// # Errors
    /// As [`ReadRing::poll`].
    pub fn read_next(&mut self, gpu: &Gpu) -> Result<Option<(u64, Vec<u8>)>, Error> {
        let Some(slot) = self.flying.front() else { return Ok(None) };
        while slot.state.load(Ordering::Acquire) == PENDING {
            add(&gpu.tally().read_backs, 1);
            gpu.poll(wgpu::PollType::wait_indefinitely())?;
        }
        self.poll(gpu)
    }
}

/// The error for a failed mapping.
pub(super) fn failed(gpu: &Gpu) -> Error {
    gpu.blame("it could not be mapped".into(), refused)
}

fn refused(reason: String) -> Error {
    Error::Device { what: "a read-back".into(), reason }
}

/// Starts mapping the first `bytes` bytes of a buffer; `state` changes when the mapping is complete.
pub(super) fn map(gpu: &Gpu, buffer: &wgpu::Buffer, bytes: u64, state: &Arc<AtomicU8>) {
    let writer = state.clone();
    let asked = gpu.caught(|| {
        buffer.map_async(wgpu::MapMode::Read, 0..bytes, move |result| {
            writer.store(if result.is_ok() { READY } else { FAILED }, Ordering::Release);
        });
    });
    if asked.is_err() {
        state.store(FAILED, Ordering::Release);
    }
}

/// Completes when the mapping is no longer pending. Does not block.
pub(super) async fn arrived(gpu: &Gpu, state: &AtomicU8) {
    poll_fn(|context| {
        let polled = gpu.polled(wgpu::PollType::Poll);
        if state.load(Ordering::Acquire) != PENDING || !matches!(polled, Ok(Ok(_))) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

pub(super) fn take_mapped(gpu: &Gpu, buffer: &wgpu::Buffer, bytes: u64) -> Result<Vec<u8>, Error> {
    let data = gpu.caught(|| {
        let data = buffer.get_mapped_range(0..bytes).map(|range| range.to_vec());
        buffer.unmap();
        data.map_err(|error| error.to_string())
    });
    data.flatten().map_err(|reason| gpu.blame(reason, refused))
}

/// A copy to the host that is in flight.
#[derive(Debug)]
pub(super) struct PendingRead {
    staging: Option<Buffer<u8>>,
    state: Arc<AtomicU8>,
}

impl PendingRead {
    /// Submits a copy of `bytes` bytes after all work submitted so far. Offset and size are multiples of 4.
    pub(super) fn begin(gpu: &Gpu, source: &wgpu::Buffer, offset: u64, bytes: usize) -> Result<Self, Error> {
        let state = Arc::new(AtomicU8::new(if bytes == 0 { READY } else { PENDING }));
        if bytes == 0 {
            gpu.probe()?;
            return Ok(Self { staging: None, state });
        }
        let usage = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
        let staging: Buffer<u8> = Buffer::with_usage(gpu, "read-back", bytes, usage)?;
        let mut encoder = gpu.encoder("read-back");
        encoder.copy_buffer_to_buffer(source, offset, staging.raw(), 0, bytes as u64);
        gpu.submit(encoder)?;
        add(&gpu.tally().read_backs, 1);
        map(gpu, staging.raw(), bytes as u64, &state);
        Ok(Self { staging: Some(staging), state })
    }

    /// Blocks until the bytes have arrived.
    pub(super) fn wait(self, gpu: &Gpu) -> Result<Vec<u8>, Error> {
        if self.staging.is_some() {
            gpu.poll(wgpu::PollType::wait_indefinitely())?;
        }
        self.finish(gpu)
    }

    /// Waits without blocking. A browser maps in the background; elsewhere each poll of the future polls the
    /// device.
    pub(super) async fn arrive(self, gpu: &Gpu) -> Result<Vec<u8>, Error> {
        arrived(gpu, &self.state).await;
        self.finish(gpu)
    }

    fn finish(self, gpu: &Gpu) -> Result<Vec<u8>, Error> {
        if self.state.load(Ordering::Acquire) != READY {
            return Err(failed(gpu));
        }
        self.staging.map_or(Ok(Vec::new()), |staging| take_mapped(gpu, staging.raw(), staging.len() as u64))
    }
}
