//! Kernels whose driver compiles them when they first run.

use gradus::gpu::Counters;
use gradus::graph::{Graph, PlanOptions, Var, Workspace};
use gradus::nn::Conv2d;
use gradus::optim::AdamW;
use gradus::{Gpu, GpuOptions};

use crate::common::{gpu, gpus_with, noises, read_all};

fn loss(graph: &Graph) -> Var {
    let (x, y) = (graph.input("x", [4, 1, 8, 8]), graph.labels("y", 4));
    let h = x.conv2d(Conv2d::new(8, 3).padding(1)).relu().max_pool2d(2);
    h.flatten().linear(4).cross_entropy(&y)
}

fn compiled(gpu: &Gpu, graph: &Graph, loss: &Var) -> Counters {
    let params = graph.store(gpu, 1).unwrap();
    let before = gpu.counters();
    graph.compile(&params, &PlanOptions::train(loss), &mut Workspace::new()).unwrap();
    gpu.counters().since(&before)
}

#[test]
fn a_cpu_adapter_warms_each_new_kernel_of_a_plan_up_once_and_another_none() {
    for kind in gpus_with(&GpuOptions::default()) {
        let graph = Graph::new();
        let loss = loss(&graph);
        let first = compiled(&kind, &graph, &loss);
        assert!(first.pipelines > 4, "{first:?}");
        let wanted = if kind.capabilities().is_cpu { first.pipelines } else { 0 };
        assert_eq!(
            (first.warm_ups, first.submits, first.dispatches),
            (wanted, 0, 0),
            "{:?}",
            kind.kernel_kind()
        );
        // Its kernels are there, and were warmed up.
        let second = compiled(&kind, &graph, &loss);
        assert_eq!((second.warm_ups, second.pipelines, second.submits), (0, 0, 0));
    }
}

#[test]
fn a_warm_up_changes_no_buffer_and_no_step_after_it() {
    let Some(gpu) = gpu() else { return };
    let (graph, graph_of_its_own) = (Graph::new(), Graph::new());
    let (loss, _) = (loss(&graph), loss(&graph_of_its_own));
    let mut trainer = graph.trainer(&loss, AdamW::default()).seed(7).build(&gpu).unwrap();
    let params = trainer.params();
    assert_eq!(
        read_all(params),
        read_all(&graph_of_its_own.store(&gpu, 7).unwrap()),
        "compiling changed parameters"
    );
    for span in params.layout().spans() {
        assert!(params.read_grad(&span.name).unwrap().iter().all(|slope| *slope == 0.0), "a kernel ran");
    }
    let (x, y) = (noises(3, 4 * 64), [0, 3, 1, 2]);
    for step in 0..4 {
        let before = gpu.counters();
        trainer.step(&[("x", &x), ("y", &y)]).unwrap();
        let count = gpu.counters().since(&before);
        assert_eq!((count.warm_ups, count.submits, count.pipelines), (0, 1, 0), "step {step}");
    }
    assert!(trainer.read_loss().unwrap().is_finite());
}
