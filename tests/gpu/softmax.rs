//! Softmax and its logarithm, along every dimension of every rank.

use gradus::Error;
use gradus::graph::{Graph, Init, PlanOptions, Var};

use crate::common::noises;
use crate::network::{gpus, run};
use crate::ops::{Case, check_all};

/// The logarithm of the softmax along a dimension of a dense tensor.
fn log_softmax(x: &[f64], shape: &[usize], dim: usize) -> Vec<f64> {
    let stride: usize = shape[dim + 1..].iter().product();
    let line = |at: usize| {
        let first = at / (stride * shape[dim]) * (stride * shape[dim]) + at % stride;
        (0..shape[dim]).map(move |k| x[first + k * stride])
    };
    let value = |at: usize| {
        let largest = line(at).fold(f64::NEG_INFINITY, f64::max);
        x[at] - largest - line(at).map(|x| (x - largest).exp()).sum::<f64>().ln()
    };
    (0..x.len()).map(value).collect()
}

fn softmax(x: &[f64], shape: &[usize], dim: usize) -> Vec<f64> {
    log_softmax(x, shape, dim).into_iter().map(f64::exp).collect()
}

fn build(x: &Var, log: bool, dim: isize) -> Var {
    if log { x.log_softmax(dim) } else { x.softmax(dim) }
}

const SHAPES: [&[usize]; 9] =
    [&[1], &[6], &[5, 9], &[70, 4], &[2, 3, 7], &[3, 5, 8], &[2, 6, 3, 5], &[1, 4, 2, 9], &[2, 3, 2, 3, 5]];

#[test]
fn softmax_and_its_logarithm_follow_f64_along_every_dimension() {
    let gpus = gpus();
    for shape in SHAPES {
        let (len, rank): (usize, usize) = (shape.iter().product(), shape.len());
        for (dim, log) in (0..rank).flat_map(|dim| [(dim, false), (dim, true)]) {
            let signed = isize::try_from(dim).unwrap() - if dim % 2 == 0 { 0 } else { shape.len() as isize };
            let exact = |x: &[f64]| {
                let of = if log { log_softmax } else { softmax };
                of(x, shape, dim)
            };
            let parameter = |graph: &Graph| graph.parameter("x", shape, Init::Constant(0.0));
            let case = Case {
                name: format!("softmax of {shape:?} along {signed}, logarithm {log}"),
                parameters: vec![("x", noises(1, len).into_iter().map(|x| 3.0 * x).collect())],
                labels: None,
                build: &|graph| build(&parameter(graph), log, signed),
                value: &|t| exact(&t[0]),
                half: 1e-5,
            };
            check_all(&gpus, &case, len * len);
            let twice = Case {
                name: format!("{}, twice, and its argument", case.name),
                build: &|graph| {
                    let x = parameter(graph);
                    build(&x, log, signed).add(&x).add(&build(&x, log, signed))
                },
                value: &|t| exact(&t[0]).iter().zip(&t[0]).map(|(y, x)| 2.0 * y + x).collect(),
                ..case
            };
            check_all(&gpus, &twice, len * len);
        }
    }
}

#[test]
fn large_numbers_lose_nothing() {
    let gpus = gpus();
    for (scale, offset) in [(1.0, 65_536.0), (100.0, -1e6), (30.0, 0.0)] {
        let x: Vec<f32> = noises(2, 44).into_iter().map(|x| x * scale + offset).collect();
        for (dim, log) in [(0, false), (0, true), (1, false), (1, true)] {
            let case = Case {
                name: format!("softmax along {dim} around {offset}, logarithm {log}"),
                parameters: vec![("x", x.clone())],
                labels: None,
                build: &|graph| {
                    let x = graph.parameter("x", [4, 11], Init::Constant(0.0));
                    build(&x, log, isize::try_from(dim).unwrap())
                },
                value: &|t| {
                    let of = if log { log_softmax } else { softmax };
                    of(&t[0], &[4, 11], dim)
                },
                half: 1e-3,
            };
            check_all(&gpus, &case, 44 * 44);
        }
    }
}

#[test]
fn what_is_not_finite_spreads_as_in_torch() {
    const INF: f32 = f32::INFINITY;
    const NAN: f32 = f32::NAN;
    // A masked line, NaN first and last, plus infinity, nothing but minus infinity, and an ordinary line.
    let lines = [
        ([0.0, -INF, 0.0, -INF, -INF], [0.5, 0.0, 0.5, 0.0, 0.0]),
        ([NAN, 1.0, 2.0, 3.0, 4.0], [NAN; 5]),
        ([0.0, 1.0, 2.0, 3.0, NAN], [NAN; 5]),
        ([0.0, INF, 2.0, 3.0, 4.0], [NAN; 5]),
        ([-INF; 5], [NAN; 5]),
        ([7.0; 5], [0.2; 5]),
    ];
    let x: Vec<f32> = lines.iter().flat_map(|(x, _)| *x).collect();
    let want: Vec<f32> = lines.iter().flat_map(|(_, y)| *y).collect();
    let close =
        |got: f32, want: f32| got == want || (got - want).abs() < 1e-6 || (got.is_nan() && want.is_nan());
    let transposed = |x: &[f32]| -> Vec<f32> { (0..30).map(|i| x[i % 6 * 5 + i / 6]).collect() };
    for gpu in gpus() {
        for dim in [0, 1] {
            let (shape, x, want) = match dim {
                0 => ([5, 6], transposed(&x), transposed(&want)),
                _ => ([6, 5], x.clone(), want.clone()),
            };
            for log in [false, true] {
                let graph = Graph::new();
                let y = build(&graph.parameter("x", shape, Init::Constant(0.0)), log, dim);
                let options = PlanOptions::train(&y).upstream("dy");
                let dy = vec![2.0_f32; 30];
                let got = run(&gpu, &graph, &options, &[("x", &x)], &[("dy", &dy)], &["loss"]);
                for (at, want) in want.iter().enumerate() {
                    let (y, dx) = (got.outputs["loss"][at], got.gradients["x"][at]);
                    let what =
                        format!("along {dim}, logarithm {log}: element {at} is {y}, its gradient {dx}");
                    assert!(close(y, if log { want.ln() } else { *want }), "{what}");
                    let gradient = if log { 2.0 - 10.0 * want } else { 0.0 * want };
                    assert!(close(dx, gradient), "{what}, not {gradient}");
                }
            }
        }
    }
}

#[test]
fn a_dimension_that_is_not_there_is_refused() {
    for (dim, log) in [(2, false), (-3, true), (isize::MAX, false), (isize::MIN, true)] {
        let graph = Graph::new();
        let y = build(&graph.input("x", [4, 9]), log, dim);
        let name = if log { "log_softmax1" } else { "softmax1" };
        let want = Error::Constant {
            name: format!("{name}: dim"),
            allowed: "in [-2, 1] for [4, 9]".into(),
            value: dim.to_string(),
        };
        assert_eq!(graph.check(), Err(want));
        assert_eq!(y.shape(), [0; 0]);
    }
    for dim in [-4, -3, -2, -1, 0, 1, 2, 3] {
        let graph = Graph::new();
        assert_eq!(graph.input("x", [2, 3, 4, 5]).softmax(dim).shape(), [2, 3, 4, 5]);
        graph.check().unwrap();
    }
}
