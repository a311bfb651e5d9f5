use super::history::{HistoryBlock, Shared, pairs_of};
use super::inner_products::{BYTES, OF_PAIR, PRODUCTS, SUMS};
use super::kernels::{Call, Kernels, Sum, Turn, region};
use super::tiles::{Level, Tile, levels, tiles};
use super::transforms::{self, GradientPass};
use crate::Error;
use crate::gpu::{Buffer, Gpu, ReadBuffer, Region, UniformRing};
use crate::grad::{FusedTransforms, Transforms};
use crate::layout::{Layout, Window};
use crate::params::{Flat, ParamStore};

/// The vectors on the device: the start of the step, the gradient there, the direction, gradients of points that may
/// still be taken, and the history.
#[derive(Debug)]
pub(super) struct Vectors {
    pub(super) gpu: Gpu,
    pub(super) kernels: Kernels,
    pub(super) start: Flat,
    pub(super) before: Flat,
    pub(super) direction: Flat,
    pub(super) kept: Vec<Flat>,
    windows: Vec<Window>,
    pub(super) bound: Vec<[wgpu::BindGroup; 2]>,
    pub(super) tiles: Vec<Tile>,
    calls: Buffer<u8>,
    pub(super) levels: Vec<Level>,
    pub(super) sums: Buffer<u8>,
    pub(super) turn: Buffer<u8>,
    pub(super) parts: [Buffer<f32>; 2],
    pub(super) between: [wgpu::BindGroup; 2],
    pub(super) products: Buffer<f32>,
    pub(super) to_products: [wgpu::BindGroup; 2],
    pub(super) history_blocks: Vec<HistoryBlock>,
    pub(super) pairs_of_block: usize,
    pub(super) read_buffer: ReadBuffer,
    /// The pass that transforms gradients before they are measured, if there is one.
    pub(super) gradient_pass: Option<GradientPass>,
    /// Sign of the objective, 1 or -1. Gradients and their changes are stored unsigned; the sign is applied to their
    /// inner products and weights.
    pub(super) sign: f64,
}

impl Vectors {
    /// For the tensors that are not frozen, with room for `kept` gradients and a history.
    pub(super) fn new(
        params: &ParamStore,
        kept: usize,
        history_size: usize,
        sign: f64,
        transforms: &Transforms,
    ) -> Result<Self, Error> {
        let mut vectors = Self::without_pairs(params, kept, history_size, sign, transforms)?;
        vectors.reserve(params, 0)?;
        Ok(vectors)
    }

    /// As [`Vectors::new`], without memory for pairs.
    fn without_pairs(
        params: &ParamStore,
        kept: usize,
        history_size: usize,
        sign: f64,
        transforms: &Transforms,
    ) -> Result<Self, Error> {
        let (gpu, layout) = (params.gpu(), params.layout());
        let flat = |label: &str| Flat::zeroed(gpu, label, layout);
        let (start, before, direction) = (flat("x_init")?, flat("prev_flat_grad")?, flat("d")?);
        let kept = (0..kept).map(|_| flat("kept gradient")).collect::<Result<_, _>>()?;
        let kernels = Kernels::new(gpu)?;
        let windows: Vec<Window> = layout.windows().collect();
        let longest = windows.iter().map(|window| window.len).max().unwrap_or(1);
        let pairs = pairs_of(longest, history_size, layout.limits().binding_bytes);
        let most = PRODUCTS.max(OF_PAIR * pairs);
        let fused = FusedTransforms::new(gpu, transforms, layout)?;
        let (tiles, lanes) = tiles(layout, params.frozen(), &fused.tensors, most_lanes(layout, most));
        let levels = levels(lanes);

        let (calls, sums) = (calls(gpu, &tiles)?, sums(gpu, &levels)?);
        let turn = uniforms(gpu, "turn", 1)?;
        let parts = |lanes: usize| Buffer::<f32>::storage(gpu, "partial sums", 4 * most * lanes.max(1));
        let parts = [parts(lanes)?, parts(levels.first().map_or(1, |level| level.left as usize))?];
        let products: Buffer<f32> = Buffer::storage(gpu, "products", 4 * PRODUCTS)?;
        let call = region::<Call>(&calls);
        let adding = |from: &Buffer<f32>, to: &Buffer<f32>| kernels.adding(gpu, &sums, from, to);
        let between = [adding(&parts[0], &parts[1])?, adding(&parts[1], &parts[0])?];
        let to_products = [adding(&parts[0], &products)?, adding(&parts[1], &products)?];
        let flats = [params.params(), params.grads(), &start, &before, &direction];
        let blocks = [region::<Turn>(&turn), call];
        let bind =
            |window: &Window| bind(gpu, &kernels, flats.map(|flat| flat.window(window)), blocks, &parts[0]);
        let bound = windows.iter().map(bind).collect::<Result<_, Error>>()?;
        let read_buffer = ReadBuffer::new(gpu, PRODUCTS * BYTES)?;
        let shared =
            transforms::Shared { params, kernels: &kernels, parts: &parts, sums: &sums, tiles: &tiles };
        let gradient_pass = GradientPass::new(&shared, transforms, &fused)?;
        Ok(Self {
            gpu: gpu.clone(),
            kernels,
            start,
            before,
            direction,
            kept,
            windows,
            bound,
            tiles,
            calls,
            levels,
            sums,
            turn,
            parts,
            between,
            products,
            to_products,
            history_blocks: Vec::new(),
            pairs_of_block: pairs,
            read_buffer,
            gradient_pass,
            sign,
        })
    }

    /// Allocates the memory of a history slot if needed.
    pub(super) fn reserve(&mut self, params: &ParamStore, place: usize) -> Result<(), Error> {
        while place / self.pairs_of_block >= self.history_blocks.len() {
            let shared = Shared {
                gpu: &self.gpu,
                kernels: &self.kernels,
                params,
                before: &self.before,
                direction: &self.direction,
                parts: &self.parts,
                call: region::<Call>(&self.calls),
                sum: region::<Sum>(&self.sums),
                turn: region::<Turn>(&self.turn),
            };
            let history_block = HistoryBlock::new(&shared, self.pairs_of_block, &self.windows)?;
            let pairs = self.pairs_of_block * (self.history_blocks.len() + 1);
            self.read_buffer = ReadBuffer::new(&self.gpu, (PRODUCTS + OF_PAIR * pairs + 1) * BYTES)?;
            self.history_blocks.push(history_block);
        }
        Ok(())
    }

    /// History blocks with stored pairs and their numbers of pairs, if `places` slots are in use.
    pub(super) fn in_use(&self, places: usize) -> impl Iterator<Item = (&HistoryBlock, usize)> {
        let pairs = self.pairs_of_block;
        self.history_blocks
            .iter()
            .enumerate()
            .map(move |(index, history_block)| {
                (history_block, places.saturating_sub(index * pairs).min(pairs))
            })
            .filter(|(_, pairs)| *pairs > 0)
    }
}

/// Binds the kernels that measure and move, given a window's parameters, gradients, start, previous gradients and direction,
/// and the uniforms of a move and of tiles.
fn bind(
    gpu: &Gpu,
    kernels: &Kernels,
    [p, g, x, b, d]: [Region<'_>; 5],
    [turn, call]: [Region<'_>; 2],
    parts: &Buffer<f32>,
) -> Result<[wgpu::BindGroup; 2], Error> {
    let measure = gpu.bind_group(&kernels.measure, &[call, g, b, d, parts.region()])?;
    Ok([measure, gpu.bind_group(&kernels.axpy, &[turn, call, x, d, p])?])
}

/// Number of lanes whose partial sums of `products` products fit one binding. Fragments between frozen tensors may each
/// need one more lane.
pub(super) fn most_lanes(layout: &Layout, products: usize) -> usize {
    let fit = usize::try_from(layout.limits().binding_bytes).unwrap_or(usize::MAX) / (products * BYTES);
    fit.saturating_sub(layout.spans().len() + layout.windows().count())
}

fn uniforms(gpu: &Gpu, label: &str, blocks: usize) -> Result<Buffer<u8>, Error> {
    let usage = wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST;
    Buffer::with_usage(gpu, label, blocks.max(1) * UniformRing::ALIGN, usage)
}

fn calls(gpu: &Gpu, tiles: &[Tile]) -> Result<Buffer<u8>, Error> {
    let calls = uniforms(gpu, "calls", tiles.len())?;
    let mut bytes = Vec::new();
    tiles.iter().for_each(|tile| block(&mut bytes, &tile.call));
    calls.write(gpu, 0, &bytes)?;
    Ok(calls)
}

/// The uniforms of all levels, twice: with maxima among the products, and with sums only.
fn sums(gpu: &Gpu, levels: &[Level]) -> Result<Buffer<u8>, Error> {
    let sums = uniforms(gpu, "sums", 2 * levels.len())?;
    let mut bytes = Vec::new();
    for maxima in [SUMS, usize::MAX] {
        let maxima = u32::try_from(maxima).unwrap_or(u32::MAX);
        levels.iter().for_each(|level| {
            block(&mut bytes, &Sum { len: level.len, left: level.left, maxima });
        });
    }
    sums.write(gpu, 0, &bytes)?;
    Ok(sums)
}

fn block<T: bytemuck::Pod>(bytes: &mut Vec<u8>, value: &T) {
    bytes.extend_from_slice(bytemuck::bytes_of(value));
    UniformRing::align(bytes);
}
