//! Kernels of each kind beside the plain ones, at the borders of how lanes share lines and tiles: close results, and the
//! same bits twice. The plain ones are held to f64 elsewhere.

mod attention;
mod lines;
mod recurrent;

use gradus::Gpu;
use gradus::gpu::KernelKind;
use gradus::graph::{Graph, HostData, PlanOptions, Var};

use crate::common::{bits, noises};
use crate::network::{Outcome, gpus, run};

/// Parameters by name, and the numbers in them.
type Values = Vec<(&'static str, Vec<f32>)>;

/// A graph, its parameters, and labels that it takes.
struct Case<'a> {
    name: String,
    values: Values,
    labels: Option<Vec<u32>>,
    build: &'a dyn Fn(&Graph) -> Var,
}

impl Case<'_> {
    fn run(&self, gpu: &Gpu) -> Outcome {
        let graph = Graph::new();
        let y = (self.build)(&graph);
        let dy = noises(99, y.shape().iter().product());
        let options = PlanOptions::train(&y).upstream("dy");
        let values: Vec<(&str, &[f32])> =
            self.values.iter().map(|(name, values)| (*name, &values[..])).collect();
        let mut inputs: Vec<(&str, &dyn HostData)> = vec![("dy", &dy)];
        if let Some(labels) = &self.labels {
            inputs.push(("labels", labels));
        }
        run(gpu, &graph, &options, &values, &inputs, &["loss"])
    }

    fn check(&self, gpus: &[Gpu]) {
        let all = |outcome: &Outcome| -> Vec<(String, Vec<f32>)> {
            let both = outcome.outputs.iter().chain(&outcome.gradients);
            both.map(|(name, values)| (name.clone(), values.clone())).collect()
        };
        let is_plain = |gpu: &&Gpu| gpu.kernel_kind() == KernelKind::Plain;
        let Some(plain) = gpus.iter().find(is_plain) else { return };
        let want = all(&self.run(plain));
        for gpu in gpus.iter().filter(|gpu| !is_plain(gpu)) {
            let [got, again] = [0, 1].map(|_| all(&self.run(gpu)));
            for (((name, got), (_, again)), (_, want)) in got.iter().zip(&again).zip(&want) {
                let what = format!("{} ({:?}): {name}", self.name, gpu.kernel_kind());
                assert_eq!(bits(got), bits(again), "{what}, again");
                assert_near(&what, got, want);
            }
        }
    }
}

/// Panics unless both are near, or the same number that is not finite.
fn assert_near(what: &str, got: &[f32], want: &[f32]) {
    assert_eq!(got.len(), want.len(), "{what}: elements");
    let finite = want.iter().filter(|x| x.is_finite());
    let largest = finite.fold(1.0_f32, |largest, x| largest.max(x.abs()));
    for (at, (got, want)) in got.iter().zip(want).enumerate() {
        let near = got == want || (got.is_nan() && want.is_nan()) || (got - want).abs() <= 2e-5 * largest;
        assert!(near, "{what}: element {at} is {got}, expected {want}");
    }
}

/// The labels of a plan that contain one of some texts.
fn dispatches(gpu: &Gpu, build: &dyn Fn(&Graph) -> Var, contains: &[&str]) -> Vec<String> {
    let graph = Graph::new();
    let y = build(&graph);
    let params = graph.store(gpu, 1).unwrap();
    let options = PlanOptions::train(&y).upstream("dy");
    let plan = graph.compile(&params, &options, &mut Default::default()).unwrap();
    let counts = |label: &&str| contains.iter().any(|part| label.contains(part));
    plan.labels().filter(counts).map(str::to_owned).collect()
}
