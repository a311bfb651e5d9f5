use std::sync::Arc;

use super::Transform;
use crate::Error;
use crate::gpu::{Binding, Block, Buffer, Kernel, KernelListing, KernelSource, Recorder, grid, uniform};
use crate::params::ParamStore;

/// Gradient centralisation: takes from the gradient of each output of a layer its mean over the inputs, so that the
/// rows of weights keep theirs. Tensors of one dimension or none, as biases, are left alone.
///
/// One dispatch for each tensor of two dimensions or more, which must fit one binding. It is also the example for
/// transforms of one's own.
///
/// Source: Yong et al. 2020, arXiv:2004.01461.
#[derive(Debug, Default)]
pub struct Centralize {
    kernel: Option<Arc<Kernel>>,
    tensors: Vec<(String, wgpu::BindGroup, [u32; 3])>,
    uniforms: Vec<Buffer<u8>>,
}

uniform! {
    struct Call { rows: u32, columns: u32 }
}

fn source() -> KernelSource {
    let bytes = u32::try_from(size_of::<Call>()).expect("uniform blocks are small");
    KernelSource {
        name: "grad/centralize".into(),
        wgsl: include_str!("../../shaders/grad/centralize.wgsl").into(),
        bindings: vec![Binding::Uniform { bytes, dynamic: false }, Binding::ReadWrite],
    }
}

pub(super) fn kernel_listing() -> KernelListing {
    KernelListing { source: source(), blocks: vec![Block::of::<Call>("Call")] }
}

impl Transform for Centralize {
    fn prepare(&mut self, params: &ParamStore) -> Result<(), Error> {
        let gpu = params.gpu();
        let kernel = gpu.kernel(&source())?;
        (self.tensors, self.uniforms) = Default::default();
        for span in params.layout().spans() {
            let [rows, ref inputs @ ..] = span.shape[..] else { continue };
            if inputs.is_empty() {
                continue;
            }
            let columns = inputs.iter().product();
            let number = |n: usize| u32::try_from(n).expect("a binding holds fewer than 2^32 elements");
            let call = Call { rows: number(rows), columns: number(columns) };
            let usage = wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST;
            let uniform: Buffer<u8> = Buffer::with_usage(gpu, "centralize", size_of::<Call>(), usage)?;
            uniform.write(gpu, 0, bytemuck::bytes_of(&call))?;
            let regions = [uniform.region(), params.grads().region_of(span)?];
            let group = gpu.bind_group(&kernel, &regions)?;
            self.tensors.push((span.name.clone(), group, grid(rows.div_ceil(64))));
            self.uniforms.push(uniform);
        }
        self.kernel = Some(kernel);
        Ok(())
    }

    fn record(&mut self, recorder: &mut Recorder<'_>, params: &ParamStore) -> Result<(), Error> {
        let Some(kernel) = &self.kernel else { return Ok(()) };
        for (name, group, grid) in &self.tensors {
            if !params.is_frozen(name)? {
                recorder.dispatch(kernel, group, &[], *grid);
            }
        }
        Ok(())
    }
}
