//! Products of matrices, one or a batch of them: which of the kernels computes them, with which tile and grid.

mod factor;
mod gpu;
mod lanes;
mod lies;
mod listing;
mod plain;
mod tiles;

pub(super) use factor::{Factor, contract, contract_summing};
pub(crate) use listing::kernel_listings;
#[cfg(test)]
pub(crate) use listing::unchecked_examples;

use super::split::{self, Epilogue, Parts, Sum};
use super::tile::{self, Tile};
use crate::gpu::Binding::{self, Read, ReadWrite};
use crate::gpu::{Candidate, Capabilities, KernelKind, TileSize, Work, uniform};
use crate::graph::lowering::{Lowering, Operand};
use crate::graph::template::AnyLaunch;

/// Sizes of `output = left * right` for each matrix of a batch, with a bias if there is one; distances are in elements.
///
/// A matrix in which a dimension has the distance 1 is zero from the end of that dimension to the next multiple of 4,
/// unless the other distance is no multiple of 4.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Product {
    rows: u32,
    columns: u32,
    inner: u32,
    /// Where the first left matrix, right matrix and output begin.
    offsets: [u32; 3],
    /// From a row of the left matrix to the next, and along the inner dimension.
    left: [u32; 2],
    /// Along the inner dimension of the right matrix, and from a column to the next.
    right: [u32; 2],
    /// From a row of the output to the next.
    out_row: u32,
    /// Elements of a row that are written: those behind the columns are set to zero.
    out_width: u32,
    /// Axes of the batch, the innermost first.
    batch: Vec<BatchAxis>,
    /// Axes over which products are added, the innermost first.
    repeats: Vec<RepeatAxis>,
    /// Whether a row of numbers is added to each row.
    has_bias: bool,
}

/// An axis of a batch: its extent, and distances in the left matrices, the right ones and the outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct BatchAxis {
    extent: u32,
    strides: [u32; 3],
}

/// An axis over which products are added: its extent, and distances in the left and the right matrices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct RepeatAxis {
    extent: u32,
    strides: [u32; 2],
}

impl Product {
    fn batches(&self) -> u32 {
        self.batch.iter().map(|axis| axis.extent).product()
    }

    /// Products that are added for each matrix of the output.
    fn added(&self) -> u32 {
        self.repeats.iter().map(|axis| axis.extent).product()
    }

    /// Elements of the output, if its rows lie one behind the other from the start of the buffer on.
    fn len_if_packed(&self) -> Option<u32> {
        let mut len = self.rows * self.out_width;
        let rows_are = self.rows == 1 || self.out_row == self.out_width;
        let batch_is = self.batch.iter().all(|axis| {
            let follows = axis.strides[2] == len;
            len *= axis.extent;
            follows
        });
        (self.offsets[2] == 0 && rows_are && batch_is).then_some(len)
    }

    /// The uniform block of a kernel that counts the distances of left matrix, right matrix and output in so many elements.
    fn shape(&self, [left, right, out]: [u32; 3], parts: Parts, first_part: u32, accumulate: bool) -> Shape {
        Shape {
            rows: self.rows,
            columns: self.columns,
            inner: self.inner,
            left_offset: self.offsets[0] / left,
            left_row: self.left[0] / left,
            left_inner: self.left[1] / left,
            right_offset: self.offsets[1] / right,
            right_inner: self.right[0] / right,
            right_column: self.right[1] / right,
            out_offset: self.offsets[2] / out,
            out_row: self.out_row / out,
            out_width: self.out_width / out,
            run: parts.run,
            first_part,
            part_len: self.part_len() / out,
            has_bias: u32::from(self.has_bias),
            accumulate: u32::from(accumulate),
            ..Shape::default()
        }
    }

    /// Two operations for each product that is added, and the elements of both factors and of the output, with so many
    /// bindings; those of an axis along which a factor is broadcast count once.
    fn work(&self, bindings: usize) -> Work {
        let [rows, columns, inner] = [self.rows, self.columns, self.inner].map(|n| n as usize);
        let along = |extent: u32, stride: u32| if stride == 0 { 1 } else { extent as usize };
        let factor = |side: usize, matrix: usize| {
            let batch = self.batch.iter().map(|axis| along(axis.extent, axis.strides[side]));
            let repeats = self.repeats.iter().map(|axis| along(axis.extent, axis.strides[side]));
            matrix * batch.chain(repeats).product::<usize>()
        };
        let batches = self.batches() as usize;
        let [left, right] = [factor(0, rows * inner), factor(1, inner * columns)];
        let mut touched = vec![Some(left), Some(right), Some(batches * rows * self.out_width as usize)];
        if bindings > touched.len() {
            // Of the buffer that is bound for want of a bias nothing is read.
            touched.insert(2, Some(if self.has_bias { columns } else { 0 }));
        }
        let added = u64::from(self.batches()) * u64::from(self.added());
        Work::of_flops(2 * added * (rows * columns) as u64 * inner as u64).touching(touched)
    }

    /// From one part of the sum to the next.
    fn part_len(&self) -> u32 {
        (self.batches() * self.rows * self.out_width).next_multiple_of(4)
    }

    /// The constants of `shaders/shared/product.wgsl` and those by which batches and repeats are counted: all that is
    /// computed without batches and repeats has the same ones.
    fn constants(&self, units: [u32; 3], batch_tiles: u32, steps: u32) -> Vec<(&'static str, u32)> {
        let mut constants = vec![("BATCH_AXES", count(&self.batch)), ("REPEAT_AXES", count(&self.repeats))];
        constants.push(("BATCH_TILES", if self.batch.is_empty() { 1 } else { batch_tiles }));
        constants.push(("STEPS", if self.repeats.is_empty() { 1 } else { steps }));
        for (names, axis) in BATCH_NAMES.iter().zip(&self.batch) {
            let [left, right, out] = [0, 1, 2].map(|which| axis.strides[which] / units[which]);
            constants.extend(names.iter().copied().zip([axis.extent, left, right, out]));
        }
        for (names, axis) in REPEAT_NAMES.iter().zip(&self.repeats) {
            let [left, right] = [0, 1].map(|which| axis.strides[which] / units[which]);
            constants.extend(names.iter().copied().zip([axis.extent, left, right]));
        }
        constants
    }
}

fn count<T>(axes: &[T]) -> u32 {
    assert!(axes.len() <= MAX_AXES, "a batch has at most {MAX_AXES} axes");
    u32::try_from(axes.len()).expect("axes are few")
}

/// Axes that a product can have beside its matrices, none of which are in one run with others.
pub(super) const MAX_AXES: usize = 6;

macro_rules! names {
    ($($number:literal)*) => {
        /// Names of constants for each axis of a batch: its extent and its distances.
        const BATCH_NAMES: [[&str; 4]; MAX_AXES] = [$([
            concat!("BATCH_", $number),
            concat!("BATCH_LEFT_", $number),
            concat!("BATCH_RIGHT_", $number),
            concat!("BATCH_OUT_", $number),
        ]),*];
        /// As for a batch, of an axis over which products are added.
        const REPEAT_NAMES: [[&str; 3]; MAX_AXES] = [$([
            concat!("REPEAT_", $number),
            concat!("REPEAT_LEFT_", $number),
            concat!("REPEAT_RIGHT_", $number),
        ]),*];
    };
}
names!(0 1 2 3 4 5);

uniform! {
    struct Shape {
        rows: u32,
        columns: u32,
        inner: u32,
        steps: u32,
        left_offset: u32,
        left_row: u32,
        left_inner: u32,
        right_offset: u32,
        right_inner: u32,
        right_column: u32,
        out_offset: u32,
        out_row: u32,
        out_width: u32,
        line_tiles: u32,
        tiles: u32,
        grid_width: u32,
        run: u32,
        first_part: u32,
        part_len: u32,
        has_bias: u32,
        accumulate: u32,
    }
}

/// A kernel that computes products.
struct Way {
    /// Bindings behind the uniform block: left, right, perhaps a bias (or right again), output.
    storage: &'static [Binding],
    /// How the inner dimension with all repeats is split, in what the kernel counts.
    parts: fn(&Product, &Capabilities) -> Parts,
    kernel: Kernel,
}

impl Way {
    /// Bindings of kernels for GPUs.
    const GPU_STORAGE: &'static [Binding] = &[Read, Read, Read, ReadWrite];

    /// Lanes that share the inner dimension.
    const LANES: Self =
        Self { storage: Self::GPU_STORAGE, parts: lanes::parts, kernel: Kernel::Of(lanes::launch) };

    /// Tiles of this size in workgroup memory.
    const fn tiled(tile: Tile) -> Self {
        Self { storage: Self::GPU_STORAGE, parts: gpu::parts, kernel: Kernel::Tiled(tile) }
    }

    /// The same for each size, by its number.
    const TILED: [Self; TileSize::ALL.len()] = {
        const fn of(number: usize) -> Way {
            Way::tiled(Tile::of(TileSize::ALL[number]))
        }
        [of(0), of(1), of(2), of(3), of(4), of(5)]
    };
}

enum Kernel {
    /// A dispatch of these parts, from one on, that perhaps adds to what is there.
    Of(fn(&Product, Parts, u32, bool) -> AnyLaunch),
    /// The same in tiles of this size.
    Tiled(Tile),
}

impl Kernel {
    fn launch(
        &self,
        product: &Product,
        offered: &Capabilities,
        parts: Parts,
        (first_part, accumulate): (u32, bool),
    ) -> AnyLaunch {
        match self {
            Self::Of(launch) => launch(product, parts, first_part, accumulate),
            Self::Tiled(tile) => tile.launch(gpu::products(product), offered, |tile| {
                gpu::launch(product, tile, parts, first_part, accumulate)
            }),
        }
    }
}

/// The fastest first.
const CANDIDATES: &[Candidate<Product, Way>] = &[
    Candidate {
        kind: KernelKind::CpuSubgroup8,
        fits: |product, _| tiles::fits_nt(product),
        way: Way {
            storage: &[Read, Read, Read, ReadWrite],
            parts: tiles::quads,
            kernel: Kernel::Of(tiles::nt),
        },
    },
    Candidate {
        kind: KernelKind::CpuSubgroup8,
        fits: |product, _| tiles::fits_nn(product),
        way: Way { storage: &[Read, Read, ReadWrite], parts: tiles::quads, kernel: Kernel::Of(tiles::nn) },
    },
    Candidate {
        kind: KernelKind::CpuSubgroup8,
        fits: |product, _| tiles::fits_tn(product),
        way: Way { storage: &[Read, Read, ReadWrite], parts: tiles::elements, kernel: Kernel::Of(tiles::tn) },
    },
    Candidate { kind: KernelKind::Gpu, fits: lanes::fits, way: Way::LANES },
    Candidate { kind: KernelKind::Gpu, fits: gpu::fits_large, way: Way::tiled(tile::LARGE) },
    Candidate {
        kind: KernelKind::Gpu,
        fits: |product, offered| gpu::fits_long(product, &tile::TALL, offered),
        way: Way::tiled(tile::TALL),
    },
    Candidate {
        kind: KernelKind::Gpu,
        fits: |product, offered| gpu::fits_long(product, &tile::WIDE, offered),
        way: Way::tiled(tile::WIDE),
    },
    Candidate { kind: KernelKind::Gpu, fits: gpu::fits_medium, way: Way::tiled(tile::MEDIUM) },
    Candidate { kind: KernelKind::Gpu, fits: gpu::fits_small, way: Way::tiled(tile::SMALL) },
    Candidate {
        kind: KernelKind::Plain,
        fits: |_, _| true,
        way: Way {
            storage: &[Read, Read, Read, ReadWrite],
            parts: plain::elements,
            kernel: Kernel::Of(plain::launch),
        },
    },
];

/// A dispatch that also writes the sums of the left matrix over the inner dimension, or adds them.
type Summing = fn(&Product, bool, bool) -> AnyLaunch;

/// Products with the sums of their left matrix, the fastest first; where none fits, the sums are a dispatch of their own.
/// Bindings: left, right, output, sums.
const SUMMING: &[Candidate<Product, Summing>] = &[Candidate {
    kind: KernelKind::CpuSubgroup8,
    fits: |product, _| tiles::fits_tn_summing(product),
    way: tiles::tn_summing,
}];

/// What is to be copied of a product whose left factor, right factor and output have so many elements.
type Copying = fn(&Product, [u64; 3]) -> Option<tiles::Copies>;

/// Products that are faster where factors that lie otherwise are copied before.
const COPYING: &[Candidate<Product, Copying>] =
    &[Candidate { kind: KernelKind::CpuSubgroup8, fits: |_, _| true, way: tiles::copies }];

/// Buffers of a product.
#[derive(Clone, Copy, Debug)]
struct Operands {
    left: Operand,
    right: Operand,
    bias: Option<Operand>,
    output: Operand,
}

/// The way to compute a product, and whether it takes more than one part.
fn way(lowering: &Lowering, product: &Product) -> (&'static Way, bool) {
    let mut way = Candidate::choose(CANDIDATES, product, &lowering.capabilities);
    if let (Kernel::Tiled(_), Some(size)) = (&way.kernel, lowering.capabilities.trial.tile) {
        const TILED: &[Way] = &Way::TILED;
        way = &TILED[size as usize];
    }
    (way, (way.parts)(product, &lowering.capabilities).count > 1)
}

/// Emits a product in one dispatch, or in as many as a long inner dimension takes: then the output must be packed.
fn emit(lowering: &mut Lowering, layer: &str, product: &Product, operands: Operands, epilogue: Epilogue) {
    let (way, _) = way(lowering, product);
    let Operands { left, right, bias, output } = operands;
    // A binding needs a buffer even where there is no bias to read.
    let bound = match way.storage.len() {
        3 => vec![left, right, output],
        _ => vec![left, right, bias.unwrap_or(right), output],
    };
    let len = product.batches() * product.rows * product.out_width;
    let offered = lowering.capabilities;
    let parts = (way.parts)(product, &offered);
    lowering.next_does(product.work(bound.len()));
    let sum = Sum { parts: parts.count, len: len as usize, epilogue };
    split::emit(lowering, layer, (way.storage, &bound), sum, |first, accumulate| {
        way.kernel.launch(product, &offered, parts, (first, accumulate))
    });
}

#[cfg(test)]
mod tests;
