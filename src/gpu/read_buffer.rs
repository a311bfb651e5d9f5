use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use super::counters::add;
use super::readback::{PENDING, READY, arrived, failed, map, take_mapped};
use super::{Buffer, Gpu};
use crate::Error;

const IDLE: u8 = 3;

/// Memory for a result that the host waits for again and again.
#[derive(Debug)]
pub(crate) struct ReadBuffer {
    gpu: Gpu,
    buffer: Buffer<u8>,
    state: Arc<AtomicU8>,
}

impl ReadBuffer {
    /// For results of up to `bytes` bytes.
    pub(crate) fn new(gpu: &Gpu, bytes: usize) -> Result<Self, Error> {
        let usage = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
        let buffer = Buffer::with_usage(gpu, "read-back", bytes, usage)?;
        Ok(Self { gpu: gpu.clone(), buffer, state: Arc::new(AtomicU8::new(IDLE)) })
    }

    /// Where the copies of a result go that is recorded next. A result that was never read is dropped.
    pub(crate) fn target(&mut self) -> &wgpu::Buffer {
        if self.state.load(Ordering::Acquire) != IDLE {
            // One whose mapping has failed is not mapped, which wgpu refuses.
            let _ = self.gpu.caught(|| self.buffer.raw().unmap());
            self.state = Arc::new(AtomicU8::new(IDLE));
        }
        self.buffer.raw()
    }

    /// Reads the first `bytes` bytes once the copies were submitted; where `blocking` is set it never suspends.
    pub(crate) async fn read(&mut self, gpu: &Gpu, bytes: usize, blocking: bool) -> Result<Vec<u8>, Error> {
        add(&gpu.tally().read_backs, 1);
        self.state.store(PENDING, Ordering::Release);
        map(gpu, self.buffer.raw(), bytes as u64, &self.state);
        if blocking {
            gpu.poll(wgpu::PollType::wait_indefinitely())?;
        } else {
            arrived(gpu, &self.state).await;
        }
        if self.state.load(Ordering::Acquire) != READY {
            return Err(failed(gpu));
        }
        let data = take_mapped(gpu, self.buffer.raw(), bytes as u64);
        self.state.store(IDLE, Ordering::Release);
        data
    }
}
