//! Splits sums that are too long for the loops of one invocation, or that would lose precision in one chain.
//! Workgroups along z sum the parts, and a second dispatch adds the parts in order.

use crate::gpu::Binding::{self, Read, ReadWrite};
use crate::gpu::{MAX_TRIPS, Work, uniform};
use crate::graph::lowering::finish::Finish;
use crate::graph::lowering::{Lowering, Operand};
use crate::graph::shape::u;
use crate::graph::template::{AnyLaunch, Launch, Template, fold};

/// Maximum number of terms of one chain of additions; limits the rounding error in f32.
const MAX_TERMS: u64 = 4 * MAX_TRIPS as u64;

/// Number of terms of a part, and maximum number of iterations of a part.
pub(super) const RUN: u32 = 4_096;

/// Maximum number of parts that one dispatch sums and another adds.
const MAX_PARTS: u32 = 256;

/// Maximum number of elements of the partial sums stored side by side (16 MiB), unless one part has more.
const SCRATCH: usize = 1 << 22;

/// Whether a sum of `terms` terms that takes `trips` iterations must be split.
pub(super) fn is_long(trips: u64, terms: u64) -> bool {
    trips > MAX_TRIPS as u64 || terms > MAX_TERMS
}

/// Divides `len` evenly into tiles of at most `most`; returns the size of the largest tile.
pub(super) fn even_tile(len: u32, most: u32) -> u32 {
    len.div_ceil(len.div_ceil(most))
}

/// A sum split into parts along one dimension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Parts {
    /// Length of each part, in iterations or other units of the kernel.
    pub(super) run: u32,
    pub(super) count: u32,
}

impl Parts {
    /// For `len` units, each of which is `terms` terms.
    ///
    /// A chain has at most as many terms as it would with one term per iteration, so that the same sum has the same
    /// precision in all kernels.
    pub(super) fn of(len: u32, terms: u32) -> Self {
        let run = if u64::from(len) * u64::from(terms) > MAX_TRIPS as u64 {
            even_tile(len, RUN / terms)
        } else {
            len
        };
        Self { run, count: len.div_ceil(run) }
    }
}

/// What is done with a sum before it is stored.
#[derive(Clone, Debug, Default)]
pub(super) struct Epilogue {
    /// Whether it is added to the output.
    pub(super) accumulate: bool,
    /// The fused chain that is then applied.
    pub(super) finish: Option<Finish>,
}

/// The output of a sum.
#[derive(Clone, Debug, Default)]
pub(super) struct Sum {
    pub(super) parts: u32,
    /// Number of elements of the output. Parts are stored at multiples of 4 elements.
    pub(super) len: usize,
    pub(super) epilogue: Epilogue,
}

/// Emits a sum into the last of `operands`, in one dispatch or in several if it has more parts.
///
/// `launch` takes the number of the first part of a dispatch, and whether that dispatch adds.
pub(super) fn emit(
    lowering: &mut Lowering,
    layer: &str,
    (storage, operands): (&[Binding], &[Operand]),
    sum: Sum,
    launch: impl Fn(u32, bool) -> AnyLaunch,
) {
    let Sum { parts, len, epilogue: Epilogue { accumulate, finish } } = sum;
    if parts == 1 {
        let launch = launch(0, accumulate);
        return lowering.launch_finishing(layer, (storage, operands), launch, 1, finish.as_ref());
    }
    let [sources @ .., output] = operands else { unreachable!("a sum has an output") };
    let stride = len.next_multiple_of(4);
    let most = u32::try_from(SCRATCH / stride).unwrap_or(MAX_PARTS).clamp(1, MAX_PARTS);
    let most = even_tile(parts, most);
    let work = std::mem::take(&mut lowering.work);
    let partial = lowering.scratch("partial sums", most as usize * stride);
    for first in (0..parts).step_by(most as usize) {
        let count = most.min(parts - first);
        let operands = [sources, &[partial]].concat();
        lowering.next_does(work.part(count.into(), parts.into()));
        lowering.launch_parts(layer, storage, &operands, launch(first, false), count);
        lowering.next_does(Work::of_flops(u64::from(count) * len as u64));
        let adds = sum_parts(count, len, accumulate || first > 0);
        let finish = finish.as_ref().filter(|_| first + count == parts);
        let bound = (&[Read, ReadWrite][..], &[partial, *output][..]);
        lowering.launch_finishing(layer, bound, adds, 1, finish);
    }
}

uniform! {
    pub(crate) struct Shape {
        parts: u32,
        vectors: u32,
        len: u32,
        accumulate: u32,
        grid_width: u32,
    }
}

/// Adds the parts in order. Bindings: partial sums, output.
fn sum_parts(parts: u32, len: usize, accumulate: bool) -> AnyLaunch {
    let vectors = u(len.div_ceil(4));
    let groups = fold(vectors.div_ceil(64));
    let shape =
        Shape { parts, vectors, len: u(len), accumulate: u32::from(accumulate), grid_width: groups[0] };
    let template = Template {
        name: "sum_parts",
        source: include_str!("../../../shaders/ops/sum_parts.wgsl"),
        constants: vec![],
        aliases: vec![],
    };
    AnyLaunch::from(Launch { template, shape, groups }).finishing(4)
}
