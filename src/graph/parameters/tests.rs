//! Kernels of a plan write buffers, and nothing else of a store.

use crate::gpu::Binding::{Read, ReadWrite};
use crate::gpu::{Gpu, GpuOptions, Recorder, uniform};
use crate::graph::lowering::{Lowering, Operand, source};
use crate::graph::ops::{Op, grid};
use crate::graph::{Graph, Init, PlanOptions, Role, Var, Workspace, autodiff};
use crate::params::ParamStore;
use crate::{Error, graph::shape::u};

uniform! {
    struct Shape { len: u32, momentum: f32 }
}

/// What its input is after a running mean and a count of batches have moved: a normalisation without the rest.
#[derive(Debug)]
struct Running;

const WGSL: &str = "
struct Shape { len: u32, momentum: f32 }
@group(0) @binding(0) var<uniform> shape: Shape;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> mean: array<f32>;
@group(0) @binding(3) var<storage, read_write> batches: array<f32>;
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
    if id.x < shape.len {
        mean[id.x] = mix(mean[id.x], x[id.x], shape.momentum);
    }
    if id.x == 0u {
        batches[0] += 1.0;
    }
}
";

impl Op for Running {
    fn kind(&self) -> &'static str {
        "running"
    }

    fn infer(&self, _: &str, inputs: &[&[usize]]) -> Result<Vec<usize>, Error> {
        Ok(inputs[0].to_vec())
    }

    fn forward(&self, lowering: &mut Lowering, id: usize) -> Result<(), Error> {
        let x = lowering.argument(id, 0);
        let [mean, batches] = [0, 1].map(|which| Operand::Parameter(lowering.parameters(id)[which]));
        let kernel = source::<Shape>("running", WGSL, &[Read, ReadWrite, ReadWrite]);
        let shape = Shape { len: u(lowering.shape(id)[1]), momentum: 0.25 };
        lowering.emit(&lowering.name(id), kernel, grid(64), &[x, mean, batches], shape);
        lowering.define_as(id, x);
        Ok(())
    }

    fn backward(&self, _: &mut Lowering, _: usize) -> Result<(), Error> {
        Ok(())
    }
}

fn running(x: &Var, role: Role) -> Var {
    let graph = x.graph();
    let mean = graph.declare_as(role, "bn.running_mean", vec![x.shape()[1]], Init::Constant(1.0));
    let batches = graph.declare_as(Role::Buffer, "bn.num_batches_tracked", Vec::new(), Init::Constant(0.0));
    graph.push(Running, Some("bn"), &[x], &[mean, batches], None)
}

fn run(gpu: &Gpu, graph: &Graph, params: &ParamStore, options: &PlanOptions, times: usize) {
    let plan = graph.compile(params, options, &mut Workspace::new()).unwrap();
    plan.write("x", &vec![5.0; 8]).unwrap();
    for _ in 0..times {
        let mut encoder = gpu.encoder("plan");
        plan.record(&mut Recorder::new(gpu, &mut encoder)).unwrap();
        gpu.submit(encoder).unwrap();
    }
}

fn gpu() -> Option<Gpu> {
    match Gpu::new(GpuOptions::default()) {
        Ok(gpu) => Some(gpu),
        Err(error) if std::env::var_os("GRADUS_ALLOW_NO_GPU").is_some() => {
            eprintln!("SKIPPED: {error}");
            None
        }
        Err(error) => panic!("{error}; GRADUS_ALLOW_NO_GPU=1 skips this test"),
    }
}

#[test]
fn a_kernel_leaves_running_statistics_in_the_store() {
    let Some(gpu) = gpu() else { return };
    let graph = Graph::new();
    let x = graph.input("x", [1, 8]);
    let y = running(&x, Role::Buffer);
    let loss = y.linear(1).sum();
    let params = graph.store(&gpu, 0).unwrap();
    let read = |name: &str| params.read(name).unwrap();
    assert_eq!((read("bn.running_mean"), read("bn.num_batches_tracked")), (vec![1.0; 8], vec![0.0]));
    run(&gpu, &graph, &params, &PlanOptions::train(&loss), 2);
    // 1 + 4 / 4, then 2 + 3 / 4.
    assert_eq!((read("bn.running_mean"), read("bn.num_batches_tracked")), (vec![2.75; 8], vec![2.0]));
    // Another plan over the same store goes on where the first has left them.
    run(&gpu, &graph, &params, &PlanOptions::evaluate().output("y", &y), 1);
    assert_eq!((read("bn.running_mean"), read("bn.num_batches_tracked")), (vec![3.3125; 8], vec![3.0]));
    assert_eq!(params.read_grad("linear1.weight").unwrap(), [5.0; 8]);
}

#[test]
#[should_panic(expected = "running: operand 1 is trained, and written")]
fn what_is_trained_is_not_written() {
    let graph = Graph::new();
    let y = running(&graph.input("x", [1, 8]), Role::Trained);
    let options = PlanOptions::evaluate().output("y", &y);
    autodiff::lower(&graph, &options, &crate::gpu::Capabilities::PLAIN).unwrap();
}

#[test]
fn a_buffer_that_is_read_beside_one_that_is_written_is_what_it_was_before() {
    let Some(gpu) = gpu() else { return };
    for len in [8, 7, 1] {
        let graph = Graph::new();
        let table = graph.buffer("table", [1, len], Init::Constant(5.0));
        let y = running(&table, Role::Buffer);
        let loss = y.linear(1).sum();
        let params = graph.store(&gpu, 0).unwrap();
        let plan = graph.compile(&params, &PlanOptions::train(&loss), &mut Workspace::new()).unwrap();
        let mut encoder = gpu.encoder("plan");
        plan.record(&mut Recorder::new(&gpu, &mut encoder)).unwrap();
        gpu.submit(encoder).unwrap();
        assert_eq!(params.read("bn.running_mean").unwrap(), vec![2.0; len]);
        assert_eq!(params.read("table").unwrap(), vec![5.0; len]);
    }
}
