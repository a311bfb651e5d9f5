//! Counts the trips of each dispatch on the device, with a counter in each loop body.

use super::loops::{loops_of, with_counter};
use crate::gpu::{Binding, Buffer, Gpu, GpuOptions, KernelSource, Recorder};
use crate::graph::Graph;
use crate::graph::lowering::{Keep, Lowering, Operand, Step};

/// Storage buffers that a kernel can bind on every device.
const MOST_BUFFERS: usize = 8;

/// A device for each kind of kernels. Empty, with a message, if there is no adapter and that is allowed.
pub(super) fn gpus() -> Vec<Gpu> {
    match Gpu::of_each_kind(&GpuOptions::default()) {
        Ok(gpus) => gpus,
        Err(error) if std::env::var_os("GRADUS_ALLOW_NO_GPU").is_some() => {
            eprintln!("SKIPPED: {error}");
            Vec::new()
        }
        Err(error) => panic!("{error}; GRADUS_ALLOW_NO_GPU=1 skips this test"),
    }
}

/// The kernel with one more binding, which receives the trips of its busiest invocation.
fn counting(kernel: &KernelSource) -> KernelSource {
    let counter = " made_trips++; atomicMax(&most_trips, made_trips);";
    let mut wgsl = with_counter(&kernel.wgsl, counter);
    wgsl += &format!(
        "var<private> made_trips: u32;
@group(0) @binding({}) var<storage, read_write> most_trips: atomic<u32>;\n",
        kernel.bindings.len()
    );
    let mut bindings = kernel.bindings.clone();
    bindings.push(Binding::ReadWrite);
    KernelSource { name: format!("{} with a counter", kernel.name), wgsl: wgsl.into(), bindings }
}

/// Runs all dispatches of a plan that have loops and counts their trips. All data are zeros, except for constants.
pub(super) fn count<'a>(gpu: &Gpu, graph: &Graph, lowering: &'a Lowering) -> Vec<(&'a Step, usize)> {
    let buffer = |len: usize| Buffer::<f32>::storage(gpu, "zeros", len).unwrap();
    let values: Vec<_> = lowering.values.iter().map(|value| buffer(value.len)).collect();
    for (value, buffer) in lowering.values.iter().zip(&values) {
        if let Keep::Constant(numbers) = &value.keep {
            buffer.write(gpu, 0, numbers).unwrap();
        }
    }
    let parameters = graph.declared().into_iter().map(|parameter| parameter.shape.iter().product());
    let parameters: Vec<_> = parameters.map(|len: usize| [buffer(len), buffer(len)]).collect();
    let mut counted = Vec::new();
    for step in &lowering.steps {
        // A kernel with the maximum number of bindings has no room for a counter.
        if loops_of(&step.kernel.wgsl) == 0 || step.operands.len() == MOST_BUFFERS {
            continue;
        }
        let usage = wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST;
        let uniform = Buffer::<u8>::with_usage(gpu, "uniform", step.uniform.len(), usage).unwrap();
        uniform.write(gpu, 0, &step.uniform).unwrap();
        let most = Buffer::<u32>::storage(gpu, "trips", 4).unwrap();
        let mut regions = vec![uniform.region()];
        regions.extend(step.operands.iter().map(|operand| match *operand {
            Operand::Value(value) => values[value].region(),
            Operand::Part { value, first, len } => values[value].region_of(first, len),
            Operand::Parameter(parameter) => parameters[parameter][0].region(),
            Operand::Gradient(parameter) => parameters[parameter][1].region(),
        }));
        regions.push(most.region());
        let kernel = gpu.kernel(&counting(&step.kernel)).unwrap();
        let group = gpu.bind_group(&kernel, &regions).unwrap();
        let mut encoder = gpu.encoder("trips");
        Recorder::new(gpu, &mut encoder).dispatch(&kernel, &group, &[], step.grid);
        gpu.submit(encoder).unwrap();
        counted.push((step, most.read(gpu, 0, 1).unwrap()[0] as usize));
    }
    counted
}
