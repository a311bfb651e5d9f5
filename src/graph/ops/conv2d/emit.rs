//! Emits the passes of convolutions and transposed convolutions. The forward pass of one is the input gradient of the
//! other.

use super::candidates::{FORWARD, INPUT_GRAD, Pooled, WEIGHT_GRAD, WeightGrad};
use super::geometry::Geometry;
use super::pack::{self, Packed};
use super::weight_grad::{self, Adds};
use crate::gpu::Binding::{Read, ReadWrite};
use crate::gpu::{Candidate, Work};
use crate::graph::lowering::joint::Job;
use crate::graph::lowering::{Lowering, Operand};
use crate::graph::ops::column_sum;
use crate::graph::ops::split::{self, Epilogue, Sum};
use crate::graph::shape::u;

/// Emits the output, for an input with channels last.
pub(super) fn forward(
    lowering: &mut Lowering,
    id: usize,
    geometry: &Geometry,
    [x, y]: [Operand; 2],
    (has_bias, epilogue): (bool, Epilogue),
) {
    let offered = lowering.capabilities;
    let way = Candidate::choose(FORWARD, geometry, &offered);
    let packed = pack(lowering, id, (way.pack)(geometry, &offered, has_bias));
    let [_, len] = geometry.lens();
    let (name, sum) = (lowering.name(id), Sum { parts: (way.parts)(geometry, &offered), len, epilogue });
    lowering.next_does(Work::of_flops(geometry.flops()));
    split::emit(lowering, &name, (&[Read, Read, ReadWrite], &[x, packed, y]), sum, |first, accumulate| {
        (way.launch)(geometry, &offered, first, accumulate)
    });
}

/// Emits the gradient of the input; for a transposed convolution, with its bias if it has one.
pub(super) fn input_grad(
    lowering: &mut Lowering,
    id: usize,
    geometry: &Geometry,
    [dy, dx]: [Operand; 2],
    (has_bias, accumulate): (bool, bool),
) {
    let offered = lowering.capabilities;
    let way = Candidate::choose(INPUT_GRAD, geometry, &offered);
    let packed = pack(lowering, id, (way.pack)(geometry, &offered, has_bias));
    let [len, _] = geometry.lens();
    let epilogue = Epilogue { accumulate, finish: None };
    let (name, sum) = (lowering.name(id), Sum { parts: (way.parts)(geometry, &offered), len, epilogue });
    lowering.next_does(Work::of_flops(geometry.flops()));
    split::emit(lowering, &name, (&[Read, Read, ReadWrite], &[dy, packed, dx]), sum, |first, accumulate| {
        (way.launch)(geometry, &offered, has_bias, first, accumulate)
    });
}

/// Number of channels per call of `finish` in the forward kernel.
pub(super) fn lanes(lowering: &Lowering, geometry: &Geometry) -> usize {
    (Candidate::choose(FORWARD, geometry, &lowering.capabilities).lanes)(geometry)
}

/// The inputs of the backward pass of a convolution fused with a pooling.
#[derive(Clone, Copy, Debug)]
pub(super) struct PooledGradient {
    /// The gradient of the pooled output.
    pub(super) windows: Operand,
    /// The indices of the maxima.
    pub(super) places: Operand,
}

/// Emits the input gradient of a convolution fused with a pooling.
pub(super) fn pooled_input_grad(
    lowering: &mut Lowering,
    id: usize,
    geometry: &Geometry,
    (way, dy): (&Pooled, PooledGradient),
    (dx, accumulate): (Operand, bool),
) {
    let offered = lowering.capabilities;
    let packed = pack(lowering, id, (way.pack_input_grad)(geometry, &offered, false));
    let (name, launch) = (lowering.name(id), (way.input_grad)(geometry, &offered, accumulate));
    let operands = [dy.windows, packed, dx, dy.places];
    lowering.launch(&name, &[Read, Read, ReadWrite, Read], &operands, launch);
}

/// Emits the gradient of the weight, and of the bias if the bias belongs to the output.
pub(super) fn weight_grad(
    lowering: &mut Lowering,
    id: usize,
    geometry: &Geometry,
    [x, dy]: [Operand; 2],
    (weight, bias): (usize, Option<usize>),
) {
    if lowering.is_trained(weight) {
        let way = Candidate::choose(WEIGHT_GRAD, geometry, &lowering.capabilities);
        return partials_and_finish(lowering, id, geometry, (*way, [x, dy], None), (weight, bias));
    }
    if let Some(sums) = bias.and_then(|bias| lowering.parameter_gradient(bias)) {
        let (name, matrix) = (lowering.name(id), lowering.matrix(id));
        column_sum::emit(lowering, &name, u(matrix.rows), u(matrix.columns), dy, sums);
    }
}

/// Emits the gradients of weight and bias of a convolution fused with a pooling, if the weight is trained.
pub(super) fn pooled_weight_grad(
    lowering: &mut Lowering,
    id: usize,
    geometry: &Geometry,
    (way, x, dy): (&Pooled, Operand, PooledGradient),
    parameters: (usize, Option<usize>),
) {
    let sources = (way.weight_grad, [x, dy.windows], Some(dy.places));
    partials_and_finish(lowering, id, geometry, sources, parameters);
}

/// Emits partial sums of the gradients of a weight and an optional bias, and then their sums.
fn partials_and_finish(
    lowering: &mut Lowering,
    id: usize,
    geometry: &Geometry,
    (way, [x, dy], places): (WeightGrad, [Operand; 2], Option<Operand>),
    (weight, bias): (usize, Option<usize>),
) {
    let name = lowering.name(id);
    let Some((weight, adds)) = lowering.parameter_gradient(weight) else { return };
    let offered = lowering.capabilities;
    let (_, partials) = way(geometry, &offered, 0);
    let bias = bias.and_then(|bias| lowering.parameter_gradient(bias));
    let adds = Adds { weight: adds, bias: bias.map(|(_, adds)| adds) };
    for first in (0..partials.parts).step_by(partials.at_once as usize) {
        let parts = partials.from(first);
        let job = Job {
            layer: name.clone(),
            tensors: [Some(weight), bias.map(|(bias, _)| bias)],
            fields: weight_grad::finish(geometry, &partials, first, adds),
            invocations: partials.len / 4,
            parts,
            len: parts as usize * partials.len as usize,
        };
        if first > 0 {
            // This part adds to the sums of the earlier parts, so these must be emitted first.
            lowering.emit_finishing_joints(|tensors| tensors.contains(&weight));
        }
        let partial = lowering.join(weight_grad::finish_kernel(&offered), job);
        let (launch, _) = way(geometry, &offered, first);
        let operands: Vec<Operand> = [x, dy, partial].into_iter().chain(places).collect();
        let work = Work::of_flops(geometry.flops());
        lowering.next_does(work.part(parts.into(), partials.parts.into()));
        lowering.launch(&name, &[Read, Read, ReadWrite, Read][..operands.len()], &operands, launch);
    }
}

/// Emits the weight (and the bias) in the order a kernel needs, padded with zeros.
pub(super) fn pack(lowering: &mut Lowering, id: usize, packed: Packed) -> Operand {
    let (name, parameters) = (lowering.name(id), lowering.parameters(id).to_vec());
    let weight = Operand::Parameter(parameters[0]);
    let bias = parameters.get(1).filter(|_| packed.has_bias).map(|&bias| Operand::Parameter(bias));
    let job = Job {
        layer: name,
        tensors: [Some(weight), bias],
        fields: packed.fields,
        invocations: packed.invocations,
        parts: 1,
        len: packed.len as usize,
    };
    lowering.join(pack::KERNEL, job)
}
