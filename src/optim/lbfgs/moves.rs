//! Moves of the parameters: to the next direction, and to other points along it.

use super::kernels::Turn;
use super::memory::Direction;
use super::tiles::Tile;
use super::vectors::Vectors;
use crate::Error;
use crate::gpu::{Recorder, grid};
use crate::optim::rule::f32_of;
use crate::params::{Flat, ParamStore};

/// Workgroup size of the kernels that write vectors.
const WRITING: usize = 256;

/// The next direction and the move along it.
#[derive(Debug)]
pub(super) struct Move<'a> {
    /// The slot and length of the last step, if it is to be stored.
    pub(super) remember: Option<(usize, f64)>,
    pub(super) direction: &'a Direction,
    /// Step length.
    pub(super) t: f64,
}

/// Where a gradient was kept.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Kept {
    /// With the start of the step.
    Before,
    Slot(usize),
}

impl Vectors {
    /// Stores the last step, computes the direction, keeps the point and its gradient, and moves.
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
        // The first history block also holds the gradient's part, even without pairs.
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

    /// Moves to a distance along the direction. Keeps the current gradient in `keep` first; then replaces it with the
    /// gradient kept in `take`.
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

fn copy(recorder: &mut Recorder<'_>, from: &Flat, to: &Flat) {
    for (from, to) in from.buffers().iter().zip(to.buffers()) {
        recorder.copy(from.raw(), 0, to.raw(), 0, from.len() as u64 * 4);
    }
}
