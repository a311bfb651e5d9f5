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
    for sizes in [
        [130, 70, 200],
        [65, 33, 129],
        [31, 127, 63],
        [260, 20, 36],
        [24, 300, 40],
        [131, 133, 129],
        [128, 130, 150],
    ] {
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

/// On a CPU adapter, weights of odd rows are copied around a product that is large enough, and tiles compute it.
#[test]
fn large_products_of_odd_rows_are_computed_in_tiles() {
    for gpu in gpus().into_iter().filter(|gpu| gpu.kernel_kind() == KernelKind::CpuSubgroup) {
        for (sizes, is_copied) in [([150, 131, 129], true), ([150, 132, 128], false), ([9, 131, 129], false)]
        {
            let [rows, columns, inner] = sizes;
            let graph = Graph::new();
            let x = graph.input("x", [rows, inner]).bias();
            let y = x.linear(Linear::new(columns).name("l"));
            let params = graph.store(&gpu, 1).unwrap();
            let options = PlanOptions::train(&y).upstream("dy");
            let plan = graph.compile(&params, &options, &mut Workspace::new()).unwrap();
            let of_layer: Vec<&str> = plan.labels().filter(|label| label.starts_with("l: ")).collect();
            let copies =
                of_layer.iter().filter(|label| label.contains("copy") || label.contains("to_planes")).count();
            let tiled = ["matmul_nt", "matmul_nn", "matmul_tn"];
            let tiles = of_layer.iter().filter(|label| tiled.iter().any(|tile| label.contains(tile))).count();
            // The weight before its product forward and backward, and its gradient behind.
            assert_eq!(copies, if is_copied { 3 } else { 0 }, "{sizes:?}: {of_layer:?}");
            assert_eq!(tiles, if rows > 9 { 3 } else { 0 }, "{sizes:?}: {of_layer:?}");
        }
    }
}

/// All ways in which factors can lie, also where steps are far apart, are those of f64.
#[test]
fn transposed_factors_give_the_sums_of_f64() {
    for gpu in gpus() {
        for sizes in [[96, 120, 101], [90, 80, 768], [97, 780, 66]] {
            for [left, right] in [[false, false], [false, true], [true, false], [true, true]] {
                let [rows, columns, inner] = sizes;
                let graph = Graph::new();
                let factor = |name: &str, [rows, columns]: [usize; 2], transposed: bool| {
                    if transposed {
                        graph.parameter(name, [columns, rows], Init::Constant(0.0)).permute(&[1, 0])
                    } else {
                        graph.parameter(name, [rows, columns], Init::Constant(0.0))
                    }
                };
                let y = factor("a", [rows, inner], left).matmul(&factor("b", [inner, columns], right));
                let [a, b] = [noises(1, rows * inner), noises(2, inner * columns)];
                let values: [(&str, &[f32]); 2] = [("a", &a), ("b", &b)];
                let got = run(&gpu, &graph, &PlanOptions::evaluate().output("y", &y), &values, &[], &["y"]);
                for (at, got) in got.outputs["y"].iter().enumerate() {
                    let (row, column) = (at / columns, at % columns);
                    let term = |k: usize| {
                        let a = a[if left { k * rows + row } else { row * inner + k }];
                        let b = b[if right { column * inner + k } else { k * columns + column }];
                        f64::from(a) * f64::from(b)
                    };
                    let want: f64 = (0..inner).map(term).sum();
                    let error = (f64::from(*got) - want).abs();
                    let kind = gpu.kernel_kind();
                    assert!(
                        error < 1e-4,
                        "{sizes:?}, {left}, {right}, {kind:?}, {at}: {got}, expected {want}"
                    );
                }
            }
        }
    }
}

/// What pads an inner dimension never meets what is not finite.
#[test]
fn infinities_at_the_end_of_the_inner_dimension_leave_what_f64_does() {
    for gpu in gpus() {
        for inner in [1, 2, 3, 5, 6, 7, 8, 9] {
            for [left, right] in [[false, false], [false, true], [true, false], [true, true]] {
                for infinite in [0, 1] {
                    let (rows, columns) = (8, 8);
                    let mut values = [vec![2.0_f32; rows * inner], vec![3.0_f32; inner * columns]];
                    // The last step is infinite in one factor.
                    for other in 0..8 {
                        let is_by_step = [left, !right][infinite];
                        let at = if is_by_step { (inner - 1) * 8 + other } else { other * inner + inner - 1 };
                        values[infinite][at] = f32::NEG_INFINITY;
                    }
                    let graph = Graph::new();
                    let factor = |name: &str, [rows, columns]: [usize; 2], transposed: bool| {
                        if transposed {
                            graph.parameter(name, [columns, rows], Init::Constant(0.0)).permute(&[1, 0])
                        } else {
                            graph.parameter(name, [rows, columns], Init::Constant(0.0))
                        }
                    };
                    let y = factor("a", [rows, inner], left).matmul(&factor("b", [inner, columns], right));
                    let named: [(&str, &[f32]); 2] = [("a", &values[0]), ("b", &values[1])];
                    let options = PlanOptions::evaluate().output("y", &y);
                    let got = run(&gpu, &graph, &options, &named, &[], &["y"]);
                    let what = format!("{inner} steps, {left}, {right}, {infinite}, {:?}", gpu.kernel_kind());
                    let all = got.outputs["y"].iter().all(|y| *y == f32::NEG_INFINITY);
                    assert!(all, "{what}: {:?}", got.outputs["y"]);
                }
            }
        }
    }
}
