//! Values of a slot in codes of 8 bits.

use std::sync::Arc;

use super::blocks::{Blocks, Stretch, WORDS};
use crate::Error;
use crate::gpu::{Buffer, Gpu, Recorder, Region};
use crate::layout::Layout;
use crate::optim::rule::SlotBits;
use crate::optim::rule::dynamic8::Code;

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
        let ranges = &blocks.ranges;
        let windows = (0..ranges.counts.len())
            .map(|window| Buffer::storage(gpu, label, ranges.words(window)).map(Arc::new));
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
        let ranges = &blocks.ranges;
        let grow = |(window, count): (usize, &usize)| {
            let before = self.windows.get(window).map(|before| (before, self.blocks.ranges.counts[window]));
            if let Some((same, _)) = before.filter(|(_, earlier)| earlier == count) {
                return Ok(same.clone());
            }
            let buffer = Buffer::storage(recorder.gpu(), label, ranges.words(window))?;
            if let Some((before, earlier)) = before {
                // Codes, and the scales behind them.
                let (from, to) = ((earlier * WORDS) as u64 * 4, (count * WORDS) as u64 * 4);
                recorder.copy(before.raw(), 0, buffer.raw(), 0, from);
                recorder.copy(before.raw(), from, buffer.raw(), to, earlier as u64 * 4);
            }
            Ok(Arc::new(buffer))
        };
        let windows = ranges.counts.iter().enumerate().map(grow).collect::<Result<Vec<_>, Error>>()?;
        let all = Self { layout: layout.clone(), blocks: blocks.clone(), code: self.code, windows };
        // It lands before the copies do, which write other words.
        for stretch in ranges.stretches[self.layout.spans().len()..].iter().flatten().filter(|new| !new.plain)
        {
            let zeros = vec![self.zero_word(); stretch.blocks() * WORDS];
            all.windows[stretch.window].write(recorder.gpu(), stretch.first_block * WORDS, &zeros)?;
        }
        Ok(all)
    }

    /// Four codes of zero.
    fn zero_word(&self) -> u32 {
        u32::from_le_bytes([self.code.zero(); 4])
    }

    /// The word of a block's scale.
    fn scale(&self, window: usize, block: usize) -> usize {
        self.blocks.ranges.counts[window] * WORDS + block
    }

    pub(crate) fn stays_plain(&self, tensor: usize) -> bool {
        self.blocks.ranges.stays_plain(tensor)
    }

    /// The buffers that hold it.
    pub(crate) fn raw(&self) -> impl Iterator<Item = &wgpu::Buffer> {
        self.windows.iter().map(|buffer| buffer.raw())
    }

    pub(crate) fn window(&self, window: usize) -> Region<'_> {
        self.windows[window].region()
    }

    /// Waits for the device and reads everything.
    pub(crate) async fn read(&self, gpu: &Gpu) -> Result<Words, Error> {
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
                for (part, block) in stretch.each() {
                    let own = &words[block * WORDS..(block + 1) * WORDS];
                    let values = if stretch.plain {
                        own[..part.len()].iter().map(|word| f32::from_bits(*word)).collect()
                    } else {
                        let scale = f32::from_bits(words[self.scale(stretch.window, block)]);
                        self.code.decode(&codes_of(own, part.len()), scale)
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
            let words = &words[stretch.window];
            for (part, block) in stretch.each() {
                codes.extend(codes_of(&words[block * WORDS..(block + 1) * WORDS], part.len()));
                scales.push(f32::from_bits(words[self.scale(stretch.window, block)]));
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
        let mut all: Words = self.windows.iter().map(|window| vec![0; window.len()]).collect();
        for (words, blocks) in all.iter_mut().zip(&self.blocks.ranges.counts) {
            words[..blocks * WORDS].fill(self.zero_word());
        }
        for (tensor, stretches) in self.blocks.ranges.stretches.iter().enumerate() {
            let (data, mut number) = (data(tensor), 0);
            for stretch in stretches {
                for (part, block) in stretch.each() {
                    let words = &mut all[stretch.window];
                    let own = &mut words[block * WORDS..(block + 1) * WORDS];
                    let scale = match (bits(tensor), data) {
                        (Some(SlotBits::Int8 { codes, scales, .. }), _) if !stretch.plain => {
                            self.put(own, &codes[part]);
                            scales[number]
                        }
                        (_, data) => self.put_values(own, stretch, data.map(|data| &data[part])),
                    };
                    words[self.scale(stretch.window, block)] = scale.to_bits();
                    number += 1;
                }
            }
        }
        for (window, words) in self.windows.iter().zip(&all).filter(|(_, words)| !words.is_empty()) {
            window.write(gpu, 0, words)?;
        }
        Ok(())
    }

    /// Fills the words of a block that are zero before; returns its scale.
    fn put_values(&self, own: &mut [u32], stretch: &Stretch, values: Option<&[f32]>) -> f32 {
        if stretch.plain {
            own.fill(0);
            for (word, value) in own.iter_mut().zip(values.unwrap_or_default()) {
                *word = value.to_bits();
            }
            return 0.0;
        }
        let (codes, scale) = self.code.encode(values.unwrap_or_default());
        self.put(own, &codes);
        scale
    }

    /// Codes four a word, with those of zero behind the last.
    fn put(&self, own: &mut [u32], codes: &[u8]) {
        for (word, codes) in own.iter_mut().zip(codes.chunks(4)) {
            let mut four = [self.code.zero(); 4];
            four[..codes.len()].copy_from_slice(codes);
            *word = u32::from_le_bytes(four);
        }
    }

    /// Gives all elements of one tensor the same value.
    pub(crate) fn fill(&self, gpu: &Gpu, tensor: usize, value: f32) -> Result<(), Error> {
        for stretch in &self.blocks.ranges.stretches[tensor] {
            let mut words = vec![self.zero_word(); stretch.blocks() * WORDS];
            let mut scales = Vec::with_capacity(stretch.blocks());
            for ((part, _), own) in stretch.each().zip(words.chunks_mut(WORDS)) {
                scales.push(self.put_values(own, stretch, Some(&vec![value; part.len()])));
            }
            let window = &self.windows[stretch.window];
            window.write(gpu, stretch.first_block * WORDS, &words)?;
            let scales: Vec<u32> = scales.into_iter().map(f32::to_bits).collect();
            window.write(gpu, self.scale(stretch.window, stretch.first_block), &scales)?;
        }
        Ok(())
    }
}

fn codes_of(words: &[u32], len: usize) -> Vec<u8> {
    words[..len.div_ceil(4)].iter().flat_map(|word| word.to_le_bytes()).take(len).collect()
}
