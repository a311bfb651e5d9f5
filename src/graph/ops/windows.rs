//! Sliding windows over an image, shared by all poolings.

use std::ops::Range;

use super::check_window;
use super::split::{RUN, even_tile, is_long};
use crate::Error;
use crate::gpu::uniform;
use crate::graph::shape::{image, u};

/// Parameters of the windows: `[vertical, horizontal]`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Windows {
    pub(crate) kernel: [usize; 2],
    pub(crate) stride: [usize; 2],
    pub(crate) padding: [usize; 2],
    pub(crate) dilation: [usize; 2],
    pub(crate) ceil_mode: bool,
}

impl Windows {
    /// The output shape of a pooling, or an error that names `layer`.
    pub(super) fn infer(&self, layer: &str, input: &[usize]) -> Result<Vec<usize>, Error> {
        let [n, c, height, width] = image(layer, input)?;
        let Self { kernel, stride, padding, dilation, .. } = *self;
        check_window(layer, "kernel", kernel, 1)?;
        check_window(layer, "stride", stride, 1)?;
        check_window(layer, "dilation", dilation, 1)?;
        let reach = self.reach();
        for axis in 0..2 {
            if padding[axis] > reach[axis] / 2 {
                let what = if dilation[axis] == 1 { "kernel" } else { "dilated kernel" };
                let allowed = format!("at most half the {what} of {}", reach[axis]);
                return Err(Error::constant(format!("{layer}: padding"), allowed, padding[axis]));
            }
        }
        match (self.count(0, height), self.count(1, width)) {
            (Some(rows), Some(columns)) => Ok(vec![n, c, rows, columns]),
            _ => {
                let least = [0, 1].map(|axis| reach[axis].saturating_sub(self.beyond(axis)));
                let expected = format!("an image of at least {}x{} with its padding", least[0], least[1]);
                Err(Error::Shape { layer: layer.into(), expected, got: input.to_vec() })
            }
        }
    }

    /// Extent of a dilated window.
    fn reach(&self) -> [usize; 2] {
        [0, 1].map(|axis| self.dilation[axis] * (self.kernel[axis] - 1) + 1)
    }

    /// How far the last window can extend past the padding.
    fn beyond(&self, axis: usize) -> usize {
        if self.ceil_mode { self.stride[axis] - 1 } else { 0 }
    }

    /// Number of windows along an axis of `len` elements.
    fn count(&self, axis: usize, len: usize) -> Option<usize> {
        let (stride, padding) = (self.stride[axis], self.padding[axis]);
        let count = (len + 2 * padding + self.beyond(axis)).checked_sub(self.reach()[axis])? / stride + 1;
        // The last window must start in the image or in the padding before it.
        Some(if (count - 1) * stride >= len + padding { count - 1 } else { count })
    }

    /// The first window along an axis of `len` elements that contains none of them; a dilated window can skip a small
    /// image.
    pub(super) fn empty(&self, axis: usize, len: usize) -> Option<usize> {
        let (padding, dilation) = (self.padding[axis], self.dilation[axis]);
        let before = (0..).map(|window| padding.saturating_sub(window * self.stride[axis]));
        let mut before = before.take_while(|before| *before > 0);
        before.position(|before| before.next_multiple_of(dilation) - before >= len)
    }

    /// Whether the windows cover each element of the input exactly once.
    pub(super) fn tile(&self, input: &[usize]) -> bool {
        let whole = (0..2).all(|axis| input[2 + axis].is_multiple_of(self.kernel[axis]));
        whole && self.stride == self.kernel && self.padding == [0, 0] && self.dilation == [1, 1]
    }

    /// The loops of a kernel over each window. A window contains at most as many elements of an axis as `input` has.
    pub(super) fn loops(&self, input: &[usize]) -> Loops {
        let needed = [0, 1].map(|axis| self.kernel[axis].min(input[2 + axis].div_ceil(self.dilation[axis])));
        Loops::new(self.kernel, needed, RUN)
    }

    /// The loops of a kernel over the windows that contain an element. `output` is the output shape of the pooling.
    pub(super) fn loops_over(&self, output: &[usize]) -> Loops {
        let reach = self.reach();
        let whole = [0, 1].map(|axis| (reach[axis] - 1 + self.stride[axis]) / self.stride[axis]);
        Loops::new(whole, [0, 1].map(|axis| whole[axis].min(output[2 + axis])), RUN)
    }

    /// The sizes as template constants, because dividing by a uniform is slow. `x` and `y` are the shapes of input
    /// and output.
    pub(super) fn constants(&self, x: &[usize], y: &[usize]) -> Vec<(&'static str, u32)> {
        [
            ("QUADS", x[1].div_ceil(4)),
            ("IN_HEIGHT", x[2]),
            ("IN_WIDTH", x[3]),
            ("HEIGHT", y[2]),
            ("WIDTH", y[3]),
            ("KERNEL_HEIGHT", self.kernel[0]),
            ("KERNEL_WIDTH", self.kernel[1]),
            ("STRIDE_Y", self.stride[0]),
            ("STRIDE_X", self.stride[1]),
            ("PADDING_Y", self.padding[0]),
            ("PADDING_X", self.padding[1]),
            ("DILATION_Y", self.dilation[0]),
            ("DILATION_X", self.dilation[1]),
        ]
        .map(|(name, n)| (name, u(n)))
        .to_vec()
    }
}

/// A part of the loops over a window, or over the windows that can contain an element.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tile {
    pub(super) rows: Range<u32>,
    pub(super) columns: Range<u32>,
}

/// How a kernel loops over rows and columns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Loops {
    /// Whether each dispatch must be told which tile it processes.
    pub(super) tiled: bool,
    /// All tiles, in row-major order: several whole rows each, or parts of one row.
    pub(super) tiles: Vec<Tile>,
}

uniform! {
    /// The uniform block of the gradient kernels of all poolings.
    pub(crate) struct GradShape {
        images: u32,
        accumulate: u32,
        first_row: u32,
        end_row: u32,
        first_column: u32,
        end_column: u32,
    }
}

impl Loops {
    /// The uniform blocks of a gradient's dispatches over `images` images: one per tile; the results are added.
    pub(super) fn gradient(&self, images: usize, accumulate: bool) -> impl Iterator<Item = GradShape> {
        self.tiles.iter().enumerate().map(move |(number, Tile { rows, columns })| GradShape {
            images: u(images),
            accumulate: u32::from(accumulate || number > 0),
            first_row: rows.start,
            end_row: rows.end,
            first_column: columns.start,
            end_column: columns.end,
        })
    }

    /// Loops over `whole` rows and columns. If they must be split into tiles of at most `run` elements, `needed` rows
    /// and columns suffice.
    fn new(whole: [usize; 2], needed: [usize; 2], run: u32) -> Self {
        let [rows, columns] = whole.map(|n| n as u64);
        if !is_long(rows * (1 + columns), 0) {
            return Self { tiled: false, tiles: vec![Tile { rows: 0..0, columns: 0..0 }] };
        }
        let [rows, columns] = needed.map(u);
        let columns_each = even_tile(columns, run);
        let rows_each = if columns_each < columns { 1 } else { even_tile(rows, (run / columns).max(1)) };
        let ranges = |len: u32, each: u32| {
            (0..len).step_by(each as usize).map(move |first| first..len.min(first + each))
        };
        let tiles = ranges(rows, rows_each).flat_map(|rows| {
            ranges(columns, columns_each).map(move |columns| Tile { rows: rows.clone(), columns })
        });
        Self { tiled: true, tiles: tiles.collect() }
    }

    /// The template constant for the kernel.
    pub(super) fn constant(&self) -> (&'static str, u32) {
        ("TILED", u32::from(self.tiled))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Windows that start before the end of the image and its padding; and the first that ends past them.
    #[test]
    fn windows_are_counted_as_they_are_placed() {
        for len in 1..12 {
            for (kernel, dilation) in (1..5).flat_map(|k| (1..4).map(move |d| (k, d))) {
                let reach = dilation * (kernel - 1) + 1;
                for (stride, padding) in (1..5).flat_map(|s| (0..=reach / 2).map(move |p| (s, p))) {
                    let windows = |ceil_mode| Windows {
                        kernel: [kernel; 2],
                        stride: [stride; 2],
                        padding: [padding; 2],
                        dilation: [dilation; 2],
                        ceil_mode,
                    };
                    let padded = len + 2 * padding;
                    let whole = (0..).take_while(|w| w * stride + reach <= padded).count();
                    let hangs = whole * stride + reach < padded + stride && whole * stride < len + padding;
                    let what = format!("{len} elements, {:?}", windows(true));
                    assert_eq!(windows(false).count(0, len), (whole > 0).then_some(whole), "{what}");
                    let count = whole + usize::from(hangs);
                    assert_eq!(windows(true).count(0, len), (count > 0).then_some(count), "{what}");
                    let holds = |w: usize| {
                        (0..kernel).any(|k| (padding..padding + len).contains(&(w * stride + k * dilation)))
                    };
                    let empty = (0..count).find(|w| !holds(*w));
                    assert_eq!(windows(true).empty(0, len).filter(|w| *w < count), empty, "{what}");
                }
            }
        }
    }
}
