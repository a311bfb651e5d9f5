//! Reads the numbers that the host decides by: inner products, and the penalties in the loss.

use super::inner_products::{BYTES, InnerProducts, OF_PAIR, PRODUCTS};
use super::kernels::ADDING;
use super::vectors::Vectors;
use crate::Error;
use crate::gpu::{Recorder, UniformRing, grid};
use crate::grad::Transforms;
use crate::params::ParamStore;

impl Vectors {
    /// Transforms the gradients and reads all inner products, and the penalties.
    pub(super) async fn measure(
        &mut self,
        params: &ParamStore,
        transforms: &mut Transforms,
        places: usize,
    ) -> Result<InnerProducts, Error> {
        let target = self.read_buffer.target().clone();
        let mut encoder = self.gpu.encoder("measure");
        let mut recorder = Recorder::new(&self.gpu, &mut encoder);
        transforms.custom.iter_mut().try_for_each(|custom| custom.record(&mut recorder, params))?;
        if let Some(pass) = &self.gradient_pass {
            pass.record(&mut recorder, &self.tiles);
            self.add(&mut recorder, 1, 0, &pass.sums);
        }
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
        if let Some(pass) = &self.gradient_pass {
            recorder.copy(pass.penalty.raw(), 0, &target, at, BYTES as u64);
        }
        drop(recorder);
        self.gpu.submit(encoder)?;
        let bytes = (PRODUCTS + OF_PAIR * places) * BYTES;
        let with_penalty = bytes + if self.gradient_pass.is_some() { BYTES } else { 0 };
        let read = self.read_buffer.read(&self.gpu, with_penalty).await?;
        let (products, penalty) = read.split_at(bytes);
        let penalty = InnerProducts::sum_of(penalty);
        Ok(InnerProducts { penalty, ..InnerProducts::of(products).times(self.sign) })
    }

    /// Records the reduction of partial sums to products. The uniforms of its levels begin with number `first`.
    fn add(&self, recorder: &mut Recorder<'_>, products: usize, first: usize, last: &[wgpu::BindGroup; 2]) {
        let rows = u32::try_from(products).expect("a history block has few products");
        for (number, level) in self.levels.iter().enumerate() {
            let to = if level.left == 1 { last } else { &self.between };
            let offset = u32::try_from((first + number) * UniformRing::ALIGN).expect("there are few levels");
            let [groups, ..] = grid((level.left as usize).div_ceil(ADDING));
            recorder.dispatch(&self.kernels.sums, &to[number % 2], &[offset], [groups, rows, 1]);
        }
    }
}
