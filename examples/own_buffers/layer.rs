use gradus::gpu::Recorder;
use gradus::graph::{Graph, PlanOptions, Workspace};
use gradus::nn::Linear;
use gradus::optim::{Rule, SGD};
use gradus::{Error, Gpu};

use crate::kernel::{Kernel, numbers};
use crate::{BATCH, batch, compare};

const UNITS: usize = 16;

const FORWARD: &str = "
@group(0) @binding(0) var<storage, read> h: array<f32>;
@group(0) @binding(1) var<storage, read_write> z: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
    if id.x < arrayLength(&z) {
        z[id.x] = 1.0 / (1.0 + exp(-h[id.x]));
    }
}";

const BACKWARD: &str = "
@group(0) @binding(0) var<storage, read> z: array<f32>;
@group(0) @binding(1) var<storage, read> dz: array<f32>;
@group(0) @binding(2) var<storage, read_write> dh: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
    if id.x < arrayLength(&z) {
        dh[id.x] = dz[id.x] * z[id.x] * (1.0 - z[id.x]);
    }
}";

/// Two kernels implement a sigmoid between two plans.
pub(crate) fn run(gpu: &Gpu) -> Result<(), Error> {
    let [first, second] = [Linear::new(UNITS).name("first"), Linear::new(1).name("second")];
    let rule = SGD { lr: 0.1, momentum: 0.9, ..Default::default() };
    let graph = Graph::new();
    let (x, y) = (graph.input("x", [BATCH, 2]), graph.input("y", [BATCH, 1]));
    let loss = x.linear(first.clone()).sigmoid().linear(second.clone()).mse_loss(&y);
    let mut library = graph.trainer(&loss, rule.clone()).seed(1).build(gpu)?;

    let (before, behind, mut workspace) = (Graph::new(), Graph::new(), [Workspace::new(), Workspace::new()]);
    let h = before.input("x", [BATCH, 2]).linear(first);
    let z = behind.input("z", [BATCH, UNITS]);
    let loss = z.linear(second).mse_loss(&behind.input("y", [BATCH, 1]));
    let mut stores = [before.store(gpu, 1)?, behind.store(gpu, 1)?];
    for store in &mut stores {
        for span in store.layout().spans().to_vec() {
            store.write(&span.name, &library.params().read(&span.name)?)?;
        }
    }
    let options = PlanOptions::train(&h).upstream("dh").output("h", &h);
    let before = before.compile(&stores[0], &options, &mut workspace[0])?;
    let options = PlanOptions::train(&loss).gradient("dz", &z);
    let behind = behind.compile(&stores[1], &options, &mut workspace[1])?;

    // With 16 units per row nothing is copied: the kernels of all three use the same buffers.
    let [h, z, dz, dh] = [(); 4].map(|()| numbers(gpu, BATCH * UNITS));
    before.bind_output("h", h.slice(..))?;
    behind.write("z", &z.slice(..))?;
    behind.bind_output("dz", dz.slice(..))?;
    before.write("dh", &dh.slice(..))?;
    let forward = Kernel::new(gpu, FORWARD, &[&h, &z], 64 * 16);
    let backward = Kernel::new(gpu, BACKWARD, &[&z, &dz, &dh], 64 * 16);
    let mut optimizers = [rule.clone().build(&stores[0])?, rule.build(&stores[1])?];
    for step in 0..400 {
        let (x, y) = batch(step);
        library.step(&[("x", &x), ("y", &y)])?;

        before.write("x", &x)?;
        behind.write("y", &y)?;
        let mut encoder = gpu.encoder("step");
        before.record_forward(&mut Recorder::new(gpu, &mut encoder))?;
        forward.record(&mut encoder);
        behind.record(&mut Recorder::new(gpu, &mut encoder))?;
        backward.record(&mut encoder);
        before.record_backward(&mut Recorder::new(gpu, &mut encoder))?;
        let mut tickets = Vec::new();
        for (optimizer, store) in optimizers.iter_mut().zip(&mut stores) {
            tickets.push(optimizer.record(&mut encoder, store)?);
        }
        gpu.submit(encoder)?;
        for (optimizer, ticket) in optimizers.iter_mut().zip(tickets) {
            optimizer.submitted(ticket)?;
        }
    }
    let losses = [behind.read("loss")?[0], library.read_loss()?];
    println!("layer: loss {:.5}, and {:.5} by the library alone", losses[0], losses[1]);
    stores.iter().try_for_each(|store| compare(store, library.params()))
}
