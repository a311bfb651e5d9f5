use gradus::gpu::Recorder;
use gradus::graph::{Graph, PlanOptions, Var, Workspace};
use gradus::optim::{Rule, SGD};
use gradus::{Error, Gpu};

use crate::kernel::{Kernel, numbers};
use crate::{BATCH, batch, compare};

/// The gradient of the mean of squared differences.
const LOSS: &str = "
@group(0) @binding(0) var<storage, read> y: array<f32>;
@group(0) @binding(1) var<storage, read> wanted: array<f32>;
@group(0) @binding(2) var<storage, read_write> dy: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
    if id.x < arrayLength(&y) {
        dy[id.x] = 2.0 * (y[id.x] - wanted[id.x]) / f32(arrayLength(&y));
    }
}";

fn network(x: &Var) -> Var {
    x.linear(16).tanh().linear(1)
}

/// A kernel computes the upstream gradient of an output. Forward pass, loss, backward pass and update are one submit.
pub(crate) fn run(gpu: &Gpu) -> Result<(), Error> {
    let graph = Graph::new();
    let y = network(&graph.input("x", [BATCH, 2]));
    let options = PlanOptions::train(&y).upstream("dy").output("y", &y);
    let mut params = graph.store(gpu, 1)?;
    let plan = graph.compile(&params, &options, &mut Workspace::new())?;
    let [out, wanted, gradient] = [(); 3].map(|()| numbers(gpu, BATCH));
    plan.bind_output("y", out.slice(..))?;
    plan.write("dy", &gradient.slice(..))?;
    let loss = Kernel::new(gpu, LOSS, &[&out, &wanted, &gradient], 64);
    let rule = SGD { lr: 0.1, momentum: 0.9, ..Default::default() };
    let mut optimizer = rule.clone().build(&params)?;

    let graph = Graph::new();
    let x = graph.input("x", [BATCH, 2]);
    let library_loss = network(&x).mse_loss(&graph.input("y", [BATCH, 1]));
    let mut library = graph.trainer(&library_loss, rule).seed(1).build(gpu)?;
    for step in 0..400 {
        let (x, y) = batch(step);
        library.step(&[("x", &x), ("y", &y)])?;

        plan.write("x", &x)?;
        gpu.queue().write_buffer(&wanted, 0, bytemuck::cast_slice(&y));
        let mut encoder = gpu.encoder("step");
        plan.record_forward(&mut Recorder::new(gpu, &mut encoder))?;
        loss.record(&mut encoder);
        plan.record_backward(&mut Recorder::new(gpu, &mut encoder))?;
        let ticket = optimizer.record(&mut encoder, &mut params)?;
        gpu.submit(encoder)?;
        optimizer.submitted(ticket)?;
    }
    println!("loss: after 400 steps {:.5} by the library", library.read_loss()?);
    compare(&params, library.params())
}
