//! Orthogonalizes directions, matrix by matrix, with products that run between two stages of a step.

use std::ops::Range;

use crate::Error;
use crate::gpu::{Buffer, Dispatch, Recorder};
use crate::graph::{Graph, InputData, Plan, PlanOptions, Var, Workspace};
use crate::layout::Layout;
use crate::optim::rule::NewtonSchulz;
use crate::optim::rule::any::AnyRule;
use crate::params::{Flat, ParamStore};

/// The iteration, for wide and tall matrices.
fn apply(newton_schulz: &NewtonSchulz, x: Var) -> Var {
    let [first, third, fifth] = newton_schulz.coefficients;
    let shape = x.shape();
    let is_wide = shape[1] <= shape[2];
    let mut x = x;
    for _ in 0..newton_schulz.steps {
        let turned = x.transpose(1, 2);
        // Of the shorter side: (x x^T) x and x (x^T x) are the same.
        let a = if is_wide { x.matmul(&turned) } else { turned.matmul(&x) };
        let b = a.matmul(&a) * fifth + &a * third;
        x = if is_wide { b.matmul(&x) } else { x.matmul(&b) } + &x * first;
    }
    x * newton_schulz.scale
}

/// Maximum number of elements in a batch of matrices, unless one matrix has more: 16 MiB.
const TOGETHER: usize = 1 << 22;

/// The directions of all tensors, and the products that orthogonalize them.
#[derive(Debug, Default)]
pub(crate) struct Orthogonal {
    /// The directions before and after the products; allocated once a tensor has a direction.
    pub(crate) directions: Option<Flat>,
    made: Option<Made>,
}

/// The products of the tensors in a step.
#[derive(Debug)]
struct Made {
    of: Vec<(usize, NewtonSchulz)>,
    batches: Vec<Batch>,
    /// Input and output of a batch. Batches run one after the other and share them.
    given: Buffer<f32>,
    result: Buffer<f32>,
}

/// Matrices of one shape with the same iteration, stored one after the other.
#[derive(Debug)]
struct Batch {
    tensors: Vec<usize>,
    plan: Plan,
}

impl Orthogonal {
    /// Prepares the products for the tensors of the next step, unless nothing changed. Returns whether the directions
    /// have moved to another buffer.
    pub(crate) fn prepare<'r, R: AnyRule + 'r>(
        &mut self,
        params: &ParamStore,
        rules: impl Fn(usize) -> &'r R,
    ) -> Result<bool, Error> {
        let mut of = Vec::new();
        let spans = params.layout().spans().iter().enumerate().zip(params.frozen());
        for ((tensor, span), frozen) in spans.filter(|((_, span), _)| span.len > 0) {
            if let (Some(newton_schulz), false) = (rules(span.group).newton_schulz(&span.shape)?, *frozen) {
                of.push((tensor, newton_schulz));
            }
        }
        let begins = self.directions.is_none() && !of.is_empty();
        if begins {
            self.directions = Some(Flat::zeroed(params.gpu(), "directions", params.layout())?);
        }
        if self.made.as_ref().map_or(!of.is_empty(), |made| made.of != of) {
            // Frees the memory of the old ones first.
            self.made = None;
            self.made = if of.is_empty() { None } else { Some(Made::new(params, of)?) };
        }
        Ok(begins)
    }

    /// Records the products.
    pub(crate) fn record(&self, recorder: &mut Recorder<'_>) -> Result<(), Error> {
        let (Some(Made { batches, given, result, .. }), Some(directions)) = (&self.made, &self.directions)
        else {
            return Ok(());
        };
        for Batch { tensors, plan } in batches {
            each(directions, tensors, |directions, at, place| {
                recorder.copy(directions, at, given.raw(), place.start, place.end - place.start);
            });
            plan.record(recorder)?;
            each(directions, tensors, |directions, at, place| {
                recorder.copy(result.raw(), place.start, directions, at, place.end - place.start);
            });
        }
        Ok(())
    }

    /// The dispatches of the products.
    pub(crate) fn dispatches(&self) -> Vec<Dispatch> {
        let batches = self.made.iter().flat_map(|made| &made.batches);
        batches.flat_map(|batch| batch.plan.dispatches()).collect()
    }
}

/// The matrices of a batch: their buffer of the directions, the first byte there, and the bytes in the batch.
fn each(directions: &Flat, tensors: &[usize], mut copy: impl FnMut(&wgpu::Buffer, u64, Range<u64>)) {
    let layout = directions.layout();
    let mut before = 0;
    for tensor in tensors {
        let span = &layout.spans()[*tensor];
        for piece in layout.pieces(span.first, span.len) {
            let bytes = |elements: usize| elements as u64 * 4;
            let place = bytes(before + piece.part.start)..bytes(before + piece.part.end);
            copy(directions.buffers()[piece.buffer].raw(), bytes(piece.offset), place);
        }
        before += span.len;
    }
}

impl Made {
    fn new(params: &ParamStore, of: Vec<(usize, NewtonSchulz)>) -> Result<Self, Error> {
        let (gpu, layout) = (params.gpu(), params.layout());
        let len_of = |tensor: usize| layout.spans()[tensor].len;
        let members = members(layout, &of);
        let most = members.iter().map(|(_, tensors)| tensors.iter().map(|tensor| len_of(*tensor)).sum());
        let most: usize = most.max().unwrap_or(0);
        let given = Buffer::storage(gpu, "directions of a batch", most)?;
        let result = Buffer::storage(gpu, "orthogonal directions of a batch", most)?;
        let (graph, mut workspace) = (Graph::new(), Workspace::new());
        let mut batches = Vec::new();
        for (number, (newton_schulz, tensors)) in members.into_iter().enumerate() {
            let name = format!("directions {number}");
            let shape = &layout.spans()[tensors[0]].shape;
            let x = graph.input(&name, [&[tensors.len()], &shape[..]].concat());
            let options = PlanOptions::evaluate().output(RESULT, &apply(&newton_schulz, x));
            let plan = gpu.at_once(graph.compile_async(params, &options, &mut workspace))?;
            let bytes = tensors.iter().map(|tensor| len_of(*tensor) as u64 * 4).sum::<u64>();
            plan.write(&name, &InputData::Buffer(given.raw().slice(..bytes)))?;
            plan.bind_output(RESULT, result.raw().slice(..bytes))?;
            batches.push(Batch { tensors, plan });
        }
        Ok(Self { of, batches, given, result })
    }
}

/// The tensors of each batch.
fn members(layout: &Layout, of: &[(usize, NewtonSchulz)]) -> Vec<(NewtonSchulz, Vec<usize>)> {
    let most = usize::try_from(layout.limits().binding_bytes / 4).unwrap_or(TOGETHER).min(TOGETHER);
    let mut members: Vec<(NewtonSchulz, Vec<usize>)> = Vec::new();
    for &(tensor, newton_schulz) in of {
        let span = &layout.spans()[tensor];
        // Rows are padded to whole quads between the products.
        let padded = |side: usize| side.next_multiple_of(4);
        let [rows, columns] = [0, 1].map(|axis| padded(span.shape[axis]));
        let room = (most / (rows * columns).max(rows.min(columns).pow(2))).max(1);
        let fits = |(known, tensors): &&mut (NewtonSchulz, Vec<usize>)| {
            let same = layout.spans()[tensors[0]].shape == span.shape;
            same && *known == newton_schulz && tensors.len() < room
        };
        match members.iter_mut().find(fits) {
            Some((_, tensors)) => tensors.push(tensor),
            None => members.push((newton_schulz, vec![tensor])),
        }
    }
    members
}

const RESULT: &str = "orthogonal";
