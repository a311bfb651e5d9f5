//! The passes of a convolution, which are those of a transposed convolution too: what is forward for one is the input
//! gradient of the other.

use super::candidates::{FORWARD, INPUT_GRAD, WEIGHT_GRAD};
use super::geometry::Geometry;
use super::pack::Packed;
use super::weight_grad::{self, Adds};
use crate::gpu::Binding::{Read, ReadWrite};
use crate::gpu::{Candidate, Work};
use crate::graph::lower::{Lowering, Operand};
use crate::graph::ops::column_sum;
use crate::graph::ops::split::{self, Epilogue, Sum};
use crate::graph::shape::u;

/// Emits the output, of an input that lies with channels last.
pub(super) fn forward(
    lowering: &mut Lowering,
    id: usize,
    geometry: &Geometry,
    [x, y]: [Operand; 2],
    (has_bias, epilogue): (bool, Epilogue),
) {
    let offered = lowering.capabilities;
    let way = Candidate::choose(FORWARD, geometry, &offered);
    let packed = pack(lowering, id, (way.pack)(geometry, has_bias));
    let [_, len] = geometry.lens();
    let (name, sum) = (lowering.name(id), Sum { parts: (way.parts)(geometry, &offered), len, epilogue });
    lowering.next_does(Work::of_flops(geometry.flops()));
    split::emit(lowering, &name, (&[Read, Read, ReadWrite], &[x, packed, y]), sum, |first, accumulate| {
        (way.launch)(geometry, &offered, first, accumulate)
    });
}

/// Emits the gradient of the input, with the bias of a transposed convolution if it has one.
pub(super) fn input_grad(
    lowering: &mut Lowering,
    id: usize,
    geometry: &Geometry,
    [dy, dx]: [Operand; 2],
    (has_bias, accumulate): (bool, bool),
) {
    let offered = lowering.capabilities;
    let way = Candidate::choose(INPUT_GRAD, geometry, &offered);
    let packed = pack(lowering, id, (way.pack)(geometry, has_bias));
    let [len, _] = geometry.lens();
    let epilogue = Epilogue { accumulate, finish: None };
    let (name, sum) = (lowering.name(id), Sum { parts: (way.parts)(geometry, &offered), len, epilogue });
    lowering.next_does(Work::of_flops(geometry.flops()));
    split::emit(lowering, &name, (&[Read, Read, ReadWrite], &[dy, packed, dx]), sum, |first, accumulate| {
        (way.launch)(geometry, &offered, has_bias, first, accumulate)
    });
}

/// Channels that the kernel of the forward pass finishes at once.
pub(super) fn lanes(lowering: &Lowering, geometry: &Geometry) -> usize {
    (Candidate::choose(FORWARD, geometry, &lowering.capabilities).lanes)(geometry)
}

/// Emits the gradient of the weight, and that of the bias if it is one of the output.
pub(super) fn weight_grad(
    lowering: &mut Lowering,
    id: usize,
    geometry: &Geometry,
    [x, dy]: [Operand; 2],
    (weight, bias): (usize, Option<usize>),
) {
    let name = lowering.name(id);
    let Some((weight, adds)) = lowering.parameter_gradient(weight) else {
        if let Some(bias) = bias {
            let matrix = lowering.matrix(id);
            column_sum::emit(lowering, &name, u(matrix.rows), u(matrix.columns), dy, bias);
        }
        return;
    };
    let offered = lowering.capabilities;
    let way = Candidate::choose(WEIGHT_GRAD, geometry, &offered);
    let (lanes, (_, partials)) = (weight_grad::finish_lanes(&offered), way(geometry, &offered, 0));
    let len = partials.at_once as usize * partials.len as usize;
    let partial = lowering.scratch("partial weight gradients", len);
    let bias = bias.and_then(|bias| lowering.parameter_gradient(bias));
    let adds = Adds { weight: adds, bias: bias.map(|(_, adds)| adds) };
    // A binding needs a buffer even where there is no bias to write, or it is frozen.
    let bias = bias.map_or_else(|| lowering.scratch("no bias", 4), |(bias, _)| bias);
    for first in (0..partials.parts).step_by(partials.at_once as usize) {
        let (launch, _) = way(geometry, &offered, first);
        let work = Work::of_flops(geometry.flops());
        lowering.next_does(work.part(partials.from(first).into(), partials.parts.into()));
        lowering.launch(&name, &[Read, Read, ReadWrite], &[x, dy, partial], launch);
        let launch = weight_grad::finish(geometry, &partials, first, adds, lanes);
        lowering.launch(&name, &[Read, ReadWrite, ReadWrite], &[partial, weight, bias], launch);
    }
}

/// Emits the weight (and the bias) in the order of a kernel, padded with zeros.
pub(super) fn pack(lowering: &mut Lowering, id: usize, packed: Packed) -> Operand {
    let (name, parameters) = (lowering.name(id), lowering.parameters(id).to_vec());
    let weight = Operand::Parameter(parameters[0]);
    // A binding needs a buffer even where there is no bias to read.
    let bias = parameters.get(1).map_or(weight, |&bias| Operand::Parameter(bias));
    let into = lowering.scratch("packed weight", packed.len as usize);
    lowering.launch(&name, &[Read, Read, ReadWrite], &[weight, bias, into], packed.launch);
    into
}
