//! Test functions on the device, against the same in f64.

use gradus::search::{TestFunction, TestProblem};
use gradus::{Gpu, GpuOptions, wgpu};
use wgpu::BufferUsages as U;

const POINTS: usize = 64;

/// What a search declares around an objective, and a kernel over [`POINTS`] members.
fn kernel(problem: &TestProblem) -> String {
    format!(
        "@group(0) @binding(0) var<storage, read> members: array<f32>;
@group(0) @binding(1) var<storage, read_write> values: array<f32>;
const DIMENSIONS: u32 = {}u;
var<private> member: u32;
fn x(i: u32) -> f32 {{ return members[member * DIMENSIONS + i]; }}
{}
@compute @workgroup_size({POINTS})
fn main(@builtin(global_invocation_id) id: vec3u) {{
    member = id.x;
    values[id.x] = objective();
}}",
        problem.dimensions(),
        problem.wgsl()
    )
}

fn buffer(gpu: &Gpu, len: usize, usage: U) -> wgpu::Buffer {
    let size = 4 * len as u64;
    gpu.device().create_buffer(&wgpu::BufferDescriptor {
        label: None,
        size,
        usage,
        mapped_at_creation: false,
    })
}

fn on_device(gpu: &Gpu, problem: &TestProblem, members: &[f32]) -> Vec<f32> {
    let device = gpu.device();
    let source = wgpu::ShaderSource::Wgsl(kernel(problem).into());
    let module = device.create_shader_module(wgpu::ShaderModuleDescriptor { label: None, source });
    let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label: None,
        layout: None,
        module: &module,
        entry_point: None,
        compilation_options: wgpu::PipelineCompilationOptions::default(),
        cache: None,
    });
    let rows = buffer(gpu, members.len(), U::STORAGE | U::COPY_DST);
    let (values, copied) =
        (buffer(gpu, POINTS, U::STORAGE | U::COPY_SRC), buffer(gpu, POINTS, U::MAP_READ | U::COPY_DST));
    gpu.queue().write_buffer(&rows, 0, bytemuck::cast_slice(members));
    let bound = [&rows, &values];
    let entries: Vec<wgpu::BindGroupEntry<'_>> = (0..)
        .zip(bound)
        .map(|(binding, buffer)| wgpu::BindGroupEntry { binding, resource: buffer.as_entire_binding() })
        .collect();
    let layout = &pipeline.get_bind_group_layout(0);
    let group =
        device.create_bind_group(&wgpu::BindGroupDescriptor { label: None, layout, entries: &entries });
    let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
    {
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
        pass.set_pipeline(&pipeline);
        pass.set_bind_group(0, &group, &[]);
        pass.dispatch_workgroups(1, 1, 1);
    }
    encoder.copy_buffer_to_buffer(&values, 0, &copied, 0, 4 * POINTS as u64);
    gpu.queue().submit([encoder.finish()]);
    copied.map_async(wgpu::MapMode::Read, .., |result| result.unwrap());
    device.poll(wgpu::PollType::wait_indefinitely()).unwrap();
    let bytes = copied.get_mapped_range(..).unwrap().to_vec();
    bytemuck::pod_collect_to_vec(&bytes)
}

#[test]
fn functions_have_the_same_values_on_the_device() {
    let gpu = match Gpu::new(crate::kernels::asked(GpuOptions::default())) {
        Ok(gpu) => gpu,
        Err(error) if std::env::var_os("GRADUS_ALLOW_NO_GPU").is_some() => {
            eprintln!("SKIPPED: {error}");
            return;
        }
        Err(error) => panic!("{error}; GRADUS_ALLOW_NO_GPU=1 skips these tests"),
    };
    for function in TestFunction::ALL {
        for problem in [1, 2, 5].into_iter().filter_map(|n| function.in_dimensions(n).ok()) {
            let (low, high) = function.bounds();
            let shift: Vec<f64> = (0..problem.dimensions()).map(|i| 0.125 * (i as f64 - 3.0)).collect();
            for problem in [problem.clone(), problem.shifted(&shift).unwrap()] {
                let at = |k: usize| low + (high - low) * (0.31 + 0.618_034 * k as f64).fract();
                #[expect(clippy::cast_possible_truncation, reason = "the device has f32")]
                let members: Vec<f32> = (0..POINTS * problem.dimensions()).map(|k| at(k) as f32).collect();
                let values = on_device(&gpu, &problem, &members);
                for (member, got) in members.chunks(problem.dimensions()).zip(values) {
                    let x: Vec<f64> = member.iter().map(|x| f64::from(*x)).collect();
                    let want = problem.value(&x);
                    // Sines of 2^-11 exactness, which are multiplied by coordinates at most, and rounded points.
                    let slope: f64 = problem.gradient(&x).iter().zip(&x).map(|(g, x)| (g * x).abs()).sum();
                    let size: f64 = x.iter().map(|x| x.abs()).sum();
                    let allowed = 1e-3 * (1.0 + size) + 1e-5 * slope + 1e-5 * want.abs();
                    let far = (f64::from(got) - want).abs();
                    assert!(far <= allowed, "{problem:?} at {x:?}: {got}, not {want}");
                }
            }
        }
    }
}
