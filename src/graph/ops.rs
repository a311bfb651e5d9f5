//! The operations, one file each, with their forward and backward passes.

mod accuracy;
mod adaptive_avg_pool2d;
mod area;
mod attention;
mod augment;
mod avg_pool2d;
mod bias;
mod class_weights;
mod column_sum;
mod concat;
mod conv2d;
mod cross_entropy;
mod custom;
mod detach;
mod dims;
mod embedding;
mod expand;
mod flatten;
mod function;
mod input;
mod layout;
mod linear;
mod lines;
mod matmul;
mod max_pool2d;
mod nll;
mod norm;
mod pad;
mod part;
mod permute;
pub(crate) mod product;
mod ratio;
mod recurrent;
mod reduce;
mod reshape;
mod slice;
mod softmax;
mod split;
mod sum;
mod tile;
mod upsample;
mod windows;

use std::fmt::Debug;

pub(crate) use adaptive_avg_pool2d::AdaptiveAvgPool2d;
pub(crate) use attention::Attention;
pub(crate) use augment::{Augment, Erase, EraseArea};
pub(crate) use avg_pool2d::AvgPool2d;
pub(crate) use class_weights::ClassWeights;
pub(crate) use conv2d::{Conv2d, ConvTranspose2d, Padding, check_groups};
pub(crate) use cross_entropy::{CrossEntropy, LabelWeights};
pub(crate) use custom::Custom;
pub(crate) use embedding::Embedding;
pub(crate) use function::{Call, Slope};
pub(crate) use input::{Input, Tensor, receive};
pub(crate) use layout::dense_from_rows;
pub(crate) use linear::Linear;
pub(crate) use max_pool2d::MaxPool2d;
pub(crate) use nll::Nll;
pub(crate) use norm::{Batch, Norm, Over, Tensors};
pub(crate) use ratio::Ratio;
pub(crate) use recurrent::{Cell, LAST_CELL, LAST_STATE, Recurrent};
pub use slice::SplitSizes;
pub(crate) use upsample::{Target as UpsampleTarget, Upsample};
pub(crate) use windows::Windows;

pub(crate) use super::fold::reduce_to;
pub(crate) use super::lowering::autocast::Cast;
use super::lowering::elementwise::{self, Program, Target};
use super::lowering::{Lowering, Operand, source};
use super::samples::{Samples, SamplesOf};
use super::shape::{Matrix, u};
use super::view::View;
pub(crate) use super::whole::Joins;
use crate::Error;
use crate::gpu::{Binding, Capabilities, Work};

/// The layout in which an op can read an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reads {
    /// Packed, with the last axis innermost.
    Natural,
    /// Packed, with the channels (axis 1) innermost.
    ChannelsLast,
    /// Packed, in the order of axes of the op's own result.
    AsMade,
    /// Packed, in the input's own order of axes.
    AsIs,
    /// Any strides: the op takes the view.
    Strided,
}

/// An op whose kernel can end with a fused chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Anchor {
    /// Number of storage buffers that its kernel binds.
    pub(crate) buffers: usize,
    /// Number of elements per call of `finish`.
    pub(crate) lanes: usize,
}

/// The order of axes of an op's result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Made {
    /// The last axis innermost.
    Natural,
    /// The channels (axis 1) innermost.
    ChannelsLast,
    /// The order of its inputs of the same rank: channels last if one of them is. An op without inputs uses the order
    /// that its readers prefer.
    AsInputs,
}

/// An operation of the graph: its shape rule and the dispatches of its two passes.
pub(crate) trait Op: Debug + Send + Sync {
    /// Its name in snake case, as in the API.
    fn kind(&self) -> &'static str;

    /// The shape of the result, or an error that names `layer`.
    fn infer(&self, layer: &str, inputs: &[&[usize]]) -> Result<Vec<usize>, Error>;

    /// Whether this input must be labels instead of f32 numbers.
    fn takes_labels(&self, input: usize) -> bool {
        let _ = input;
        false
    }

    /// Whether its result is labels.
    fn is_labels(&self) -> bool {
        false
    }

    /// How a plan with autocast stores its result.
    fn cast(&self) -> Cast {
        Cast::Single
    }

    /// The layout in which it reads an input.
    fn reads(&self, input: usize) -> Reads {
        let _ = input;
        Reads::Natural
    }

    /// The order of axes of its result.
    fn makes(&self) -> Made {
        Made::Natural
    }

    /// Shapes of its further results, besides the result of its node.
    fn parts(&self, inputs: &[&[usize]]) -> Vec<Vec<usize>> {
        let _ = inputs;
        Vec::new()
    }

    /// For an op that selects a further result of its input: the number of that result.
    fn part(&self) -> Option<usize> {
        None
    }

    /// Its pointwise function in this plan, if it is one. Such an op runs in a chain and emits nothing itself.
    fn call(&self, lowering: &Lowering, id: usize) -> Option<Call> {
        let _ = (lowering, id);
        None
    }

    /// Emits the dispatches that compute node `id`.
    fn forward(&self, lowering: &mut Lowering, id: usize) -> Result<(), Error>;

    /// Emits the dispatches that send the gradient of node `id` to its inputs and parameters.
    fn backward(&self, lowering: &mut Lowering, id: usize) -> Result<(), Error>;

    /// The position of the samples of a batch in its result, to combine scalars over many batches.
    fn samples(&self, of: &SamplesOf<'_>) -> Samples {
        match self.joins() {
            Some(joins) if of.inputs.iter().any(|(s, _)| matches!(s, Samples::Along(_))) => {
                Samples::Joined(joins)
            }
            _ => of.kept(),
        }
    }

    /// Like [`Op::samples`], for a further result, whose shape is that of `of`.
    fn samples_of_part(&self, number: usize, of: &SamplesOf<'_>) -> Samples {
        let _ = number;
        self.samples(of)
    }

    /// How it combines the samples of a batch, if it does.
    fn joins(&self) -> Option<Joins> {
        None
    }

    /// The scalar result for scalar inputs, in f64, in plans without training; `None` if the host cannot compute it.
    fn of_scalars(&self, inputs: &[f64]) -> Option<f64> {
        let _ = inputs;
        None
    }

    /// If the gradient of every element of its input is the same factor times its own gradient: that factor.
    fn spreads_evenly(&self, lowering: &Lowering, id: usize) -> Option<f32> {
        let _ = (lowering, id);
        None
    }

    /// Whether it updates running statistics in training plans.
    fn tracks_statistics(&self) -> bool {
        false
    }

    /// Whether no gradient passes through it.
    fn stops_gradient(&self) -> bool {
        false
    }

    /// Whether it is a ReLU, which can be fused into a neighbour's kernel.
    fn is_relu(&self) -> bool {
        false
    }

    /// If its forward kernel can end with a fused chain, the resources left for the chain. Such an op gets the chain
    /// from [`Lowering::finish`].
    fn anchor(&self, lowering: &Lowering, id: usize) -> Option<Anchor> {
        let _ = (lowering, id);
        None
    }

    /// Whether it is a 2x2 max pooling with stride 2 and no padding, which can be fused into its producer's kernel.
    fn halves(&self) -> bool {
        false
    }

    /// Whether, for an input of this shape, a device has a forward kernel that ends with such a pooling.
    fn takes_pool_after(&self, input: &[usize], capabilities: &Capabilities) -> bool {
        let _ = (input, capabilities);
        false
    }

    /// Whether its forward and backward kernels can start with a ReLU.
    fn takes_relu_before(&self) -> bool {
        false
    }
}

/// Invocations in a workgroup of pointwise kernels.
const WORKGROUP: usize = 64;

/// The grid of a kernel with one invocation for each of `work` items.
pub(in crate::graph) fn grid(work: usize) -> [u32; 3] {
    crate::gpu::grid(work.div_ceil(WORKGROUP))
}

/// Emits a copy, or an addition, from one value to another with a different layout.
pub(crate) fn rearrange(lowering: &mut Lowering, layer: &str, from: &View, to: &View, adds: bool) {
    let target = Target { view: to.clone(), adds };
    lowering.emit_elementwise(layer, &Program::copy(), std::slice::from_ref(from), &[target]);
}

/// Emits a kernel that writes zeros.
pub(crate) fn fill(lowering: &mut Lowering, layer: &str, of: Operand, quads: usize) {
    let wgsl = include_str!("../../shaders/ops/fill.wgsl");
    let kernel = source::<elementwise::Shape>("fill", wgsl, &[Binding::ReadWrite]);
    lowering.next_does(Work::of_quads(quads).touching([Some(4 * quads)]));
    lowering.emit(layer, kernel, grid(quads), &[of], elementwise::Shape { quads: u(quads) });
}

/// Constants for `shaders/shared/columns.wgsl`. All matrices without padding share the same ones.
fn column_constants(matrix: Matrix) -> [(&'static str, u32); 2] {
    let Matrix { columns, pitch, .. } = matrix;
    let (quads, columns) = if columns == pitch { (1, 4) } else { (pitch / 4, columns) };
    [("QUADS", u(quads)), ("COLUMNS", u(columns))]
}

/// Refuses window sizes below `least`, or so large that the kernels' integers would overflow.
fn check_window(layer: &str, what: &str, sizes: [usize; 2], least: usize) -> Result<(), Error> {
    const MOST: usize = 65_535;
    match sizes.into_iter().find(|size| !(least..=MOST).contains(size)) {
        None => Ok(()),
        Some(size) => Err(Error::constant(format!("{layer}: {what}"), format!("in [{least}, {MOST}]"), size)),
    }
}

/// Refuses inputs of different shapes.
fn same_shapes(layer: &str, inputs: &[&[usize]]) -> Result<Vec<usize>, Error> {
    match inputs.iter().find(|shape| **shape != inputs[0]) {
        None => Ok(inputs[0].to_vec()),
        Some(other) => {
            let expected = format!("{:?} for both inputs", inputs[0]);
            Err(Error::Shape { layer: layer.into(), expected, got: other.to_vec() })
        }
    }
}
