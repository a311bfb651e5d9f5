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

/// Small results that reach the host some steps later: `slots` buffers of 256 bytes.
///
/// Record copies into a slot, submit, then [`ReadRing::submitted`]; [`ReadRing::poll`] gives what has
/// arrived, in order, without waiting.
#[derive(Debug)]
pub struct ReadRing {
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
    /// Bytes of a slot.
    pub const SLOT_BYTES: usize = 256;

    /// A ring of `slots` slots.
    ///
    /// # Errors
    /// [`Error::Limit`] if the device cannot hold it.
    pub fn new(gpu: &Gpu, slots: usize) -> Result<Self, Error> {
        let usage = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
        let free = (0..slots)
            .map(|_| Buffer::with_usage(gpu, "read ring", Self::SLOT_BYTES, usage))
            .collect::<Result<_, _>>()?;
        Ok(Self { free, recorded: VecDeque::new(), flying: VecDeque::new(), slots })
    }

    /// Whether every slot is in use.
    pub fn is_full(&self) -> bool {
        self.free.is_empty()
    }

    /// Slots that were submitted and have not been given out.
    pub fn in_flight(&self) -> usize {
        self.flying.len()
    }

    /// Records copies of the first `bytes` bytes of each source, one after the other, into the next slot.
    ///
    /// # Errors
    /// [`Error::RingFull`]; [`Error::Length`] if the sources need more than a slot.
    pub fn record(
        &mut self,
        recorder: &mut Recorder<'_>,
        tag: u64,
        sources: &[(&wgpu::Buffer, u64)],
    ) -> Result<(), Error> {
        let total: u64 = sources.iter().map(|(_, bytes)| bytes).sum();
        if total > Self::SLOT_BYTES as u64 {
            return Err(Error::Length {
                what: "read-back slot".into(),
                expected: Self::SLOT_BYTES,
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

    /// Says that everything recorded so far was submitted, and asks for it.
    pub fn submitted(&mut self) {
        for slot in self.recorded.drain(..) {
            let state = slot.state.clone();
            slot.buffer.raw().map_async(wgpu::MapMode::Read, 0..slot.bytes, move |result| {
                state.store(if result.is_ok() { READY } else { FAILED }, Ordering::Release);
            });
            self.flying.push_back(slot);
        }
    }

    /// As [`ReadRing::submitted`], of what was recorded under one tag.
    pub(crate) fn submitted_one(&mut self, tag: u64) {
        let others = self.take_others(tag);
        self.submitted();
        self.recorded = others;
    }

    /// As [`ReadRing::abandoned`], of what was recorded under one tag.
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

    /// Says that what was recorded since the last submit will never be submitted, and frees its slots.
    pub fn abandoned(&mut self) {
        self.free.extend(self.recorded.drain(..).map(|slot| slot.buffer));
    }

    /// The oldest result that has arrived, as its tag and bytes; `None` if none has.
    ///
    /// It does not poll the device: results arrive with submits, and with waits.
    ///
    /// # Errors
    /// [`Error::DeviceLost`] if the device went away meanwhile.
    pub fn poll(&mut self, gpu: &Gpu) -> Result<Option<(u64, Vec<u8>)>, Error> {
        let Some(slot) = self.flying.front() else { return Ok(None) };
        match slot.state.load(Ordering::Acquire) {
            PENDING => return gpu.check().map(|()| None),
            FAILED => return Err(gpu.check().err().unwrap_or_else(|| lost("a read-back failed"))),
            _ => {}
        }
        let slot = self.flying.pop_front().expect("there is a front");
        let bytes = take_mapped(slot.buffer.raw(), slot.bytes)?;
        self.free.push(slot.buffer);
        Ok(Some((slot.tag, bytes)))
    }

    /// The oldest result, waited for; `None` if nothing is in flight.
    ///
    /// # Errors
    /// As [`ReadRing::poll`].
    pub fn read_next(&mut self, gpu: &Gpu) -> Result<Option<(u64, Vec<u8>)>, Error> {
        let Some(slot) = self.flying.front() else { return Ok(None) };
        while slot.state.load(Ordering::Acquire) == PENDING {
            add(&gpu.tally().read_backs, 1);
            gpu.wait()?;
        }
        self.poll(gpu)
    }
}

pub(super) fn lost(reason: &str) -> Error {
    Error::DeviceLost(reason.into())
}

/// Until a mapping is no longer pending, without blocking.
pub(super) async fn arrived(gpu: &Gpu, state: &AtomicU8) {
    poll_fn(|context| {
        let polled = gpu.device().poll(wgpu::PollType::Poll);
        if state.load(Ordering::Acquire) != PENDING || polled.is_err() {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

pub(super) fn take_mapped(buffer: &wgpu::Buffer, bytes: u64) -> Result<Vec<u8>, Error> {
    let data = buffer.get_mapped_range(0..bytes).map_err(|e| lost(&e.to_string()))?.to_vec();
    buffer.unmap();
    Ok(data)
}

/// A copy on its way to the host.
#[derive(Debug)]
pub(super) struct PendingRead {
    staging: Option<Buffer<u8>>,
    state: Arc<AtomicU8>,
}

impl PendingRead {
    /// Submits a copy of `bytes` bytes (offset and size multiples of 4) behind all work so far.
    pub(super) fn begin(gpu: &Gpu, source: &wgpu::Buffer, offset: u64, bytes: usize) -> Result<Self, Error> {
        gpu.check()?;
        let state = Arc::new(AtomicU8::new(if bytes == 0 { READY } else { PENDING }));
        if bytes == 0 {
            return Ok(Self { staging: None, state });
        }
        let usage = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
        let staging: Buffer<u8> = Buffer::with_usage(gpu, "read-back", bytes, usage)?;
        let mut encoder = gpu.encoder("read-back");
        encoder.copy_buffer_to_buffer(source, offset, staging.raw(), 0, bytes as u64);
        gpu.submit(encoder)?;
        add(&gpu.tally().read_backs, 1);
        let writer = state.clone();
        staging.raw().map_async(wgpu::MapMode::Read, 0..bytes as u64, move |result| {
            writer.store(if result.is_ok() { READY } else { FAILED }, Ordering::Release);
        });
        Ok(Self { staging: Some(staging), state })
    }

    /// Waits by blocking.
    pub(super) fn wait(self, gpu: &Gpu) -> Result<Vec<u8>, Error> {
        if self.staging.is_some() {
            gpu.wait()?;
        }
        self.finish(gpu)
    }

    /// Waits without blocking: a browser maps by itself, elsewhere each poll of the future polls the device.
    pub(super) async fn arrive(self, gpu: &Gpu) -> Result<Vec<u8>, Error> {
        arrived(gpu, &self.state).await;
        self.finish(gpu)
    }

    fn finish(self, gpu: &Gpu) -> Result<Vec<u8>, Error> {
        if self.state.load(Ordering::Acquire) != READY {
            return Err(gpu.check().err().unwrap_or_else(|| lost("a read-back failed")));
        }
        self.staging.map_or(Ok(Vec::new()), |staging| take_mapped(staging.raw(), staging.len() as u64))
    }
}
