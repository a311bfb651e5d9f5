//! Memory layouts of the matrices of a product. The kernels for GPUs have separate WGSL for each.

use super::Product;
use crate::graph::ops::tile::Staging;

/// The layout of a factor or of the output. It determines which WGSL reads or writes it, and the unit of its
/// distances.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Lies {
    /// Quads along the edge of the tile, stored as `vec4`s.
    Quads,
    /// Quads along the inner dimension, stored as `vec4`s.
    Blocks,
    /// Any other layout in which neighbours in memory are neighbours along the inner dimension.
    Gathered,
    /// Any other layout.
    Elements,
}

impl Lies {
    /// The unit of distances, in elements.
    pub(super) fn unit(self) -> u32 {
        match self {
            Self::Quads | Self::Blocks => 4,
            Self::Gathered | Self::Elements => 1,
        }
    }

    pub(super) fn staging(self) -> Staging {
        match self {
            Self::Quads | Self::Elements => Staging::Quads,
            Self::Blocks => Staging::Blocks,
            Self::Gathered => Staging::Gathered,
        }
    }

    /// All combinations of layouts of left matrix, right matrix and output. For tests.
    pub(super) fn all() -> impl Iterator<Item = [Self; 3]> {
        const FACTOR: [Lies; 4] = [Lies::Quads, Lies::Blocks, Lies::Gathered, Lies::Elements];
        let factors = FACTOR.into_iter().flat_map(|left| FACTOR.map(|right| [left, right]));
        factors.flat_map(|[left, right]| [Self::Quads, Self::Elements].map(|out| [left, right, out]))
    }

    /// The layout of a factor with these distances along the edge of the tile and along the inner dimension. `others`
    /// are the distances between matrices, and the offset in the buffer.
    fn of(product: &Product, [edge, inner]: [u32; 2], others: impl Iterator<Item = u32>) -> Self {
        let are_quads = others.into_iter().all(|distance| distance.is_multiple_of(4));
        let steps_are_quads = product.repeats.is_empty() || product.inner.is_multiple_of(4);
        match (edge, inner) {
            (1, inner) if inner.is_multiple_of(4) && are_quads => Self::Quads,
            (edge, 1) if edge.is_multiple_of(4) && are_quads && steps_are_quads => Self::Blocks,
            (edge, inner) if inner < edge => Self::Gathered,
            _ => Self::Elements,
        }
    }
}

/// The layouts of left matrix, right matrix and output.
pub(super) fn lies(product: &Product) -> [Lies; 3] {
    let others = |which: usize| {
        let batch = product.batch.iter().map(move |axis| axis.strides[which]);
        let repeats = product.repeats.iter().filter_map(move |axis| axis.strides.get(which).copied());
        batch.chain(repeats).chain([product.offsets[which]])
    };
    let rows_are_quads = product.rows == 1 || product.out_row.is_multiple_of(4);
    let output_is = rows_are_quads && product.out_width.is_multiple_of(4);
    [
        Lies::of(product, product.left, others(0)),
        Lies::of(product, [product.right[1], product.right[0]], others(1)),
        if output_is && others(2).all(|distance| distance.is_multiple_of(4)) {
            Lies::Quads
        } else {
            Lies::Elements
        },
    ]
}
