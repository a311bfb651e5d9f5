use super::history::{HistoryBlock, Shared, pairs_of};
use super::inner_products::{BYTES, InnerProducts, OF_PAIR, PRODUCTS, SUMS};
use super::kernels::{Call, Kernels, Sum, Turn};
use super::memory::Direction;
use super::tiles::{Level, Tile, levels, tiles};
use crate::Error;
use crate::gpu::{Buffer, Gpu, ReadBuffer, Recorder, Region, UniformRing, grid};
use crate::layout::{Layout, Window};
use crate::optim::rule::f32_of;
use crate::params::{Flat, ParamStore};

/// Invocations of a workgroup of the kernels that add, and of those that write vectors.
const ADDING: usize = 64;
const WRITING: usize = 256;

/// Everything on the device: where a step began, the gradient there, the direction, gradients of points that may yet be
/// taken, and the remembered pairs.
#[derive(Debug)]
pub(super) struct Vectors {
    gpu: Gpu,
    kernels: Kernels,
    pub(super) start: Flat,
    pub(super) before: Flat,
    pub(super) direction: Flat,
    kept: Vec<Flat>,
    windows: Vec<Window>,
    bound: Vec<[wgpu::BindGroup; 2]>,
    tiles: Vec<Tile>,
    calls: Buffer<u8>,
    levels: Vec<Level>,
    sums: Buffer<u8>,
    turn: Buffer<u8>,
    parts: [Buffer<f32>; 2],
    between: [wgpu::BindGroup; 2],
    products: Buffer<f32>,
    to_products: [wgpu::BindGroup; 2],
    pub(super) history_blocks: Vec<HistoryBlock>,
    pub(super) pairs_of_block: usize,
    read_buffer: ReadBuffer,
    /// What the rule takes gradients times, 1 or -1. On the device gradients and their changes are as they came, and
    /// this goes into their inner products and weights.
    pub(super) sign: f64,
}

/// What the next direction is made of.
#[derive(Debug)]
pub(super) struct Move<'a> {
    /// The place and length of the last step, if it is to be remembered.
    pub(super) remember: Option<(usize, f64)>,
    pub(super) direction: &'a Direction,
    /// How far to go.
    pub(super) t: f64,
}

impl Vectors {
    /// For the tensors that are not frozen, `kept` gradients to keep and a history.
    pub(super) fn new(
        params: &ParamStore,
        kept: usize,
        history_size: usize,
        sign: f64,
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
        let (tiles, lanes) = tiles(layout, params.frozen(), most_lanes(layout, most));
        let levels = levels(lanes);

        let uniforms = |label: &str, blocks: usize| {
            let usage = wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST;
            Buffer::<u8>::with_usage(gpu, label, blocks.max(1) * UniformRing::ALIGN, usage)
        };
        let (calls, sums) = (uniforms("calls", tiles.len())?, uniforms("sums", 2 * levels.len())?);
        let turn = uniforms("turn", 1)?;
        let mut bytes = Vec::new();
        tiles.iter().for_each(|tile| block(&mut bytes, &tile.call));
        calls.write(gpu, 0, &bytes)?;
        bytes.clear();
        for maxima in [SUMS, usize::MAX] {
            let maxima = u32::try_from(maxima).unwrap_or(u32::MAX);
            levels.iter().for_each(|level| {
                block(&mut bytes, &Sum { len: level.len, left: level.left, maxima });
            });
        }
        sums.write(gpu, 0, &bytes)?;

        let parts = |lanes: usize| Buffer::<f32>::storage(gpu, "partial sums", 4 * most * lanes.max(1));
        let parts = [parts(lanes)?, parts(levels.first().map_or(1, |level| level.left as usize))?];
        let products: Buffer<f32> = Buffer::storage(gpu, "products", 4 * PRODUCTS)?;
        let (call, sum) = (region::<Call>(&calls), region::<Sum>(&sums));
        let adding = |from: &Buffer<f32>, to: &Buffer<f32>| {
            gpu.bind_group(&kernels.sums, &[sum, from.region(), to.region()])
        };
        let between = [adding(&parts[0], &parts[1])?, adding(&parts[1], &parts[0])?];
        let to_products = [adding(&parts[0], &products)?, adding(&parts[1], &products)?];
        let bound = windows.iter().map(|window| {
            let [p, g, x, b, d] = [params.params(), params.grads(), &start, &before, &direction]
                .map(|flat| flat.window(window));
            let measure = gpu.bind_group(&kernels.measure, &[call, g, b, d, parts[0].region()])?;
            Ok([measure, gpu.bind_group(&kernels.axpy, &[region::<Turn>(&turn), call, x, d, p])?])
        });
        let bound = bound.collect::<Result<_, Error>>()?;
        let read_buffer = ReadBuffer::new(gpu, PRODUCTS * BYTES)?;
        let mut vectors = Self {
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
            sign,
        };
        vectors.reserve(params, 0)?;
        Ok(vectors)
    }

    /// Sees that there is memory at a place.
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
            self.read_buffer = ReadBuffer::new(&self.gpu, (PRODUCTS + OF_PAIR * pairs) * BYTES)?;
            self.history_blocks.push(history_block);
        }
        Ok(())
    }

    /// History blocks with a remembered pair and how many they have, where `places` are in use.
    fn in_use(&self, places: usize) -> impl Iterator<Item = (&HistoryBlock, usize)> {
        let pairs = self.pairs_of_block;
        self.history_blocks
            .iter()
            .enumerate()
            .map(move |(index, history_block)| {
                (history_block, places.saturating_sub(index * pairs).min(pairs))
            })
            .filter(|(_, pairs)| *pairs > 0)
    }

    /// Reads all inner products.
    pub(super) async fn measure(&mut self, places: usize) -> Result<InnerProducts, Error> {
        let target = self.read_buffer.target().clone();
        let mut encoder = self.gpu.encoder("measure");
        let mut recorder = Recorder::new(&self.gpu, &mut encoder);
        for tile in &self.tiles {
            let lanes = (tile.call.lanes as usize).div_ceil(ADDING);
            recorder.dispatch(
                &self.kernels.measure,
                &self.bound[tile.window][0],
                &[tile.offset],
                grid(lanes),
            );
        }
        self.add(&mut recorder, PRODUCTS, 0, &self.to_products);
        for (history_block, pairs) in self.in_use(places) {
            for tile in &self.tiles {
                let [lanes, ..] = grid((tile.call.lanes as usize).div_ceil(ADDING));
                let rows = u32::try_from(pairs).expect("a history block has few pairs");
                let group = &history_block.windows[tile.window].history;
                recorder.dispatch(&self.kernels.history, group, &[tile.offset], [lanes, rows, 1]);
            }
            self.add(&mut recorder, OF_PAIR * pairs, self.levels.len(), &history_block.sums);
        }
        let mut at = (PRODUCTS * BYTES) as u64;
        recorder.copy(self.products.raw(), 0, &target, 0, at);
        for (history_block, pairs) in self.in_use(places) {
            let bytes = (OF_PAIR * pairs * BYTES) as u64;
            recorder.copy(history_block.products.raw(), 0, &target, at, bytes);
            at += bytes;
        }
        drop(recorder);
        self.gpu.submit(encoder)?;
        let bytes = (PRODUCTS + OF_PAIR * places) * BYTES;
        Ok(InnerProducts::of(&self.read_buffer.read(&self.gpu, bytes).await?).times(self.sign))
    }

    /// Records that partial sums become products; the uniforms of the levels begin with number `first`.
    fn add(&self, recorder: &mut Recorder<'_>, products: usize, first: usize, last: &[wgpu::BindGroup; 2]) {
        let rows = u32::try_from(products).expect("a history block has few products");
        for (number, level) in self.levels.iter().enumerate() {
            let to = if level.left == 1 { last } else { &self.between };
            let offset = u32::try_from((first + number) * UniformRing::ALIGN).expect("there are few levels");
            let [groups, ..] = grid((level.left as usize).div_ceil(ADDING));
            recorder.dispatch(&self.kernels.sums, &to[number % 2], &[offset], [groups, rows, 1]);
        }
    }

    /// Remembers the last step, makes the direction, keeps the point and its gradient, and goes on.
    pub(super) fn turn(&mut self, params: &ParamStore, next_move: &Move<'_>) -> Result<(), Error> {
        let (place, t_before) = next_move.remember.unwrap_or_default();
        self.write_turn(t_before, next_move.t, place % self.pairs_of_block)?;
        let places = next_move.direction.of_pairs.len();
        let mut weights = Vec::new();
        let mut encoder = self.gpu.encoder("direction");
        let mut recorder = Recorder::new(&self.gpu, &mut encoder);
        if next_move.remember.is_some() {
            let history_block = &self.history_blocks[place / self.pairs_of_block];
            self.write_vector(&mut recorder, &self.kernels.remember, |tile| {
                &history_block.windows[tile.window].remember
            });
        }
        // The first history block is there for the gradient, if not for a pair.
        for (index, history_block) in self.history_blocks.iter().enumerate() {
            let first = index * self.pairs_of_block;
            let pairs = places.saturating_sub(first).min(self.pairs_of_block);
            if pairs == 0 && index > 0 {
                break;
            }
            let of_grad = if index == 0 { self.sign * next_move.direction.of_grad } else { 0.0 };
            weights.clear();
            weights.extend([f32::from(u8::from(index > 0)), f32_of(pairs as f64), f32_of(of_grad), 0.0]);
            let of_pairs = next_move.direction.of_pairs[first..first + pairs].iter();
            weights.extend(of_pairs.flat_map(|[s, y]| [f32_of(*s), f32_of(self.sign * y)]));
            history_block.weights.write(&self.gpu, 0, &weights)?;
            self.write_vector(&mut recorder, &self.kernels.combine, |tile| {
                &history_block.windows[tile.window].combine
            });
        }
        copy(&mut recorder, params.params(), &self.start);
        copy(&mut recorder, params.grads(), &self.before);
        if next_move.t != 0.0 {
            self.write_vector(&mut recorder, &self.kernels.axpy, |tile| &self.bound[tile.window][1]);
        }
        drop(recorder);
        self.gpu.submit(encoder).map(drop)
    }

    /// Goes to a distance along the direction; before that keeps the gradient in `keep`, after it takes that of `take`
    /// for the gradient.
    pub(super) fn walk(
        &mut self,
        params: &ParamStore,
        t: f64,
        keep: Option<usize>,
        take: Option<Kept>,
    ) -> Result<(), Error> {
        self.write_turn(0.0, t, 0)?;
        let mut encoder = self.gpu.encoder("walk");
        let mut recorder = Recorder::new(&self.gpu, &mut encoder);
        if let Some(keep) = keep {
            copy(&mut recorder, params.grads(), &self.kept[keep]);
        }
        self.write_vector(&mut recorder, &self.kernels.axpy, |tile| &self.bound[tile.window][1]);
        match take {
            Some(Kept::Before) => copy(&mut recorder, &self.before, params.grads()),
            Some(Kept::Slot(slot)) => copy(&mut recorder, &self.kept[slot], params.grads()),
            None => {}
        }
        drop(recorder);
        self.gpu.submit(encoder).map(drop)
    }

    fn write_turn(&self, t_before: f64, t: f64, pair: usize) -> Result<(), Error> {
        let pair = u32::try_from(pair).expect("a history block has few pairs");
        let turn = Turn { t_before: f32_of(t_before), t: f32_of(t), pair };
        self.turn.write(&self.gpu, 0, bytemuck::bytes_of(&turn))
    }

    fn write_vector<'g>(
        &self,
        recorder: &mut Recorder<'_>,
        kernel: &crate::gpu::Kernel,
        group: impl Fn(&Tile) -> &'g wgpu::BindGroup,
    ) {
        for tile in &self.tiles {
            let workgroups = (tile.call.len as usize).div_ceil(WRITING);
            recorder.dispatch(kernel, group(tile), &[tile.offset], grid(workgroups));
        }
    }
}

/// Lanes whose partial sums of so many products one binding holds; fragments between frozen tensors may each need a lane
/// more.
fn most_lanes(layout: &Layout, products: usize) -> usize {
    let fit = usize::try_from(layout.limits().binding_bytes).unwrap_or(usize::MAX) / (products * BYTES);
    fit.saturating_sub(layout.spans().len() + layout.windows().count())
}

/// The most iterations of one invocation with a history of 10,000 pairs.
#[cfg(test)]
#[derive(Debug, Default)]
pub(crate) struct MostTrips {
    pub(crate) lanes: usize,
    pub(crate) sums: usize,
    pub(crate) pairs: usize,
}

#[cfg(test)]
pub(crate) fn most_trips(layout: &Layout) -> MostTrips {
    let longest = layout.windows().map(|window| window.len).max().unwrap_or(1);
    let pairs = pairs_of(longest, 10_000, layout.limits().binding_bytes);
    let with_outer = |trips: usize| trips + trips.div_ceil(16);
    let mut most = MostTrips { pairs, ..MostTrips::default() };
    let spans = layout.spans().len();
    for frozen in [vec![false; spans], (0..spans).map(|tensor| tensor % 2 == 1).collect()] {
        let (tiles, lanes) = tiles(layout, &frozen, most_lanes(layout, PRODUCTS.max(OF_PAIR * pairs)));
        let of_lane = tiles.iter().map(|tile| tile.call.len.div_ceil(tile.call.lanes)).max().unwrap_or(0);
        most.lanes = most.lanes.max(with_outer(of_lane as usize));
        let of_sum = levels(lanes).iter().map(|level| level.len.div_ceil(level.left)).max().unwrap_or(0);
        most.sums = most.sums.max(with_outer(of_sum as usize));
    }
    most
}

/// Where a gradient was kept.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Kept {
    /// With the start of the step.
    Before,
    Slot(usize),
}

fn copy(recorder: &mut Recorder<'_>, from: &Flat, to: &Flat) {
    for (from, to) in from.buffers().iter().zip(to.buffers()) {
        recorder.copy(from.raw(), 0, to.raw(), 0, from.len() as u64 * 4);
    }
}

fn block<T: bytemuck::Pod>(bytes: &mut Vec<u8>, value: &T) {
    bytes.extend_from_slice(bytemuck::bytes_of(value));
    UniformRing::align(bytes);
}

/// The first block, from which the others are at dynamic offsets.
fn region<T>(buffer: &Buffer<u8>) -> Region<'_> {
    Region { buffer: buffer.raw(), offset: 0, bytes: size_of::<T>() as u64 }
}
