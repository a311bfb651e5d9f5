//! Dropout: its numbers are those that its documentation promises, forward and backward.

use gradus::graph::{Graph, HostData, Init, Plan, PlanOptions, Var, Workspace};
use gradus::optim::SGD;
use gradus::{Error, Gpu, ParamStore};

use crate::common::{bits, gpu, noises};
use crate::joined::philox;
use crate::network::{gpus, outcome, run, submit};
use crate::reference::{assert_close, wide};

/// Whether each element of a tensor is kept, in torch's order; one of rank 4 lies with its channels last.
fn kept(shape: &[usize], p: f32, number: u32, seed: u64, step: u64) -> Vec<bool> {
    let words = |x: u64| [x & 0xffff_ffff, x >> 32].map(|word| u32::try_from(word).unwrap());
    let (channels, pixels) = match *shape {
        [_, c, h, w] => (c, h * w),
        _ => (shape[shape.len() - 1], 1),
    };
    let is_kept = |at: usize| {
        let (row, column) = (at / (channels * pixels) * pixels + at % pixels, at / pixels % channels);
        let quad = u32::try_from(row * channels.div_ceil(4) + column / 4).unwrap();
        let [low, high] = words(step);
        let word = philox([quad, number, low, high], words(seed))[column % 4];
        (word >> 8) as f32 / 16_777_216.0 >= p
    };
    (0..shape.iter().product()).map(is_kept).collect()
}

fn compile(gpu: &Gpu, y: &Var, outputs: &[(&str, &Var)]) -> (Plan, ParamStore) {
    let params = y.graph().store(gpu, 1).unwrap();
    let options = PlanOptions::train(y).upstream("dy");
    let options = outputs.iter().fold(options, |options, (name, var)| options.output(name, var));
    let plan = y.graph().compile(&params, &options, &mut Workspace::new()).unwrap();
    (plan, params)
}

/// The mask of a step of [`ones`], from both passes, which must agree.
#[expect(clippy::cast_possible_truncation, reason = "the kernel scales in f32")]
fn mask(gpu: &Gpu, plan: &Plan, params: &ParamStore, p: f64) -> Vec<bool> {
    let scale = (1.0 / (1.0 - p)) as f32;
    submit(gpu, &[plan]);
    let (y, dx) = (plan.read("loss").unwrap(), params.read_grad("x").unwrap());
    assert!(y.iter().zip(&dx).all(|(y, dx)| (*y != 0.0) == (*dx != 0.0)));
    assert!(y.iter().all(|y| *y == 0.0 || *y == scale));
    assert!(dx.iter().all(|dx| *dx == 0.0 || *dx == scale));
    y.iter().map(|y| *y != 0.0).collect()
}

fn ones(shape: &[usize], p: f64) -> Var {
    let x = Graph::new().parameter("x", shape, Init::Constant(1.0));
    // Pooling makes an image of it.
    if shape.len() == 4 { x.max_pool2d(1).dropout(p) } else { x.dropout(p) }
}

#[test]
fn an_element_is_kept_where_philox_says_so_in_both_passes() {
    for gpu in gpus() {
        for shape in [&[7][..], &[3, 5], &[33, 64], &[2, 3, 6], &[2, 5, 3, 4], &[2, 3, 2, 2, 5]] {
            let y = ones(shape, 0.3);
            let (plan, params) = compile(&gpu, &y, &[]);
            plan.write("dy", &vec![1.0_f32; shape.iter().product()]).unwrap();
            // Without a step set, seed and step are 0.
            assert_eq!(mask(&gpu, &plan, &params, 0.3), kept(shape, 0.3, 0, 0, 0), "{shape:?}");
            for (seed, step) in [(0, 1), (1, 0), (7 << 40 | 3, 9 << 35 | 5), (u64::MAX, u64::MAX)] {
                plan.set_step(seed, step);
                let want = kept(shape, 0.3, 0, seed, step);
                assert_eq!(mask(&gpu, &plan, &params, 0.3), want, "{shape:?}, seed {seed}, step {step}");
            }
        }
    }
}

/// Its gradient lies as the value that was permuted, in another order than the result.
#[test]
fn the_mask_of_a_permuted_value_is_one_in_both_passes() {
    for gpu in gpus() {
        let dims: [&[isize]; 6] =
            [&[1, 0, 2], &[1, 2, 0], &[0, 2, 1], &[2, 0, 1, 3], &[2, 1, 0, 3], &[0, 2, 3, 1]];
        for dims in dims {
            let shape = &[7, 3, 5, 6][..dims.len()];
            let x = Graph::new().parameter("x", shape, Init::Constant(1.0));
            for y in
                [x.permute(dims).dropout(0.3), (x.permute(dims) * 1.0).dropout(0.3).mul(&x.permute(dims))]
            {
                let (plan, params) = compile(&gpu, &y, &[]);
                plan.write("dy", &vec![1.0_f32; shape.iter().product()]).unwrap();
                plan.set_step(5, 6);
                submit(&gpu, &[&plan]);
                let (values, dx) = (plan.read("loss").unwrap(), params.read_grad("x").unwrap());
                // The gradient in the order of the result.
                let mut strides = vec![1; shape.len()];
                (1..shape.len()).rev().for_each(|axis| strides[axis - 1] = strides[axis] * shape[axis]);
                let from = |at: usize| {
                    let mut rest = at;
                    dims.iter().rev().fold(0, |from, &axis| {
                        let axis = usize::try_from(axis).unwrap();
                        let place = rest % shape[axis];
                        rest /= shape[axis];
                        from + place * strides[axis]
                    })
                };
                let dx: Vec<bool> = (0..dx.len()).map(|at| dx[from(at)] != 0.0).collect();
                let mask: Vec<bool> = values.iter().map(|y| *y != 0.0).collect();
                assert_eq!(dx, mask, "{shape:?} as {dims:?}");
                assert!(mask.contains(&true) && mask.contains(&false));
            }
        }
    }
}

#[test]
fn every_dropout_of_a_graph_has_numbers_of_its_own() {
    for gpu in gpus() {
        let graph = Graph::new();
        let x = graph.parameter("x", [6, 10], Init::Constant(1.0));
        // Others are counted whether they are used, random, or neither.
        let (unused, whole) = (x.dropout(0.5), x.dropout(0.0));
        let (a, b) = (x.dropout(0.5), whole.dropout(0.5));
        let y = a.add(&b);
        let (plan, params) = compile(&gpu, &y, &[("a", &a), ("b", &b)]);
        plan.write("dy", &vec![1.0_f32; 60]).unwrap();
        plan.set_step(3, 4);
        submit(&gpu, &[&plan]);
        let [first, second] = [2, 3].map(|number| kept(&[6, 10], 0.5, number, 3, 4));
        let values = |kept: &[bool]| kept.iter().map(|k| if *k { 2.0 } else { 0.0 }).collect::<Vec<f32>>();
        assert_eq!(plan.read("a").unwrap(), values(&first));
        assert_eq!(plan.read("b").unwrap(), values(&second));
        let sum: Vec<f32> = values(&first).iter().zip(values(&second)).map(|(a, b)| a + b).collect();
        assert_eq!(params.read_grad("x").unwrap(), sum);
        assert_eq!(unused.shape(), [6, 10]);
    }
}

#[test]
fn masks_are_fair_and_independent_of_each_other() {
    let Some(gpu) = gpu() else { return };
    let n = 40_000;
    let half = |number, seed, step| kept(&[400, 100], 0.5, number, seed, step);
    let mean = |mask: &[bool]| mask.iter().filter(|k| **k).count() as f64 / mask.len() as f64;
    for p in [0.1, 0.5, 0.9] {
        let y = ones(&[400, 100], p);
        let (plan, params) = compile(&gpu, &y, &[]);
        plan.write("dy", &vec![1.0_f32; n]).unwrap();
        for step in 0..3 {
            plan.set_step(11, step);
            let mask = mask(&gpu, &plan, &params, p);
            // Five deviations of the mean of as many draws; a column of four lanes has fewer.
            let deviation = (p * (1.0 - p) / n as f64).sqrt();
            assert!((mean(&mask) - (1.0 - p)).abs() < 5.0 * deviation, "p {p}, step {step}: {}", mean(&mask));
            for lane in 0..4 {
                let part: Vec<bool> = mask.iter().skip(lane).step_by(4).copied().collect();
                assert!((mean(&part) - (1.0 - p)).abs() < 10.0 * deviation, "p {p}, lane {lane}");
            }
            // Inverted dropout keeps the mean, and has the variance p / (1 - p).
            let y = wide(&plan.read("loss").unwrap());
            let average = y.iter().sum::<f64>() / n as f64;
            let variance = y.iter().map(|y| (y - average).powi(2)).sum::<f64>() / n as f64;
            assert!((average - 1.0).abs() < 5.0 * (p / (1.0 - p) / n as f64).sqrt(), "p {p}: {average}");
            assert!((variance / (p / (1.0 - p)) - 1.0).abs() < 0.1, "p {p}: {variance}");
        }
    }
    let masks = [half(0, 11, 0), half(0, 11, 1), half(1, 11, 0), half(0, 12, 0), half(0, 11, 1 << 32)];
    for (at, a) in masks.iter().enumerate() {
        for b in &masks[..at] {
            let agree = a.iter().zip(b).filter(|(a, b)| a == b).count() as f64 / n as f64;
            assert!((agree - 0.5).abs() < 5.0 * 0.5 / (n as f64).sqrt(), "{agree}");
        }
        // Neighbours along rows and columns.
        for apart in [1, 2, 4, 100] {
            let agree = a.iter().zip(&a[apart..]).filter(|(a, b)| a == b).count() as f64 / n as f64;
            assert!((agree - 0.5).abs() < 0.02, "{apart} apart: {agree}");
        }
    }
}

#[test]
fn repeating_a_step_repeats_its_bits_and_the_next_step_does_not() {
    for gpu in gpus() {
        let graph = Graph::new();
        let x = graph.parameter("x", [9, 13], Init::Constant(0.0));
        let y = x.sigmoid().dropout(0.4).add(&x);
        let (plan, mut params) = compile(&gpu, &y, &[]);
        params.write("x", &noises(1, 117)).unwrap();
        plan.write("dy", &noises(2, 117)).unwrap();
        let at = |step| {
            plan.set_step(5, step);
            submit(&gpu, &[&plan]);
            let got = outcome(&plan, &params, &["loss"]);
            (bits(&got.outputs["loss"]), bits(&got.gradients["x"]))
        };
        let (first, second) = (at(0), at(1));
        assert!(first.0 != second.0 && first.1 != second.1);
        assert_eq!((at(0), at(1)), (first, second));
    }
}

#[test]
fn all_or_nothing() {
    for gpu in gpus() {
        let x = [1.0, -2.0, 3.0, f32::MAX, 5.0];
        let dy = noises(1, 5);
        for (p, masked) in [(0.0, false), (0.0, true), (1.0, false), (1.0, true)] {
            let graph = Graph::new();
            let v = graph.parameter("x", [5], Init::Constant(0.0));
            let ones = graph.input("mask", [5]);
            let y = if masked { v.dropout_mask(p, &ones) } else { v.dropout(p) };
            let mask = vec![1.0_f32; 5];
            let mut inputs: Vec<(&str, &dyn HostData)> = vec![("dy", &dy)];
            inputs.extend(masked.then_some(("mask", &mask as &dyn HostData)));
            let options = PlanOptions::train(&y).upstream("dy");
            let got = run(&gpu, &graph, &options, &[("x", &x)], &inputs, &["loss"]);
            let (want, gradient) = if p == 0.0 { (&x[..], &dy[..]) } else { (&[0.0; 5][..], &[0.0; 5][..]) };
            assert_eq!(got.outputs["loss"], want, "p {p}, masked {masked}");
            assert_eq!(got.gradients["x"], gradient, "p {p}, masked {masked}");
        }
    }
}

#[test]
fn nan_is_not_dropped() {
    // As in torch, which multiplies with the mask.
    for gpu in gpus() {
        let y = ones(&[64], 0.5);
        let got = run(
            &gpu,
            y.graph(),
            &PlanOptions::train(&y).upstream("dy"),
            &[("x", &[f32::NAN; 64])],
            &[],
            &["loss"],
        );
        assert!(got.outputs["loss"].iter().all(|y| y.is_nan()), "{:?}", got.outputs["loss"]);
    }
}

#[test]
fn a_given_mask_is_followed_and_gets_no_gradient() {
    for gpu in gpus() {
        for shape in [&[6][..], &[4, 7], &[2, 3, 4, 5]] {
            let len: usize = shape.iter().product();
            let graph = Graph::new();
            let [x, m] = ["x", "m"].map(|name| graph.parameter(name, shape, Init::Constant(0.0)));
            let y = x.dropout_mask(0.25, &m).add(&x);
            let (plan, mut params) = compile(&gpu, &y, &[]);
            assert_eq!(plan.unreached().collect::<Vec<_>>(), ["m"]);
            let mask: Vec<f32> = (0..len).map(|i| if i % 3 == 0 { 0.0 } else { 1.0 }).collect();
            let (values, dy) = (noises(1, len), noises(2, len));
            params.write("x", &values).unwrap();
            params.write("m", &mask).unwrap();
            plan.write("dy", &dy).unwrap();
            submit(&gpu, &[&plan]);
            let want = |x: &[f32]| -> Vec<f64> {
                wide(x).iter().zip(&mask).map(|(x, m)| x + x * f64::from(*m) / 0.75).collect()
            };
            assert_close(&format!("{shape:?}"), &plan.read("loss").unwrap(), &want(&values));
            assert_close(&format!("{shape:?}: gradient"), &params.read_grad("x").unwrap(), &want(&dy));
            assert!(params.read_grad("m").unwrap().iter().all(|g| *g == 0.0));
        }
    }
}

#[test]
fn evaluation_drops_nothing_and_runs_nothing() {
    for gpu in gpus() {
        let graph = Graph::new();
        let x = graph.parameter("x", [3, 5], Init::Normal { std: 1.0 });
        let y = x.dropout(0.5).dropout_mask(0.5, &graph.input("mask", [3, 5])).dropout(1.0);
        let params = graph.store(&gpu, 1).unwrap();
        let options = PlanOptions::evaluate().output("y", &y).output("x", &x);
        let plan = graph.compile(&params, &options, &mut Workspace::new()).unwrap();
        assert!(
            plan.labels().all(|label| !label.contains("dropout")),
            "{:?}",
            plan.labels().collect::<Vec<_>>()
        );
        let before = gpu.counters();
        plan.set_step(1, 2);
        assert_eq!(gpu.counters().since(&before).uploads, 0);
        submit(&gpu, &[&plan]);
        assert_eq!(plan.read("y").unwrap(), params.read("x").unwrap());
        assert_eq!(plan.read("x").unwrap(), params.read("x").unwrap());
    }
}

#[test]
fn what_is_no_probability_is_refused() {
    for p in [-0.1, 1.0 + 1e-9, f64::NAN, f64::INFINITY] {
        for masked in [false, true] {
            let graph = Graph::new();
            let x = graph.input("x", [4]);
            let y = if masked { x.dropout_mask(p, &x) } else { x.dropout(p) };
            let name = if masked { "dropout_mask1: p" } else { "dropout1: p" };
            let want =
                Error::Constant { name: name.into(), allowed: "in [0, 1]".into(), value: p.to_string() };
            assert_eq!(graph.check(), Err(want));
            assert_eq!(y.shape(), [0; 0]);
        }
    }
    let graph = Graph::new();
    let _ = graph.input("x", [4]).dropout_mask(0.5, &graph.input("mask", [5]));
    let error = graph.check().unwrap_err().to_string();
    assert_eq!(error, "dropout_mask1: expected a shape that broadcasts with [4], got [5]");
}

/// The losses of a trainer that learns nothing: what differs is dropout's.
fn losses(gpu: &Gpu, seed: u64, batches: &[usize]) -> Vec<f32> {
    let graph = Graph::new();
    let x = graph.input("x", [8, 6]);
    let loss = x.bias().dropout(0.5).mean();
    let mut trainer =
        graph.trainer(&loss, SGD { lr: 0.0, ..Default::default() }).seed(seed).build(gpu).unwrap();
    let data = [1.0_f32; 48];
    let step = |&batch: &usize| {
        let before = gpu.counters();
        trainer.step(&[("x", &&data[..batch * 6])]).unwrap();
        let count = gpu.counters().since(&before);
        // The input, the optimizer's constants, and seed and step, in one piece of memory.
        assert_eq!((count.submits, count.read_backs), (1, 0));
        if batch == 8 {
            assert_eq!(count.uploads, 1);
        }
        trainer.read_loss().unwrap()
    };
    batches.iter().map(step).collect()
}

#[test]
fn a_trainer_drops_others_in_each_step_and_the_same_in_each_run() {
    for gpu in gpus() {
        let (a, again, other) =
            (losses(&gpu, 4, &[8; 6]), losses(&gpu, 4, &[8; 6]), losses(&gpu, 5, &[8; 6]));
        assert_eq!(bits(&a), bits(&again));
        assert_ne!(bits(&a), bits(&other));
        let mean = |batch: usize, step: u64| {
            let kept = kept(&[batch, 6], 0.5, 0, 4, step);
            2.0 * kept.iter().filter(|k| **k).count() as f64 / kept.len() as f64
        };
        // Whole batches and others alike follow the step.
        let batches = [8, 3, 8, 5, 8, 1];
        for (step, (loss, batch)) in (0..).zip(losses(&gpu, 4, &batches).into_iter().zip(batches)) {
            assert!((f64::from(loss) - mean(batch, step)).abs() < 1e-6, "step {step}: {loss}");
        }
    }
}
