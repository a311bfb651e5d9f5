//! Values of a slot in bf16.

use std::sync::Arc;

use half::bf16;

use crate::Error;
use crate::gpu::{Buffer, Gpu, Recorder, Region};
use crate::layout::{Layout, Window};

/// A bf16 for each element of a layout, two a word, with zeros in padding.
#[derive(Debug)]
pub(crate) struct Halves {
    layout: Arc<Layout>,
    buffers: Vec<Arc<Buffer<u32>>>,
}

/// As the nearest bf16, ties to even.
pub(crate) fn nearest(value: f32) -> u16 {
    bf16::from_f32(value).to_bits()
}

impl Halves {
    /// Zero everywhere.
    pub(crate) fn zeroed(gpu: &Gpu, label: &str, layout: &Arc<Layout>) -> Result<Self, Error> {
        let buffers = (0..layout.buffers())
            .map(|index| Buffer::storage(gpu, label, layout.buffer_elements(index) / 2).map(Arc::new))
            .collect::<Result<_, _>>()?;
        Ok(Self { layout: layout.clone(), buffers })
    }

    /// As [`Flat::grown`](crate::params::Flat).
    pub(crate) fn grown(
        &self,
        recorder: &mut Recorder<'_>,
        label: &str,
        layout: &Arc<Layout>,
    ) -> Result<Self, Error> {
        let grow = |index: usize| {
            let words = layout.buffer_elements(index) / 2;
            grown(recorder, label, self.buffers.get(index), words)
        };
        let buffers = (0..layout.buffers()).map(grow).collect::<Result<_, Error>>()?;
        Ok(Self { layout: layout.clone(), buffers })
    }

    /// The buffers that hold it.
    pub(crate) fn raw(&self) -> impl Iterator<Item = &wgpu::Buffer> {
        self.buffers.iter().map(|buffer| buffer.raw())
    }

    pub(crate) fn window(&self, window: &Window) -> Region<'_> {
        self.buffers[window.buffer].region_of(window.offset / 2, window.len / 2)
    }

    /// Waits for the device and reads everything, padding included.
    pub(crate) async fn read(&self, gpu: &Gpu) -> Result<Vec<f32>, Error> {
        let mut all = Vec::with_capacity(self.layout.len());
        for buffer in &self.buffers {
            all.extend(opened(&buffer.read_async(gpu, 0, buffer.len()).await?));
        }
        Ok(all)
    }

    /// Writes everything, each value as the nearest, zeros where there is nothing.
    pub(crate) fn write_all<'d>(
        &self,
        gpu: &Gpu,
        data: impl Fn(usize) -> Option<&'d [f32]>,
    ) -> Result<(), Error> {
        for (index, buffer) in self.buffers.iter().enumerate() {
            let mut all = vec![0_u16; self.layout.buffer_elements(index)];
            for (number, span) in self.layout.spans().iter().enumerate() {
                let Some(data) = data(number) else { continue };
                for piece in self.layout.pieces(span.first, span.len).filter(|piece| piece.buffer == index) {
                    for (half, value) in all[piece.offset..].iter_mut().zip(&data[piece.part]) {
                        *half = nearest(*value);
                    }
                }
            }
            buffer.write(gpu, 0, &words_of(&all))?;
        }
        Ok(())
    }

    /// Gives all elements of one tensor the same value.
    pub(crate) fn fill(&self, gpu: &Gpu, tensor: usize, value: f32) -> Result<(), Error> {
        let span = &self.layout.spans()[tensor];
        for piece in self.layout.pieces(span.first, span.len) {
            // Behind an odd end lies padding.
            self.buffers[piece.buffer].write(
                gpu,
                piece.offset / 2,
                &words_of(&vec![nearest(value); piece.part.len()]),
            )?;
        }
        Ok(())
    }
}

fn opened(words: &[u32]) -> impl Iterator<Item = f32> {
    bits_of(words).map(|bits| bf16::from_bits(bits).to_f32())
}

#[expect(clippy::cast_possible_truncation, reason = "halves of a word")]
fn bits_of(words: &[u32]) -> impl Iterator<Item = u16> {
    words.iter().flat_map(|word| [*word as u16, (word >> 16) as u16])
}

fn words_of(halves: &[u16]) -> Vec<u32> {
    let word = |pair: &[u16]| u32::from(pair[0]) | u32::from(pair.get(1).copied().unwrap_or(0)) << 16;
    halves.chunks(2).map(word).collect()
}

/// A buffer of so many words that begins with what is in another one; the same one if it is as long.
fn grown(
    recorder: &mut Recorder<'_>,
    label: &str,
    before: Option<&Arc<Buffer<u32>>>,
    words: usize,
) -> Result<Arc<Buffer<u32>>, Error> {
    match before {
        Some(same) if same.len() == words => Ok(same.clone()),
        _ => {
            let buffer = Buffer::storage(recorder.gpu(), label, words)?;
            if let Some(before) = before {
                recorder.copy(before.raw(), 0, buffer.raw(), 0, before.len() as u64 * 4);
            }
            Ok(Arc::new(buffer))
        }
    }
}
