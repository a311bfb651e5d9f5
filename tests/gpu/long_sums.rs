//! Linear layers whose sums are longer than the loops of one invocation may be, against f64.

use gradus::Gpu;
use gradus::gpu::KernelKind;
use gradus::graph::{Graph, HostData, Init, Plan, PlanOptions, Var, Workspace};
use gradus::nn::Linear;

use crate::common::noises;
use crate::network::{Outcome, gpus, outcome, run, submit};
use crate::reference::{self, assert_close, wide};

/// The gradients of `sum(dy * (x w^T + b))` with respect to `x`, `w` and `b`.
fn gradients(x: &[f32], w: &[f32], dy: &[f32], [features, out]: [usize; 2]) -> [Vec<f64>; 3] {
    let (mut dx, mut dw, mut db) = (vec![0.0; x.len()], vec![0.0; w.len()], vec![0.0; out]);
    for (row, dy) in dy.chunks(out).enumerate() {
        for (o, dy) in dy.iter().copied().map(f64::from).enumerate() {
            db[o] += dy;
            for f in 0..features {
                dx[row * features + f] += dy * f64::from(w[o * features + f]);
                dw[o * features + f] += dy * f64::from(x[row * features + f]);
            }
        }
    }
    [dx, dw, db]
}

fn layer(graph: &Graph, [rows, features, out]: [usize; 3]) -> Var {
    let x = graph.parameter("x", [rows, features], Init::Constant(0.0));
    x.linear(Linear::new(out).name("l"))
}

/// Runs `y = x w^T + b` both ways and checks all that comes of it.
fn check(gpu: &Gpu, [rows, features, out]: [usize; 3]) {
    let graph = Graph::new();
    let y = layer(&graph, [rows, features, out]);
    let (x, w, b) = (noises(1, rows * features), noises(2, out * features), noises(3, out));
    let dy = noises(4, rows * out);
    let values: [(&str, &[f32]); 3] = [("x", &x), ("l.weight", &w), ("l.bias", &b)];
    let options = PlanOptions::train(&y).upstream("dy");
    let got = run(gpu, &graph, &options, &values, &[("dy", &dy)], &["loss"]);
    let what = format!("[{rows}, {features}] to {out} with {:?} kernels", gpu.kernel_kind());
    assert_close(
        &what,
        &got.outputs["loss"],
        &reference::linear(&wide(&x), features, &wide(&w), Some(&wide(&b))),
    );
    let [dx, dw, db] = gradients(&x, &w, &dy, [features, out]);
    assert_close(&format!("{what}: gradient of x"), &got.gradients["x"], &dx);
    assert_close(&format!("{what}: gradient of the weight"), &got.gradients["l.weight"], &dw);
    assert_close(&format!("{what}: gradient of the bias"), &got.gradients["l.bias"], &db);
}

#[test]
fn weight_gradients_over_many_rows_are_their_sums() {
    for gpu in gpus() {
        for rows in [16_384, 16_385, 32_768, 32_769, 65_535, 65_536, 70_000, 140_001] {
            check(&gpu, [rows, 4, 3]);
            check(&gpu, [rows, 3, 2]);
        }
        check(&gpu, [33_000, 12, 37]);
    }
}

#[test]
fn many_inputs_are_summed() {
    for gpu in gpus() {
        for features in [16_384, 16_385, 65_532, 65_535, 65_536, 65_540, 70_001, 262_144, 262_145] {
            check(&gpu, [2, features, 3]);
        }
        check(&gpu, [37, 65_540, 5]);
    }
}

#[test]
fn gradients_of_many_outputs_are_summed() {
    for gpu in gpus() {
        for (features, out) in [(4, 16_384), (3, 16_385), (4, 65_536), (4, 65_537), (1, 70_001), (8, 140_000)]
        {
            check(&gpu, [2, features, out]);
        }
    }
}

/// Ones times ones: a chain of f32 sums that stops or loses its low digits is off by whole numbers.
#[test]
fn long_sums_of_equal_numbers_keep_their_digits() {
    for gpu in gpus() {
        // The longest sums that some kernel could take in one chain, and longer ones.
        let shapes =
            [(16_384, 4), (32_767, 4), (1, 65_532), (70_000, 1), (300_000, 4), (1, 70_001), (1, 1_000_000)];
        for (rows, features) in shapes {
            let graph = Graph::new();
            let y = layer(&graph, [rows, features, 1]);
            let (x, w) = (vec![1.0_f32; rows * features], vec![0.1_f32; features]);
            let dy = vec![-2.0 / rows as f32; rows];
            let options = PlanOptions::train(&y).upstream("dy");
            let values: [(&str, &[f32]); 3] = [("x", &x), ("l.weight", &w), ("l.bias", &[0.5])];
            let got = run(&gpu, &graph, &options, &values, &[("dy", &dy)], &["loss"]);
            let what = format!("[{rows}, {features}] with {:?} kernels", gpu.kernel_kind());
            let near = |name: &str, got: f32, want: f64| {
                let apart = (f64::from(got) - want).abs() / want.abs();
                assert!(apart < 1e-4, "{what}: {name} is {got}, expected {want}");
            };
            near("y", got.outputs["loss"][0], 0.5 + 0.1 * features as f64);
            near("the gradient of the weight", got.gradients["l.weight"][0], -2.0);
            near("the gradient of the bias", got.gradients["l.bias"][0], -2.0);
        }
    }
}

#[test]
fn gradients_of_many_equal_outputs_keep_their_digits() {
    for gpu in gpus() {
        for out in [32_764, 65_536, 65_540] {
            let graph = Graph::new();
            let y = layer(&graph, [1, 4, out]);
            let (w, dy) = (vec![0.7_f32; 4 * out], vec![0.3_f32; out]);
            let options = PlanOptions::train(&y).upstream("dy");
            let values: [(&str, &[f32]); 2] = [("x", &[0.1; 4]), ("l.weight", &w)];
            let got = run(&gpu, &graph, &options, &values, &[("dy", &dy)], &[]).gradients["x"][3];
            let want = f64::from(0.7_f32) * f64::from(0.3_f32) * out as f64;
            let apart = (f64::from(got) - want).abs() / want;
            assert!(
                apart < 1e-4,
                "{out} outputs with {:?} kernels: {got}, expected {want}",
                gpu.kernel_kind()
            );
        }
    }
}

#[test]
fn a_relu_after_a_split_sum_sees_all_of_it() {
    for gpu in gpus() {
        for (features, out) in [(70_001, 6), (65_540, 6), (140_000, 40)] {
            let rows = 3;
            let graph = Graph::new();
            let y = layer(&graph, [rows, features, out]).relu();
            let (x, w, b) = (noises(1, rows * features), noises(2, out * features), noises(3, out));
            let options = PlanOptions::evaluate().output("y", &y);
            let values: [(&str, &[f32]); 3] = [("x", &x), ("l.weight", &w), ("l.bias", &b)];
            let got = run(&gpu, &graph, &options, &values, &[], &["y"]);
            let sums = reference::linear(&wide(&x), features, &wide(&w), Some(&wide(&b)));
            let negative = sums.iter().filter(|sum| **sum < 0.0).count();
            assert!(negative > 0 && negative < sums.len(), "both signs are needed");
            let what = format!("relu of {features} inputs with {:?} kernels", gpu.kernel_kind());
            assert_close(&what, &got.outputs["y"], &reference::relu(&sums));
        }
    }
}

/// The sum of the elements: two layers over their own inputs, of one weight or of two.
fn two_layers(rows: usize, features: usize, tied: bool) -> (Graph, Var) {
    let graph = Graph::new();
    let part = |name: &str| {
        let x = graph.input(&format!("{name}.x"), [rows, features]);
        x.linear(Linear::new(2).name(name))
    };
    let y = part("a").add(&part("b"));
    if tied {
        graph.tie("b.weight", "a.weight");
        graph.tie("b.bias", "a.bias");
    }
    (graph, y)
}

#[test]
fn split_gradients_of_tied_weights_and_of_plans_that_add_are_added() {
    for gpu in gpus() {
        for features in [3, 4] {
            let rows = 70_000;
            let data: Vec<Vec<f32>> = (0..2).map(|stream| noises(stream, rows * features)).collect();
            let dy = noises(5, rows * 2);
            let write = |plan: &Plan| {
                let inputs: [(&str, &dyn HostData); 3] = [("a.x", &data[0]), ("b.x", &data[1]), ("dy", &dy)];
                inputs.into_iter().for_each(|(name, data)| plan.write(name, data).unwrap());
            };
            let gradients = |tied: bool, times: usize| -> Outcome {
                let (graph, y) = two_layers(rows, features, tied);
                let params = graph.store(&gpu, 1).unwrap();
                let mut workspace = Workspace::new();
                let options = PlanOptions::train(&y).upstream("dy");
                let first = graph.compile(&params, &options, &mut workspace).unwrap();
                let adds = graph.compile(&params, &options.accumulate(), &mut workspace).unwrap();
                [&first, &adds].into_iter().for_each(write);
                submit(&gpu, &[&first]);
                (1..times).for_each(|_| submit(&gpu, &[&adds]));
                outcome(&first, &params, &[])
            };
            let apart = gradients(false, 1).gradients;
            for (tied, times) in [(true, 1), (true, 3), (false, 2)] {
                let got = gradients(tied, times).gradients;
                let what =
                    format!("{features} features, {tied}, {times} times, {:?} kernels", gpu.kernel_kind());
                for name in ["weight", "bias"] {
                    let of = |layer: &str| wide(&apart[&format!("{layer}.{name}")]);
                    let own = of("a");
                    let both: Vec<f64> = own.iter().zip(of("b")).map(|(a, b)| a + b).collect();
                    let want: Vec<f64> =
                        if tied { both } else { own }.iter().map(|g| g * times as f64).collect();
                    assert_close(&format!("{what}: {name}"), &got[&format!("a.{name}")], &want);
                }
            }
        }
    }
}

#[test]
fn sums_that_fit_one_chain_take_one_dispatch() {
    for gpu in gpus() {
        let products = |rows: usize, features: usize, out: usize| {
            let graph = Graph::new();
            let y = layer(&graph, [rows, features, out]);
            let params = graph.store(&gpu, 1).unwrap();
            let options = PlanOptions::train(&y).upstream("dy");
            let plan = graph.compile(&params, &options, &mut Workspace::new()).unwrap();
            plan.labels().filter(|label| label.contains("matmul") || label.contains("sum_parts")).count()
        };
        // GPUs share out the sums of few workgroups before they are too long for one chain.
        let fits = if gpu.kernel_kind() == KernelKind::Gpu { 4 } else { 3 };
        assert_eq!(products(16_384, 3, 2), fits, "{:?}", gpu.kernel_kind());
        assert_eq!(products(2, 16_384, 4), fits, "{:?}", gpu.kernel_kind());
        assert_eq!(products(2, 4, 16_384), fits, "{:?}", gpu.kernel_kind());
        assert_eq!(products(1_000, 3, 2), 3, "{:?}", gpu.kernel_kind());
        // One more dispatch adds the parts.
        assert_eq!(products(70_001, 3, 2), 4, "{:?}", gpu.kernel_kind());
        assert_eq!(products(2, 70_001, 2), 4, "{:?}", gpu.kernel_kind());
        assert_eq!(products(2, 4, 70_001), 4, "{:?}", gpu.kernel_kind());
    }
}
