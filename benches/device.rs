//! The capabilities of an adapter: run this first on a new one.
//!
//! Memory bandwidth and the cost of a dispatch set the scale. Then follow: each tile size with and without run-time
//! checks, in one part and in several, which must all give the same bits; the rates of matrix products; convolutions
//! in three directions, next to the product of equal sizes; and whether the first dispatch of a process gives the
//! same result as the second. `cargo bench --bench device`.

#[path = "support/measure.rs"]
mod measure;
#[path = "support/tiles.rs"]
mod tiles;

use anyhow::{Result, ensure};
use gradus::gpu::{Binding, Buffer, KernelSource, Recorder};
use gradus::graph::{Graph, Plan, PlanOptions, Var, Workspace};
use gradus::nn::{Conv2d, Init};
use gradus::{Gpu, GpuOptions, wgpu};

use measure::{CopyKernel, best, each};

fn main() -> Result<()> {
    let gpu = Gpu::new(GpuOptions::default())?;
    adapter(&gpu);
    first(&gpu)?;
    memory(&gpu)?;
    dispatches(&gpu)?;
    let largest = if gpu.capabilities().is_cpu { 1024 } else { 4096 };
    if gpu.capabilities().is_cpu {
        println!("tiles: on kernels for GPUs, which a CPU adapter is given only when asked, at small sizes");
    }
    tiles::run(&gpu)?;
    println!("products, GFLOP/s");
    for size in [512, 1024, 4096].into_iter().filter(|size| *size <= largest) {
        product(&gpu, [size, size, size])?;
    }
    for sizes in [[512, 64, 512], [64, 1024, 4096], [64, 512, 10], [576, 32_768, 64]] {
        product(&gpu, sizes)?;
    }
    println!("convolutions of 3x3, GFLOP/s");
    convolution(&gpu, [64, 16, 28, 28], 32)?;
    convolution(&gpu, [if gpu.capabilities().is_cpu { 8 } else { 64 }, 64, 32, 32], 64)
}

fn adapter(gpu: &Gpu) {
    let (info, limits, features) = (gpu.info(), gpu.device().limits(), gpu.device().features());
    println!(
        "{} ({:?}, {:?}; {} {})",
        info.name, info.device_type, info.backend, info.driver, info.driver_info
    );
    println!("  {:?} kernels; {:?}", gpu.kernel_kind(), gpu.capabilities());
    println!("  bindings of {} MiB", limits.max_storage_buffer_binding_size >> 20);
    for (name, feature) in [
        ("f16", wgpu::Features::SHADER_F16),
        ("subgroups", wgpu::Features::SUBGROUP),
        ("timestamps", wgpu::Features::TIMESTAMP_QUERY),
    ] {
        println!(
            "  {name}: {}",
            if features.contains(feature) { "asked for" } else { "not asked for, or not there" }
        );
    }
}

/// Whether the first dispatch of the process gives the same result as later ones.
fn first(gpu: &Gpu) -> Result<()> {
    let (plan, _params) = matmul(gpu, [64, 64, 64])?;
    let run = || -> Result<Vec<f32>> {
        let mut encoder = gpu.encoder("first");
        plan.record(&mut Recorder::new(gpu, &mut encoder))?;
        gpu.submit(encoder)?;
        Ok(plan.read("y")?)
    };
    let (once, twice) = (run()?, run()?);
    ensure!(once == twice, "the first dispatch of a process leaves other numbers than the second");
    println!("first dispatch of the process: as the second");
    Ok(())
}

fn memory(gpu: &Gpu) -> Result<()> {
    let largest = gpu.device().limits().max_storage_buffer_binding_size >> 20;
    for megabytes in [1, 16, 64, 128, 512].into_iter().filter(|megabytes| *megabytes as u64 <= largest) {
        let copy = CopyKernel::new(gpu, megabytes << 18)?;
        let time = copy.time(gpu)?;
        println!("copy of {megabytes} MiB: {:.1} GB/s", copy.bytes as f64 / time / 1e6);
    }
    Ok(())
}

/// Microseconds of a nearly empty dispatch: if each waits for the one before, and if none does.
fn dispatches(gpu: &Gpu) -> Result<()> {
    let wgsl = "
        @group(0) @binding(0) var<storage, read_write> x: array<f32>;
        @compute @workgroup_size(64)
        fn main(@builtin(global_invocation_id) id: vec3u) { x[id.x] += 1.0; }";
    let source =
        KernelSource { name: "bench add".into(), wgsl: wgsl.into(), bindings: vec![Binding::ReadWrite] };
    let kernel = gpu.kernel(&source)?;
    let buffers: Vec<Buffer<f32>> =
        (0..1000).map(|_| Buffer::storage(gpu, "bench", 64)).collect::<Result<_, _>>()?;
    let groups: Vec<_> =
        buffers.iter().map(|x| gpu.bind_group(&kernel, &[x.region()])).collect::<Result<_, _>>()?;
    for (what, of) in [("one buffer", 1), ("buffers of their own", groups.len())] {
        let time = best(|| {
            let mut encoder = gpu.encoder("dispatches");
            let mut recorder = Recorder::new(gpu, &mut encoder);
            for number in 0..groups.len() {
                recorder.dispatch(&kernel, &groups[number % of], &[], [1, 1, 1]);
            }
            drop(recorder);
            gpu.submit(encoder)?;
            Ok(gpu.wait()?)
        })?;
        println!("a dispatch of 1,000 in one pass, over {what}: {:.2} us", time);
    }
    Ok(())
}

/// Milliseconds of a part of a plan, repeated in one submit.
fn time(gpu: &Gpu, plan: &Plan, part: std::ops::Range<usize>) -> Result<f64> {
    each(gpu, |times| {
        let mut encoder = gpu.encoder("part");
        let mut recorder = Recorder::new(gpu, &mut encoder);
        (0..times).try_for_each(|_| plan.record_part(&mut recorder, part.clone()))?;
        drop(recorder);
        gpu.submit(encoder)?;
        Ok(gpu.wait()?)
    })
}

/// A matrix of random numbers.
fn factor(graph: &Graph, name: &str, shape: [usize; 2]) -> Var {
    graph.parameter(name, shape, Init::Normal { std: 1.0 })
}

/// The product of `[rows, inner]` and `[inner, columns]`.
fn matmul(gpu: &Gpu, [rows, inner, columns]: [usize; 3]) -> Result<(Plan, gradus::ParamStore)> {
    let graph = Graph::new();
    let [a, b] =
        [("a", [rows, inner]), ("b", [inner, columns])].map(|(name, shape)| factor(&graph, name, shape));
    compiled(gpu, &graph, &a.matmul(&b))
}

fn compiled(gpu: &Gpu, graph: &Graph, y: &Var) -> Result<(Plan, gradus::ParamStore)> {
    let params = graph.store(gpu, 1)?;
    let plan = graph.compile(&params, &PlanOptions::evaluate().output("y", y), &mut Workspace::new())?;
    Ok((plan, params))
}

/// Prints the rate of a product, for every combination of transposed and plain matrices.
fn product(gpu: &Gpu, [rows, inner, columns]: [usize; 3]) -> Result<()> {
    let flops = 2.0 * (rows * inner * columns) as f64;
    print!("  {rows}x{inner} by {inner}x{columns}:");
    for (name, [left, right]) in [("nn", [false, false]), ("nt", [false, true]), ("tn", [true, false])] {
        let graph = Graph::new();
        let lying = |name, [rows, columns]: [usize; 2], transposed| {
            if transposed {
                factor(&graph, name, [columns, rows]).permute(&[1, 0])
            } else {
                factor(&graph, name, [rows, columns])
            }
        };
        let y = lying("a", [rows, inner], left).matmul(&lying("b", [inner, columns], right));
        let (plan, _params) = compiled(gpu, &graph, &y)?;
        let all = plan.labels().count();
        print!(" {name} {:.1} in {all},", flops / time(gpu, &plan, 0..all)? / 1e6);
    }
    println!();
    Ok(())
}

/// Prints the rates of the three directions of a convolution, next to the product with as many rows, columns and
/// steps.
fn convolution(gpu: &Gpu, shape: [usize; 4], channels: usize) -> Result<()> {
    let [images, inputs, height, width] = shape;
    let graph = Graph::new();
    // Biases on both sides, so that all gradients are computed.
    let x = graph.input("x", shape).bias();
    let y = x.conv2d(Conv2d::new(channels, 3).padding(1).without_bias());
    let loss = y.bias().square().sum();
    let params = graph.store(gpu, 1)?;
    let plan = graph.compile(&params, &PlanOptions::train(&loss), &mut Workspace::new())?;
    let flops = 2.0 * (images * height * width * inputs * channels * 9) as f64;
    println!("  {images}x{inputs}x{height}x{width} to {channels} channels:");
    for (number, label) in plan.labels().enumerate().filter(|(_, label)| label.contains("conv2d")) {
        let time = time(gpu, &plan, number..number + 1)?;
        println!("    {:>9.1} ({time:.3} ms) {label}", flops / time / 1e6);
    }
    print!("  beside it");
    product(gpu, [images * height * width, 9 * inputs, channels])
}
