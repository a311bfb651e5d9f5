//! Products in the tiles of GPUs, at the ends of which chains run, against f64 loops and against the plain kernels.

use gradus::gpu::KernelKind;
use gradus::graph::{Graph, Init, PlanOptions, Workspace};
use gradus::nn::Linear;

use crate::common::noises;
use crate::network::{Outcome, gpus, run};

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|x| x.to_bits()).collect()
}

/// `relu(x W^T + b + residual)` and its gradients, in f64: of `x`, and of the weight.
fn expected([rows, columns, inner]: [usize; 3], values: &[Vec<f32>; 5]) -> [Vec<f64>; 3] {
    let [x, weight, bias, residual, dy] = values.each_ref().map(|v| v.iter().map(|x| f64::from(*x)));
    let [x, weight, bias, residual, dy] = [x, weight, bias, residual, dy].map(Iterator::collect::<Vec<f64>>);
    let [mut y, mut dx, mut dw] =
        [vec![0.0; rows * columns], vec![0.0; rows * inner], vec![0.0; columns * inner]];
    for at in 0..rows * columns {
        let (row, column) = (at / columns, at % columns);
        let terms = (0..inner).map(|k| x[row * inner + k] * weight[column * inner + k]);
        let sum = terms.sum::<f64>() + bias[column] + residual[at];
        y[at] = sum.max(0.0);
        if sum > 0.0 {
            for k in 0..inner {
                dx[row * inner + k] += dy[at] * weight[column * inner + k];
                dw[column * inner + k] += dy[at] * x[row * inner + k];
            }
        }
    }
    [y, dx, dw]
}

#[test]
fn layers_that_end_with_a_chain_are_those_of_f64_and_have_the_bits_of_plain_kernels() {
    for sizes in [[130, 70, 200], [65, 33, 129], [31, 127, 63], [260, 20, 36], [24, 300, 40]] {
        let [rows, columns, inner] = sizes;
        let mut outcomes: Vec<(KernelKind, Outcome)> = Vec::new();
        let lens = [rows * inner, columns * inner, columns, rows * columns, rows * columns];
        let values = [0, 1, 2, 3, 4].map(|which| noises(which as u64, lens[which]));
        for gpu in gpus() {
            let graph = Graph::new();
            let x = graph.parameter("x", [rows, inner], Init::Constant(0.0));
            let residual = graph.parameter("residual", [rows, columns], Init::Constant(0.0));
            let y = x.linear(Linear::new(columns).name("l")).add(&residual).relu();
            let options = PlanOptions::train(&y).upstream("dy");
            let named =
                ["x", "l.weight", "l.bias", "residual"].into_iter().zip(values.iter().map(|v| &v[..]));
            let named: Vec<(&str, &[f32])> = named.collect();
            let outcome = run(&gpu, &graph, &options, &named, &[("dy", &values[4])], &["loss"]);
            outcomes.push((gpu.kernel_kind(), outcome));
        }
        let expected = expected(sizes, &values);
        for (kind, outcome) in &outcomes {
            let got = [&outcome.outputs["loss"], &outcome.gradients["x"], &outcome.gradients["l.weight"]];
            for (which, (got, want)) in got.into_iter().zip(&expected).enumerate() {
                let tolerance = f64::from(f32::EPSILON) * [inner, columns, rows][which] as f64 * 2.0 + 1e-6;
                for (at, (got, want)) in got.iter().zip(want).enumerate() {
                    let error = (f64::from(*got) - want).abs();
                    assert!(error <= tolerance, "{sizes:?}, {kind:?}, {which}, {at}: {got}, expected {want}");
                }
            }
        }
        let of = |kind| outcomes.iter().find(|(other, _)| *other == kind).map(|(_, outcome)| outcome);
        let (Some(tiled), Some(plain)) = (of(KernelKind::Gpu), of(KernelKind::Plain)) else { continue };
        assert_eq!(bits(&tiled.outputs["loss"]), bits(&plain.outputs["loss"]), "{sizes:?}");
        for name in ["x", "l.weight"] {
            assert_eq!(bits(&tiled.gradients[name]), bits(&plain.gradients[name]), "{sizes:?}, {name}");
        }
    }
}

/// Long inner dimensions of few tiles are shared out, and the parts added in order.
#[test]
fn a_long_sum_of_few_tiles_is_split_and_one_of_many_is_not() {
    for gpu in gpus().into_iter().filter(|gpu| gpu.kernel_kind() == KernelKind::Gpu) {
        for (sizes, kernels) in [
            ([40, 40, 1_023], &["matmul_tile"][..]),
            ([40, 40, 1_024], &["matmul_tile", "sum_parts"]),
            ([40, 41, 1_500], &["matmul_tile", "sum_parts"]),
            ([1, 100, 4_096], &["matmul_lanes", "sum_parts"]),
            ([1, 100, 4_095], &["matmul_lanes"]),
            ([1_100, 64, 1_024], &["matmul_tile"]),
            ([3, 3, 1_000], &["matmul_lanes"]),
            ([8, 8, 8], &["matmul_plain"]),
        ] {
            let [rows, columns, inner] = sizes;
            let graph = Graph::new();
            let x = graph.parameter("x", [rows, inner], Init::Constant(0.0));
            let y = x.matmul(&graph.parameter("other", [inner, columns], Init::Constant(0.0)));
            let options = PlanOptions::evaluate().output("y", &y);
            let params = graph.store(&gpu, 1).unwrap();
            let plan = graph.compile(&params, &options, &mut Workspace::new()).unwrap();
            let labels: Vec<&str> = plan.labels().filter(|label| !label.contains("to_rows")).collect();
            assert_eq!(labels.len(), kernels.len(), "{sizes:?}: {labels:?}");
            assert!(labels.iter().zip(kernels).all(|(label, kernel)| label.contains(kernel)), "{labels:?}");
            if rows * columns * inner > 10_000_000 {
                continue;
            }
            let [a, b] = [noises(1, rows * inner), noises(2, inner * columns)];
            let values: [(&str, &[f32]); 2] = [("x", &a), ("other", &b)];
            let outcomes = [0, 1].map(|_| run(&gpu, &graph, &options, &values, &[], &["y"]));
            assert_eq!(bits(&outcomes[0].outputs["y"]), bits(&outcomes[1].outputs["y"]), "{sizes:?}");
            for (at, got) in outcomes[0].outputs["y"].iter().enumerate() {
                let term = |k: usize| {
                    f64::from(a[at / columns * inner + k]) * f64::from(b[k * columns + at % columns])
                };
                let want: f64 = (0..inner).map(term).sum();
                assert!((f64::from(*got) - want).abs() < 1e-4, "{sizes:?}, {at}: {got}, expected {want}");
            }
        }
    }
}
