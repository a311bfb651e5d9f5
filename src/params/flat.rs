use std::ops::Range;
use std::sync::Arc;

use crate::Error;
use crate::gpu::{Buffer, Gpu, Recorder, Region};
use crate::layout::{Layout, Span, Window};

/// One f32 for each element of a [`Layout`]: the parameters, the gradients, or one slot of optimizer state.
///
/// Padding between tensors is always zero.
///
/// ```no_run
/// // Needs a device.
/// use gradus::{Gpu, GpuOptions, ParamStore};
///
/// let gpu = Gpu::new(GpuOptions::default())?;
/// let params = ParamStore::builder().tensor("w", [2], &[1.0, 2.0]).build(&gpu)?;
/// assert_eq!(params.grads().read(&gpu, params.layout().span("w")?)?, [0.0, 0.0]);
/// # Ok::<(), gradus::Error>(())
/// ```
#[derive(Debug)]
pub struct Flat {
    layout: Arc<Layout>,
    buffers: Vec<Arc<Buffer<f32>>>,
}

impl Flat {
    /// All zeros.
    ///
    /// # Errors
    /// [`Error::Limit`] if the layout was made for a device with larger buffers.
    pub fn zeroed(gpu: &Gpu, label: &str, layout: &Arc<Layout>) -> Result<Self, Error> {
        let buffers = (0..layout.buffers())
            .map(|index| Buffer::storage(gpu, label, layout.buffer_elements(index)).map(Arc::new))
            .collect::<Result<_, _>>()?;
        Ok(Self { layout: layout.clone(), buffers })
    }

    pub(super) fn foreign(gpu: &Gpu, layout: &Arc<Layout>, raw: Vec<wgpu::Buffer>) -> Self {
        let buffers = (0..)
            .zip(raw)
            .map(|(index, raw)| Arc::new(Buffer::foreign(gpu, raw, layout.buffer_elements(index))))
            .collect();
        Self { layout: layout.clone(), buffers }
    }

    /// The same values for a layout with additional groups at its end, whose values are zero. Buffers that
    /// keep their length are shared; for the one that grows, a copy is recorded.
    pub(crate) fn grown(
        &self,
        recorder: &mut Recorder<'_>,
        label: &str,
        layout: &Arc<Layout>,
    ) -> Result<Self, Error> {
        let grow = |index: usize| {
            let len = layout.buffer_elements(index);
            match self.buffers.get(index) {
                Some(same) if self.layout.buffer_elements(index) == len => Ok(same.clone()),
                before => {
                    let buffer = Buffer::storage(recorder.gpu(), label, len)?;
                    if let Some(before) = before {
                        let bytes = self.layout.buffer_elements(index) as u64 * 4;
                        recorder.copy(before.raw(), 0, buffer.raw(), 0, bytes);
                    }
                    Ok(Arc::new(buffer))
                }
            }
        };
        let buffers = (0..layout.buffers()).map(grow).collect::<Result<_, Error>>()?;
        Ok(Self { layout: layout.clone(), buffers })
    }

    /// The positions of the tensors.
    pub fn layout(&self) -> &Arc<Layout> {
        &self.layout
    }

    /// The buffers in order.
    pub fn buffers(&self) -> &[Arc<Buffer<f32>>] {
        &self.buffers
    }

    /// A window as a region to bind.
    pub(crate) fn window(&self, window: &Window) -> Region<'_> {
        self.buffers[window.buffer].region_of(window.offset, window.len)
    }

    /// A whole tensor as a region to bind, with the zero padding after it (up to a multiple of 64 elements)
    /// if the binding limit allows.
    ///
    /// # Errors
    /// [`Error::Limit`] with the tensor, its size in bytes and the limit if it cannot be bound as one region;
    /// [`Error::Mismatch`] for a span of another layout.
    pub fn region_of(&self, span: &Span) -> Result<Region<'_>, Error> {
        self.check(span)?;
        let (buffer, offset) = self.layout.whole(span)?;
        let most = usize::try_from(self.layout.limits().binding_bytes / 4).unwrap_or(usize::MAX);
        Ok(self.buffers[buffer].region_of(offset, span.padded_len().min(most)))
    }

    /// Writes one tensor. The write takes effect before the next submit.
    pub(crate) fn write(&self, gpu: &Gpu, span: &Span, data: &[f32]) -> Result<(), Error> {
        self.check(span)?;
        check_len(&span.name, span.len, data.len())?;
        for piece in self.layout.pieces(span.first, span.len) {
            self.buffers[piece.buffer].write(gpu, piece.offset, &data[piece.part])?;
        }
        Ok(())
    }

    /// Waits for the device and reads one tensor.
    ///
    /// # Errors
    /// [`Error::Mismatch`] for a span of another layout; [`Error::DeviceLost`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn read(&self, gpu: &Gpu, span: &Span) -> Result<Vec<f32>, Error> {
        gpu.block_on(self.read_async(gpu, span))
    }

    /// Like [`Flat::read`], without blocking.
    ///
    /// # Errors
    /// As [`Flat::read`].
    pub async fn read_async(&self, gpu: &Gpu, span: &Span) -> Result<Vec<f32>, Error> {
        self.check(span)?;
        self.read_range(gpu, span.first, span.len).await
    }

    /// Waits for the device and reads all elements in order of the layout, including padding.
    ///
    /// # Errors
    /// [`Error::DeviceLost`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn read_all(&self, gpu: &Gpu) -> Result<Vec<f32>, Error> {
        gpu.block_on(self.read_all_async(gpu))
    }

    /// Like [`Flat::read_all`], without blocking.
    ///
    /// # Errors
    /// As [`Flat::read_all`].
    pub async fn read_all_async(&self, gpu: &Gpu) -> Result<Vec<f32>, Error> {
        self.read_range(gpu, 0, self.layout.len()).await
    }

    fn check(&self, span: &Span) -> Result<(), Error> {
        if self.layout.span(&span.name)? == span {
            return Ok(());
        }
        Err(Error::Mismatch(format!("{}: this span belongs to another layout", span.name)))
    }

    async fn read_range(&self, gpu: &Gpu, first: usize, len: usize) -> Result<Vec<f32>, Error> {
        let mut all = Vec::new();
        for piece in self.layout.pieces(first, len) {
            let part = self.buffers[piece.buffer].read_async(gpu, piece.offset, piece.part.len());
            all.extend(part.await?);
        }
        Ok(all)
    }

    /// Writes all tensors, and zeros to the padding, in one upload per buffer. Each tensor needs as many
    /// values as its span has elements.
    pub(crate) fn write_all<'d>(
        &self,
        gpu: &Gpu,
        data: impl Fn(usize) -> Option<&'d [f32]>,
    ) -> Result<(), Error> {
        const ZEROS: [u8; 4096] = [0; 4096];
        for (index, buffer) in self.buffers.iter().enumerate() {
            let bytes = self.layout.buffer_elements(index) * 4;
            gpu.write_with(buffer.raw(), 0, bytes as u64, |view| {
                let mut at = 0;
                let zero_until = |view: &mut wgpu::QueueWriteBufferView, at: &mut usize, end: usize| {
                    while *at < end {
                        let part = (end - *at).min(ZEROS.len());
                        view.slice(*at..*at + part).copy_from_slice(&ZEROS[..part]);
                        *at += part;
                    }
                };
                for (number, span) in self.layout.spans().iter().enumerate() {
                    let Some(data) = data(number) else { continue };
                    for piece in self.layout.pieces(span.first, span.len).filter(|p| p.buffer == index) {
                        zero_until(view, &mut at, piece.offset * 4);
                        let source: &[u8] = bytemuck::cast_slice(&data[piece.part]);
                        view.slice(at..at + source.len()).copy_from_slice(source);
                        at += source.len();
                    }
                }
                zero_until(view, &mut at, bytes);
            })?;
        }
        Ok(())
    }

    /// Records a bitwise swap of ranges of elements with another `Flat` of the same layout, through a
    /// temporary buffer.
    pub(crate) fn record_swap(
        &self,
        recorder: &mut Recorder<'_>,
        other: &Self,
        ranges: &[Range<usize>],
        between: &Buffer<f32>,
    ) {
        for piece in ranges.iter().flat_map(|range| self.layout.pieces(range.start, range.len())) {
            let (this, that) = (self.buffers[piece.buffer].raw(), other.buffers[piece.buffer].raw());
            let end = piece.offset + piece.part.len();
            for first in (piece.offset..end).step_by(between.len()) {
                let bytes = (end - first).min(between.len()) as u64 * 4;
                let at = first as u64 * 4;
                recorder.copy(this, at, between.raw(), 0, bytes);
                recorder.copy(that, at, this, at, bytes);
                recorder.copy(between.raw(), 0, that, at, bytes);
            }
        }
    }

    /// Records a copy of all elements from another `Flat` of the same layout.
    pub(crate) fn record_copy(&self, recorder: &mut Recorder<'_>, from: &Self) {
        for (index, (from, to)) in from.buffers.iter().zip(&self.buffers).enumerate() {
            let bytes = self.layout.buffer_elements(index) as u64 * 4;
            recorder.copy(from.raw(), 0, to.raw(), 0, bytes);
        }
    }

    /// Records that one tensor is set to zero.
    pub(super) fn record_zero_span(&self, recorder: &mut Recorder<'_>, span: &Span) {
        for piece in self.layout.pieces(span.first, span.len) {
            let bytes = [piece.offset, piece.part.len()].map(|elements| elements as u64 * 4);
            recorder.clear(self.buffers[piece.buffer].raw(), bytes[0], bytes[1]);
        }
    }

    /// Records that all elements are set to zero.
    pub(super) fn record_zero(&self, recorder: &mut Recorder<'_>) {
        for (index, buffer) in self.buffers.iter().enumerate() {
            recorder.clear(buffer.raw(), 0, self.layout.buffer_elements(index) as u64 * 4);
        }
    }
}

pub(super) fn check_len(what: &str, expected: usize, got: usize) -> Result<(), Error> {
    if expected == got {
        return Ok(());
    }
    Err(Error::Length { what: what.into(), expected, got })
}
