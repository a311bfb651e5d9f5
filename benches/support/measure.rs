//! Timing, and the memory bandwidth to compare with.

use std::time::Instant;

use anyhow::Result;
use gradus::Gpu;
use gradus::gpu::{Binding, Buffer, KernelSource, Recorder, grid};

const RUNS: usize = 5;

/// Milliseconds of the best of five runs, after a warm-up run.
pub(crate) fn best(mut run: impl FnMut() -> Result<()>) -> Result<f64> {
    run()?;
    let mut best = f64::INFINITY;
    for _ in 0..RUNS {
        let start = Instant::now();
        run()?;
        best = best.min(start.elapsed().as_secs_f64() * 1e3);
    }
    Ok(best)
}

/// Milliseconds of one of many repetitions; `run` does so many and waits for the last. On a GPU, a long series is
/// compared with a short one, because the wait takes as long as a small kernel. On a CPU, one repetition is enough.
pub(crate) fn each(gpu: &Gpu, mut run: impl FnMut(usize) -> Result<()>) -> Result<f64> {
    if gpu.capabilities().is_cpu {
        return best(|| run(1));
    }
    Ok((best(|| run(22))? - best(|| run(2))?) / 20.0)
}

/// Copies `vec4`s from one buffer to another: the memory bandwidth of a kernel.
pub(crate) struct CopyKernel {
    group: gradus::wgpu::BindGroup,
    kernel: std::sync::Arc<gradus::gpu::Kernel>,
    quads: usize,
    pub(crate) bytes: usize,
}

impl CopyKernel {
    pub(crate) fn new(gpu: &Gpu, elements: usize) -> Result<Self> {
        let wgsl = "
            @group(0) @binding(0) var<storage, read> source: array<vec4f>;
            @group(0) @binding(1) var<storage, read_write> target_: array<vec4f>;
            @compute @workgroup_size(256)
            fn main(@builtin(global_invocation_id) id: vec3u) { target_[id.x] = source[id.x]; }";
        let (name, bindings) = ("bench copy".into(), vec![Binding::Read, Binding::ReadWrite]);
        let kernel = gpu.kernel(&KernelSource { name, wgsl: wgsl.into(), bindings })?;
        let source = Buffer::<f32>::storage(gpu, "copy source", elements)?;
        let target = Buffer::<f32>::storage(gpu, "copy target", elements)?;
        let group = gpu.bind_group(&kernel, &[source.region(), target.region()])?;
        Ok(Self { group, kernel, quads: elements / 4, bytes: 8 * elements })
    }

    /// Milliseconds of a copy.
    pub(crate) fn time(&self, gpu: &Gpu) -> Result<f64> {
        each(gpu, |times| self.run(gpu, times))
    }

    fn run(&self, gpu: &Gpu, times: usize) -> Result<()> {
        let mut encoder = gpu.encoder("copy");
        let mut recorder = Recorder::new(gpu, &mut encoder);
        for _ in 0..times {
            recorder.dispatch(&self.kernel, &self.group, &[], grid(self.quads.div_ceil(256)));
        }
        drop(recorder);
        gpu.submit(encoder)?;
        Ok(gpu.wait()?)
    }
}
