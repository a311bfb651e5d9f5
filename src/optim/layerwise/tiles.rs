use std::ops::Range;

use super::shape::ReductionShape;
use crate::Error;
use crate::gpu::{Buffer, Gpu, MAX_TRIPS};
use crate::layout::Layout;

/// The tiles of all tensors, and the offsets of their sums.
#[derive(Debug)]
pub(crate) struct ReductionTiles {
    /// Tiles of each tensor and window.
    pub(crate) ranges: RowRanges,
    /// First vector of four in the window, and number of vectors, of each tile.
    pub(crate) tiles: Buffer<[u32; 2]>,
    /// First part and number of parts of each tensor.
    pub(crate) parts_of: Buffer<[u32; 2]>,
    /// The tensor of each block of 64 elements, for each buffer of the layout.
    pub(crate) blocks: Vec<Buffer<u32>>,
    pub(crate) parts: Buffer<[f32; 2]>,
    pub(crate) ratios: Buffer<f32>,
}

impl ReductionTiles {
    pub(crate) fn new(gpu: &Gpu, layout: &Layout) -> Result<Self, Error> {
        let shape = ReductionShape::of(gpu.capabilities());
        let TileTable { of, reduction_tiles } = TileTable::new(layout, shape);
        Ok(Self {
            tiles: filled(gpu, "reduction tiles", &reduction_tiles)?,
            parts_of: filled(gpu, "parts of tensors", &of.parts(shape.parts))?,
            blocks: blocks(gpu, layout)?,
            parts: Buffer::storage(gpu, "partial sums", reduction_tiles.len() * shape.parts)?,
            ratios: filled(gpu, "ratios", &vec![1.0; layout.spans().len()])?,
            ranges: of,
        })
    }
}

/// The rows of tensors and windows in a table that follows the flat space.
#[derive(Debug, Default)]
pub(crate) struct RowRanges {
    /// The first row of each tensor, followed by the end.
    tensors: Vec<usize>,
    /// The first row of each window, followed by the end.
    windows: Vec<usize>,
}

impl RowRanges {
    pub(crate) fn begin_tensor(&mut self, rows: usize) {
        self.tensors.push(rows);
    }

    /// May be called again for each tensor in the window.
    pub(crate) fn begin_window(&mut self, window: usize, rows: usize) {
        if self.windows.len() <= window {
            self.windows.resize(window + 1, rows);
        }
    }

    pub(crate) fn end(&mut self, rows: usize) {
        self.tensors.push(rows);
        self.windows.push(rows);
    }

    /// First part and number of parts of each tensor, if each row writes `of_a_row` parts.
    pub(crate) fn parts(&self, of_a_row: usize) -> Vec<[u32; 2]> {
        let parts = |ends: &[usize]| [count(ends[0] * of_a_row), count((ends[1] - ends[0]) * of_a_row)];
        self.tensors.windows(2).map(parts).collect()
    }

    /// The rows of some tensors, by window.
    pub(crate) fn of(&self, tensors: Range<usize>) -> impl Iterator<Item = (usize, Range<usize>)> {
        let (first, end) = (self.tensors[tensors.start], self.tensors[tensors.end]);
        let cut = move |ends: &[usize]| first.max(ends[0])..end.min(ends[1]);
        self.windows.windows(2).map(cut).enumerate().filter(|(_, range)| !range.is_empty())
    }
}

pub(crate) struct TileTable {
    pub(crate) of: RowRanges,
    pub(crate) reduction_tiles: Vec<[u32; 2]>,
}

impl TileTable {
    /// Splits tensors into tiles, each within one tensor and one window. Very large tensors have larger tiles, so that
    /// one workgroup can add their sums.
    pub(crate) fn new(layout: &Layout, shape: &ReductionShape) -> Self {
        let base = 4 * shape.tile;
        let added = shape.lanes / shape.parts * (MAX_TRIPS / 4 * 3);
        let window_len = layout.window_len();
        let (mut of, mut reduction_tiles) = (RowRanges::default(), Vec::new());
        for span in layout.spans() {
            of.begin_tensor(reduction_tiles.len());
            let most = base * span.padded_len().div_ceil(base * added);
            let (mut at, end) = (span.first, span.first + span.padded_len());
            while at < end {
                let window = layout.window_of(at);
                of.begin_window(window, reduction_tiles.len());
                let next = end.min(at + most).min((window + 1) * window_len);
                reduction_tiles.push([count((at - window * window_len) / 4), count((next - at) / 4)]);
                at = next;
            }
        }
        of.end(reduction_tiles.len());
        Self { of, reduction_tiles }
    }
}

/// No block spans two tensors. Blocks between groups belong to no tensor.
fn blocks(gpu: &Gpu, layout: &Layout) -> Result<Vec<Buffer<u32>>, Error> {
    const BLOCK: usize = Layout::TENSOR_ALIGN;
    let mut tensors = vec![0; layout.len() / BLOCK];
    for (tensor, span) in (0..).zip(layout.spans()) {
        tensors[span.first / BLOCK..(span.first + span.padded_len()) / BLOCK].fill(tensor);
    }
    let mut rest = &tensors[..];
    (0..layout.buffers())
        .map(|index| {
            let (part, after) = rest.split_at(layout.buffer_elements(index) / BLOCK);
            rest = after;
            filled(gpu, "tensors of blocks", part)
        })
        .collect()
}

pub(crate) fn filled<T: bytemuck::Pod>(gpu: &Gpu, label: &str, data: &[T]) -> Result<Buffer<T>, Error> {
    let buffer = Buffer::storage(gpu, label, data.len())?;
    buffer.write(gpu, 0, data)?;
    Ok(buffer)
}

fn count(n: usize) -> u32 {
    u32::try_from(n).expect("what a window holds is counted in 32 bits")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::{GroupSpec, Limits};

    #[test]
    fn no_chunk_is_in_two_tensors_or_two_windows() {
        let groups = [
            GroupSpec::new("a").tensor("w", [40_000]).tensor("x", [70]),
            GroupSpec::new("b").tensor("y", [10]).tensor("z", [20_000]),
        ];
        let layout = Layout::new(&groups, Limits { binding_bytes: 65_536, buffer_bytes: 1 << 20 }).unwrap();
        let firsts: Vec<usize> = layout.spans().iter().map(|span| span.first).collect();
        assert_eq!(firsts, [0, 40_000, 40_192, 40_256]);
        let cut = TileTable::new(&layout, &ReductionShape { tile: 4000, lanes: 64, parts: 1, ends: &[] });
        let reduction_tiles: Vec<[u32; 2]> = [
            [[0, 4000], [4000, 96]].as_slice(),
            &[[0, 4000], [4000, 96]],
            // The rest of w, x, y and the first part of z.
            &[[0, 1808], [1808, 32], [1856, 16], [1872, 2224]],
            &[[0, 2784]],
        ]
        .concat();
        assert_eq!(cut.reduction_tiles, reduction_tiles);
        assert_eq!(cut.of.tensors, [0, 5, 6, 7, 9]);
        assert_eq!(cut.of.windows, [0, 2, 4, 8, 9]);
    }
}
