//! How the matrices of a product lie in memory, for kernels of GPUs, which have a text for each way.

use super::Product;
use crate::graph::ops::tile::Staging;

/// How a factor lies, or the output: which of the texts reads or writes it, and in what it counts distances.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Lies {
    /// Quads along the edge of the tile, which are vec4s in memory.
    Quads,
    /// Quads along the inner dimension, which are vec4s in memory.
    Blocks,
    /// In any other way; neighbours in memory are neighbours along the inner dimension.
    Gathered,
    /// In any other way.
    Elements,
}

impl Lies {
    /// Elements of what distances are counted in.
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

    /// Each way in which left matrix, right matrix and output can lie, for tests.
    pub(super) fn all() -> impl Iterator<Item = [Self; 3]> {
        const FACTOR: [Lies; 4] = [Lies::Quads, Lies::Blocks, Lies::Gathered, Lies::Elements];
        let factors = FACTOR.into_iter().flat_map(|left| FACTOR.map(|right| [left, right]));
        factors.flat_map(|[left, right]| [Self::Quads, Self::Elements].map(|out| [left, right, out]))
    }

    /// How a factor lies whose distances along the edge of the tile and along the inner dimension are these; `others` are
    /// those from matrix to matrix and from the start of the buffer.
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

/// How left matrix, right matrix and output lie.
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
