//! Plans: shared values, fusion, accumulation, several plans over one store, and what is refused.

use std::collections::BTreeMap;

use gradus::graph::{Graph, HostData, Init, Plan, PlanOptions, Var, Workspace};
use gradus::nn::{AvgPool2d, Conv2d, CrossEntropy, Linear, MaxPool2d};
use gradus::{Error, Gpu, GpuOptions};

use crate::common::{bits, gpu, gpu_with, noises};
use crate::network::{Outcome, distinct, gpus, outcome, run, submit};
use crate::reference::{self, Slide, assert_close, wide};

/// Central differences of `value`, element by element.
fn differences(x: &[f64], half: f64, value: impl Fn(&[f64]) -> Vec<f64>, dy: &[f32]) -> Vec<f64> {
    let mut x = x.to_vec();
    (0..x.len())
        .map(|at| {
            let middle = x[at];
            let [low, high] = [-half, half].map(|step| {
                x[at] = middle + step;
                value(&x).iter().zip(dy).map(|(y, dy)| y * f64::from(*dy)).sum::<f64>()
            });
            x[at] = middle;
            (high - low) / (2.0 * half)
        })
        .collect()
}

fn backward(gpu: &Gpu, graph: &Graph, y: &Var, values: &[(&str, &[f32])]) -> (Outcome, Vec<f32>) {
    let dy = noises(99, y.shape().iter().product());
    let options = PlanOptions::train(y).upstream("dy");
    let inputs: [(&str, &dyn HostData); 1] = [("dy", &dy)];
    (run(gpu, graph, &options, values, &inputs, &["loss"]), dy)
}

#[test]
fn a_value_added_to_itself_has_twice_the_gradient() {
    for gpu in gpus() {
        for shape in [&[5][..], &[3, 7], &[2, 3, 4, 4]] {
            let graph = Graph::new();
            let x = graph.parameter("x", shape, Init::Constant(0.0));
            let y = x.add(&x);
            let values = noises(1, shape.iter().product());
            let (got, dy) = backward(&gpu, &graph, &y, &[("x", &values)]);
            let twice = |x: &[f32]| wide(x).iter().map(|x| 2.0 * x).collect::<Vec<_>>();
            assert_close("x + x", &got.outputs["loss"], &twice(&values));
            assert_close("gradient of x + x", &got.gradients["x"], &twice(&dy));
        }
    }
}

#[test]
fn a_residual_block_sums_the_gradients_of_its_two_ways() {
    let (shape, slide) = ([2, 5, 4, 6], Slide::new([3, 3], [1, 1], [1, 1]));
    let (x, w) = (noises(1, 240), noises(2, 5 * 5 * 9));
    for gpu in gpus() {
        // The identity first and last, and through a relu that is fused: each order takes another way to the sum.
        for order in 0..3 {
            let graph = Graph::new();
            let input = graph.parameter("x", shape, Init::Constant(0.0));
            let conv = input.conv2d(Conv2d::new(5, 3).padding(1).without_bias().name("c"));
            let y = match order {
                0 => conv.add(&input),
                1 => input.add(&conv),
                _ => input.add(&conv).bias().add(&input),
            };
            let (got, dy) = backward(&gpu, &graph, &y, &[("x", &x), ("c.weight", &w)]);
            let times = if order == 2 { 2.0 } else { 1.0 };
            let value = |x: &[f64], w: &[f64]| -> Vec<f64> {
                let conv = reference::conv2d(x, shape, w, 5, None, &slide);
                conv.iter().zip(x).map(|(c, x)| c + times * x).collect()
            };
            let what = format!("residual {order} with {:?} kernels", gpu.kernel_kind());
            let (x, w) = (wide(&x), wide(&w));
            assert_close(&what, &got.outputs["loss"], &value(&x, &w));
            assert_close(
                &format!("{what}: gradient of x"),
                &got.gradients["x"],
                &differences(&x, 0.5, |x| value(x, &w), &dy),
            );
            assert_close(
                &format!("{what}: gradient of the weight"),
                &got.gradients["c.weight"],
                &differences(&w, 0.5, |w| value(&x, w), &dy),
            );
        }
    }
}

#[test]
fn one_output_that_feeds_every_kind_of_layer_sums_their_gradients() {
    // `h` is used by twelve operations, so each of their kernels adds to its gradient in some order.
    for gpu in gpus() {
        let shape = [2, 4, 6, 6];
        let half = Slide::new([2, 2], [2, 2], [0, 0]);
        let (x, w, b) = (distinct(1, 288), noises(2, 64), noises(3, 3 * 144));
        let build = |part: Option<usize>| {
            let graph = Graph::new();
            let h = graph.parameter("x", shape, Init::Constant(0.0)).bias();
            let conv = |name| Conv2d::new(4, [2, 2]).without_bias().name(name);
            let parts: Vec<Var> = vec![
                h.conv2d(conv("same").stride(2)).mean(),
                h.conv2d(conv("plain")).mean(),
                h.max_pool2d(2).mean(),
                h.relu().max_pool2d(2).mean(),
                h.relu().mean(),
                h.flatten().linear(Linear::new(3).without_bias().name("l")).mean(),
                h.mean(),
                h.add(&h).mean(),
                h.avg_pool2d(AvgPool2d::new(3).stride(2).padding(1)).mean(),
                h.mse_loss(&h.relu()),
                h.conv2d(conv("gaps").dilation(2)).mean(),
                h.sum(),
            ];
            let loss = match part {
                Some(part) => parts[part].clone(),
                None => parts[1..].iter().fold(parts[0].clone(), |sum, part| sum.add(part)),
            };
            (graph, loss)
        };
        let values: [(&str, &[f32]); 5] =
            [("x", &x), ("same.weight", &w), ("plain.weight", &w), ("l.weight", &b), ("gaps.weight", &w)];
        let gradient = |part| {
            let (graph, loss) = build(part);
            let got = run(&gpu, &graph, &PlanOptions::train(&loss), &values, &[], &["loss"]);
            (wide(&got.gradients["x"]), f64::from(got.outputs["loss"][0]), got)
        };
        let mut want = (vec![0.0; 288], 0.0);
        for part in 0..12 {
            let (gradient, loss, _) = gradient(Some(part));
            want.0.iter_mut().zip(gradient).for_each(|(sum, g)| *sum += 1000.0 * g);
            want.1 += loss;
        }
        let (_, loss, got) = gradient(None);
        let scaled: Vec<f32> = got.gradients["x"].iter().map(|g| g * 1000.0).collect();
        let what = format!("{:?} kernels", gpu.kernel_kind());
        assert_close(&format!("{what}: gradient of x"), &scaled, &want.0);
        assert!((loss - want.1).abs() < 1e-5, "{what}: {loss} is not {}", want.1);
        // One of the parts against the loops, so that not all of them are wrong together.
        let pooled = |x: &[f64]| {
            let y = reference::max_pool2d(x, shape, &half).0;
            vec![y.iter().sum::<f64>() / y.len() as f64]
        };
        let want = differences(&wide(&x), 1e-4, pooled, &[1000.0]);
        let alone = &gradient(Some(2)).2.gradients["x"];
        let got: Vec<f32> = alone.iter().map(|g| g * 1000.0).collect();
        assert_close(&format!("{what}: gradient of the mean of the pool"), &got, &want);
    }
}

#[test]
fn features_that_feed_two_layers_and_logits_that_feed_two_losses_sum_their_gradients() {
    for gpu in gpus() {
        for (rows, features, classes) in [(9, 8, 5), (33, 12, 4), (3, 7, 6)] {
            let graph = Graph::new();
            let x = graph.parameter("x", [rows, features], Init::Constant(0.0));
            let layer = |name| Linear::new(classes).without_bias().name(name);
            let logits = x.linear(layer("a")).add(&x.linear(layer("b")));
            let labels = graph.labels("labels", rows);
            let loss = logits.cross_entropy(&labels).add(&logits.mean());
            let data: Vec<u32> = (0..rows).map(|i| u32::try_from(i % classes).unwrap()).collect();
            let (x, a, b) =
                (noises(1, rows * features), noises(2, classes * features), noises(3, classes * features));
            let values: [(&str, &[f32]); 3] = [("x", &x), ("a.weight", &a), ("b.weight", &b)];
            let inputs: [(&str, &dyn HostData); 1] = [("labels", &data)];
            let got = run(&gpu, &graph, &PlanOptions::train(&loss), &values, &inputs, &["loss"]);
            let joined: Vec<f64> = wide(&a).iter().zip(wide(&b)).map(|(a, b)| a + b).collect();
            let value = |x: &[f64]| {
                let logits = reference::linear(x, features, &joined, None);
                let mean = logits.iter().sum::<f64>() / logits.len() as f64;
                vec![reference::cross_entropy(&logits, classes, &data) + mean]
            };
            let what = format!("[{rows}, {features}] to {classes} with {:?} kernels", gpu.kernel_kind());
            assert_close(&what, &got.outputs["loss"], &value(&wide(&x)));
            let scaled: Vec<f32> = got.gradients["x"].iter().map(|g| g * rows as f32).collect();
            let want = differences(&wide(&x), 1e-4, value, &[rows as f32]);
            assert_close(&format!("{what}: gradient"), &scaled, &want);
        }
    }
}

#[test]
fn a_parameter_used_twice_has_the_sum_of_both_gradients() {
    for gpu in gpus() {
        let graph = Graph::new();
        let p = graph.parameter("p", [3, 5], Init::Constant(0.0));
        let y = p.relu().add(&p.bias()).add(&p);
        let values = distinct(4, 15);
        let (got, dy) = backward(&gpu, &graph, &y, &[("p", &values)]);
        let value = |p: &[f64]| p.iter().map(|p| p.max(0.0) + 2.0 * p).collect::<Vec<_>>();
        assert_close("value", &got.outputs["loss"], &value(&wide(&values)));
        let want = differences(&wide(&values), 0.1 / 15.0, value, &dy);
        assert_close("gradient", &got.gradients["p"], &want);
    }
}

/// A network in which every operation occurs, over 6 channels and odd sizes.
fn network(batch: usize) -> (Graph, Var, Var) {
    let graph = Graph::new();
    let (x, y) = (graph.input("x", [batch, 1, 9, 7]), graph.labels("y", batch));
    let a = x.conv2d(Conv2d::new(6, 3).padding(1)).relu();
    let b = a.conv2d(Conv2d::new(6, 3).padding(2).dilation(2).without_bias()).bias().relu().add(&a);
    let b = b.avg_pool2d(AvgPool2d::new(3).stride(1).padding(1).count_include_pad(false));
    let c = b.relu().max_pool2d(MaxPool2d::new(3).stride(2).padding(1)).conv2d(Conv2d::new(5, 2).stride(2));
    let logits = c.flatten().linear(9).relu().linear(4);
    let loss = logits.cross_entropy(&y);
    (graph, loss, logits)
}

fn samples(stream: u64, batch: usize) -> (Vec<f32>, Vec<u32>) {
    let labels = (0..batch).map(|i| u32::try_from((i * 5 + 1) % 4).unwrap()).collect();
    (noises(stream, batch * 63), labels)
}

fn write(plan: &Plan, data: &(Vec<f32>, Vec<u32>)) {
    plan.write("x", &data.0).unwrap();
    plan.write("y", &data.1).unwrap();
}

#[test]
fn accumulated_micro_batches_are_the_gradient_of_their_sum() {
    for gpu in gpus() {
        let what = format!("{:?} kernels", gpu.kernel_kind());
        let (graph, loss, _) = network(4);
        let params = graph.store(&gpu, 3).unwrap();
        let mut workspace = Workspace::new();
        let [write_plan, add_plan, whole] = [
            PlanOptions::train(&loss),
            PlanOptions::train(&loss).accumulate(),
            PlanOptions::train(&loss).batch(12),
        ]
        .map(|options| graph.compile(&params, &options, &mut workspace).unwrap());
        let parts: Vec<_> = (0..3).map(|part| samples(part, 4)).collect();
        for (plan, data) in [&write_plan, &add_plan, &add_plan].into_iter().zip(&parts) {
            write(plan, data);
            submit(&gpu, &[plan]);
        }
        let added = outcome(&add_plan, &params, &[]).gradients;
        let x = parts.iter().flat_map(|(x, _)| x.clone()).collect();
        let y = parts.iter().flat_map(|(_, y)| y.clone()).collect();
        write(&whole, &(x, y));
        submit(&gpu, &[&whole]);
        for (name, mean) in outcome(&whole, &params, &[]).gradients {
            let want: Vec<f64> = wide(&mean).iter().map(|g| 3.0 * g).collect();
            assert_close(&format!("{what}: gradient of {name}"), &added[&name], &want);
        }
        // A plan that writes forgets what was there.
        write(&write_plan, &parts[0]);
        submit(&gpu, &[&write_plan]);
        let first = outcome(&write_plan, &params, &[]).gradients;
        submit(&gpu, &[&write_plan, &add_plan, &write_plan]);
        assert_eq!(outcome(&write_plan, &params, &[]).gradients, first, "{what}");
    }
}

#[test]
fn accumulation_is_exact_when_it_repeats_a_batch() {
    // Twice the same numbers is exact in f32, wherever they are added.
    for gpu in gpus() {
        let (graph, loss, _) = network(3);
        let params = graph.store(&gpu, 3).unwrap();
        let mut workspace = Workspace::new();
        let plan = graph.compile(&params, &PlanOptions::train(&loss), &mut workspace).unwrap();
        let adds = graph.compile(&params, &PlanOptions::train(&loss).accumulate(), &mut workspace).unwrap();
        let data = samples(1, 3);
        write(&plan, &data);
        write(&adds, &data);
        submit(&gpu, &[&plan]);
        let once = outcome(&plan, &params, &[]).gradients;
        submit(&gpu, &[&adds]);
        for (name, twice) in outcome(&adds, &params, &[]).gradients {
            let want: Vec<f64> = wide(&once[&name]).iter().map(|g| 2.0 * g).collect();
            assert_close(&name, &twice, &want);
        }
    }
}

#[test]
fn a_plan_that_adds_shares_all_kernels_but_those_with_a_constant_for_it() {
    let Some(gpu) = gpu() else { return };
    let (graph, loss, _) = network(4);
    let params = graph.store(&gpu, 3).unwrap();
    let mut workspace = Workspace::new();
    let mut compile = |options: &PlanOptions| {
        let before = gpu.counters();
        let plan = graph.compile(&params, options, &mut workspace).unwrap();
        (plan.labels().map(str::to_owned).collect::<Vec<_>>(), gpu.counters().since(&before).pipelines)
    };
    let (labels, _) = compile(&PlanOptions::train(&loss));
    let (again, none) = compile(&PlanOptions::train(&loss));
    assert_eq!((&again, none), (&labels, 0));
    let (adding, more) = compile(&PlanOptions::train(&loss).accumulate());
    assert_eq!(adding, labels);
    let constant = ["matmul_tn", "reduce[sum]", "conv2d_weight_grad_finish"];
    let most = labels.iter().filter(|label| constant.iter().any(|name| label.ends_with(name))).count();
    assert!(more <= most as u64, "{more} new pipelines, {most} dispatches have the constant");
}

/// Gradients and the named outputs of a graph in which a relu stands between two layers, with and without the
/// values around it as outputs, which keeps it from being fused.
fn fused_and_alone(gpu: &Gpu, kind: usize, x: &[f32]) -> [BTreeMap<String, Vec<f32>>; 3] {
    let graph = Graph::new();
    let input = graph.parameter("x", [2, 3, 6, 6], Init::Constant(0.0));
    let (before, after) = match kind {
        0 => {
            let before = input.conv2d(Conv2d::new(5, 3).padding(1));
            (before.clone(), before.relu())
        }
        1 => {
            let before = input.flatten().linear(7);
            (before.clone(), before.relu())
        }
        2 => {
            let before = input.add(&graph.parameter("z", [2, 3, 6, 6], Init::Normal { std: 1.0 }));
            (before.clone(), before.relu())
        }
        3 => {
            let before = input.bias();
            (before.clone(), before.relu())
        }
        4 => (input.clone(), input.relu()),
        _ => {
            let before = input.conv2d(Conv2d::new(5, 3));
            (before.clone(), before.relu())
        }
    };
    let y =
        if kind >= 4 { after.max_pool2d(MaxPool2d::new(3).stride(2).padding(1)) } else { after.flatten() };
    let y = y.flatten().linear(4);
    [vec![], vec![&before], vec![&before, &after]].map(|outputs| {
        let mut options = PlanOptions::train(&y).upstream("dy");
        for (number, output) in outputs.iter().enumerate() {
            options = options.output(&format!("o{number}"), output);
        }
        let dy = noises(99, 8);
        let inputs: [(&str, &dyn HostData); 1] = [("dy", &dy)];
        let names: Vec<String> = (0..outputs.len()).map(|number| format!("o{number}")).collect();
        let names: Vec<&str> = names.iter().map(|name| &name[..]).chain(["loss"]).collect();
        let got = run(gpu, &graph, &options, &[("x", x)], &inputs, &names);
        got.gradients.into_iter().chain(got.outputs).collect()
    })
}

#[test]
fn a_fused_relu_gives_the_same_bits_as_one_alone() {
    for gpu in gpus() {
        for kind in 0..6 {
            let [fused, half, alone] = fused_and_alone(&gpu, kind, &noises(kind as u64, 216));
            let (before, after) = (&alone["o0"], &alone["o1"]);
            assert!(before.iter().any(|x| *x < 0.0), "graph {kind}: nothing to rectify");
            assert_eq!(after, &before.iter().map(|x| x.max(0.0)).collect::<Vec<_>>(), "graph {kind}");
            assert_eq!(half["o0"], *before, "graph {kind}: the value before the relu");
            for (name, want) in alone.iter().filter(|(name, _)| !name.starts_with('o')) {
                let what = format!("{name} of graph {kind} with {:?} kernels", gpu.kernel_kind());
                assert_eq!(bits(&fused[name]), bits(want), "{what}, fused");
                assert_eq!(bits(&half[name]), bits(want), "{what}, before it an output");
            }
        }
    }
}

#[test]
fn nan_passes_through_a_relu_wherever_it_runs() {
    // As torch: relu(NaN) is NaN, and so is its gradient's way: y <= 0 stops it, and NaN is not.
    for gpu in gpus() {
        for kind in 0..6 {
            let mut x = noises(kind as u64, 216);
            // The second image only.
            x[150] = f32::NAN;
            for (way, got) in fused_and_alone(&gpu, kind, &x).iter().enumerate() {
                let y = &got["loss"];
                let what = format!("graph {kind}, way {way}, {:?} kernels: {y:?}", gpu.kernel_kind());
                assert!(y[..4].iter().all(|y| y.is_finite()) && y[4..].iter().all(|y| y.is_nan()), "{what}");
            }
        }
        let graph = Graph::new();
        let y = graph.parameter("x", [1, 6], Init::Constant(0.0)).relu();
        let x = [f32::NAN, -1.0, -0.0, 0.0, 2.0, f32::INFINITY];
        let ones = vec![1.0_f32; 6];
        let options = PlanOptions::train(&y).upstream("dy");
        let got = run(&gpu, &graph, &options, &[("x", &x)], &[("dy", &ones)], &["loss"]);
        let y = &got.outputs["loss"];
        assert!(y[0].is_nan() && y[1..] == [0.0, 0.0, 0.0, 2.0, f32::INFINITY], "{y:?}");
        assert_eq!(got.gradients["x"], [1.0, 0.0, 0.0, 0.0, 1.0, 1.0]);
    }
}

#[test]
fn the_last_nan_of_a_window_is_its_largest() {
    for gpu in gpus() {
        for relu in [false, true] {
            let graph = Graph::new();
            let x = graph.parameter("x", [1, 1, 2, 6], Init::Constant(0.0));
            let y = if relu { x.relu() } else { x }.max_pool2d(2);
            let nan = f32::NAN;
            let x = [nan, 9.0, 1.0, 2.0, nan, -1.0, 3.0, 4.0, 3.0, nan, nan, f32::NEG_INFINITY];
            let dy = vec![1.0_f32, 2.0, 4.0];
            let options = PlanOptions::train(&y).upstream("dy");
            let got = run(&gpu, &graph, &options, &[("x", &x)], &[("dy", &dy)], &["loss"]);
            assert!(got.outputs["loss"].iter().all(|y| y.is_nan()), "relu {relu}: {:?}", got.outputs);
            let want = [1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 2.0, 4.0, 0.0];
            assert_eq!(got.gradients["x"], want, "relu {relu}");
        }
    }
}

#[test]
fn a_window_of_minus_infinities_has_its_gradient_at_the_first() {
    for gpu in gpus() {
        let graph = Graph::new();
        let x = graph.parameter("x", [1, 1, 2, 2], Init::Constant(0.0));
        let y = x.max_pool2d(MaxPool2d::new(2).padding(1));
        let x = [f32::NEG_INFINITY; 4];
        let dy = vec![1.0_f32, 2.0, 3.0, 4.0];
        let got = run(
            &gpu,
            &graph,
            &PlanOptions::train(&y).upstream("dy"),
            &[("x", &x)],
            &[("dy", &dy)],
            &["loss"],
        );
        assert_eq!(got.outputs["loss"], x);
        assert_eq!(got.gradients["x"], dy);
    }
}

#[test]
fn plans_over_one_store_and_workspace_give_the_numbers_of_fresh_ones() {
    for gpu in gpus() {
        let what = format!("{:?} kernels", gpu.kernel_kind());
        let (graph, loss, logits) = network(8);
        let params = graph.store(&gpu, 3).unwrap();
        let options = |train: bool, batch: usize| {
            let options = if train { PlanOptions::train(&loss) } else { PlanOptions::evaluate() };
            options.output("logits", &logits).output("value", &loss).batch(batch)
        };
        let wanted = [(true, 8), (false, 8), (true, 3), (false, 1), (true, 1), (false, 5)];
        let mut workspace = Workspace::new();
        let mut largest = 0;
        let shared: Vec<Plan> = wanted
            .iter()
            .map(|&(train, batch)| {
                let plan = graph.compile(&params, &options(train, batch), &mut workspace).unwrap();
                if largest == 0 {
                    largest = workspace.bytes();
                }
                assert_eq!(workspace.bytes(), largest, "{what}: train {train}, batch {batch}");
                plan
            })
            .collect();
        assert!(largest > 0);
        // In two orders, so that each runs after another one that left its numbers in the buffers.
        let fresh: Vec<Outcome> = wanted
            .iter()
            .map(|&(train, batch)| {
                let plan = graph.compile(&params, &options(train, batch), &mut Workspace::new()).unwrap();
                write(&plan, &samples(batch as u64, batch));
                submit(&gpu, &[&plan]);
                outcome(&plan, &params, &["logits", "value"])
            })
            .collect();
        for at in [5, 0, 4, 1, 3, 2, 0, 1, 2, 3, 4, 5] {
            let (train, batch) = wanted[at];
            write(&shared[at], &samples(batch as u64, batch));
            submit(&gpu, &[&shared[at]]);
            let got = outcome(&shared[at], &params, &["logits", "value"]);
            assert_eq!(got.outputs, fresh[at].outputs, "{what}: train {train}, batch {batch}");
            if train {
                assert_eq!(got.gradients, fresh[at].gradients, "{what}: batch {batch}");
            }
        }
        // The same sample gives the same logits in a batch of any size, up to the order of sums.
        let of = |at: usize, data: &(Vec<f32>, Vec<u32>)| {
            write(&shared[at], data);
            submit(&gpu, &[&shared[at]]);
            shared[at].read("logits").unwrap()
        };
        let eight = samples(1, 8);
        let one = (eight.0[..63].to_vec(), eight.1[..1].to_vec());
        assert_close(&what, &of(3, &one), &wide(&of(1, &eight)[..4]));
    }
}

#[test]
fn padding_of_gradients_stays_zero() {
    for gpu in gpus() {
        let (graph, loss, _) = network(5);
        let params = graph.store(&gpu, 3).unwrap();
        for options in [PlanOptions::train(&loss), PlanOptions::train(&loss).accumulate()] {
            let plan = graph.compile(&params, &options, &mut Workspace::new()).unwrap();
            write(&plan, &samples(1, 5));
            submit(&gpu, &[&plan]);
            let all = params.grads().read_all(&gpu).unwrap();
            let mut inside = vec![false; all.len()];
            for span in params.layout().spans() {
                inside[span.first..span.first + span.len].fill(true);
            }
            let dirty = all.iter().zip(&inside).position(|(g, inside)| !inside && g.to_bits() != 0);
            assert_eq!(dirty, None, "{:?} kernels", gpu.kernel_kind());
            assert!(all.iter().zip(&inside).any(|(g, inside)| *inside && *g != 0.0));
        }
    }
}

#[test]
fn outputs_keep_their_values_until_the_next_run() {
    let Some(gpu) = gpu() else { return };
    let graph = Graph::new();
    let x = graph.input("x", [1, 4]);
    let p = graph.parameter("p", [1, 4], Init::Constant(1.0));
    let first = x.add(&p);
    let mut last = first.clone();
    for _ in 0..6 {
        last = last.add(&p);
    }
    let flat = last.flatten();
    let options = PlanOptions::evaluate().output("first", &first).output("last", &last).output("flat", &flat);
    let inputs: [(&str, &dyn HostData); 1] = [("x", &vec![1.0_f32, 2.0, 3.0, 4.0])];
    let got = run(&gpu, &graph, &options, &[], &inputs, &["first", "last", "flat"]).outputs;
    assert_eq!(got["first"], [2.0, 3.0, 4.0, 5.0]);
    assert_eq!(got["last"], [8.0, 9.0, 10.0, 11.0]);
    assert_eq!(got["flat"], got["last"]);
}

#[test]
fn an_input_can_be_an_output_and_a_loss() {
    let Some(gpu) = gpu() else { return };
    for shape in [&[1][..], &[3], &[4], &[2, 3], &[2, 4], &[2, 4, 1, 1], &[2, 3, 2, 2], &[1, 4, 2, 1]] {
        let graph = Graph::new();
        let x = graph.input("x", shape);
        graph.parameter("unused", [1], Init::Constant(0.0));
        let values = noises(1, shape.iter().product());
        let mut options = PlanOptions::evaluate().output("x", &x).output("again", &x);
        if shape.len() > 1 {
            options = options.output("flat", &x.flatten());
        }
        let inputs: [(&str, &dyn HostData); 1] = [("x", &values)];
        let got = run(&gpu, &graph, &options, &[], &inputs, &["x", "again"]);
        assert_eq!((&got.outputs["x"], &got.outputs["again"]), (&values, &values), "{shape:?}");
        if values.len() == 1 {
            let got = run(&gpu, &graph, &PlanOptions::train(&x), &[], &inputs, &["loss"]);
            assert_eq!(got.outputs["loss"], values);
        }
    }
}

/// What a graph says, as soon as it can: when it is checked, or when it is compiled for training.
fn refusal(gpu: &Gpu, build: fn(&Graph) -> Var) -> String {
    let graph = Graph::new();
    let y = build(&graph);
    let said = graph.check().and_then(|()| graph.store(gpu, 0)).and_then(|params| {
        graph.compile(&params, &PlanOptions::train(&y), &mut Workspace::new()).map(|_| ())
    });
    match said {
        Err(error) => error.to_string(),
        Ok(()) => "nothing".into(),
    }
}

#[test]
fn layers_that_do_not_fit_are_refused_with_their_numbers() {
    let Some(gpu) = gpu() else { return };
    const HUGE: usize = usize::MAX;
    fn image(graph: &Graph) -> Var {
        graph.input("x", [2, 3, 8, 8])
    }
    fn entropy(graph: &Graph, options: CrossEntropy) -> Var {
        graph.input("x", [4, 3]).cross_entropy_with(options, &graph.labels("y", 4))
    }
    type Build = fn(&Graph) -> Var;
    let rows: Vec<(Build, &str)> = vec![
        (
            |g| g.input("x", [2, 3]).conv2d(Conv2d::new(4, 3)),
            "conv2d_1: expected an image [N, C, H, W], got [2, 3]",
        ),
        (
            |g| image(g).conv2d(Conv2d::new(4, [9, 3]).name("c")),
            "c: expected an image of at least 9x3 with its padding, got [2, 3, 8, 8]",
        ),
        (
            |g| image(g).conv2d(Conv2d::new(4, 3).stride([1, 0])),
            "conv2d_1: stride must be in [1, 65535], got 0",
        ),
        (
            |g| image(g).conv2d(Conv2d::new(4, 3).stride(HUGE)),
            "conv2d_1: stride must be in [1, 65535], got 18446744073709551615",
        ),
        (
            |g| image(g).conv2d(Conv2d::new(4, 3).padding(HUGE)),
            "conv2d_1: padding must be in [0, 65535], got 18446744073709551615",
        ),
        (
            |g| image(g).conv2d(Conv2d::new(4, 3).padding(HUGE / 2 + 1)),
            "conv2d_1: padding must be in [0, 65535], got 9223372036854775808",
        ),
        (
            |g| image(g).conv2d(Conv2d::new(4, [1 << 17, 1]).padding([1 << 16, 0])),
            "conv2d_1: kernel must be in [1, 65535], got 131072",
        ),
        (
            |g| image(g).conv2d(Conv2d::new(HUGE, 3)),
            "conv2d_1.weight: expected at most 536870912 elements, got [18446744073709551615, 3, 3, 3]",
        ),
        (
            |g| image(g).conv2d(Conv2d::new(4, HUGE)),
            "conv2d_1.weight: expected at most 536870912 elements, \
             got [4, 3, 18446744073709551615, 18446744073709551615]",
        ),
        (
            |g| g.input("x", [1, 1, 1, 1]).conv2d(Conv2d::new(1, 8192).padding(4096)),
            "conv2d_1: expected a weight that is small enough when packed as [32, 4, 8192, 8192], \
             got [1, 1, 8192, 8192]",
        ),
        (
            |g| image(g).conv2d(Conv2d::new(0, 3)),
            "conv2d_1.weight: expected at least one dimension, none of them 0, got [0, 3, 3, 3]",
        ),
        (
            |g| image(g).conv2d(Conv2d::new(1, 0)),
            "conv2d_1.weight: expected at least one dimension, none of them 0, got [1, 3, 0, 0]",
        ),
        (
            |g| image(g).conv2d(Conv2d::new(4, 3).dilation([2, 0])),
            "conv2d_1: dilation must be in [1, 65535], got 0",
        ),
        (
            |g| image(g).conv2d(Conv2d::new(4, 3).dilation(HUGE)),
            "conv2d_1: dilation must be in [1, 65535], got 18446744073709551615",
        ),
        (
            |g| image(g).conv2d(Conv2d::new(4, [3, 2]).dilation([5, 3]).padding([1, 0])),
            "conv2d_1: expected an image of at least 11x4 with its padding, got [2, 3, 8, 8]",
        ),
        (
            |g| image(g).max_pool2d(MaxPool2d::new(3).dilation(0)),
            "max_pool2d_1: dilation must be in [1, 65535], got 0",
        ),
        (
            |g| image(g).max_pool2d(MaxPool2d::new(3).dilation(2).padding(3)),
            "max_pool2d_1: padding must be at most half the dilated kernel of 5, got 3",
        ),
        (
            |g| image(g).max_pool2d(MaxPool2d::new(2).dilation(8)),
            "max_pool2d_1: expected an image of at least 9x9 with its padding, got [2, 3, 8, 8]",
        ),
        (
            |g| image(g).max_pool2d(MaxPool2d::new([2, 2]).dilation([20, 1]).padding([10, 0])),
            "max_pool2d_1: expected an image large enough that every dilated window contains one of its elements, got [2, 3, 8, 8]",
        ),
        (
            |g| image(g).max_pool2d(MaxPool2d::new(11).stride(3).ceil_mode(true)),
            "max_pool2d_1: expected an image of at least 9x9 with its padding, got [2, 3, 8, 8]",
        ),
        (|g| image(g).avg_pool2d(0), "avg_pool2d_1: kernel must be in [1, 65535], got 0"),
        (
            |g| image(g).avg_pool2d(AvgPool2d::new(2).stride([1, 0])),
            "avg_pool2d_1: stride must be in [1, 65535], got 0",
        ),
        (
            |g| image(g).avg_pool2d(AvgPool2d::new([3, 2]).padding([1, 2])),
            "avg_pool2d_1: padding must be at most half the kernel of 2, got 2",
        ),
        (
            |g| image(g).avg_pool2d([2, 9]),
            "avg_pool2d_1: expected an image of at least 2x9 with its padding, got [2, 3, 8, 8]",
        ),
        (
            |g| image(g).avg_pool2d(AvgPool2d::new(2).divisor_override(0)),
            "avg_pool2d_1: divisor_override must be in [1, 16777216], got 0",
        ),
        (
            |g| image(g).avg_pool2d(AvgPool2d::new(2).divisor_override(HUGE)),
            "avg_pool2d_1: divisor_override must be in [1, 16777216], got 18446744073709551615",
        ),
        (|g| g.input("x", [2, 3]).avg_pool2d(2), "avg_pool2d_1: expected an image [N, C, H, W], got [2, 3]"),
        (
            |g| g.input("x", [2, 3]).mse_loss(&g.input("t", [3, 2])),
            "mse_loss1: expected [2, 3] for both inputs, got [3, 2]",
        ),
        (|g| g.input("x", [4]).mse_loss(&g.labels("t", 4)), "mse_loss1: expected numbers, t are labels"),
        (
            |g| entropy(g, CrossEntropy::new().label_smoothing(1.1)),
            "cross_entropy1: label_smoothing must be in [0, 1], got 1.1",
        ),
        (
            |g| entropy(g, CrossEntropy::new().label_smoothing(-1e-9)),
            "cross_entropy1: label_smoothing must be in [0, 1], got -1e-9",
        ),
        (
            |g| entropy(g, CrossEntropy::new().label_smoothing(f64::NAN)),
            "cross_entropy1: label_smoothing must be in [0, 1], got NaN",
        ),
        (
            |g| entropy(g, CrossEntropy::new().weight(&[1.0, 2.0])),
            "cross_entropy1: weight: expected 3 elements, got 2",
        ),
        (
            |g| entropy(g, CrossEntropy::new().weight(&[])),
            "cross_entropy1: weight: expected 3 elements, got 0",
        ),
        (
            |g| entropy(g, CrossEntropy::new().weight(&[1.0, 0.0, -2.5])),
            "cross_entropy1: weight[2] must be finite and at least 0, got -2.5",
        ),
        (
            |g| entropy(g, CrossEntropy::new().weight(&[1.0, f32::NAN, 1.0])),
            "cross_entropy1: weight[1] must be finite and at least 0, got NaN",
        ),
        (
            |g| entropy(g, CrossEntropy::new().weight(&[f32::INFINITY, 1.0, 1.0])),
            "cross_entropy1: weight[0] must be finite and at least 0, got inf",
        ),
        (
            |g| image(g).max_pool2d(MaxPool2d::new([2, 4]).padding([1, 3])),
            "max_pool2d_1: padding must be at most half the kernel of 4, got 3",
        ),
        (
            |g| image(g).max_pool2d(MaxPool2d::new(2).padding(HUGE)),
            "max_pool2d_1: padding must be at most half the kernel of 2, got 18446744073709551615",
        ),
        (
            |g| image(g).max_pool2d(9),
            "max_pool2d_1: expected an image of at least 9x9 with its padding, got [2, 3, 8, 8]",
        ),
        (|g| image(g).max_pool2d(0), "max_pool2d_1: kernel must be in [1, 65535], got 0"),
        (
            |g| image(g).max_pool2d(HUGE),
            "max_pool2d_1: kernel must be in [1, 65535], got 18446744073709551615",
        ),
        (
            |g| image(g).max_pool2d(MaxPool2d::new(2).stride(0)),
            "max_pool2d_1: stride must be in [1, 65535], got 0",
        ),
        (
            |g| image(g).max_pool2d(MaxPool2d::new(2).stride(1 << 40)),
            "max_pool2d_1: stride must be in [1, 65535], got 1099511627776",
        ),
        (|g| g.input("x", [2, 3]).max_pool2d(2), "max_pool2d_1: expected an image [N, C, H, W], got [2, 3]"),
        (
            |g| g.input("x", [2, 3]).linear(0),
            "linear1.weight: expected at least one dimension, none of them 0, got [0, 3]",
        ),
        (
            |g| g.input("x", [2, 3]).linear(HUGE),
            "linear1.weight: expected at most 536870912 elements, got [18446744073709551615, 3]",
        ),
        (|g| g.input("x", [7]).flatten(), "flatten1: expected two dimensions or more, got [7]"),
        (
            |g| image(g).add(&g.input("z", [2, 3, 8, 9])),
            "add1: expected a shape that broadcasts with [2, 3, 8, 8], got [2, 3, 8, 9]",
        ),
        (
            |g| g.input("x", [4, 10]).cross_entropy(&g.labels("y", 5)),
            "cross_entropy1: expected labels [4] for logits [4, 10], got [5]",
        ),
        (
            |g| image(g).cross_entropy(&g.labels("y", 2)),
            "cross_entropy1: expected labels [2, 8, 8] for logits [2, 3, 8, 8], got [2]",
        ),
        (
            |g| g.input("x", [4, 10]).cross_entropy(&g.input("y", [4])),
            "cross_entropy1: expected labels, y are numbers",
        ),
        (
            |g| g.input("x", [4, 10]).accuracy(&g.parameter("y", [4], Init::Constant(0.0))),
            "accuracy1: expected labels, y are numbers",
        ),
        (
            |g| g.labels("x", 4).cross_entropy(&g.labels("y", 4)),
            "cross_entropy1: expected numbers, x are labels",
        ),
        (|g| g.labels("y", 4).relu(), "relu1: expected numbers, y are labels"),
        (|g| g.labels("y", 4).linear(3), "linear1: expected numbers, y are labels"),
        (|g| g.labels("y", 4).mean(), "mean1: expected numbers, y are labels"),
        (
            |g| image(g).bias().relu(),
            "relu1: expected a scalar to differentiate, or an upstream gradient, got [2, 3, 8, 8]",
        ),
        (|g| image(g).add(&image(g)).mean(), "duplicate input \"x\""),
        (|g| g.labels("x", 2).graph().input("x", [2]).mean(), "duplicate input \"x\""),
        (
            |g| image(g).conv2d(Conv2d::new(3, 1).name("c")).conv2d(Conv2d::new(3, 1).name("c")).mean(),
            "duplicate parameter \"c.weight\": each needs its own name; use `Graph::tie` to share one parameter \
             between two layers",
        ),
        (
            |g| {
                let p = g.parameter("l.weight", [2, 2], Init::Constant(0.0));
                p.linear(Linear::new(2).name("l")).mean()
            },
            "duplicate parameter \"l.weight\": each needs its own name; use `Graph::tie` to share one parameter \
             between two layers",
        ),
        (
            |g| image(g).add(&Graph::new().input("z", [2, 3, 8, 8])).mean(),
            "add1: its inputs belong to different graphs",
        ),
        (
            |g| {
                let other = Graph::new();
                for number in 0..9 {
                    other.input(&format!("z{number}"), [1]);
                }
                image(g).add(&other.input("z", [2, 3, 8, 8])).mean()
            },
            "add1: its inputs belong to different graphs",
        ),
        (
            |g| {
                let _ = image(g).bias();
                Graph::new().input("z", [1])
            },
            "output loss: it belongs to another graph",
        ),
        (|g| g.input("x", [0, 3]).mean(), "x: expected at least one dimension, none of them 0, got [0, 3]"),
        (|g| g.input("x", []).mean(), "x: expected at least one dimension, none of them 0, got []"),
        (|g| g.labels("y", 0), "y: expected at least one dimension, none of them 0, got [0]"),
        (
            |g| g.input("x", [HUGE, HUGE, 2]).mean(),
            "x: expected at most 536870912 elements, got [18446744073709551615, 18446744073709551615, 2]",
        ),
        (
            |g| g.parameter("p", [1 << 16, 1 << 16], Init::Constant(0.0)).mean(),
            "p: expected at most 536870912 elements, got [65536, 65536]",
        ),
        (
            |g| g.parameter("p", [3], Init::KaimingUniform { a: 0.0 }).mean(),
            "p: expected two dimensions or more for an initialiser with fans, got [3]",
        ),
        (
            |g| g.parameter("p", [3], Init::Normal { std: f64::NAN }).mean(),
            "p: the scale of its initialiser must be finite, got NaN",
        ),
        (
            |g| g.input("x", [2, 3]).flatten().linear(2).add(&g.parameter("b", [3], Init::Constant(0.0))),
            "add1: expected a shape that broadcasts with [2, 2], got [3]",
        ),
    ];
    for (number, (build, message)) in rows.into_iter().enumerate() {
        assert_eq!(refusal(&gpu, build), message, "row {number}");
    }
    // What could be asked of a graph after a refusal still answers.
    let graph = Graph::new();
    let x = graph.input("x", []);
    let y = x.bias().conv2d(Conv2d::new(2, 3)).relu().flatten().linear(3).add(&x).cross_entropy(&x);
    assert_eq!((graph.batch(), y.shape(), y.name()), (None, vec![], "mean1".into()));
    assert!(graph.store(&gpu, 0).is_err());
}

#[test]
fn a_store_of_another_graph_is_refused() {
    let Some(gpu) = gpu() else { return };
    let build = |channels: usize| {
        let graph = Graph::new();
        let y = graph.input("x", [1, channels, 4, 4]).conv2d(Conv2d::new(2, 3)).mean();
        (graph, y)
    };
    let ((three, y), (four, _)) = (build(3), build(4));
    let store = four.store(&gpu, 0).unwrap();
    let mut workspace = Workspace::new();
    let refuse = |store, workspace: &mut Workspace| {
        three.compile(store, &PlanOptions::train(&y), workspace).unwrap_err().to_string()
    };
    let said = refuse(&store, &mut workspace);
    assert_eq!(said, "conv2d_1.weight: expected [2, 3, 3, 3], got [2, 4, 3, 3]");
    let other = Graph::new();
    let _ = other.input("x", [1, 3]).linear(Linear::new(2).name("conv2d_"));
    let said = refuse(&other.store(&gpu, 0).unwrap(), &mut workspace);
    assert!(said.starts_with("unknown tensor \"conv2d_1.weight\""), "{said}");
    assert_eq!(workspace.bytes(), 0);
}

#[test]
fn plans_of_other_batches_are_refused_where_a_shape_is_fixed() {
    let Some(gpu) = gpu() else { return };
    let graph = Graph::new();
    let x = graph.input("x", [4, 3]);
    let fixed = x.add(&graph.parameter("p", [4, 3], Init::Constant(0.0)));
    let vector = graph.input("v", [6]).bias();
    let params = graph.store(&gpu, 0).unwrap();
    let mut workspace = Workspace::new();
    let mut refuse = |var: &Var, batch| {
        let options = PlanOptions::evaluate().output("o", var).batch(batch);
        graph.compile(&params, &options, &mut workspace).map(|_| ()).unwrap_err().to_string()
    };
    assert_eq!(refuse(&fixed, 5), "add1: expected a shape that broadcasts with [5, 3], got [4, 3]");
    // What an output does not depend on does not matter to it.
    assert_eq!(refuse(&vector, 5), "bias1: expected a shape that broadcasts with [5], got [6]");
    assert_eq!(refuse(&x, 0), "x: expected at least one dimension, none of them 0, got [0, 3]");
    let most = "x: expected at most 536870912 elements, got [18446744073709551615, 3]";
    assert_eq!(refuse(&x, usize::MAX), most);

    let graph = Graph::new();
    let vector = graph.input("v", [6]).bias();
    let params = graph.store(&gpu, 0).unwrap();
    let options = PlanOptions::evaluate().output("o", &vector).batch(9);
    let error = graph.compile(&params, &options, &mut Workspace::new()).unwrap_err();
    assert_eq!(error.to_string(), "bias1: expected a shape that broadcasts with [9], got [6]");
}

#[test]
fn names_of_outputs_and_inputs_are_given_once() {
    let Some(gpu) = gpu() else { return };
    let graph = Graph::new();
    let x = graph.input("x", [2, 3]);
    let y = x.linear(2);
    let params = graph.store(&gpu, 0).unwrap();
    let refuse = |options: &PlanOptions| {
        graph.compile(&params, options, &mut Workspace::new()).map(|_| ()).unwrap_err().to_string()
    };
    let twice = PlanOptions::evaluate().output("y", &y).output("y", &y);
    assert_eq!(refuse(&twice), "duplicate output \"y\"");
    assert_eq!(refuse(&PlanOptions::train(&y).upstream("x")), "duplicate input \"x\"");
    let taken = PlanOptions::train(&y.mean()).output("loss", &y);
    assert_eq!(refuse(&taken), "duplicate output \"loss\"");
    let labels = PlanOptions::evaluate().output("l", &graph.labels("l", 2));
    assert_eq!(refuse(&labels), "output l: expected a computed value, got labels");
    // Nothing asked, nothing done.
    let plan = graph.compile(&params, &PlanOptions::evaluate(), &mut Workspace::new()).unwrap();
    submit(&gpu, &[&plan]);
    gpu.check().unwrap();
}

#[test]
fn data_that_does_not_fit_is_refused_and_not_written() {
    let Some(gpu) = gpu() else { return };
    let (graph, loss, logits) = network(2);
    let params = graph.store(&gpu, 0).unwrap();
    let options = PlanOptions::train(&loss).output("logits", &logits);
    let plan = graph.compile(&params, &options, &mut Workspace::new()).unwrap();
    write(&plan, &samples(1, 2));
    submit(&gpu, &[&plan]);
    let before = (plan.read("logits").unwrap(), outcome(&plan, &params, &["loss"]));
    let rows: [(&str, &dyn HostData, &str); 8] = [
        ("x", &vec![0.0_f32; 125], "input x of 2 samples: expected 126 elements, got 125"),
        ("x", &Vec::<f32>::new(), "input x of 2 samples: expected 126 elements, got 0"),
        ("x", &vec![0_u32; 126], "input x: expected f32 numbers"),
        ("y", &vec![0.0_f32; 2], "input y: expected u32 labels"),
        ("y", &vec![0_u32; 3], "input y of 2 samples: expected 2 elements, got 3"),
        ("y", &vec![3_u32, 4], "label 1 of input y must be below 4, got 4"),
        ("y", &vec![u32::MAX, 0], "label 0 of input y must be below 4, got 4294967295"),
        ("z", &vec![0.0_f32; 2], "unknown input \"z\"; known: x, y"),
    ];
    let uploads = gpu.counters().uploads;
    for (name, data, message) in rows {
        assert_eq!(plan.write(name, data).unwrap_err().to_string(), message);
    }
    assert_eq!(gpu.counters().uploads, uploads);
    submit(&gpu, &[&plan]);
    assert_eq!(plan.read("logits").unwrap(), before.0);
    assert_eq!(outcome(&plan, &params, &["loss"]).gradients, before.1.gradients);
    for said in [plan.read("losses").unwrap_err(), plan.output("losses").unwrap_err()] {
        assert_eq!(
            said.to_string(),
            "unknown output \"losses\", did you mean \"loss\"?; known: logits, loss"
        );
    }
}

#[test]
fn a_tensor_beyond_the_binding_limit_is_refused_by_name() {
    let Some(gpu) = gpu_with(GpuOptions { max_binding_bytes: Some(1 << 16), ..Default::default() }) else {
        return;
    };
    let limit = "exceed the max_storage_buffer_binding_size of 65536 bytes on this device";
    let refuse = |build: &dyn Fn(&Graph) -> Var| {
        let graph = Graph::new();
        let y = build(&graph).mean();
        let mut workspace = Workspace::new();
        // A weight by the store, before its values are drawn; an activation by the plan.
        let error = graph
            .store(&gpu, 0)
            .and_then(|params| graph.compile(&params, &PlanOptions::train(&y), &mut workspace))
            .unwrap_err();
        assert!(matches!(error, Error::Limit { .. }), "{error:?}");
        assert_eq!(workspace.bytes(), 0);
        error.to_string()
    };
    // 16,384 elements fit. An image of 3 channels takes the room of 4.
    let activation = refuse(&|g| g.input("x", [4096, 1]).linear(Linear::new(5).name("l")));
    assert_eq!(activation, format!("l: 131072 bytes {limit}"));
    let input = refuse(&|g| g.input("x", [1000, 17]).bias());
    assert_eq!(input, format!("x: 68000 bytes {limit}"));
    let weight = refuse(&|g| g.input("x", [1, 4096]).linear(Linear::new(5).name("l")));
    assert!(weight.starts_with("l.weight: 81920 bytes exceed"), "{weight}");
    let graph = Graph::new();
    let y = graph.input("x", [1, 4096]).linear(Linear::new(4)).mean();
    let params = graph.store(&gpu, 0).unwrap();
    graph.compile(&params, &PlanOptions::train(&y), &mut Workspace::new()).unwrap();
    gpu.check().unwrap();
}
