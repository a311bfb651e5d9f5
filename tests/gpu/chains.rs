//! Chains of functions: at the end of the kernel before them, or in one of their own, they give the numbers of plain
//! loops, forward and backward, whatever is broadcast and wherever it lies.

use gradus::graph::{Graph, Init, PlanOptions, Var, Workspace};
use gradus::nn::{Conv2d, Linear};

use crate::common::noises;
use crate::network::{gpus, run};
use crate::ops::{Case, check_all};
use crate::reference::{self, Slide};

fn gelu(x: f64) -> f64 {
    x * 0.5 * libm::erfc(-x * std::f64::consts::FRAC_1_SQRT_2)
}

#[test]
fn a_chain_ends_a_product() {
    let gpus = gpus();
    // Rows, features, columns: whole quads and not, and sums that are split.
    for [rows, features, out] in [[5, 8, 12], [3, 4, 7], [33, 5, 33], [1, 70_004, 6], [2, 16_388, 5]] {
        let case = Case {
            name: format!("a chain after a product of [{rows}, {features}] to {out}"),
            parameters: vec![
                ("x", noises(1, rows * features)),
                (
                    "l.weight",
                    noises(2, out * features).iter().map(|w| w / (features as f32).sqrt()).collect(),
                ),
                ("l.bias", noises(3, out)),
                ("scale", noises(4, out)),
                ("row", noises(5, rows)),
                ("shift", noises(6, rows * out)),
            ],
            labels: None,
            build: &|graph| {
                let tensor = |name, shape: [usize; 2]| graph.parameter(name, shape, Init::Constant(0.0));
                let x = graph.parameter("x", [rows, features], Init::Constant(0.0));
                let h = x.linear(Linear::new(out).name("l")).gelu();
                let scale = graph.parameter("scale", [out], Init::Constant(0.0));
                h.mul(&scale).add(&tensor("row", [rows, 1])).sub(&tensor("shift", [rows, out]))
            },
            value: &|t| {
                let h = reference::linear(&t[0], features, &t[1], Some(&t[2]));
                let at = |i: usize| gelu(h[i]) * t[3][i % out] + t[4][i / out] - t[5][i];
                (0..rows * out).map(at).collect()
            },
            half: 1e-4,
        };
        check_all(&gpus, &case, rows * features * out);
    }
}

#[test]
fn a_chain_ends_a_convolution_whatever_its_lanes() {
    let gpus = gpus();
    // Output channels for lanes of one, two and four of them, and not a multiple of these.
    for out in [3, 8, 16, 20, 40] {
        let (images, channels, size) = (2, 3, 5);
        let slide =
            Slide { kernel: [3, 3], stride: [1, 1], padding: [1, 1], dilation: [1, 1], ceil_mode: false };
        let len = images * out * size * size;
        let case = Case {
            name: format!("a chain after a convolution to {out} channels"),
            parameters: vec![
                ("x", noises(1, images * channels * size * size)),
                ("l.weight", noises(2, out * channels * 9)),
                ("l.bias", noises(3, out)),
                ("scale", noises(4, out)),
                ("other", noises(5, len)),
            ],
            labels: None,
            build: &|graph| {
                let x = graph.parameter("x", [images, channels, size, size], Init::Constant(0.0));
                let scale = graph.parameter("scale", [out, 1, 1], Init::Constant(0.0));
                let other = graph.parameter("other", [images, out, size, size], Init::Constant(0.0));
                x.conv2d(Conv2d::new(out, 3).padding(1).name("l")).tanh().mul(&scale).add(&other)
            },
            value: &|t| {
                let shape = [images, channels, size, size];
                let h = reference::conv2d(&t[0], shape, &t[1], out, Some(&t[2]), &slide);
                let at = |i: usize| h[i].tanh() * t[3][i / (size * size) % out] + t[4][i];
                (0..len).map(at).collect()
            },
            half: 1e-4,
        };
        check_all(&gpus, &case, len * channels * 9);
    }
}

#[test]
fn a_tree_of_functions_is_one_kernel_over_what_is_broadcast() {
    let gpus = gpus();
    let case = Case {
        name: "a tree over [3, 1, 5], [4, 1] and [1]".into(),
        parameters: vec![("a", noises(1, 15)), ("b", noises(2, 4)), ("c", noises(3, 1))],
        labels: None,
        build: &|graph| {
            let a = graph.parameter("a", [3, 1, 5], Init::Constant(0.0));
            let b = graph.parameter("b", [4, 1], Init::Constant(0.0));
            let c = graph.parameter("c", [1], Init::Constant(0.0));
            (a.mul(&b).sigmoid() * 3.0).mul(&a.sub(&b).exp()) + c
        },
        value: &|t| {
            let at = |i: usize| {
                let (a, b) = (t[0][i / 20 * 5 + i % 5], t[1][i / 5 % 4]);
                3.0 / (1.0 + (-a * b).exp()) * (a - b).exp() + t[2][0]
            };
            (0..60).map(at).collect()
        },
        half: 1e-4,
    };
    check_all(&gpus, &case, 60);
}

#[test]
fn a_power_of_nothing_is_a_constant() {
    for gpu in gpus() {
        let graph = Graph::new();
        let y = graph.parameter("x", [4], Init::Constant(0.0)).pow(0.0);
        let values = [0.0, -2.0, f32::NAN, f32::INFINITY];
        let options = PlanOptions::train(&y).upstream("dy");
        let got = run(&gpu, &graph, &options, &[("x", &values)], &[("dy", &[1.0_f32; 4])], &["loss"]);
        assert_eq!((&got.outputs["loss"][..], &got.gradients["x"][..]), (&[1.0; 4][..], &[0.0; 4][..]));
    }
}

#[test]
fn a_layer_with_what_follows_is_one_dispatch() {
    for gpu in gpus() {
        let graph = Graph::new();
        let x = graph.input("x", [6, 8]);
        let y = x.linear(8).gelu().dropout(0.5).add(&x).linear(8).silu().mul(&x).exp();
        let params = graph.store(&gpu, 1).unwrap();
        let options = PlanOptions::train(&y.mean());
        let plan = graph.compile(&params, &options, &mut Workspace::new()).unwrap();
        let labels: Vec<&str> = plan.labels().collect();
        assert!(labels[0].ends_with("[gelu+dropout+add]"), "{labels:?}");
        assert!(labels[1].ends_with("[silu+mul+exp]"), "{labels:?}");
        assert!(labels[2].starts_with("mean1: "), "{labels:?}");
    }
}

#[test]
fn inputs_that_are_parts_of_one_value_get_all_of_its_gradient() {
    let gpus = gpus();
    type Build = fn(&Var, &Var) -> Var;
    type Value = fn(&[f64], usize, usize) -> f64;
    // Of a parameter x [5, 5] and y, which is tied to it: an element of the result.
    let rows: [(&str, Build, Value); 9] = [
        ("x + x[4]", |x, _| x + x.narrow(0, 4, 1), |x, i, j| x[5 * i + j] + x[20 + j]),
        ("x[4] + x", |x, _| x.narrow(0, 4, 1) + x, |x, i, j| x[5 * i + j] + x[20 + j]),
        ("x * x[4]", |x, _| x * x.narrow(0, 4, 1), |x, i, j| x[5 * i + j] * x[20 + j]),
        ("x[4] * x", |x, _| x.narrow(0, 4, 1) * x, |x, i, j| x[5 * i + j] * x[20 + j]),
        ("x - x[:, 4:]", |x, _| x - x.narrow(1, 4, 1), |x, i, j| x[5 * i + j] - x[5 * i + 4]),
        ("x[:, 4:] * x", |x, _| x.narrow(1, 4, 1) * x, |x, i, j| x[5 * i + j] * x[5 * i + 4]),
        ("x^T * x", |x, _| x.transpose(0, 1) * x, |x, i, j| x[5 * i + j] * x[5 * j + i]),
        (
            "x[1] + x * x^T",
            |x, _| x.narrow(0, 1, 1) + x * x.transpose(0, 1),
            |x, i, j| x[5 + j] + x[5 * i + j] * x[5 * j + i],
        ),
        ("x * y[2] - y", |x, y| x * y.narrow(0, 2, 1) - y, |x, i, j| x[5 * i + j] * x[10 + j] - x[5 * i + j]),
    ];
    for (name, build, value) in rows {
        for is_parameter in [true, false] {
            let case = Case {
                name: format!("{name}, of a parameter itself {is_parameter}"),
                parameters: vec![("x", noises(1, 25))],
                labels: None,
                build: &|graph| {
                    let [x, y] = ["x", "y"].map(|name| graph.parameter(name, [5, 5], Init::Constant(0.0)));
                    graph.tie("y", "x");
                    if is_parameter { build(&x, &y) } else { build(&x.pad(&[0, 0], 0.0), &y) }
                },
                value: &|t| (0..25).map(|at| value(&t[0], at / 5, at % 5)).collect(),
                half: 0.5,
            };
            check_all(&gpus, &case, 25);
        }
    }
}
