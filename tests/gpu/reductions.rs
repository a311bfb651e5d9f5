//! Reductions over axes against plain f64 loops, forward and backward: any axes, any layout, short and long lines.

use gradus::Gpu;
use gradus::graph::{Graph, Init, PlanOptions, Var};
use gradus::nn::AvgPool2d;

use crate::common::{noise, noises};
use crate::network::{gpus, run};

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Sum,
    Mean,
    Var(usize),
    Max,
    Min,
}

const KINDS: [Kind; 6] = [Kind::Sum, Kind::Mean, Kind::Var(1), Kind::Var(0), Kind::Max, Kind::Min];

impl Kind {
    fn of(self, x: &Var, dims: &[isize], keepdim: bool) -> Var {
        match self {
            Self::Sum => x.sum_dim(dims, keepdim),
            Self::Mean => x.mean_dim(dims, keepdim),
            Self::Var(correction) => x.var_dim(dims, correction, keepdim),
            Self::Max => x.amax(dims, keepdim),
            Self::Min => x.amin(dims, keepdim),
        }
    }

    /// The value of a line.
    fn value(self, line: &[f64]) -> f64 {
        let (sum, len) = (line.iter().sum::<f64>(), line.len() as f64);
        match self {
            Self::Sum => sum,
            Self::Mean => sum / len,
            Self::Var(correction) => {
                line.iter().map(|x| (x - sum / len).powi(2)).sum::<f64>() / (len - correction as f64)
            }
            Self::Max => line.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            Self::Min => line.iter().copied().fold(f64::INFINITY, f64::min),
        }
    }

    /// Its slope by each element.
    fn slopes(self, line: &[f64]) -> Vec<f64> {
        let (value, len) = (self.value(line), line.len() as f64);
        let mean = line.iter().sum::<f64>() / len;
        let ties = line.iter().filter(|x| **x == value).count() as f64;
        let slope = |x: &f64| match self {
            Self::Sum => 1.0,
            Self::Mean => 1.0 / len,
            Self::Var(correction) => 2.0 * (x - mean) / (len - correction as f64),
            Self::Max | Self::Min => {
                if *x == value {
                    1.0 / ties
                } else {
                    0.0
                }
            }
        };
        line.iter().map(slope).collect()
    }
}

/// The places of the elements of each line over `axes`, in the order of the results.
fn lines(shape: &[usize], axes: &[usize]) -> Vec<Vec<usize>> {
    let mut out_stride = vec![0; shape.len()];
    let mut count = 1;
    for axis in (0..shape.len()).rev().filter(|axis| !axes.contains(axis)) {
        out_stride[axis] = count;
        count *= shape[axis];
    }
    let mut lines = vec![Vec::new(); count];
    for at in 0..shape.iter().product() {
        let (mut rest, mut line) = (at, 0);
        for axis in (0..shape.len()).rev() {
            line += rest % shape[axis] * out_stride[axis];
            rest /= shape[axis];
        }
        lines[line].push(at);
    }
    lines
}

fn hold(what: &str, got: &[f32], want: &[f64], relative: f64) {
    assert_eq!(got.len(), want.len(), "{what}");
    let largest = want.iter().fold(0.0_f64, |largest, x| largest.max(x.abs()));
    for (at, (got, want)) in got.iter().zip(want).enumerate() {
        let near = (f64::from(*got) - want).abs() <= relative * (want.abs() + 0.1 * largest);
        assert!(near, "{what}: element {at} is {got:e}, expected {want:e}");
    }
}

/// How the input of a reduction lies.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Lies {
    Packed,
    ChannelsLast,
    /// A view of a value whose axes are the other way round.
    Reversed,
    /// A view of some elements of a larger value.
    Cut,
}

fn check(gpu: &Gpu, kind: Kind, shape: &[usize], axes: &[usize], keepdim: bool, lies: Lies) {
    let what = format!("{kind:?} of {shape:?} over {axes:?}, keepdim {keepdim}, {lies:?}");
    let graph = Graph::new();
    let rank = shape.len();
    let mut stored = shape.to_vec();
    match lies {
        Lies::Reversed => stored.reverse(),
        Lies::Cut => stored[0] += 2,
        Lies::Packed | Lies::ChannelsLast => {}
    }
    // Quarters, so that some are equal and sums of few are exact.
    let quarters = |stream, len| -> Vec<f32> {
        noises(stream, len).iter().map(|noise| (noise * 40.0).round() / 4.0).collect()
    };
    let values = quarters(3, stored.iter().product());
    let parameter = graph.parameter("x", stored.clone(), Init::Constant(0.0));
    let x = match lies {
        Lies::Packed => parameter,
        Lies::ChannelsLast => parameter.avg_pool2d(AvgPool2d::new(1)),
        Lies::Reversed => {
            let dims: Vec<isize> = (0..rank).rev().map(|axis| isize::try_from(axis).unwrap()).collect();
            parameter.permute(&dims)
        }
        Lies::Cut => parameter.slice(0, 1, -1, 1),
    };
    // The place in the store of each element of the reduced value.
    let place = |at: usize| match lies {
        Lies::Packed | Lies::ChannelsLast => at,
        Lies::Cut => at + shape[1..].iter().product::<usize>(),
        Lies::Reversed => {
            let (mut rest, mut place, mut stride) = (at, 0, values.len());
            for axis in (0..rank).rev() {
                stride /= shape[axis];
                place += rest % shape[axis] * stride;
                rest /= shape[axis];
            }
            place
        }
    };
    let dims: Vec<isize> = axes
        .iter()
        .map(|&axis| isize::try_from(axis).unwrap() - if axis % 2 == 0 { 0 } else { rank as isize })
        .collect();
    let y = kind.of(&x, &dims, keepdim);
    graph.check().unwrap_or_else(|error| panic!("{what}: {error}"));
    let lines = lines(shape, axes);
    let dy = quarters(4, lines.len());
    let options = PlanOptions::train(&y).upstream("dy");
    let got = run(gpu, &graph, &options, &[("x", &values)], &[("dy", &dy)], &["loss"]);
    let mut gradient = vec![0.0; values.len()];
    let mut want = Vec::new();
    for (line, dy) in lines.iter().zip(&dy) {
        let elements: Vec<f64> = line.iter().map(|&at| f64::from(values[place(at)])).collect();
        want.push(kind.value(&elements));
        for (&at, slope) in line.iter().zip(kind.slopes(&elements)) {
            gradient[place(at)] += f64::from(*dy) * slope;
        }
    }
    hold(&what, &got.outputs["loss"], &want, 1e-5);
    hold(&format!("{what}: gradient"), &got.gradients["x"], &gradient, 1e-5);
}

#[test]
fn reductions_over_any_axes_of_any_layout_are_torchs() {
    let cases: [(&[usize], &[usize]); 12] = [
        (&[7], &[0]),
        (&[1, 1], &[0, 1]),
        (&[5, 9], &[1]),
        (&[5, 9], &[0]),
        (&[5, 8], &[0, 1]),
        (&[3, 4, 6], &[1]),
        (&[3, 4, 6], &[0, 2]),
        (&[2, 6, 3, 5], &[1]),
        (&[2, 6, 3, 5], &[0, 2, 3]),
        (&[2, 5, 3, 4], &[3]),
        (&[2, 8, 3, 3], &[2]),
        (&[2, 3, 1, 2, 3, 5], &[1, 4, 5]),
    ];
    for gpu in gpus() {
        for (number, (shape, axes)) in cases.into_iter().enumerate() {
            for (at, kind) in KINDS.into_iter().enumerate() {
                let count: usize = axes.iter().map(|&axis| shape[axis]).product();
                if kind == Kind::Var(1) && count == 1 {
                    continue;
                }
                let layouts = match shape.len() {
                    4 => vec![Lies::Packed, Lies::ChannelsLast, Lies::Reversed, Lies::Cut],
                    _ => vec![Lies::Packed, Lies::Reversed, Lies::Cut],
                };
                let lies = layouts[(number + at) % layouts.len()];
                check(&gpu, kind, shape, axes, (number + at) % 2 == 0, lies);
                if shape.len() == 4 {
                    check(&gpu, kind, shape, axes, at % 2 == 0, Lies::ChannelsLast);
                }
            }
        }
    }
}

/// Both sides of where lines are split, along the lanes and across them, and lines that are joined twice.
#[test]
fn long_lines_are_reduced_in_parts() {
    let cases: [(&[usize], &[usize], &[Kind]); 9] = [
        (&[2, 4096], &[1], &KINDS),
        (&[3, 4097], &[1], &KINDS),
        (&[1024, 3], &[0], &[Kind::Sum, Kind::Max]),
        (&[1025, 6], &[0], &KINDS),
        (&[2, 70_001], &[1], &[Kind::Mean, Kind::Var(1), Kind::Min]),
        (&[70_001, 2], &[0], &[Kind::Sum, Kind::Var(0)]),
        (&[300_000], &[0], &[Kind::Mean, Kind::Max]),
        (&[40, 3, 70], &[0, 2], &[Kind::Sum, Kind::Var(1)]),
        (&[37, 5, 41, 6], &[0, 2], &[Kind::Mean, Kind::Min]),
    ];
    let Some(gpu) = gpus().into_iter().next() else { return };
    for (number, (shape, axes, kinds)) in cases.into_iter().enumerate() {
        for &kind in kinds {
            check(&gpu, kind, shape, axes, number % 2 == 0, Lies::Packed);
        }
    }
    check(&gpu, Kind::Sum, &[5, 1300, 3], &[1], false, Lies::Reversed);
    check(&gpu, Kind::Mean, &[3, 4, 60, 70], &[0, 2, 3], true, Lies::ChannelsLast);
}

fn value(gpu: &Gpu, shape: &[usize], values: &[f32], build: impl Fn(&Var) -> Var) -> Vec<f32> {
    let graph = Graph::new();
    let y = build(&graph.parameter("x", shape, Init::Constant(0.0)));
    graph.check().unwrap();
    let options = PlanOptions::evaluate().output("y", &y);
    run(gpu, &graph, &options, &[("x", values)], &[], &["y"]).outputs["y"].clone()
}

#[test]
fn a_million_equal_terms_lose_no_more_than_a_millionth() {
    let Some(gpu) = gpus().into_iter().next() else { return };
    let len = 1_000_000;
    for term in [0.1_f32, 1.0 / 3.0, 0.7, 1e-3, 12_345.678] {
        for shape in [&[len][..], &[len, 1], &[1000, 1000]] {
            let values = vec![term; len];
            let sum = value(&gpu, shape, &values, |x| x.sum_dim(&[], false));
            let error = f64::from(sum[0]) / (f64::from(term) * len as f64) - 1.0;
            println!("{shape:?} of {term}: {error:e}");
            assert!(error.abs() < 1e-6, "{shape:?} of {term}: {error:e}");
        }
    }
}

#[test]
fn a_variance_survives_a_large_mean() {
    let Some(gpu) = gpus().into_iter().next() else { return };
    for len in [100, 5000, 100_000] {
        let values: Vec<f32> = (0..len).map(|i| 1e4 + 1.7 * noise(5, i)).collect();
        let exact: Vec<f64> = values.iter().map(|x| f64::from(*x)).collect();
        let got = value(&gpu, &[len], &values, |x| x.var_dim(&[0], 1, false))[0];
        let error = f64::from(got) / Kind::Var(1).value(&exact) - 1.0;
        println!("{len} around 1e4: {error:e}");
        assert!(error.abs() < 1e-5, "{len}: {error:e}");
    }
}

#[test]
fn argmax_is_the_first_of_the_largest() {
    for gpu in gpus() {
        let nan = f32::NAN;
        let values = [1.0, 3.0, 3.0, -1.0, 2.0, nan, nan, 9.0, f32::NEG_INFINITY, f32::NEG_INFINITY];
        let of = |build: &dyn Fn(&Var) -> Var| value(&gpu, &[2, 5], &values, build);
        assert_eq!(of(&|x| x.argmax(1, false)), [1.0, 0.0]);
        assert_eq!(of(&|x| x.argmin(-1, false)), [3.0, 0.0]);
        assert_eq!(of(&|x| x.argmax(0, true)), [1.0, 1.0, 1.0, 0.0, 0.0]);
        assert_eq!(of(&|x| x.argmax(None, false)), [5.0]);
        let lowest = vec![f32::NEG_INFINITY; 5];
        assert_eq!(value(&gpu, &[5], &lowest, |x| x.argmax(0, false)), [0.0]);
        // Long lines, the largest twice; and all elements in their order, over axes that lie otherwise.
        let mut long = noises(6, 9000);
        (long[4321], long[8765]) = (2.0, 2.0);
        assert_eq!(value(&gpu, &[9000], &long, |x| x.argmax(0, false)), [4321.0]);
        assert_eq!(value(&gpu, &[9000, 1], &long, |x| x.argmax(0, false)), [4321.0]);
        assert_eq!(value(&gpu, &[90, 100], &long, |x| x.argmax(None, false)), [4321.0]);
        let swapped = value(&gpu, &[90, 100], &long, |x| x.transpose(0, 1).argmax(None, false));
        assert_eq!(swapped, [f32::from(21u16 * 90 + 43)]);
    }
}

#[test]
fn nan_is_the_largest_and_the_smallest() {
    for gpu in gpus() {
        let values = [1.0, f32::NAN, 3.0, 4.0, 5.0, 6.0];
        for least in [false, true] {
            let got =
                value(
                    &gpu,
                    &[2, 3],
                    &values,
                    |x| if least { x.amin(&[1], false) } else { x.amax(&[1], false) },
                );
            assert!(got[0].is_nan(), "{got:?}");
            assert_eq!(got[1], if least { 4.0 } else { 6.0 });
        }
    }
}

#[test]
fn a_reduction_and_its_gradient_are_a_dispatch_each() {
    let Some(gpu) = gpus().into_iter().next() else { return };
    let labels = |build: &dyn Fn(&Var) -> Var| {
        let graph = Graph::new();
        let x = graph.parameter("x", [8, 6, 32], Init::Constant(0.0));
        let y = build(&x);
        let params = graph.store(&gpu, 0).unwrap();
        let options = PlanOptions::train(&y).upstream("dy");
        let plan = graph.compile(&params, &options, &mut gradus::graph::Workspace::new()).unwrap();
        plan.labels().filter(|label| !label.starts_with("dy")).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(labels(&|x| x.sum_dim(&[1], true)), ["sum1: reduce[sum]", "sum1: reduce_grad[sum]"]);
    assert_eq!(labels(&|x| x.mean_dim(&[0, 2], true)), ["mean1: reduce[sum]", "mean1: reduce_grad[mean]"]);
    assert_eq!(labels(&|x| x.var_dim(&[-1], 1, true)).len(), 3);
    assert_eq!(labels(&|x| x.amax(&[-1], true)).len(), 3);
}

#[test]
fn reductions_that_cannot_be_are_refused() {
    type Build<'a> = &'a dyn Fn(&Var) -> Var;
    let refusals: [(Build<'_>, &str); 4] = [
        (&|x| x.sum_dim(&[3], false), "sum1: dim must be in [-3, 2] for [2, 3, 8], got 3"),
        (
            &|x| x.mean_dim(&[1, -2], false),
            "mean1: dim must be an axis of [2, 3, 8] that is named once, got -2",
        ),
        (
            &|x| x.var_dim(&[1], 3, false),
            "var1: correction must be below the 3 elements of [2, 3, 8] over [1], got 3",
        ),
        (&|x| x.argmax(-4, false), "argmax1: dim must be in [-3, 2] for [2, 3, 8], got -4"),
    ];
    for (build, want) in refusals {
        let graph = Graph::new();
        build(&graph.input("x", [2, 3, 8]));
        assert_eq!(graph.check().unwrap_err().to_string(), want);
    }
    let graph = Graph::new();
    let x = graph.input("x", [1 << 24, 2]);
    let _ = x.argmax(0, false);
    graph.check().unwrap();
    let _ = x.argmax(None, false);
    let error = graph.check().unwrap_err().to_string();
    assert_eq!(error, "argmax2: expected at most 16777216 elements over [0, 1], got [16777216, 2]");
}
