//! Products of matrices: which of the kernels computes one, with which tile and grid.

mod plain;
mod tiles;

use super::split::{self, Parts, Sum};
use crate::gpu::Binding::{self, Read, ReadWrite};
use crate::gpu::{Candidate, KernelKind};
use crate::graph::lower::{Lowering, Operand};
use crate::graph::template::AnyLaunch;

/// Sizes of `output = left * right`, with a bias if there is one; distances are in elements.
///
/// A matrix along whose rows the inner dimension runs is zero from its end to the next multiple of 4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Product {
    pub(super) rows: u32,
    pub(super) columns: u32,
    pub(super) inner: u32,
    /// From a row of the left matrix to the next, and along the inner dimension.
    pub(super) left: [u32; 2],
    /// Along the inner dimension of the right matrix, and from a column to the next.
    pub(super) right: [u32; 2],
    /// From a row of the output to the next; what lies behind the columns is set to zero.
    pub(super) out_row: u32,
    /// Whether a row of numbers is added to each row.
    pub(super) has_bias: bool,
}

/// A kernel that computes products.
struct Way {
    /// Bindings behind the uniform block: left, right, perhaps a bias (or right again), output.
    storage: &'static [Binding],
    /// How the inner dimension is split, in what the kernel counts.
    parts: fn(&Product) -> Parts,
    /// A dispatch from a part on.
    launch: fn(&Product, u32, bool) -> AnyLaunch,
}

/// The fastest first.
const CANDIDATES: &[Candidate<Product, Way>] = &[
    Candidate {
        kind: KernelKind::CpuSubgroup8,
        fits: |product, _| tiles::fits_nt(product),
        way: Way { storage: &[Read, Read, Read, ReadWrite], parts: tiles::quads, launch: tiles::nt },
    },
    Candidate {
        kind: KernelKind::CpuSubgroup8,
        fits: |product, _| tiles::fits_nn(product),
        way: Way { storage: &[Read, Read, ReadWrite], parts: tiles::quads, launch: tiles::nn },
    },
    Candidate {
        kind: KernelKind::CpuSubgroup8,
        fits: |product, _| tiles::fits_tn(product),
        way: Way { storage: &[Read, Read, ReadWrite], parts: plain::elements, launch: tiles::tn },
    },
    Candidate {
        kind: KernelKind::Plain,
        fits: |_, _| true,
        way: Way { storage: &[Read, Read, Read, ReadWrite], parts: plain::elements, launch: plain::launch },
    },
];

/// What a product is computed of, and where it goes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Operands {
    pub(super) left: Operand,
    pub(super) right: Operand,
    pub(super) bias: Option<Operand>,
    pub(super) output: Operand,
}

/// Emits a product in one dispatch, or in as many as a long inner dimension takes; `sum` says all but the parts.
pub(super) fn emit(lowering: &mut Lowering, layer: &str, product: &Product, operands: Operands, sum: Sum) {
    let way = Candidate::choose(CANDIDATES, product, &lowering.capabilities);
    let Operands { left, right, bias, output } = operands;
    // A binding needs a buffer even where there is no bias to read.
    let bound = match way.storage.len() {
        3 => vec![left, right, output],
        _ => vec![left, right, bias.unwrap_or(right), output],
    };
    let sum = Sum { parts: (way.parts)(product).count, ..sum };
    split::emit(lowering, layer, (way.storage, &bound), sum, |first, accumulate| {
        (way.launch)(product, first, accumulate)
    });
}
