//! Plans that time kernels, and checks of gradients, that wait without blocking.

use gradus::gpu::{Autotune, GpuOptions, KernelChoice, KernelKind, Recorder};
use gradus::graph::{CustomOp, Graph, HostData, Plan, PlanOptions, Var, Workspace};
use gradus::{Gpu, ParamStore};

use crate::common::{bits, gpu, gpu_with, noises};
use crate::futures::counted;

fn product() -> (Graph, Var) {
    let graph = Graph::new();
    let y = graph.input("x", [40, 70]).linear(90).relu().linear(33).square().sum();
    (graph, y)
}

fn compile(graph: &Graph, store: &ParamStore, y: &Var) -> (Plan, usize) {
    let (options, mut workspace) = (PlanOptions::train(y), Workspace::new());
    let (plan, polls) = counted(graph.compile_async(store, &options, &mut workspace));
    (plan.unwrap(), polls)
}

fn loss(gpu: &Gpu, plan: &Plan) -> Vec<u32> {
    plan.write("x", &noises(3, 40 * 70)).unwrap();
    let mut encoder = gpu.encoder("run");
    plan.record(&mut Recorder::new(gpu, &mut encoder)).unwrap();
    gpu.submit(encoder).unwrap();
    bits(&plan.read("loss").unwrap())
}

#[test]
fn kernels_are_timed_without_blocking() {
    let kernels = KernelChoice::Only(KernelKind::Gpu);
    let options = |autotune| GpuOptions { kernels, autotune, ..GpuOptions::default() };
    let Some(tuned) = gpu_with(options(Autotune::Memory)) else { return };
    let Some(plain) = gpu_with(options(Autotune::Off)) else { return };
    let (graph, y) = product();
    let (store, other) = (graph.store(&tuned, 1).unwrap(), graph.store(&plain, 1).unwrap());
    let (plan, polls) = compile(&graph, &store, &y);
    let (again, polls_again) = compile(&graph, &store, &y);
    let (untuned, polls_untuned) = compile(&graph, &other, &y);
    if tuned.kernel_kind() == KernelKind::Gpu && tuned.info().backend != gradus::wgpu::Backend::Gl {
        assert!(polls > 1, "it never waited");
    }
    // What was found is kept, and without tuning there is nothing to wait for.
    assert_eq!((polls_again, polls_untuned), (1, 1));
    let expected = loss(&plain, &untuned);
    assert_eq!(loss(&tuned, &plan), expected);
    assert_eq!(loss(&tuned, &again), expected);
}

#[test]
fn gradients_are_checked_without_blocking() {
    let Some(gpu) = gpu() else { return };
    let op = |factor: &str| {
        let wgsl = format!(
            "fn forward_y(i: u32) -> f32 {{ return x(i) * x(i); }}
             fn backward_x(i: u32) -> f32 {{ return {factor} * x(i) * grad_y(i); }}"
        );
        CustomOp::builder("square", &wgsl).input("x").build().unwrap()
    };
    let (shape, x) = ([5], vec![0.5_f32, -1.0, 2.0, 0.75, -0.3]);
    let inputs: [(&[usize], &dyn HostData); 1] = [(&shape, &x)];
    for (factor, is_right) in [("2.0", true), ("1.9", false)] {
        let op = op(factor);
        let (checked, _) = counted(op.check_gradient_async(&gpu, &inputs));
        let expected = op.check_gradient(&gpu, &inputs);
        assert_eq!(checked.is_ok(), is_right, "{checked:?}");
        assert_eq!(format!("{checked:?}"), format!("{expected:?}"));
    }
}
