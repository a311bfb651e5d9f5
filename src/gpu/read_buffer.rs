use std::sync::Arc;

use super::counters::add;
use super::readback::{failed, take_mapped};
use super::signal::{PENDING, READY, Signal, arrived, map};
use super::{Buffer, Gpu};
use crate::Error;

const IDLE: u8 = 3;

/// A reusable read-back buffer.
#[derive(Debug)]
pub(crate) struct ReadBuffer {
    gpu: Gpu,
    buffer: Buffer<u8>,
    state: Arc<Signal>,
}

impl ReadBuffer {
    /// For results of up to `bytes` bytes.
    pub(crate) fn new(gpu: &Gpu, bytes: usize) -> Result<Self, Error> {
        let usage = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
        let buffer = Buffer::with_usage(gpu, "read-back", bytes, usage)?;
        Ok(Self { gpu: gpu.clone(), buffer, state: Signal::new(IDLE) })
    }

    /// The buffer that the next result is to be copied into. Drops an earlier result that was never read.
    pub(crate) fn target(&mut self) -> &wgpu::Buffer {
        if self.state.state() != IDLE {
            // A buffer whose mapping failed is not mapped, so wgpu refuses to unmap it.
            let _ = self.gpu.caught(|| self.buffer.raw().unmap());
            self.state = Signal::new(IDLE);
        }
        self.buffer.raw()
    }

    /// Waits for the first `bytes` bytes and reads them. The copies must have been submitted.
    pub(crate) async fn read(&mut self, gpu: &Gpu, bytes: usize) -> Result<Vec<u8>, Error> {
        add(&gpu.tally().read_backs, 1);
        self.state.set(PENDING);
        map(gpu, self.buffer.raw(), wgpu::MapMode::Read, bytes as u64, &self.state);
        arrived(gpu, &self.state).await?;
        if self.state.state() != READY {
            return Err(failed(gpu));
        }
        let data = take_mapped(gpu, self.buffer.raw(), bytes as u64);
        self.state.set(IDLE);
        data
    }
}
