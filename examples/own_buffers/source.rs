use gradus::graph::{Graph, HostData};
use gradus::optim::Adam;
use gradus::train::Trainer;
use gradus::{Error, Gpu};

use crate::kernel::{Kernel, numbers};
use crate::{BATCH, batch};

/// The same computation as [`batch`].
const BATCHES: &str = "
@group(0) @binding(0) var<storage, read_write> step: array<u32>;
@group(0) @binding(1) var<storage, read_write> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;

fn coordinate(n: u32) -> f32 {
    return f32((n * 2654435761u) >> 24u) / 128.0 - 1.0;
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
    let i = 2u * id.x;
    let now = step[0];
    x[i] = coordinate(now * 128u + i);
    x[i + 1u] = coordinate(now * 128u + i + 1u);
    y[id.x] = x[i] * x[i + 1u];
    storageBarrier();
    if id.x == 0u {
        step[0] = now + 1u;
    }
}";

fn trainer(gpu: &Gpu) -> Result<Trainer<Adam>, Error> {
    let graph = Graph::new();
    let (x, y) = (graph.input("x", [BATCH, 2]), graph.input("y", [BATCH, 1]));
    let loss = x.linear(16).tanh().linear(1).mse_loss(&y);
    graph.trainer(&loss, Adam { lr: 0.01, ..Default::default() }).seed(1).build(gpu)
}

/// A kernel writes each batch into two buffers that are the inputs, so a step uploads no data.
pub(crate) fn run(gpu: &Gpu) -> Result<(), Error> {
    let (step, x, y) = (numbers(gpu, 1), numbers(gpu, BATCH * 2), numbers(gpu, BATCH));
    let source = Kernel::new(gpu, BATCHES, &[&step, &x, &y], 64);
    let (mut ours, mut library) = (trainer(gpu)?, trainer(gpu)?);
    let inputs: [(&str, &dyn HostData); 2] = [("x", &x.slice(..)), ("y", &y.slice(..))];
    for step in 0..400 {
        let mut encoder = gpu.encoder("batch");
        source.record(&mut encoder);
        gpu.submit(encoder)?;
        ours.step(&inputs)?;
        let (x, y) = batch(step);
        library.step(&[("x", &x), ("y", &y)])?;
    }
    let losses = [ours.read_loss()?, library.read_loss()?];
    println!("data source: loss {:.5}, and {:.5} of uploaded batches", losses[0], losses[1]);
    assert!(losses[0] < 0.01, "it does not learn");
    assert_eq!(losses[0], losses[1]);
    Ok(())
}
