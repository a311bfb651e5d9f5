//! Graphs run once: parameters in, values and gradients out.

use std::collections::BTreeMap;

use gradus::gpu::{Buffer, Recorder};
use gradus::graph::{Graph, HostData, Plan, PlanOptions, Workspace};
use gradus::{Gpu, GpuOptions, ParamStore};

use crate::common::gpus_with;

/// A device for each kind of kernels; none, visibly, where there is no adapter and that is allowed.
pub(crate) fn gpus() -> Vec<Gpu> {
    gpus_with(&GpuOptions::default())
}

pub(crate) fn submit(gpu: &Gpu, plans: &[&Plan]) {
    let mut encoder = gpu.encoder("test");
    let mut recorder = Recorder::new(gpu, &mut encoder);
    for plan in plans {
        plan.record(&mut recorder).unwrap();
    }
    drop(recorder);
    gpu.submit(encoder).unwrap();
}

/// Distinct numbers in (-1, 1), none of them 0, in an order that depends on `stream`: no ties for a maximum and
/// no kinks of a relu within a fifth of their distance of `2 / len`.
pub(crate) fn distinct(stream: u64, len: usize) -> Vec<f32> {
    let mut order: Vec<usize> = (0..len).collect();
    order.sort_by_key(|&i| (crate::common::noise(stream, i).to_bits(), i));
    order.into_iter().map(|rank| ((rank as f32 + 0.3) / len as f32) * 2.0 - 1.0).collect()
}

/// What a plan left: the outputs that were asked for, and the gradients of all parameters.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) outputs: BTreeMap<String, Vec<f32>>,
    pub(crate) gradients: BTreeMap<String, Vec<f32>>,
}

pub(crate) fn outcome(plan: &Plan, params: &ParamStore, outputs: &[&str]) -> Outcome {
    let read_grad = |name: &String| (name.clone(), params.read_grad(name).unwrap());
    Outcome {
        outputs: outputs.iter().map(|name| ((*name).to_owned(), plan.read(name).unwrap())).collect(),
        gradients: params.layout().spans().iter().map(|span| read_grad(&span.name)).collect(),
    }
}

/// An output as it lies on the device, padding and all.
pub(crate) fn with_padding(gpu: &Gpu, plan: &Plan, name: &str) -> Vec<f32> {
    let output = plan.output(name).unwrap();
    let elements = usize::try_from(output.size() / 4).unwrap();
    let copy = Buffer::storage(gpu, "copy", elements).unwrap();
    let mut encoder = gpu.encoder("copy");
    Recorder::new(gpu, &mut encoder).copy(output, 0, copy.raw(), 0, output.size());
    gpu.submit(encoder).unwrap();
    copy.read(gpu, 0, elements).unwrap()
}

/// Compiles and runs once over a fresh store and workspace; `outputs` are read.
pub(crate) fn run(
    gpu: &Gpu,
    graph: &Graph,
    options: &PlanOptions,
    values: &[(&str, &[f32])],
    inputs: &[(&str, &dyn HostData)],
    outputs: &[&str],
) -> Outcome {
    let mut params = graph.store(gpu, 1).unwrap();
    for (name, values) in values {
        params.write(name, values).unwrap();
    }
    let plan = graph.compile(&params, options, &mut Workspace::new()).unwrap();
    for (name, data) in inputs {
        plan.write(name, *data).unwrap();
    }
    submit(gpu, &[&plan]);
    gpu.check().unwrap();
    outcome(&plan, &params, outputs)
}
