use std::ops::Range;
use std::sync::Arc;

use super::{Extent, Slot};
use crate::Error;
use crate::gpu::{Buffer, Gpu, Recorder, Region};
use crate::layout::{Layout, Window};
use crate::params::Flat;

/// The values of a slot on the device.
#[derive(Debug)]
pub(super) enum Kept {
    /// For each element.
    Elements(Flat),
    /// For each tensor, in order of the layout.
    Tensors(Buffer<f32>),
}

impl Kept {
    /// Zero everywhere.
    pub(super) fn new(gpu: &Gpu, slot: &Slot, layout: &Arc<Layout>) -> Result<Self, Error> {
        Ok(match slot.extent {
            Extent::Element => Self::Elements(Flat::zeroed(gpu, &slot.name, layout)?),
            Extent::Tensor => Self::Tensors(Buffer::storage(gpu, &slot.name, layout.spans().len())?),
        })
    }

    /// The same values over a layout that has more tensors behind its own; a copy is recorded.
    pub(super) fn grown(
        &self,
        recorder: &mut Recorder<'_>,
        slot: &Slot,
        layout: &Arc<Layout>,
    ) -> Result<Self, Error> {
        Ok(match self {
            Self::Elements(flat) => Self::Elements(flat.grown(recorder, &slot.name, layout)?),
            Self::Tensors(buffer) => {
                let more = Buffer::storage(recorder.gpu(), &slot.name, layout.spans().len())?;
                recorder.copy(buffer.raw(), 0, more.raw(), 0, buffer.len() as u64 * 4);
                Self::Tensors(more)
            }
        })
    }

    /// What a kernel over a window binds.
    pub(super) fn region(&self, window: &Window) -> Region<'_> {
        match self {
            Self::Elements(flat) => flat.window(window),
            Self::Tensors(buffer) => buffer.region(),
        }
    }

    /// Where a tensor's values lie in what is read.
    pub(super) fn place(&self, layout: &Layout, tensor: usize) -> Range<usize> {
        match self {
            Self::Elements(_) => {
                let span = &layout.spans()[tensor];
                span.first..span.first + span.len
            }
            Self::Tensors(_) => tensor..tensor + 1,
        }
    }

    /// Waits for the device and reads everything.
    pub(super) fn read(&self, gpu: &Gpu) -> Result<Vec<f32>, Error> {
        match self {
            Self::Elements(flat) => flat.read_all(gpu),
            Self::Tensors(buffer) => buffer.read(gpu, 0, buffer.len()),
        }
    }

    /// As [`Kept::read`], without blocking.
    pub(super) async fn read_async(&self, gpu: &Gpu) -> Result<Vec<f32>, Error> {
        match self {
            Self::Elements(flat) => flat.read_all_async(gpu).await,
            Self::Tensors(buffer) => buffer.read_async(gpu, 0, buffer.len()).await,
        }
    }

    /// Writes everything, zeros where there is nothing.
    pub(super) fn write_all<'d>(
        &self,
        gpu: &Gpu,
        data: impl Fn(usize) -> Option<&'d [f32]>,
    ) -> Result<(), Error> {
        match self {
            Self::Elements(flat) => flat.write_all(gpu, data),
            Self::Tensors(buffer) => {
                let all: Vec<f32> =
                    (0..buffer.len()).map(|tensor| data(tensor).map_or(0.0, |values| values[0])).collect();
                buffer.write(gpu, 0, &all)
            }
        }
    }

    /// Gives all values of one tensor the same value.
    pub(super) fn fill(&self, gpu: &Gpu, layout: &Layout, tensor: usize, value: f32) -> Result<(), Error> {
        match self {
            Self::Elements(flat) => {
                let span = &layout.spans()[tensor];
                flat.write(gpu, span, &vec![value; span.len])
            }
            Self::Tensors(buffer) => buffer.write(gpu, tensor, &[value]),
        }
    }
}
