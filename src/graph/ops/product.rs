//! Matrix products, optionally batched: selects the kernel, its tile and its grid.

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

/// Sizes of `output = left * right` for each matrix of a batch, with an optional bias. Distances are in elements.
///
/// If a dimension of a matrix has distance 1, the elements from its end up to the next multiple of 4 are zero, unless
/// the other distance is not a multiple of 4.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Product {
    rows: u32,
    columns: u32,
    inner: u32,
    /// Offsets of the first left matrix, right matrix and output.
    offsets: [u32; 3],
    /// Distances between rows of the left matrix, and along the inner dimension.
    left: [u32; 2],
    /// Distances along the inner dimension of the right matrix, and between columns.
    right: [u32; 2],
    /// Distance between rows of the output.
    out_row: u32,
    /// Number of elements written per row. Those after the columns are set to zero.
    out_width: u32,
    /// Axes of the batch, innermost first.
    batch: Vec<BatchAxis>,
    /// Axes over which products are summed, innermost first.
    repeats: Vec<RepeatAxis>,
    /// Whether a bias is added to each row.
    has_bias: bool,
}

/// An axis of a batch: its extent, and distances in the left matrices, right matrices and outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct BatchAxis {
    extent: u32,
    strides: [u32; 3],
}

/// An axis over which products are summed: its extent, and distances in the left and right matrices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct RepeatAxis {
    extent: u32,
    strides: [u32; 2],
}

impl Product {
    fn batches(&self) -> u32 {
        self.batch.iter().map(|axis| axis.extent).product()
    }

    /// Number of products summed for each output matrix.
    fn added(&self) -> u32 {
        self.repeats.iter().map(|axis| axis.extent).product()
    }

    /// Number of elements of the output, if its rows are contiguous from the start of the buffer.
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

    /// The uniform block for a kernel that counts the distances of left matrix, right matrix and output in units of
    /// these numbers of elements.
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

    /// Two FLOP per multiplication and addition, and the elements of factors and output, for a kernel with `bindings`
    /// bindings. Elements that are broadcast along an axis count once.
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
            // Without a bias, the buffer bound in its place is not read.
            touched.insert(2, Some(if self.has_bias { columns } else { 0 }));
        }
        let added = u64::from(self.batches()) * u64::from(self.added());
        Work::of_flops(2 * added * (rows * columns) as u64 * inner as u64).touching(touched)
    }

    /// Distance from one part of the sum to the next.
    fn part_len(&self) -> u32 {
        (self.batches() * self.rows * self.out_width).next_multiple_of(4)
    }

    /// The constants for `shaders/shared/product.wgsl`, and for the indices of batches and repeats. They are equal
    /// for all products without batches and repeats.
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

/// Maximum number of axes of a product besides its matrices, none of which can be merged.
pub(super) const MAX_AXES: usize = 6;

macro_rules! names {
    ($($number:literal)*) => {
        /// Names of the constants for each batch axis: its extent and distances.
        const BATCH_NAMES: [[&str; 4]; MAX_AXES] = [$([
            concat!("BATCH_", $number),
            concat!("BATCH_LEFT_", $number),
            concat!("BATCH_RIGHT_", $number),
            concat!("BATCH_OUT_", $number),
        ]),*];
        /// The same for each axis over which products are summed.
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

/// One implementation of products.
struct Way {
    /// Bindings after the uniform block: left, right, optionally a bias (or right again), output.
    storage: &'static [Binding],
    /// How the inner dimension, with all repeats, is split; in the units of the kernel.
    parts: fn(&Product, &Capabilities) -> Parts,
    kernel: Kernel,
}

impl Way {
    /// Bindings of the kernels for GPUs.
    const GPU_STORAGE: &'static [Binding] = &[Read, Read, Read, ReadWrite];

    /// Lanes share the inner dimension.
    const LANES: Self =
        Self { storage: Self::GPU_STORAGE, parts: lanes::parts, kernel: Kernel::Of(lanes::launch) };

    /// Tiles of this size in workgroup memory.
    const fn tiled(tile: Tile) -> Self {
        Self { storage: Self::GPU_STORAGE, parts: gpu::parts, kernel: Kernel::Tiled(tile) }
    }

    /// One implementation for each tile size, in order.
    const TILED: [Self; TileSize::ALL.len()] = {
        const fn of(number: usize) -> Way {
            Way::tiled(Tile::of(TileSize::ALL[number]))
        }
        [of(0), of(1), of(2), of(3), of(4), of(5)]
    };
}

enum Kernel {
    /// Creates a dispatch for given parts, starting at a given one, that adds to the output or not.
    Of(fn(&Product, Parts, u32, bool) -> AnyLaunch),
    /// The same with subgroups of so many lanes.
    Broadcast(fn(&Product, u32, Parts, (u32, bool)) -> AnyLaunch),
    /// The same with tiles of this size.
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
            Self::Broadcast(launch) => launch(product, offered.lanes(), parts, (first_part, accumulate)),
            Self::Tiled(tile) => tile.launch(gpu::products(product), offered, |tile| {
                gpu::launch(product, tile, parts, first_part, accumulate)
            }),
        }
    }
}

/// The implementations, fastest first.
const CANDIDATES: &[Candidate<Product, Way>] = &[
    Candidate {
        kind: KernelKind::CpuSubgroup,
        fits: |product, _| tiles::fits_nt(product),
        way: Way {
            storage: &[Read, Read, Read, ReadWrite],
            parts: tiles::quads,
            kernel: Kernel::Broadcast(tiles::nt),
        },
    },
    Candidate {
        kind: KernelKind::CpuSubgroup,
        fits: |product, _| tiles::fits_nn(product),
        way: Way {
            storage: &[Read, Read, ReadWrite],
            parts: tiles::quads,
            kernel: Kernel::Broadcast(tiles::nn),
        },
    },
    Candidate {
        kind: KernelKind::CpuSubgroup,
        fits: |product, _| tiles::fits_tn(product),
        way: Way {
            storage: &[Read, Read, ReadWrite],
            parts: tiles::elements,
            kernel: Kernel::Broadcast(tiles::tn),
        },
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

/// A dispatch in subgroups of so many lanes that writes or adds the product, and the sums of the left matrix over the inner
/// dimension.
type Summing = fn(&Product, u32, [bool; 2]) -> AnyLaunch;

/// Products that also sum their left matrix, fastest first. If none fits, the sums are a separate dispatch. Bindings:
/// left, right, output, sums.
const SUMMING: &[Candidate<Product, Summing>] = &[Candidate {
    kind: KernelKind::CpuSubgroup,
    fits: |product, _| tiles::fits_tn_summing(product),
    way: tiles::tn_summing,
}];

/// What to copy for a product, given the numbers of elements of left factor, right factor and output.
type Copying = fn(&Product, [u64; 3]) -> Option<tiles::Copies>;

/// Products that are faster if factors are first copied to another layout.
const COPYING: &[Candidate<Product, Copying>] =
    &[Candidate { kind: KernelKind::CpuSubgroup, fits: |_, _| true, way: tiles::copies }];

/// Buffers of a product.
#[derive(Clone, Copy, Debug)]
struct Operands {
    left: Operand,
    right: Operand,
    bias: Option<Operand>,
    output: Operand,
}

/// The implementation for a product, and whether it needs several parts.
fn way(lowering: &Lowering, product: &Product) -> (&'static Way, bool) {
    let mut way = Candidate::choose(CANDIDATES, product, &lowering.capabilities);
    if let (Kernel::Tiled(_), Some(size)) = (&way.kernel, lowering.capabilities.trial.tile) {
        const TILED: &[Way] = &Way::TILED;
        way = &TILED[size as usize];
    }
    (way, (way.parts)(product, &lowering.capabilities).count > 1)
}

/// Emits a product in one dispatch, or in several if the inner dimension is long. In that case the output must be
/// packed.
fn emit(lowering: &mut Lowering, layer: &str, product: &Product, operands: Operands, epilogue: Epilogue) {
    let (way, _) = way(lowering, product);
    let Operands { left, right, bias, output } = operands;
    // A binding needs a buffer, even if there is no bias to read.
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
