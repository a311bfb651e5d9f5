//! Kernels of a plan write buffers, and nothing else of a store.

use crate::gpu::Binding::{Read, ReadWrite};
use crate::gpu::{Binding, Gpu, GpuOptions, Recorder, uniform};
use crate::graph::lower::{Lowering, Operand, source};
use crate::graph::ops::{Op, grid};
use crate::graph::{Graph, Init, PlanOptions, Role, Var, Workspace, autodiff};
use crate::params::ParamStore;
use crate::{Error, graph::shape::u};

uniform! {
    struct Shape { len: u32, momentum: f32 }
}

/// What its input is after a running mean and a count of batches have moved: a normalisation without the rest.
#[derive(Debug)]
struct Running {
    bindings: [Binding; 2],
}

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
        let [first, second] = self.bindings;
        let kernel = source::<Shape>("running", WGSL, &[Read, first, second]);
        let shape = Shape { len: u(lowering.shape(id)[1]), momentum: 0.25 };
        lowering.emit(&lowering.name(id), kernel, grid(64), &[x, mean, batches], shape);
        lowering.define_as(id, x);
        Ok(())
    }

    fn backward(&self, _: &mut Lowering, _: usize) -> Result<(), Error> {
        Ok(())
    }
}

fn running(x: &Var, role: Role, bindings: [Binding; 2]) -> Var {
    let graph = x.graph();
    let mean = graph.declare_as(role, "bn.running_mean", vec![x.shape()[1]], Init::Constant(1.0));
    let batches = graph.declare_as(Role::Buffer, "bn.num_batches_tracked", Vec::new(), Init::Constant(0.0));
    graph.push(Running { bindings }, Some("bn"), &[x], &[mean, batches], None)
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

#[test]
fn a_kernel_leaves_running_statistics_in_the_store() {
    let gpu = match Gpu::new(GpuOptions::default()) {
        Ok(gpu) => gpu,
        Err(error) if std::env::var_os("GRADUS_ALLOW_NO_GPU").is_some() => {
            return eprintln!("SKIPPED: {error}");
        }
        Err(error) => panic!("{error}; GRADUS_ALLOW_NO_GPU=1 skips this test"),
    };
    let graph = Graph::new();
    let x = graph.input("x", [1, 8]);
    let y = running(&x, Role::Buffer, [ReadWrite; 2]);
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

fn lowered(role: Role, bindings: [Binding; 2]) {
    let graph = Graph::new();
    let y = running(&graph.input("x", [1, 8]), role, bindings);
    let options = PlanOptions::evaluate().output("y", &y);
    autodiff::lower(&graph, &options, &crate::gpu::Capabilities::PLAIN).unwrap();
}

#[test]
#[should_panic(expected = "running: a parameter is written")]
fn what_is_trained_is_not_written() {
    lowered(Role::Trained, [ReadWrite; 2]);
}

#[test]
#[should_panic(expected = "running: buffers are read and written")]
fn buffers_are_not_read_and_written_at_once() {
    lowered(Role::Buffer, [ReadWrite, Read]);
}
