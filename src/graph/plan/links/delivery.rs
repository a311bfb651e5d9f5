//! Delivers outputs to regions that kernels cannot write directly.

use std::sync::Arc;

use super::{Place, of_buffer};
use crate::Error;
use crate::gpu::{Buffer, Kernel, Recorder, Region};
use crate::graph::ops;
use crate::graph::plan::{Output, Plan};

/// Delivers an output to a region that the plan's kernels cannot write directly.
#[derive(Debug)]
pub(super) struct Delivery {
    pub(super) to: Place,
    unpack: Option<Unpack>,
}

/// Removes padding from rows, into the region or into a buffer that is then copied there.
#[derive(Debug)]
struct Unpack {
    kernel: Arc<Kernel>,
    group: wgpu::BindGroup,
    grid: [u32; 3],
    dense: Option<Buffer<f32>>,
    _shape: Buffer<u8>,
}

impl Delivery {
    /// Records the delivery of `output`.
    pub(super) fn record(&self, recorder: &mut Recorder<'_>, output: &Output) {
        let mut from = Some(output.buffer.raw());
        if let Some(unpack) = &self.unpack {
            recorder.dispatch(&unpack.kernel, &unpack.group, &[], unpack.grid);
            from = unpack.dense.as_ref().map(Buffer::raw);
        }
        if let Some(from) = from {
            recorder.copy(from, 0, &self.to.buffer, self.to.offset, self.to.bytes);
        }
    }
}

impl Plan {
    /// The delivery of an output to a region: a copy, after a dispatch if rows are padded.
    pub(super) fn delivery(&self, output: &Output, to: &Place) -> Result<Delivery, Error> {
        let what = format!("output {}", output.name);
        let own = output.buffer.raw();
        let (gpu, copyable) = (&self.gpu, to.has(wgpu::BufferUsages::COPY_DST) && to.buffer != *own);
        let check_copy = |from| {
            let refused = |reason| Error::Buffer { what: what.clone(), reason };
            gpu.check_copy(from, to.region()).map_err(refused)
        };
        if output.begins_dense() && copyable {
            check_copy(Region { bytes: to.bytes, ..output.buffer.region() })?;
            return Ok(Delivery { to: to.clone(), unpack: None });
        }
        let bindable = to.is_bindable(gpu) && to.buffer != *own;
        if !bindable && !copyable {
            return to.refuse(gpu, &what, wgpu::BufferUsages::COPY_DST);
        }
        let (source, shape, grid) = ops::dense_from_rows(output.planes());
        let usage = wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST;
        let block: Buffer<u8> = Buffer::with_usage(gpu, "shape of an output", shape.len(), usage)?;
        block.write(gpu, 0, &shape)?;
        let dense = match bindable {
            true => None,
            false => Some(Buffer::storage(gpu, "dense output", output.shape.iter().product())?),
        };
        if let Some(dense) = &dense {
            check_copy(Region { bytes: to.bytes, ..dense.region() })?;
        }
        let kernel = gpu.kernel(&source)?;
        let written = dense.as_ref().map_or(to.region(), Buffer::region);
        let group = gpu.bind_group(&kernel, &[block.region(), output.buffer.region(), written]);
        let group = group.map_err(|error| of_buffer(error, &what))?;
        Ok(Delivery { to: to.clone(), unpack: Some(Unpack { kernel, group, grid, dense, _shape: block }) })
    }
}
