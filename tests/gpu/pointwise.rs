//! Functions of one element: against f64, at the ends of f32, and in the padding of rows.

use gradus::Gpu;
use gradus::graph::{Graph, Init, PlanOptions, Var, Workspace};

use crate::common::{gpu, noises};
use crate::network::{gpus, run, submit, with_padding};
use crate::ops::{Case, SHAPES, check_all};

type Build = fn(&Var) -> Var;
type Function = (&'static str, Build, fn(f64) -> f64);

const FUNCTIONS: [Function; 4] = [
    ("sigmoid", Var::sigmoid, |x| 1.0 / (1.0 + (-x).exp())),
    ("tanh", Var::tanh, f64::tanh),
    ("gelu", Var::gelu, gelu),
    ("gelu_tanh", Var::gelu_tanh, gelu_tanh),
];

/// With `erfc`, so that little is lost where it is small.
fn gelu(x: f64) -> f64 {
    x * 0.5 * libm::erfc(-x / 2f64.sqrt())
}

fn gelu_tanh(x: f64) -> f64 {
    let u = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x.powi(3));
    x / (1.0 + (-2.0 * u).exp())
}

/// Values and gradients of a function of a row, under gradients of 1.
fn values_and_slopes(gpu: &Gpu, function: Build, x: &[f32]) -> (Vec<f32>, Vec<f32>) {
    let graph = Graph::new();
    let y = function(&graph.parameter("x", [x.len()], Init::Constant(0.0)));
    let options = PlanOptions::train(&y).upstream("dy");
    let ones = vec![1.0_f32; x.len()];
    let mut got = run(gpu, &graph, &options, &[("x", x)], &[("dy", &ones)], &["loss"]);
    (got.outputs.remove("loss").unwrap(), got.gradients.remove("x").unwrap())
}

#[test]
fn each_function_and_its_gradient_follow_f64() {
    let gpus = gpus();
    for (name, function, exact) in FUNCTIONS {
        for shape in SHAPES {
            let len: usize = shape.iter().product();
            let x: Vec<f32> = noises(1, len).into_iter().map(|x| 4.0 * x).collect();
            let case = Case {
                name: format!("{name} of {shape:?}"),
                parameters: vec![("x", x)],
                labels: None,
                build: &|graph| function(&graph.parameter("x", shape, Init::Constant(0.0))),
                value: &|t| t[0].iter().copied().map(exact).collect(),
                half: 1e-5,
            };
            check_all(&gpus, &case, len);
            // Three gradients for one value.
            let thrice = Case {
                name: format!("{name} of {shape:?}, twice, and the value itself"),
                build: &|graph| {
                    let x = graph.parameter("x", shape, Init::Constant(0.0));
                    function(&x).add(&x).add(&function(&x))
                },
                value: &|t| t[0].iter().map(|&x| 2.0 * exact(x) + x).collect(),
                ..case
            };
            check_all(&gpus, &thrice, len);
        }
    }
}

#[test]
fn small_values_and_long_tails_keep_their_digits() {
    let spread: Vec<f32> = (-3000..=3000).map(|i| i as f32 / 500.0).collect();
    let small = (0_u8..120).flat_map(|i| [1.0, -1.0].map(|sign| sign * 10f32.powf(-f32::from(i) / 10.0)));
    let x: Vec<f32> = spread.into_iter().chain(small).collect();
    for gpu in gpus() {
        for (name, function, exact) in FUNCTIONS {
            let (values, slopes) = values_and_slopes(&gpu, function, &x);
            for ((x, y), slope) in x.iter().zip(values).zip(slopes) {
                let wide = f64::from(*x);
                let want = exact(wide);
                // An exponential is as uncertain as its rounded argument, of which gelu_tanh's is the largest.
                let relative =
                    if name == "gelu_tanh" { 5e-7 + 3e-6 * wide * wide } else { 5e-7 + 5e-7 * wide * wide };
                let off = (f64::from(y) - want).abs();
                assert!(off <= relative * want.abs(), "{name}({x}) is {y}, not {want}");
                let half = 1e-4;
                let want = (exact(wide + half) - exact(wide - half)) / (2.0 * half);
                assert!((f64::from(slope) - want).abs() < 1e-6, "{name}'({x}) is {slope}, not {want}");
            }
        }
    }
}

#[test]
fn the_ends_of_f32_are_torchs() {
    const INF: f32 = f32::INFINITY;
    const NAN: f32 = f32::NAN;
    let x = [INF, -INF, NAN, -NAN, 1e4, -1e4, 1e20, -1e20, 3e38, -3e38, 90.0, -90.0];
    let step = [1.0, 0.0, NAN, NAN, 1.0, 0.0, 1.0, 0.0, 1.0, 0.0, 1.0, 0.0];
    let sign = step.map(|x| 2.0 * x - 1.0);
    let flat = step.map(|x| 0.0 * x);
    let ramp = [INF, NAN, NAN, NAN, 1e4, 0.0, 1e20, 0.0, 3e38, 0.0, 90.0, 0.0];
    let ramp_slope = [NAN, NAN, NAN, NAN, 1.0, 0.0, 1.0, 0.0, 1.0, 0.0, 1.0, 0.0];
    let want = [(step, flat), (sign, flat), (ramp, ramp_slope), (ramp, ramp_slope)];
    let same = |got: &[f32], want: &[f32]| {
        got.iter().zip(want).all(|(got, want)| got == want || (got.is_nan() && want.is_nan()))
    };
    for gpu in gpus() {
        for ((name, function, _), (values, slopes)) in FUNCTIONS.into_iter().zip(want) {
            let got = values_and_slopes(&gpu, function, &x);
            assert!(same(&got.0, &values), "{name}: {:?}, not {values:?}", got.0);
            assert!(same(&got.1, &slopes), "gradient of {name}: {:?}, not {slopes:?}", got.1);
        }
    }
}

#[test]
fn padding_stays_zero() {
    let functions = FUNCTIONS.map(|(name, function, _)| (name, function));
    let others: [(&str, Build); 5] = [
        ("softmax", |x| x.softmax(-1)),
        ("softmax of rows", |x| x.softmax(0)),
        ("log_softmax", |x| x.log_softmax(-1)),
        ("log_softmax of rows", |x| x.log_softmax(0)),
        ("dropout", |x| x.dropout(0.25)),
    ];
    let Some(gpu) = gpu() else { return };
    for (name, function) in functions.into_iter().chain(others) {
        let graph = Graph::new();
        let x = graph.parameter("x", [3, 5], Init::Normal { std: 1.0 });
        let y = function(&x);
        let params = graph.store(&gpu, 1).unwrap();
        let options = PlanOptions::train(&y).upstream("dy");
        let plan = graph.compile(&params, &options, &mut Workspace::new()).unwrap();
        submit(&gpu, &[&plan]);
        let rows = with_padding(&gpu, &plan, "loss");
        assert_eq!(rows.len(), 24);
        for row in rows.chunks(8) {
            assert_eq!(row[5..], [0.0; 3], "{name}");
        }
        assert!(rows.iter().any(|x| *x != 0.0), "{name}");
        // The gradient of the first softmax sums its rows, padding and all.
        let graph = Graph::new();
        let x = graph.parameter("x", [3, 5], Init::Constant(0.0)).log_softmax(-1);
        let y = function(&x);
        let options = PlanOptions::train(&y).upstream("dy").output("x", &x);
        let (values, dy) = (noises(1, 15), noises(2, 15));
        let got = run(&gpu, &graph, &options, &[("x", &values)], &[("dy", &dy)], &["x"]);
        for row in got.gradients["x"].chunks(5) {
            assert!(row.iter().sum::<f32>().abs() < 1e-6, "{name}: {row:?}");
        }
    }
}

#[test]
fn numbers_that_are_not_finite_are_refused_by_name() {
    type Build<'a> = &'a dyn Fn(&Var) -> Var;
    let refused = |build: Build<'_>| {
        let graph = Graph::new();
        let _ = build(&graph.input("x", [2, 3]));
        graph.check().map_err(|error| error.to_string())
    };
    let (nan, inf, large) = (f64::NAN, f64::INFINITY, 3.5e38);
    let rows: [(Build<'_>, &str); 12] = [
        (&|x| x.leaky_relu(nan), "leaky_relu1: negative_slope must be finite in 32 bits, got NaN"),
        (&|x| x.elu(-large), "elu1: alpha must be finite in 32 bits, got -3.5e38"),
        (&|x| x.softplus(inf, 1.0), "softplus1: beta must be finite in 32 bits, got inf"),
        (&|x| x.softplus(1.0, nan), "softplus1: threshold must be finite in 32 bits, got NaN"),
        (&|x| x.hardtanh(-1.0, large), "hardtanh1: max_val must be finite in 32 bits, got 3.5e38"),
        (&|x| x.pow(nan), "pow1: exponent must be finite in 32 bits, got NaN"),
        (&|x| x.clamp(nan, 1.0), "clamp1: min must be finite in 32 bits, got NaN"),
        (&|x| x.clamp(inf, None), "clamp_min1: min must be finite in 32 bits, got inf"),
        (&|x| x.clamp(None, -inf), "clamp_max1: max must be finite in 32 bits, got -inf"),
        (&|x| x * nan, "affine1: the factor must be finite in 32 bits, got NaN"),
        (&|x| x / 0.0, "affine1: the factor must be finite in 32 bits, got inf"),
        (&|x| x + inf, "affine1: the summand must be finite in 32 bits, got inf"),
    ];
    for (build, want) in rows {
        assert_eq!(refused(build).unwrap_err(), want);
    }
    // What bounds nothing is no bound.
    assert!(refused(&|x| x.clamp(-inf, 1.0).clamp(-1.0, inf).clamp(-inf, inf)).is_ok());
}
