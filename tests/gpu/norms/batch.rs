//! Normalisation over the batch, and what it remembers of batches.

use gradus::graph::{Graph, HostData, Init, PlanOptions, Var, Workspace};
use gradus::nn::BatchNorm;
use gradus::{Error, Gpu, ParamStore};

use super::{Norm, check, dispatches};
use crate::common::noises;
use crate::network::{gpus, run, submit};
use crate::ops::{Case, check_all};
use crate::reference::{assert_close, wide};

pub(super) fn of(x: &Var, layer: BatchNorm) -> Var {
    if x.shape().len() == 4 { x.batch_norm2d(layer) } else { x.batch_norm1d(layer) }
}

/// Shapes of few rows and of many, with padded channels and others.
const SHAPES: [&[usize]; 13] = [
    &[2, 1],
    &[5, 3],
    &[32, 128],
    &[256, 5],
    &[257, 5],
    &[1, 3, 7],
    &[4, 33, 5],
    &[4, 3, 5, 2],
    &[2, 5, 20, 30],
    &[1, 1, 1, 2],
    &[3, 33, 10, 9],
    &[10, 3, 100, 100],
    &[1, 4, 400, 300],
];

#[test]
fn batch_norm_follows_f64_over_each_channel() {
    let gpus = gpus();
    for (number, shape) in SHAPES.into_iter().enumerate() {
        let eps = [1e-5, 1e-2][number % 2];
        check(&gpus, "batch_norm", &Norm::batch(shape, eps), true, &|x, affine| {
            of(x, BatchNorm::new().eps(eps).affine(affine).name(if affine { "l" } else { "m" }))
        });
    }
}

#[test]
fn a_fixed_batch_norm_follows_f64_by_its_running_statistics() {
    let gpus = gpus();
    for shape in SHAPES {
        let norm = Norm::batch(shape, 1e-5);
        let (channels, len) = (norm.weights, norm.len());
        let case = Case {
            name: format!("fixed batch_norm of {shape:?}"),
            parameters: vec![
                ("x", noises(1, len)),
                ("l.weight", noises(2, channels)),
                ("l.bias", noises(3, channels)),
            ],
            labels: None,
            build: &|graph| {
                let x = graph.parameter("x", shape, Init::Constant(0.0));
                of(&x, BatchNorm::new().training(false).name("l"))
            },
            value: &|t| {
                let at = |i: usize| (norm.weight_of)(i);
                let x = t[0].iter().enumerate();
                x.map(|(i, x)| x / (1.0 + 1e-5_f64).sqrt() * t[1][at(i)] + t[2][at(i)]).collect()
            },
            half: 0.5,
        };
        check_all(&gpus, &case, len);
    }
}

/// A normalisation of an input named `x` and a store of its tensors.
fn model(gpu: &Gpu, shape: &[usize], layer: BatchNorm) -> (Graph, Var, ParamStore) {
    let graph = Graph::new();
    let y = of(&graph.input("x", shape), layer.name("bn"));
    graph.parameter("unused", [1], Init::Constant(0.0));
    let params = graph.store(gpu, 1).unwrap();
    (graph, y, params)
}

/// Trains on batches, and returns what is kept after each.
fn kept(gpu: &Gpu, shape: &[usize], layer: BatchNorm, batches: &[Vec<f32>]) -> Vec<[Vec<f32>; 2]> {
    let (graph, y, params) = model(gpu, shape, layer);
    let options = PlanOptions::train(&y).upstream("dy");
    let plan = graph.compile(&params, &options, &mut Workspace::new()).unwrap();
    plan.write("dy", &noises(9, batches[0].len())).unwrap();
    let mut kept = Vec::new();
    for batch in batches {
        plan.write("x", batch).unwrap();
        submit(gpu, &[&plan]);
        kept.push(["bn.running_mean", "bn.running_var"].map(|name| params.read(name).unwrap()));
    }
    kept
}

#[test]
fn running_statistics_follow_torch() {
    for gpu in gpus() {
        for shape in [&[6, 5][..], &[2, 3, 4], &[300, 7], &[3, 5, 20, 15]] {
            let norm = Norm::batch(shape, 1e-5);
            let batches: Vec<Vec<f32>> = (0..4)
                .map(|batch| noises(20 + batch, norm.len()).iter().map(|x| x * 3.0 + batch as f32).collect())
                .collect();
            for momentum in [Some(0.1), Some(0.0), Some(1.0), Some(0.35), None] {
                let got = kept(&gpu, shape, BatchNorm::new().momentum(momentum), &batches);
                let mut want = [vec![0.0; shape[1]], vec![1.0; shape[1]]];
                for (number, (batch, got)) in batches.iter().zip(&got).enumerate() {
                    let part = momentum.unwrap_or(1.0 / (number as f64 + 1.0));
                    for (channel, [mean, variance, count]) in
                        norm.moments(&wide(batch)).into_iter().enumerate()
                    {
                        let new = [mean, variance * count / (count - 1.0)];
                        for (want, new) in want.iter_mut().zip(new) {
                            want[channel] = (1.0 - part) * want[channel] + part * new;
                        }
                    }
                    let what = format!("{shape:?}, momentum {momentum:?}, batch {number}");
                    assert_close(&format!("running_mean of {what}"), &got[0], &want[0]);
                    assert_close(&format!("running_var of {what}"), &got[1], &want[1]);
                }
            }
        }
    }
}

#[test]
fn evaluation_takes_the_running_statistics_and_leaves_them() {
    for gpu in gpus() {
        for (shape, training) in
            [(&[1, 3][..], true), (&[4, 5], true), (&[2, 3, 4, 5], true), (&[4, 5], false)]
        {
            let (graph, y, mut params) = model(&gpu, shape, BatchNorm::new().training(training));
            let channels = shape[1];
            let mean = noises(1, channels);
            let variance: Vec<f32> = noises(2, channels).iter().map(|x| 1.5 + x).collect();
            params.write("bn.running_mean", &mean).unwrap();
            params.write("bn.running_var", &variance).unwrap();
            let options = match training {
                true => PlanOptions::evaluate().output("loss", &y),
                false => PlanOptions::train(&y).upstream("dy"),
            };
            let plan = graph.compile(&params, &options, &mut Workspace::new()).unwrap();
            let x = noises(3, shape.iter().product());
            plan.write("x", &x).unwrap();
            if !training {
                plan.write("dy", &x).unwrap();
            }
            submit(&gpu, &[&plan]);
            let pixels: usize = shape[2..].iter().product();
            let of = |(i, x): (usize, f32)| {
                let channel = i / pixels % channels;
                f64::from(x - mean[channel]) / (f64::from(variance[channel]) + 1e-5).sqrt()
            };
            let want: Vec<f64> = x.into_iter().enumerate().map(of).collect();
            assert_close(&format!("{shape:?}, training {training}"), &plan.read("loss").unwrap(), &want);
            assert_eq!(params.read("bn.running_mean").unwrap(), mean);
            assert_eq!(params.read("bn.running_var").unwrap(), variance);
        }
    }
}

#[test]
fn without_running_statistics_each_batch_has_its_own() {
    for gpu in gpus() {
        let shape = [6, 5];
        let graph = Graph::new();
        let layer = BatchNorm::new().track_running_stats(false).training(false).affine(false);
        let y = graph.input("x", shape).batch_norm1d(layer);
        graph.parameter("unused", [1], Init::Constant(0.0));
        assert!(graph.buffers().is_empty());
        let x: Vec<f32> = noises(3, 30).iter().map(|x| 4.0 + x).collect();
        let options = PlanOptions::evaluate().output("y", &y);
        let got = run(&gpu, &graph, &options, &[], &[("x", &x as &dyn HostData)], &["y"]);
        assert_close(
            "its own statistics",
            &got.outputs["y"],
            &Norm::batch(&shape, 1e-5).normalized(&wide(&x)),
        );
    }
}

#[test]
fn batches_that_running_statistics_have_seen_are_counted() {
    let Some(gpu) = gpus().into_iter().next() else { return };
    // Whole columns in one kernel, and columns in parts; channels that fill a quad and that do not.
    for shape in [&[4, 3][..], &[4, 8], &[8, 5, 20, 20]] {
        for momentum in [None, Some(0.1), Some(0.0)] {
            let layer = BatchNorm::new().momentum(momentum);
            let (graph, y, params) = model(&gpu, shape, layer.clone());
            let names = graph.buffers().into_iter().map(|buffer| buffer.name).collect::<Vec<_>>();
            assert_eq!(names, ["bn.running_mean", "bn.running_var", "bn.num_batches_tracked"]);
            let len = shape.iter().product();
            let mut workspace = Workspace::new();
            let train =
                graph.compile(&params, &PlanOptions::train(&y).upstream("dy"), &mut workspace).unwrap();
            let evaluate = PlanOptions::evaluate().output("y", &y);
            let evaluate = graph.compile(&params, &evaluate, &mut workspace).unwrap();
            for plan in [&train, &evaluate] {
                plan.write("x", &noises(1, len)).unwrap();
            }
            train.write("dy", &noises(2, len)).unwrap();
            submit(&gpu, &[&train, &train, &evaluate, &train]);
            assert_eq!(params.read("bn.num_batches_tracked").unwrap(), [3.0], "{shape:?}, {momentum:?}");
            let (graph, y, params) = model(&gpu, shape, layer.training(false));
            let frozen = graph
                .compile(&params, &PlanOptions::train(&y).upstream("dy"), &mut Workspace::new())
                .unwrap();
            frozen.write("x", &noises(1, len)).unwrap();
            frozen.write("dy", &noises(2, len)).unwrap();
            submit(&gpu, &[&frozen]);
            assert_eq!(params.read("bn.num_batches_tracked").unwrap(), [0.0]);
        }
    }
}

#[test]
fn ordinary_batches_take_the_fewest_dispatches() {
    let Some(gpu) = gpus().into_iter().next() else { return };
    let batch = |shape: &[usize], trains, layer: BatchNorm| {
        dispatches(&gpu, shape, trains, &|x| of(x, layer.clone().name("l")))
    };
    // All at once in each pass, or statistics in parts, their join, and what writes.
    assert_eq!(batch(&[32, 128], true, BatchNorm::new()), 2);
    assert_eq!(batch(&[256, 8], false, BatchNorm::new()), 2);
    assert_eq!(batch(&[8, 16, 32, 32], true, BatchNorm::new()), 6);
    assert_eq!(batch(&[8, 16, 100, 100], true, BatchNorm::new()), 6);
    assert_eq!(batch(&[8, 16, 10, 10], false, BatchNorm::new()), 5);
    assert_eq!(batch(&[32, 128], true, BatchNorm::new().training(false)), 3);
}

#[test]
fn what_a_batch_cannot_be_is_refused() {
    let Some(gpu) = gpus().into_iter().next() else { return };
    for (shape, tracks) in [(&[1, 3][..], true), (&[1, 3, 1, 1], true), (&[1, 5, 1], false)] {
        let (graph, y, params) = model(&gpu, shape, BatchNorm::new().track_running_stats(tracks));
        let train = PlanOptions::train(&y).upstream("dy");
        let refused = graph.compile(&params, &train, &mut Workspace::new()).unwrap_err();
        let expected = "more than one value per channel, to compute batch statistics".into();
        assert_eq!(refused, Error::Shape { layer: "bn".into(), expected, got: shape.to_vec() });
        // Evaluation has learned statistics, if any.
        let evaluate = PlanOptions::evaluate().output("y", &y);
        assert_eq!(graph.compile(&params, &evaluate, &mut Workspace::new()).is_ok(), tracks);
        // Two samples are a batch.
        graph.compile(&params, &train.batch(2), &mut Workspace::new()).unwrap();
    }
    type Build = fn(&Var) -> Var;
    let rows: [(&[usize], Build, &str); 4] = [
        (
            &[2, 3, 4, 5],
            |x| x.batch_norm1d(BatchNorm::new()),
            "batch_norm1d_1: expected [N, C] or [N, C, L], got [2, 3, 4, 5]",
        ),
        (&[2, 3], |x| x.batch_norm2d(BatchNorm::new()), "batch_norm2d_1: expected [N, C, H, W], got [2, 3]"),
        (
            &[2, 3],
            |x| x.batch_norm1d(BatchNorm::new().momentum(1.5)),
            "batch_norm1d_1: momentum must be in [0, 1], got 1.5",
        ),
        (
            &[2, 3],
            |x| x.batch_norm1d(BatchNorm::new().eps(f64::INFINITY)),
            "batch_norm1d_1: eps must be finite and at least 0, got inf",
        ),
    ];
    for (shape, build, said) in rows {
        let graph = Graph::new();
        build(&graph.input("x", shape));
        assert_eq!(graph.check().unwrap_err().to_string(), said);
    }
}
