//! An optimizer inside a program that has a device, a queue and encoders of its own: a shader of the program writes
//! gradients into the store, AdamW is recorded behind it, and the program submits. Nothing is read until the end, where
//! the parameters are held against the same steps in f64.
//!
//! `cargo run --release --example embed`

use gradus::optim::{AdamW, Rule};
use gradus::{Gpu, ParamStore, wgpu};

/// Samples, and features of each.
const SAMPLES: usize = 64;
const FEATURES: usize = 8;
const STEPS: usize = 300;

/// The gradient of the mean squared error of `y = weight . x + bias`. One invocation for each parameter; the bias
/// is the weight of a feature that is always 1.
const GRADIENT: &str = "
override features: u32;
override samples: u32;
override bias: u32; // its place in the store's flat buffer

@group(0) @binding(0) var<storage, read> params: array<f32>;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> y: array<f32>;
@group(0) @binding(3) var<storage, read_write> grads: array<f32>;

@compute @workgroup_size(64)
fn gradient(@builtin(global_invocation_id) id: vec3u) {
    if id.x > features { return; }
    var sum = 0.0;
    for (var sample = 0u; sample < samples; sample++) {
        var error = params[bias] - y[sample];
        for (var i = 0u; i < features; i++) { error += params[i] * x[sample * features + i]; }
        var input = 1.0;
        if id.x < features { input = x[sample * features + id.x]; }
        sum += error * input;
    }
    let place = select(bias, id.x, id.x < features);
    grads[place] = 2.0 * sum / f32(samples);
}";

fn main() -> anyhow::Result<()> {
    // What the program has anyway. The limits are those that Gradus would like: see `Gpu::from_wgpu` for smaller ones.
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle_from_env());
    let adapter = pollster::block_on(instance.request_adapter(&wgpu::RequestAdapterOptions::default()))?;
    let (device, queue) = pollster::block_on(adapter.request_device(&wgpu::DeviceDescriptor {
        required_limits: Gpu::required_limits(&adapter),
        required_features: adapter.features() & Gpu::optional_features(),
        ..Default::default()
    }))?;

    let gpu = Gpu::from_wgpu(&adapter, device.clone(), queue.clone());
    let mut params = ParamStore::builder()
        .group("decay", |g| g.tensor("weight", [FEATURES], &[0.0; FEATURES]))
        .group("no_decay", |g| g.tensor("bias", [1], &[0.0]))
        .build(&gpu)?;
    let rule = AdamW { lr: 0.02, weight_decay: 0.01, ..Default::default() };
    let mut optimizer = rule.clone().build(&params)?;
    optimizer.group_mut("no_decay")?.weight_decay = 0.0;

    let (x, y) = samples();
    let gradient = Gradient::new(&device, &queue, &params, &x, &y)?;
    let before = gpu.counters();
    for _ in 0..STEPS {
        let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        gradient.record(&mut encoder);
        let ticket = optimizer.record(&mut encoder, &mut params)?;
        queue.submit([encoder.finish()]);
        optimizer.submitted(ticket)?;
    }
    let done = gpu.counters().since(&before);
    assert_eq!((done.submits, done.read_backs), (0, 0), "the program submits, and nothing is read");

    let trained = [params.read("weight")?, params.read("bias")?].concat();
    let exact = reference(&rule, &x, &y);
    let error =
        trained.iter().zip(&exact).map(|(got, want)| (f64::from(*got) - want).abs()).fold(0.0, f64::max);
    println!("{STEPS} steps on {}: largest difference from f64 {error:.1e}", gpu.info().name);
    anyhow::ensure!(error < 1e-5, "{trained:?} is not {exact:?}");
    Ok(())
}

/// Points of a plane over `FEATURES` axes.
fn samples() -> (Vec<f32>, Vec<f32>) {
    let number = |n: usize| (n * 2_654_435_761 % 4093) as f32 / 2046.0 - 1.0;
    let x: Vec<f32> = (0..SAMPLES * FEATURES).map(number).collect();
    let slopes = [0.5, -1.0, 1.5, 0.0, 0.25, 2.0, -0.5, 1.0];
    let value = |x: &[f32]| 0.75 + x.iter().zip(slopes).map(|(x, slope)| x * slope).sum::<f32>();
    let y = x.chunks_exact(FEATURES).map(value).collect();
    (x, y)
}

/// The program's own kernel. It reads and writes the buffers of the store, at the places that the layout says.
struct Gradient {
    pipeline: wgpu::ComputePipeline,
    bindings: wgpu::BindGroup,
}

impl Gradient {
    fn new(
        device: &wgpu::Device,
        queue: &wgpu::Queue,
        params: &ParamStore,
        x: &[f32],
        y: &[f32],
    ) -> Result<Self, gradus::Error> {
        let bias = params.layout().span("bias")?.first;
        let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
            label: Some("gradient"),
            source: wgpu::ShaderSource::Wgsl(GRADIENT.into()),
        });
        let constants = [("features", FEATURES as f64), ("samples", SAMPLES as f64), ("bias", bias as f64)];
        let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: Some("gradient"),
            layout: None,
            module: &module,
            entry_point: None,
            compilation_options: wgpu::PipelineCompilationOptions {
                constants: &constants,
                ..Default::default()
            },
            cache: None,
        });
        let upload = |data: &[f32]| {
            let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_DST;
            let size = size_of_val(data) as u64;
            let buffer = device.create_buffer(&wgpu::BufferDescriptor {
                label: None,
                size,
                usage,
                mapped_at_creation: false,
            });
            queue.write_buffer(&buffer, 0, bytemuck::cast_slice(data));
            buffer
        };
        let (x, y) = (upload(x), upload(y));
        // A store this small is one buffer; a large one may be several, and `layout().pieces` says which.
        let buffers = [params.params().buffers()[0].raw(), &x, &y, params.grads().buffers()[0].raw()];
        let entries: Vec<_> = (0..)
            .zip(buffers)
            .map(|(binding, buffer)| wgpu::BindGroupEntry { binding, resource: buffer.as_entire_binding() })
            .collect();
        let layout = pipeline.get_bind_group_layout(0);
        let descriptor = wgpu::BindGroupDescriptor { label: None, layout: &layout, entries: &entries };
        let bindings = device.create_bind_group(&descriptor);
        Ok(Self { pipeline, bindings })
    }

    fn record(&self, encoder: &mut wgpu::CommandEncoder) {
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
        pass.set_pipeline(&self.pipeline);
        pass.set_bind_group(0, &self.bindings, &[]);
        pass.dispatch_workgroups(1, 1, 1);
    }
}

/// The same steps in f64: weights, then the bias, which does not decay.
fn reference(rule: &AdamW, x: &[f32], y: &[f32]) -> Vec<f64> {
    let mut p = [0.0; FEATURES + 1];
    let (mut m, mut v) = (p, p);
    let (beta1, beta2) = rule.betas;
    for step in 1..=STEPS {
        let mut g = [0.0; FEATURES + 1];
        for (x, y) in x.chunks_exact(FEATURES).zip(y) {
            let x: Vec<f64> = x.iter().copied().map(f64::from).chain([1.0]).collect();
            let error = p.iter().zip(&x).map(|(p, x)| p * x).sum::<f64>() - f64::from(*y);
            g.iter_mut().zip(&x).for_each(|(g, x)| *g += 2.0 * error * x / SAMPLES as f64);
        }
        let power = i32::try_from(step).expect("a few hundred steps");
        let (correct1, correct2) = (1.0 - beta1.powi(power), 1.0 - beta2.powi(power));
        for i in 0..p.len() {
            let decay = if i < FEATURES { rule.weight_decay } else { 0.0 };
            p[i] -= rule.lr * decay * p[i];
            m[i] += (1.0 - beta1) * (g[i] - m[i]);
            v[i] += (1.0 - beta2) * (g[i] * g[i] - v[i]);
            p[i] -= rule.lr * (m[i] / correct1) / ((v[i] / correct2).sqrt() + rule.eps);
        }
    }
    p.to_vec()
}
