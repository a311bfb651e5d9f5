use std::sync::Arc;

use super::flat::check_len;
use super::{Flat, ParamStore};
use crate::Error;
use crate::gpu::{
    Binding, Block, Buffer, Kernel, KernelListing, KernelSource, Recorder, Region, UniformRing, grid, uniform,
};

uniform! {
    struct Call { len: u32 }
}

const WORKGROUP: usize = 256;

/// Buffers and bind groups for adding gradients from the host.
#[derive(Debug)]
pub(super) struct Added {
    more: Flat,
    kernel: Arc<Kernel>,
    windows: Vec<(wgpu::BindGroup, usize)>,
    _calls: Buffer<u8>,
}

fn source() -> KernelSource {
    let bytes = u32::try_from(size_of::<Call>()).expect("uniform blocks are small");
    KernelSource {
        name: "params/add".into(),
        wgsl: include_str!("../../shaders/params/add.wgsl").into(),
        bindings: vec![Binding::Uniform { bytes, dynamic: false }, Binding::Read, Binding::ReadWrite],
    }
}

/// The kernel, for tests.
pub(crate) fn kernel_listing() -> KernelListing {
    KernelListing { source: source(), blocks: vec![Block::of::<Call>("Call")] }
}

impl Added {
    pub(super) fn new(params: &ParamStore) -> Result<Self, Error> {
        let (gpu, layout) = (params.gpu(), params.layout());
        let more = Flat::zeroed(gpu, "gradients to add", layout)?;
        let kernel = gpu.kernel(&source())?;
        let count = layout.windows().count();
        let usage = wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST;
        let calls: Buffer<u8> = Buffer::with_usage(gpu, "add", count * UniformRing::ALIGN, usage)?;
        let mut windows = Vec::with_capacity(count);
        for (number, window) in layout.windows().enumerate() {
            let call = Call { len: u32::try_from(window.len / 4).expect("windows are counted in 32 bits") };
            let at = number * UniformRing::ALIGN;
            calls.write(gpu, at, bytemuck::bytes_of(&call))?;
            let call = Region { buffer: calls.raw(), offset: at as u64, bytes: size_of::<Call>() as u64 };
            let regions = [call, more.window(&window), params.grads().window(&window)];
            windows.push((gpu.bind_group(&kernel, &regions)?, window.len / 4));
        }
        Ok(Self { more, kernel, windows, _calls: calls })
    }
}

impl ParamStore {
    /// Records an addition of host gradients to the store's gradients, for gradient accumulation. `grads`
    /// holds all tensors in the order of the layout, without padding. They are uploaded through one buffer,
    /// so call this at most once per submit.
    ///
    /// # Errors
    /// [`Error::Length`]; [`Error::Mismatch`] for a recorder of another device; [`Error::DeviceLost`]. The
    /// first call can also return [`Error::Limit`] and [`Error::Kernel`].
    pub fn record_add_grads(&mut self, recorder: &mut Recorder<'_>, grads: &[f32]) -> Result<(), Error> {
        check_len("gradients of all tensors", self.layout().parameters(), grads.len())?;
        if !recorder.gpu().is_same(self.gpu()) {
            return Err(Error::Mismatch("this recorder records for another device".into()));
        }
        let added = match self.added.take() {
            Some(added) => added,
            None => Added::new(self)?,
        };
        let written = self.write_dense(&added.more, grads);
        if written.is_ok() {
            for (group, vectors) in &added.windows {
                recorder.dispatch(&added.kernel, group, &[], grid(vectors.div_ceil(WORKGROUP)));
            }
        }
        // Kept after an error too, so that it is not created again.
        self.added = Some(added);
        written
    }
}
