//! How tensors are cut into blocks whose codes of 8 bits share a scale.
//!
//! A block is a part of one tensor in one window: up to 256 elements, counted from the tensor's first one and from where
//! a window cuts it, or 64 elements of a tensor that is too small for codes and stays f32. Each takes 64 words of a window of a
//! slot, in order: codes or values. Behind all of these each has one word more, for its scale.

use std::ops::Range;

use super::block_kernel::BlockKernel;
use crate::Error;
use crate::gpu::{Buffer, Gpu};
use crate::layout::Layout;
use crate::optim::layerwise::tiles::{RowRanges, filled};
use crate::optim::rule::precision::BLOCK;

/// Elements of a block of a tensor that stays f32.
const PLAIN: usize = 64;
/// Words of a block, without its scale.
pub(crate) const WORDS: usize = 64;
/// Blocks for which the table has an entry: the most steps that a search takes, as in blocks.wgsl.
pub(crate) const STRIDE: usize = 16;

/// What a window has of a tensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stretch {
    pub(crate) window: usize,
    /// Blocks before it in the window.
    pub(crate) first_block: usize,
    /// Its first element in the window.
    pub(crate) first: usize,
    /// Its elements, counted in the tensor.
    pub(crate) part: Range<usize>,
    /// Whether it stays f32.
    pub(crate) plain: bool,
}

impl Stretch {
    fn in_a_block(&self) -> usize {
        if self.plain { PLAIN } else { BLOCK }
    }

    pub(crate) fn blocks(&self) -> usize {
        self.part.len().div_ceil(self.in_a_block())
    }

    /// The elements of each block, counted in the tensor, and its number in the window.
    pub(crate) fn each(&self) -> impl Iterator<Item = (Range<usize>, usize)> {
        let Range { start, end } = self.part;
        let (size, first) = (self.in_a_block(), self.first_block);
        (start..end).step_by(size).zip(first..).map(move |(at, block)| (at..end.min(at + size), block))
    }
}

/// The blocks of a layout, on the host.
#[derive(Debug)]
pub(crate) struct BlockRanges {
    /// Of each tensor.
    pub(crate) stretches: Vec<Vec<Stretch>>,
    /// Of each window.
    pub(crate) counts: Vec<usize>,
    /// Blocks of a workgroup.
    pub(crate) in_a_workgroup: usize,
    /// Blocks before each window.
    firsts: Vec<usize>,
    rows: RowRanges,
}

impl BlockRanges {
    /// With codes for tensors of `least` elements and more.
    fn new(layout: &Layout, least: usize, in_a_workgroup: usize) -> Self {
        let (stretches, counts, rows) = cut(layout, least);
        let before = |sum: &mut usize, count: &usize| Some(std::mem::replace(sum, *sum + count));
        let firsts = counts.iter().scan(0, before).collect();
        Self { stretches, counts, in_a_workgroup, firsts, rows }
    }

    /// The blocks of some tensors, by window.
    pub(crate) fn of(&self, tensors: Range<usize>) -> impl Iterator<Item = (usize, Range<usize>)> {
        let firsts = &self.firsts;
        let in_window = |(window, range): (usize, Range<usize>)| {
            (window, range.start - firsts[window]..range.end - firsts[window])
        };
        self.rows.of(tensors).map(in_window)
    }

    /// Whether a tensor stays f32.
    pub(crate) fn stays_plain(&self, tensor: usize) -> bool {
        self.stretches[tensor].first().is_none_or(|stretch| stretch.plain)
    }

    /// Whether some tensor stays f32.
    pub(crate) fn has_plain(&self) -> bool {
        self.stretches.iter().flatten().any(|stretch| stretch.plain)
    }

    /// Words of a window: whole vectors of four, as some kernels read it.
    pub(crate) fn words(&self, window: usize) -> usize {
        ((WORDS + 1) * self.counts[window]).next_multiple_of(4)
    }

    /// Elements at which windows cut a tensor.
    pub(crate) fn cuts(&self, tensor: usize) -> Vec<usize> {
        self.stretches[tensor].iter().skip(1).map(|stretch| stretch.part.start).collect()
    }
}

/// The blocks of a layout, and what kernels find them with.
#[derive(Debug)]
pub(crate) struct Blocks {
    pub(crate) ranges: BlockRanges,
    /// Of each window.
    pub(crate) tables: Vec<Buffer<u32>>,
}

impl Blocks {
    /// As [`BlockRanges::new`].
    pub(crate) fn new(gpu: &Gpu, layout: &Layout, least: usize) -> Result<Self, Error> {
        let ranges = BlockRanges::new(layout, least, BlockKernel::of(gpu.capabilities()).blocks);
        let tables = tables(&ranges.stretches, ranges.counts.len());
        let tables =
            tables.iter().map(|table| filled(gpu, "table of blocks", table)).collect::<Result<_, _>>()?;
        Ok(Self { ranges, tables })
    }
}

fn cut(layout: &Layout, least: usize) -> (Vec<Vec<Stretch>>, Vec<usize>, RowRanges) {
    let mut counts = vec![0; layout.windows().count()];
    let (mut all, mut of, mut total) = (Vec::new(), RowRanges::default(), 0);
    for span in layout.spans() {
        of.begin_tensor(total);
        let mut stretches = Vec::new();
        let mut at = 0;
        while at < span.len {
            let element = span.first + at;
            let window = layout.window_of(element);
            let first = element - window * layout.window_len();
            let len = (span.len - at).min(layout.window_len() - first);
            of.begin_window(window, total);
            let stretch = Stretch {
                window,
                first_block: counts[window],
                first,
                part: at..at + len,
                plain: span.len < least,
            };
            counts[window] += stretch.blocks();
            total += stretch.blocks();
            at += len;
            stretches.push(stretch);
        }
        all.push(stretches);
    }
    of.begin_window(counts.len().saturating_sub(1), total);
    of.end(total);
    (all, counts, of)
}

/// As blocks.wgsl reads it, in vectors of four: the word of the first scale, of every 16th block the stretch, and the
/// stretches, with one behind the last.
fn tables(stretches: &[Vec<Stretch>], windows: usize) -> Vec<Vec<u32>> {
    let of_window = |window: usize| {
        let own: Vec<&Stretch> =
            stretches.iter().flatten().filter(|stretch| stretch.window == window).collect();
        let blocks: usize = own.iter().map(|stretch| stretch.blocks()).sum();
        let start = 1 + blocks.div_ceil(4 * STRIDE);
        let mut table = vec![count(WORDS * blocks), 0, 0, 0];
        let mut at = 0;
        for block in (0..blocks).step_by(STRIDE) {
            while own.get(at + 1).is_some_and(|next| next.first_block <= block) {
                at += 1;
            }
            table.push(count(start + at));
        }
        table.resize(4 * start, 0);
        for stretch in &own {
            let fields =
                [stretch.first_block, stretch.first / 4, stretch.part.len(), usize::from(stretch.plain)];
            table.extend(fields.map(count));
        }
        table.extend([u32::MAX; 4]);
        table
    };
    (0..windows).map(of_window).collect()
}

fn count(n: usize) -> u32 {
    u32::try_from(n).expect("what a window holds is counted in 32 bits")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::{GroupSpec, Limits};

    fn layout() -> Layout {
        let groups = [
            GroupSpec::new("a").tensor("w", [40_000]).tensor("x", [70]).tensor("none", [0, 3]),
            GroupSpec::new("b").tensor("y", [1, 300]).tensor("z", [20_000]),
        ];
        Layout::new(&groups, Limits { binding_bytes: 65_536, buffer_bytes: 1 << 20 }).unwrap()
    }

    #[test]
    fn every_element_is_in_one_block_of_its_tensor_and_window() {
        let layout = layout();
        for least in [1, 256, 4096] {
            let (stretches, counts, of) = cut(&layout, least);
            let mut words = counts.iter().map(|count| vec![false; count * WORDS]).collect::<Vec<_>>();
            for (span, stretches) in layout.spans().iter().zip(&stretches) {
                let mut next = 0;
                for stretch in stretches {
                    assert_eq!(stretch.plain, span.len < least);
                    let window = (span.first + stretch.part.start) / layout.window_len();
                    assert_eq!(stretch.window, window);
                    assert_eq!(stretch.first, span.first + stretch.part.start - window * layout.window_len());
                    for (part, word) in stretch.each() {
                        assert_eq!(part.start, next);
                        next = part.end;
                        let own = &mut words[window][word * WORDS..(word + 1) * WORDS];
                        assert!(own.iter().all(|taken| !taken));
                        own.fill(true);
                    }
                }
                assert_eq!(next, span.len, "{}", span.name);
            }
            assert!(words.iter().flatten().all(|taken| *taken));
            let total: usize = counts.iter().sum();
            assert_eq!(of.of(0..stretches.len()).map(|(_, range)| range.len()).sum::<usize>(), total);
        }
    }

    #[test]
    fn tables_lead_to_the_stretch_of_each_block() {
        let (stretches, counts, _) = cut(&layout(), 4096);
        for (window, table) in tables(&stretches, counts.len()).iter().enumerate() {
            let table: Vec<usize> = table.iter().map(|word| *word as usize).collect();
            for stretch in stretches.iter().flatten().filter(|stretch| stretch.window == window) {
                for block in stretch.first_block..stretch.first_block + stretch.blocks() {
                    let (mut at, mut trips) = (table[4 + block / STRIDE], 0);
                    while table[4 * (at + 1)] <= block {
                        (at, trips) = (at + 1, trips + 1);
                    }
                    assert!(trips < STRIDE);
                    let found = &table[4 * at..4 * at + 3];
                    assert_eq!(found, [stretch.first_block, stretch.first / 4, stretch.part.len()]);
                }
            }
        }
    }
}
