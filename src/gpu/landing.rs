use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use super::counters::add;
use super::readback::{FAILED, PENDING, READY, arrived, lost, take_mapped};
use super::{Buffer, Gpu};
use crate::Error;

const IDLE: u8 = 3;

/// Memory for a result that the host waits for again and again.
#[derive(Debug)]
pub(crate) struct Landing {
    buffer: Buffer<u8>,
    state: Arc<AtomicU8>,
}

impl Landing {
    /// For results of up to `bytes` bytes.
    pub(crate) fn new(gpu: &Gpu, bytes: usize) -> Result<Self, Error> {
        let usage = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
        let buffer = Buffer::with_usage(gpu, "landing", bytes, usage)?;
        Ok(Self { buffer, state: Arc::new(AtomicU8::new(IDLE)) })
    }

    /// Where the copies of a result go that is recorded next. A result that was never read is dropped.
    pub(crate) fn target(&mut self) -> &wgpu::Buffer {
        if self.state.load(Ordering::Acquire) != IDLE {
            self.buffer.raw().unmap();
            self.state = Arc::new(AtomicU8::new(IDLE));
        }
        self.buffer.raw()
    }

    /// Reads the first `bytes` bytes once the copies were submitted; where `blocking` is set it never suspends.
    pub(crate) async fn read(&mut self, gpu: &Gpu, bytes: usize, blocking: bool) -> Result<Vec<u8>, Error> {
        add(&gpu.tally().read_backs, 1);
        let (raw, writer) = (self.buffer.raw(), self.state.clone());
        writer.store(PENDING, Ordering::Release);
        raw.map_async(wgpu::MapMode::Read, 0..bytes as u64, move |result| {
            writer.store(if result.is_ok() { READY } else { FAILED }, Ordering::Release);
        });
        if blocking {
            gpu.wait()?;
        } else {
            arrived(gpu, &self.state).await;
        }
        if self.state.load(Ordering::Acquire) != READY {
            return Err(gpu.check().err().unwrap_or_else(|| lost("a read-back failed")));
        }
        let data = take_mapped(raw, bytes as u64)?;
        self.state.store(IDLE, Ordering::Release);
        Ok(data)
    }
}
