use std::sync::Arc;

use super::{Flat, ParamStore};
use crate::Error;
use crate::gpu::Gpu;
use crate::layout::Layout;

impl ParamStore {
    /// A store over existing buffers of the same device. For parameters and for gradients alike, `adopt`
    /// needs one buffer for each buffer of the layout, with room for its f32 elements.
    ///
    /// Padding between tensors is set to zero and must stay zero. The values of the tensors are not changed.
    ///
    /// # Errors
    /// [`Error::Length`] for a wrong number of buffers; [`Error::Buffer`] for a buffer that is too small,
    /// lacks a usage of `STORAGE | COPY_SRC | COPY_DST`, or is given twice; [`Error::Mismatch`] for a layout
    /// made for larger limits than this device has.
    pub fn adopt(
        gpu: &Gpu,
        layout: Layout,
        params: Vec<wgpu::Buffer>,
        grads: Vec<wgpu::Buffer>,
    ) -> Result<Self, Error> {
        gpu.check()?;
        let limits = gpu.device().limits();
        if layout.limits().binding_bytes > limits.max_storage_buffer_binding_size {
            return Err(Error::Mismatch(format!(
                "the layout was made for bindings of {} bytes, but this device allows at most {}",
                layout.limits().binding_bytes,
                limits.max_storage_buffer_binding_size
            )));
        }
        let mut seen: Vec<&wgpu::Buffer> = Vec::new();
        for (kind, buffers) in [("params", &params), ("grads", &grads)] {
            if buffers.len() != layout.buffers() {
                return Err(Error::Length {
                    what: format!("buffers for {kind}"),
                    expected: layout.buffers(),
                    got: buffers.len(),
                });
            }
            for (index, buffer) in buffers.iter().enumerate() {
                check(&layout, index, buffer, &seen)
                    .map_err(|reason| Error::Buffer { what: format!("{kind}[{index}]"), reason })?;
                seen.push(buffer);
            }
        }
        let layout = Arc::new(layout);
        let [params, grads] = [params, grads].map(|buffers| Flat::foreign(gpu, &layout, buffers));
        for flat in [&params, &grads] {
            clear_padding(gpu, flat)?;
        }
        Self::new(gpu, params, grads)
    }
}

fn check(layout: &Layout, index: usize, buffer: &wgpu::Buffer, seen: &[&wgpu::Buffer]) -> Result<(), String> {
    use wgpu::BufferUsages as U;
    let needed = layout.buffer_elements(index) as u64 * 4;
    let usages = U::STORAGE | U::COPY_SRC | U::COPY_DST;
    if seen.contains(&buffer) {
        return Err("the same buffer was given twice".into());
    }
    if buffer.size() < needed {
        return Err(format!("expected at least {needed} bytes, got {}", buffer.size()));
    }
    if !buffer.usage().contains(usages) {
        return Err(format!("expected the usages {usages:?}, got {:?}", buffer.usage()));
    }
    Ok(())
}

fn clear_padding(gpu: &Gpu, flat: &Flat) -> Result<(), Error> {
    let layout = flat.layout();
    let starts = layout.spans().iter().map(|s| s.first).skip(1).chain([layout.len()]);
    for (span, next) in layout.spans().iter().zip(starts) {
        let end = span.first + span.len;
        for piece in layout.pieces(end, next - end) {
            flat.buffers()[piece.buffer].write(gpu, piece.offset, &vec![0.0; piece.part.len()])?;
        }
    }
    Ok(())
}
