//! Values of a slot in fewer bits than an f32 has.

use std::sync::Arc;

use half::bf16;

use super::blocks::{Blocks, Stretch, WORDS};
use crate::Error;
use crate::gpu::{Buffer, Gpu, Recorder, Region};
use crate::layout::{Layout, Window};
use crate::optim::rule::SlotBits;
use crate::optim::rule::dynamic8::Code;

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

    pub(crate) fn window(&self, window: &Window) -> Region<'_> {
        self.buffers[window.buffer].region_of(window.offset / 2, window.len / 2)
    }

    /// Waits for the device and reads everything, padding included.
    pub(crate) fn read(&self, gpu: &Gpu) -> Result<Vec<f32>, Error> {
        let mut all = Vec::with_capacity(self.layout.len());
        for buffer in &self.buffers {
            all.extend(opened(&buffer.read(gpu, 0, buffer.len())?));
        }
        Ok(all)
    }

    /// As [`Halves::read`], without blocking.
    pub(crate) async fn read_async(&self, gpu: &Gpu) -> Result<Vec<f32>, Error> {
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

/// A code of 8 bits for each element of a layout, as its blocks say, and f32 for what they leave so.
#[derive(Debug)]
pub(crate) struct Codes {
    layout: Arc<Layout>,
    blocks: Arc<Blocks>,
    code: Code,
    windows: Vec<Arc<Buffer<u32>>>,
}

/// All words of the windows, as they were read.
pub(crate) type Words = Vec<Vec<u32>>;

impl Codes {
    /// Zero everywhere.
    pub(crate) fn zeroed(
        gpu: &Gpu,
        label: &str,
        layout: &Arc<Layout>,
        blocks: &Arc<Blocks>,
        code: Code,
    ) -> Result<Self, Error> {
        let windows =
            blocks.ranges.counts.iter().map(|count| Buffer::storage(gpu, label, count * WORDS).map(Arc::new));
        let windows = windows.collect::<Result<_, _>>()?;
        let codes = Self { layout: layout.clone(), blocks: blocks.clone(), code, windows };
        if code.zero() != 0 {
            codes.write_all(gpu, |_| None, |_| None)?;
        }
        Ok(codes)
    }

    /// The same over a layout that has more tensors behind its own; a copy is recorded.
    pub(crate) fn grown(
        &self,
        recorder: &mut Recorder<'_>,
        label: &str,
        layout: &Arc<Layout>,
        blocks: &Arc<Blocks>,
    ) -> Result<Self, Error> {
        let windows = (0..).zip(&blocks.ranges.counts);
        let windows =
            windows.map(|(window, count)| grown(recorder, label, self.windows.get(window), count * WORDS));
        let windows = windows.collect::<Result<Vec<_>, Error>>()?;
        let all = Self { layout: layout.clone(), blocks: blocks.clone(), code: self.code, windows };
        // It lands before the copies do, which write other words.
        for stretch in
            blocks.ranges.stretches[self.layout.spans().len()..].iter().flatten().filter(|new| !new.plain)
        {
            let zeros = all.zeros(stretch.blocks() * WORDS);
            all.windows[stretch.window].write(recorder.gpu(), stretch.first_block * WORDS, &zeros)?;
        }
        Ok(all)
    }

    /// Words of blocks in codes that are zeros.
    fn zeros(&self, words: usize) -> Vec<u32> {
        let zero = u32::from_le_bytes([self.code.zero(); 4]);
        (0..words).map(|word| if word % WORDS == WORDS - 1 { 0 } else { zero }).collect()
    }

    pub(crate) fn stays_plain(&self, tensor: usize) -> bool {
        self.blocks.ranges.stays_plain(tensor)
    }

    pub(crate) fn window(&self, window: usize) -> Region<'_> {
        self.windows[window].region()
    }

    /// Waits for the device and reads everything.
    pub(crate) fn read(&self, gpu: &Gpu) -> Result<Words, Error> {
        self.windows.iter().map(|window| window.read(gpu, 0, window.len())).collect()
    }

    /// As [`Codes::read`], without blocking.
    pub(crate) async fn read_async(&self, gpu: &Gpu) -> Result<Words, Error> {
        let mut all = Words::new();
        for window in &self.windows {
            all.push(window.read_async(gpu, 0, window.len()).await?);
        }
        Ok(all)
    }

    /// What was read as f32, in the places of a flat space with padding.
    pub(crate) fn opened(&self, words: &Words) -> Vec<f32> {
        let mut all = vec![0.0; self.layout.len()];
        for (span, stretches) in self.layout.spans().iter().zip(&self.blocks.ranges.stretches) {
            for stretch in stretches {
                let words = &words[stretch.window];
                for (part, word) in stretch.each() {
                    let own = &words[word..word + WORDS];
                    let values = if stretch.plain {
                        own[..part.len()].iter().map(|word| f32::from_bits(*word)).collect()
                    } else {
                        self.code.decode(&codes_of(own, part.len()), f32::from_bits(own[WORDS - 1]))
                    };
                    all[span.first + part.start..span.first + part.end].copy_from_slice(&values);
                }
            }
        }
        all
    }

    /// The exact bits of a tensor in codes.
    pub(crate) fn bits(&self, words: &Words, tensor: usize) -> Option<SlotBits> {
        if self.blocks.ranges.stays_plain(tensor) {
            return None;
        }
        let (mut codes, mut scales) = (Vec::new(), Vec::new());
        for stretch in &self.blocks.ranges.stretches[tensor] {
            for (part, word) in stretch.each() {
                let own = &words[stretch.window][word..word + WORDS];
                codes.extend(codes_of(own, part.len()));
                scales.push(f32::from_bits(own[WORDS - 1]));
            }
        }
        let (signed, cuts) = (self.code == Code::Signed, self.blocks.ranges.cuts(tensor));
        Some(SlotBits::Int8 { signed, cuts, codes, scales })
    }

    /// Whether bits of a tensor can be taken over as they are.
    pub(crate) fn takes(&self, tensor: usize, bits: &SlotBits) -> bool {
        matches!(bits, SlotBits::Int8 { signed, cuts, .. }
            if *signed == (self.code == Code::Signed) && *cuts == self.blocks.ranges.cuts(tensor) && !self.stays_plain(tensor))
    }

    /// Writes everything: the exact bits of a tensor, or its values as the nearest codes, or zeros.
    pub(crate) fn write_all<'d>(
        &self,
        gpu: &Gpu,
        data: impl Fn(usize) -> Option<&'d [f32]>,
        bits: impl Fn(usize) -> Option<&'d SlotBits>,
    ) -> Result<(), Error> {
        let mut all: Words = self.windows.iter().map(|window| self.zeros(window.len())).collect();
        for (tensor, stretches) in self.blocks.ranges.stretches.iter().enumerate() {
            let (data, mut block) = (data(tensor), 0);
            for stretch in stretches {
                for (part, word) in stretch.each() {
                    let own = &mut all[stretch.window][word..word + WORDS];
                    match (bits(tensor), data) {
                        (Some(SlotBits::Int8 { codes, scales, .. }), _) if !stretch.plain => {
                            self.put(own, &codes[part], scales[block]);
                        }
                        (_, data) => self.put_values(own, stretch, data.map(|data| &data[part])),
                    }
                    block += 1;
                }
            }
        }
        for (window, words) in self.windows.iter().zip(&all).filter(|(_, words)| !words.is_empty()) {
            window.write(gpu, 0, words)?;
        }
        Ok(())
    }

    fn put_values(&self, own: &mut [u32], stretch: &Stretch, values: Option<&[f32]>) {
        match values {
            Some(values) if stretch.plain => {
                own.fill(0);
                for (word, value) in own.iter_mut().zip(values) {
                    *word = value.to_bits();
                }
            }
            Some(values) => {
                let (codes, scale) = self.code.encode(values);
                self.put(own, &codes, scale);
            }
            None if stretch.plain => own.fill(0),
            None => {}
        }
    }

    /// Codes four a word, with those of zero behind the last.
    fn put(&self, own: &mut [u32], codes: &[u8], scale: f32) {
        for (word, codes) in own.iter_mut().zip(codes.chunks(4)) {
            let mut four = [self.code.zero(); 4];
            four[..codes.len()].copy_from_slice(codes);
            *word = u32::from_le_bytes(four);
        }
        own[WORDS - 1] = scale.to_bits();
    }

    /// Gives all elements of one tensor the same value.
    pub(crate) fn fill(&self, gpu: &Gpu, tensor: usize, value: f32) -> Result<(), Error> {
        for stretch in &self.blocks.ranges.stretches[tensor] {
            let mut words = self.zeros(stretch.blocks() * WORDS);
            for ((part, _), own) in stretch.each().zip(words.chunks_mut(WORDS)) {
                self.put_values(own, stretch, Some(&vec![value; part.len()]));
            }
            self.windows[stretch.window].write(gpu, stretch.first_block * WORDS, &words)?;
        }
        Ok(())
    }
}

fn codes_of(words: &[u32], len: usize) -> Vec<u8> {
    words[..len.div_ceil(4)].iter().flat_map(|word| word.to_le_bytes()).take(len).collect()
}
