use gradus::{Gpu, wgpu};

/// A custom kernel with the bind group for its buffers.
pub(crate) struct Kernel {
    pipeline: wgpu::ComputePipeline,
    group: wgpu::BindGroup,
    workgroups: u32,
}

impl Kernel {
    /// Binds `buffers` from binding 0 on. The kernel runs once per element, 64 per workgroup.
    pub(crate) fn new(gpu: &Gpu, wgsl: &str, buffers: &[&wgpu::Buffer], elements: u32) -> Self {
        let device = gpu.device();
        let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
            label: None,
            source: wgpu::ShaderSource::Wgsl(wgsl.into()),
        });
        let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: None,
            layout: None,
            module: &module,
            entry_point: None,
            compilation_options: wgpu::PipelineCompilationOptions::default(),
            cache: None,
        });
        let entries = (0..).zip(buffers);
        let entries = entries
            .map(|(binding, buffer)| wgpu::BindGroupEntry { binding, resource: buffer.as_entire_binding() });
        let group = device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: None,
            layout: &pipeline.get_bind_group_layout(0),
            entries: &entries.collect::<Vec<_>>(),
        });
        Self { pipeline, group, workgroups: elements.div_ceil(64) }
    }

    pub(crate) fn record(&self, encoder: &mut wgpu::CommandEncoder) {
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
        pass.set_pipeline(&self.pipeline);
        pass.set_bind_group(0, &self.group, &[]);
        pass.dispatch_workgroups(self.workgroups, 1, 1);
    }
}

/// Room for `elements` numbers, which kernels can bind.
pub(crate) fn numbers(gpu: &Gpu, elements: usize) -> wgpu::Buffer {
    use wgpu::BufferUsages as U;
    gpu.device().create_buffer(&wgpu::BufferDescriptor {
        label: None,
        size: 4 * elements as u64,
        usage: U::STORAGE | U::COPY_SRC | U::COPY_DST,
        mapped_at_creation: false,
    })
}
