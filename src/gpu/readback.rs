use std::collections::VecDeque;
use std::sync::Arc;

use super::counters::add;
use super::signal::{PENDING, READY, Signal, arrived, map};
use super::{Buffer, Gpu, Recorder};
use crate::Error;

/// Reads small results back some steps later, through a ring of `slots` buffers of 256 bytes.
///
/// Record copies into a slot, submit, then call [`ReadRing::submitted`]. [`ReadRing::poll`] returns the
/// results that have arrived, in order, without waiting.
///
/// ```no_run
/// // Needs a device.
/// use gradus::gpu::{Buffer, ReadRing};
/// use gradus::{Gpu, GpuOptions};
///
/// let gpu = Gpu::new(GpuOptions::default())?;
/// let ring = ReadRing::new(&gpu, 4)?;
/// assert_eq!((ring.in_flight(), ring.is_full()), (0, false));
/// # Ok::<(), gradus::Error>(())
/// ```
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
    state: Arc<Signal>,
    /// Whether nobody wants it any longer.
    discarded: bool,
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
        let state = Signal::new(PENDING);
        self.recorded.push_back(Slot { buffer, bytes: total, tag, state, discarded: false });
        Ok(())
    }

    /// Tells the ring that everything recorded so far was submitted. Starts mapping the slots.
    pub fn submitted(&mut self) {
        for slot in self.recorded.drain(..) {
            map(&self.gpu, slot.buffer.raw(), wgpu::MapMode::Read, slot.bytes, &slot.state);
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
        while let Some(slot) = self.flying.front() {
            if slot.state.is_pending() {
                return gpu.check().map(|()| None);
            }
            let slot = self.flying.pop_front().expect("there is a front");
            let taken = if slot.state.state() == READY {
                take_mapped(gpu, slot.buffer.raw(), slot.bytes)
            } else {
                Err(failed(gpu))
            };
            // The slot is free even if reading its result failed.
            self.free.push(slot.buffer);
            if !slot.discarded {
                return Ok(Some((slot.tag, taken?)));
            }
        }
        Ok(None)
    }

    /// Discards all results in flight and recordings that were not submitted. The slots are free once the results
    /// have arrived.
    pub(crate) fn discard(&mut self) {
        self.abandoned();
        self.flying.iter_mut().for_each(|slot| slot.discarded = true);
    }

    /// Waits for the oldest result; `None` if nothing is in flight.
    ///
    /// # Errors
    /// As [`ReadRing::poll`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn read_next(&mut self, gpu: &Gpu) -> Result<Option<(u64, Vec<u8>)>, Error> {
        gpu.block_on(self.read_next_async(gpu))
    }

    /// As [`ReadRing::read_next`], without blocking. Where the future is dropped, the result is still to be had.
    ///
    /// # Errors
    /// As [`ReadRing::poll`].
    pub async fn read_next_async(&mut self, gpu: &Gpu) -> Result<Option<(u64, Vec<u8>)>, Error> {
        while let Some(slot) = self.flying.front() {
            if slot.state.is_pending() {
                add(&gpu.tally().read_backs, 1);
                arrived(gpu, &slot.state).await?;
            }
            let is_discarded = slot.discarded;
            let result = self.poll(gpu)?;
            if result.is_some() || !is_discarded {
                return Ok(result);
            }
        }
        Ok(None)
    }
}

/// The error for a failed mapping.
pub(super) fn failed(gpu: &Gpu) -> Error {
    gpu.blame("it could not be mapped".into(), refused)
}

fn refused(reason: String) -> Error {
    Error::Device { what: "a read-back".into(), reason }
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
    state: Arc<Signal>,
}

impl PendingRead {
    /// Submits a copy of `bytes` bytes after all work submitted so far. Offset and size are multiples of 4.
    pub(super) fn begin(gpu: &Gpu, source: &wgpu::Buffer, offset: u64, bytes: usize) -> Result<Self, Error> {
        let state = Signal::new(if bytes == 0 { READY } else { PENDING });
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
        map(gpu, staging.raw(), wgpu::MapMode::Read, bytes as u64, &state);
        Ok(Self { staging: Some(staging), state })
    }

    /// Waits until the bytes have arrived.
    pub(super) async fn read(self, gpu: &Gpu) -> Result<Vec<u8>, Error> {
        arrived(gpu, &self.state).await?;
        if self.state.state() != READY {
            return Err(failed(gpu));
        }
        self.staging.map_or(Ok(Vec::new()), |staging| take_mapped(gpu, staging.raw(), staging.len() as u64))
    }
}
