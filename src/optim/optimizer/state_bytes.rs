use super::Optimizer;
use crate::optim::rule::any::AnyRule;

impl<R: AnyRule + Clone> Optimizer<R> {
    /// Bytes of device memory that hold state: the buffers of all slots, with the padding of the layout and, in 8 bits, the
    /// scales. A slot has no buffer before the first step that uses it. The weights that [averages](Optimizer::averages)
    /// keep are a slot too.
    ///
    /// Tables, constants of steps and a bf16 copy of the parameters are not counted: [`Counters`](crate::gpu::Counters)
    /// has the bytes of everything.
    ///
    /// ```no_run
    /// // Needs a device.
    /// use gradus::optim::{AdamW, Rule};
    /// use gradus::{Gpu, GpuOptions, ParamStore};
    ///
    /// let gpu = Gpu::new(GpuOptions::default())?;
    /// let store = ParamStore::builder().group("all", |g| g.tensor("w", [256, 64], &[0.0; 256 * 64]));
    /// let mut params = store.build(&gpu)?;
    /// let mut optimizer = AdamW::default().build(&params)?;
    /// optimizer.step(&mut params)?;
    /// // Two moments in f32.
    /// assert_eq!(optimizer.state_bytes(), 2 * 4 * 256 * 64);
    /// # Ok::<(), gradus::Error>(())
    /// ```
    pub fn state_bytes(&self) -> u64 {
        let mut buffers: Vec<&wgpu::Buffer> = Vec::new();
        for buffer in self.device.slots.iter().flatten().flat_map(|slot| slot.raw()) {
            // Slots of statistics share one.
            if !buffers.contains(&buffer) {
                buffers.push(buffer);
            }
        }
        buffers.into_iter().map(wgpu::Buffer::size).sum()
    }
}
