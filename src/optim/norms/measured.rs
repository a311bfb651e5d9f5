//! Measures norms on the device: copies the parameters before a step, and runs a dispatch for each window after it.

use std::ops::Range;
use std::sync::Arc;

use super::report::{NormReport, Squares, TensorNorms};
use crate::Error;
use crate::gpu::{
    Binding, Block, Buffer, Dispatch, Gpu, Kernel, KernelListing, KernelSource, Phase, Recorder, Region,
    UniformRing, Work, grid, uniform,
};
use crate::grad::{NORM_LANES, NORM_PARTS, NORM_UNITS, Part};
use crate::layout::Layout;
use crate::optim::layerwise::shape::ReductionShape;
use crate::optim::layerwise::tiles::{TileTable, filled};
use crate::params::{Flat, Gate, GateValues, ParamStore};

uniform! {
    /// The tiles of a window.
    pub(crate) struct NormsCall { first: u32, count: u32 }
}

/// Each lane reads sixteen vectors; their sums are joined.
pub(crate) const SHAPE: ReductionShape = ReductionShape { tile: 4096, lanes: 256, parts: 1, ends: &[] };

/// Partial sums of gradient, parameter and update.
type Parts = [Part; 3];

/// The loss factor with which the gradients were computed, and the gate's values after the step.
const HEAD_BYTES: usize = size_of::<f32>() + size_of::<GateValues>();

/// The resources for one layout.
#[derive(Debug)]
pub(crate) struct NormBuffers {
    kernel: Arc<Kernel>,
    windows: Vec<Measure>,
    /// Copy of the parameters before the step.
    before: Flat,
    loss_scale: Buffer<f32>,
    parts: Buffer<Parts>,
    /// First tile and number of tiles of each tensor.
    tiles_of: Vec<[u32; 2]>,
    layout: Arc<Layout>,
}

/// The dispatch for one window.
#[derive(Debug)]
struct Measure {
    bind_group: wgpu::BindGroup,
    tiles: usize,
    /// Number of elements, including padding.
    elements: usize,
    offset: u32,
}

/// What is needed to evaluate the values that are read back for a step.
#[derive(Clone, Debug)]
pub(crate) struct Reported {
    pub(crate) step: u64,
    /// Ranges of the tensors that were not frozen.
    pub(crate) tensors: Vec<Range<usize>>,
    /// Factor of gradients in accumulation.
    pub(crate) scale: f64,
    /// Whether gradients are divided by the loss factor.
    pub(crate) unscales: bool,
}

impl NormBuffers {
    pub(crate) fn new(params: &ParamStore) -> Result<Self, Error> {
        let (gpu, layout) = (params.gpu(), params.layout());
        let TileTable { of, reduction_tiles } = TileTable::new(layout, &SHAPE);
        let kernel = gpu.kernel(&source())?;
        let tiles = filled(gpu, "tiles of norms", &reduction_tiles)?;
        let parts: Buffer<Parts> = Buffer::storage(gpu, "partial norms", reduction_tiles.len())?;
        let before = Flat::zeroed(gpu, "parameters before", layout)?;
        let ranges: Vec<(usize, Range<usize>)> = of.of(0..layout.spans().len()).collect();
        let calls = calls(gpu, ranges.iter().map(|(_, range)| range))?;
        let windows: Vec<_> = layout.windows().collect();
        let windows = ranges.into_iter().enumerate().map(|(number, (window, range))| {
            let [from, to, grads] =
                [&before, params.params(), params.grads()].map(|flat| flat.window(&windows[window]));
            let call = Region { buffer: calls.raw(), offset: 0, bytes: size_of::<NormsCall>() as u64 };
            let regions = [call, from, to, grads, tiles.region(), parts.region()];
            let vectors = reduction_tiles[range.clone()].iter().map(|[_, len]| *len as usize).sum::<usize>();
            Ok(Measure {
                bind_group: gpu.bind_group(&kernel, &regions)?,
                tiles: range.len(),
                elements: 4 * vectors,
                offset: count(number * UniformRing::ALIGN),
            })
        });
        Ok(Self {
            windows: windows.collect::<Result<_, Error>>()?,
            kernel,
            before,
            loss_scale: Buffer::storage(gpu, "factor of the loss", 1)?,
            parts,
            tiles_of: of.parts(1),
            layout: layout.clone(),
        })
    }

    /// Number of bytes read back.
    pub(crate) fn bytes(&self) -> usize {
        HEAD_BYTES + self.parts.len() * size_of::<Parts>()
    }

    /// Records the commands before a step.
    pub(crate) fn record_before(&self, recorder: &mut Recorder<'_>, params: &ParamStore) {
        for (from, to) in params.params().buffers().iter().zip(self.before.buffers()) {
            recorder.copy(from.raw(), 0, to.raw(), 0, to.len() as u64 * 4);
        }
        let at = std::mem::offset_of!(GateValues, loss_scale) as u64;
        recorder.copy(params.gate().raw(), at, self.loss_scale.raw(), 0, size_of::<f32>() as u64);
    }

    /// Records the commands after it.
    pub(crate) fn record_after(&self, recorder: &mut Recorder<'_>) {
        for Measure { bind_group, tiles, offset, .. } in &self.windows {
            recorder.dispatch(&self.kernel, bind_group, &[*offset], grid(*tiles));
        }
    }

    /// The buffers and sizes to read back, in order.
    pub(crate) fn sources<'a>(&'a self, gate: &'a Gate) -> [(&'a wgpu::Buffer, u64); 3] {
        [
            (self.loss_scale.raw(), size_of::<f32>() as u64),
            (gate.raw(), size_of::<GateValues>() as u64),
            (self.parts.raw(), (self.parts.len() * size_of::<Parts>()) as u64),
        ]
    }

    /// The report computed from the bytes that were read back.
    pub(crate) fn report(&self, reported: &Reported, bytes: &[u8]) -> NormReport {
        let (head, parts) = bytes.split_at(HEAD_BYTES);
        let (loss_scale, gate) = head.split_at(size_of::<f32>());
        let loss_scale: f32 = bytemuck::pod_read_unaligned(loss_scale);
        let gate: GateValues = bytemuck::pod_read_unaligned(gate);
        let scale = if reported.unscales { reported.scale / f64::from(loss_scale) } else { reported.scale };
        let parts: Vec<Parts> =
            parts.chunks_exact(size_of::<Parts>()).map(bytemuck::pod_read_unaligned).collect();
        let mut total = Squares::default();
        let tensors = reported.tensors.iter().cloned().flatten().map(|tensor| {
            let [first, tiles] = self.tiles_of[tensor].map(|n| n as usize);
            let mut sums = Squares::default();
            parts[first..first + tiles].iter().for_each(|parts| sums.add(&Squares::of_tile(parts)));
            total.add(&sums);
            TensorNorms { name: self.layout.spans()[tensor].name.clone(), norms: sums.norms(scale) }
        });
        let tensors = tensors.collect();
        NormReport { step: reported.step, skipped: gate.skip != 0, tensors, total: total.norms(scale) }
    }

    /// What each dispatch reads, writes and computes.
    pub(crate) fn dispatches(&self) -> impl Iterator<Item = Dispatch> {
        self.windows.iter().map(|Measure { tiles, elements, .. }| {
            let part = size_of::<Parts>() / 4;
            let touched = [*elements, *elements, *elements, 2 * tiles, part * tiles];
            let work = Work::of_quads(elements / 4).touching(touched.map(Some));
            let label = (Phase::Update, self.kernel.name());
            Dispatch::new(label, &self.kernel, grid(*tiles), &[u64::MAX; 5], &work)
        })
    }
}

fn calls<'r>(gpu: &Gpu, ranges: impl Iterator<Item = &'r Range<usize>>) -> Result<Buffer<u8>, Error> {
    let mut bytes = Vec::new();
    for range in ranges {
        let call = NormsCall { first: count(range.start), count: count(range.len()) };
        bytes.extend_from_slice(bytemuck::bytes_of(&call));
        UniformRing::align(&mut bytes);
    }
    let usage = wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST;
    let calls = Buffer::with_usage(gpu, "tiles of windows", bytes.len().max(UniformRing::ALIGN), usage)?;
    calls.write(gpu, 0, &bytes)?;
    Ok(calls)
}

fn source() -> KernelSource {
    let lanes = SHAPE.lanes;
    let text = include_str!("../../../shaders/optim/norms.wgsl");
    let uniform = Binding::Uniform { bytes: count(size_of::<NormsCall>()), dynamic: true };
    KernelSource {
        name: "optim/norms".into(),
        wgsl: format!("const LANES = {lanes}u;\n{NORM_PARTS}{NORM_UNITS}{NORM_LANES}{text}").into(),
        bindings: [&[uniform][..], &[const { Binding::Read }; 4], &[Binding::ReadWrite]].concat(),
    }
}

pub(crate) fn kernel_listing() -> KernelListing {
    KernelListing { source: source(), blocks: vec![Block::of::<NormsCall>("Call")] }
}

/// The most iterations of one invocation.
#[cfg(test)]
pub(crate) fn most_trips(layout: &Layout) -> usize {
    const HALVINGS: usize = 8;
    let tiles = TileTable::new(layout, &SHAPE).reduction_tiles;
    let longest = tiles.iter().map(|[_, len]| *len as usize).max().unwrap_or(0);
    // Each number may be added a second time, in other units.
    (1 + 3) * longest.div_ceil(SHAPE.lanes) + 3 * HALVINGS
}

fn count(n: usize) -> u32 {
    u32::try_from(n).expect("tiles are counted in 32 bits")
}
