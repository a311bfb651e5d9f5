//! Operations of one's own: against f64, at other batch sizes, in training steps, and with gradients that are wrong.

use gradus::graph::{CustomOp, Graph, Init, Plan, PlanOptions, Workspace};
use gradus::nn::Conv2d;
use gradus::optim::SGD;
use gradus::{Error, Gpu};

use crate::common::{bits, gpu, noises};
use crate::network::{gpus, submit};

/// A layer norm with a scale: sums along rows in values of their own.
fn layer_norm() -> CustomOp {
    let rows =
        |shapes: &[&[usize]]| Ok(vec![shapes[0].iter().product::<usize>() / shapes[0][shapes[0].len() - 1]]);
    let wgsl = "
fn forward_mean(row: u32) -> f32 {
    var sum = 0.0;
    for (var k = 0u; k < x_last; k++) { sum += x(row * x_last + k); }
    return sum / f32(x_last);
}
fn forward_inverse(row: u32) -> f32 {
    var sum = 0.0;
    for (var k = 0u; k < x_last; k++) {
        let d = x(row * x_last + k) - mean(row);
        sum += d * d;
    }
    return inverseSqrt(sum / f32(x_last) + scalars.eps);
}
fn normal(i: u32) -> f32 { return (x(i) - mean(i / x_last)) * inverse(i / x_last); }
fn forward_y(i: u32) -> f32 { return normal(i) * scale(i % x_last); }
fn upstream(i: u32) -> f32 { return grad_y(i) * scale(i % x_last); }
fn backward_first(row: u32) -> f32 {
    var sum = 0.0;
    for (var k = 0u; k < x_last; k++) { sum += upstream(row * x_last + k); }
    return sum / f32(x_last);
}
fn backward_second(row: u32) -> f32 {
    var sum = 0.0;
    for (var k = 0u; k < x_last; k++) {
        let i = row * x_last + k;
        sum += upstream(i) * normal(i);
    }
    return sum / f32(x_last);
}
fn backward_x(i: u32) -> f32 {
    let row = i / x_last;
    return inverse(row) * (upstream(i) - first(row) - normal(i) * second(row));
}
fn backward_scale(k: u32) -> f32 {
    var sum = 0.0;
    for (var row = 0u; row < mean_len; row++) { sum += grad_y(row * x_last + k) * normal(row * x_last + k); }
    return sum;
}";
    let builder = CustomOp::builder("layer norm", wgsl).input("x").input("scale").scalar("eps", 1e-5);
    let builder = builder.forward("mean", rows).forward("inverse", rows);
    let builder = builder.output("y", |shapes| Ok(shapes[0].to_vec()));
    builder.backward("first", rows).backward("second", rows).build().unwrap()
}

/// In f64: the output, and the gradients of `x` and `scale`.
fn normalized(x: &[f32], scale: &[f32], dy: &[f32]) -> [Vec<f64>; 3] {
    let n = scale.len();
    let (mut y, mut dx, mut dscale) = (Vec::new(), Vec::new(), vec![0.0; n]);
    for (x, dy) in x.chunks_exact(n).zip(dy.chunks_exact(n)) {
        let x: Vec<f64> = x.iter().copied().map(f64::from).collect();
        let mean = x.iter().sum::<f64>() / n as f64;
        let variance = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n as f64;
        let inverse = 1.0 / (variance + 1e-5).sqrt();
        let normal: Vec<f64> = x.iter().map(|x| (x - mean) * inverse).collect();
        let up: Vec<f64> = dy.iter().zip(scale).map(|(d, s)| f64::from(*d) * f64::from(*s)).collect();
        let first = up.iter().sum::<f64>() / n as f64;
        let second = up.iter().zip(&normal).map(|(u, v)| u * v).sum::<f64>() / n as f64;
        for k in 0..n {
            y.push(normal[k] * f64::from(scale[k]));
            dx.push(inverse * (up[k] - first - normal[k] * second));
            dscale[k] += f64::from(dy[k]) * normal[k];
        }
    }
    [y, dx, dscale]
}

fn near(got: &[f32], want: &[f64], allowed: f64, what: &str) {
    assert_eq!(got.len(), want.len(), "{what}");
    for (at, (got, want)) in got.iter().zip(want).enumerate() {
        let difference = (f64::from(*got) - want).abs();
        assert!(difference <= allowed * want.abs().max(1.0), "{what}[{at}]: {got} is not {want}");
    }
}

#[test]
fn values_and_gradients_are_those_of_f64() {
    let op = layer_norm();
    if let Some(gpu) = gpu() {
        for shape in [&[3, 5][..], &[4, 8], &[2, 3, 4, 5], &[300, 33]] {
            let columns = *shape.last().unwrap();
            let graph = Graph::new();
            let x = graph.input("x", shape);
            let scale = graph.parameter("scale", [columns], Init::Constant(1.0));
            let y = graph.custom(&op, &[&x, &scale]);
            assert_eq!(y.shape(), shape);
            let mut params = graph.store(&gpu, 1).unwrap();
            let scales: Vec<f32> = noises(3, columns).iter().map(|s| s + 1.5).collect();
            params.write("scale", &scales).unwrap();
            // Also at another batch size than the declared one.
            for batch in [shape[0], 7] {
                let options = PlanOptions::train(&y).upstream("dy").output("y", &y).gradient("dx", &x);
                let plan = graph.compile(&params, &options.batch(batch), &mut Workspace::new()).unwrap();
                let len = batch * shape[1..].iter().product::<usize>();
                let (x, dy) = (noises(1, len), noises(2, len));
                plan.write("x", &x).unwrap();
                plan.write("dy", &dy).unwrap();
                submit(&gpu, &[&plan]);
                let [y, dx, dscale] = normalized(&x, &scales, &dy);
                let what = |name: &str| format!("{name} of {shape:?} with {batch}");
                near(&plan.read("y").unwrap(), &y, 1e-5, &what("y"));
                near(&plan.read("dx").unwrap(), &dx, 1e-4, &what("dx"));
                near(&params.read_grad("scale").unwrap(), &dscale, 1e-4, &what("dscale"));
                let (forward, backward): (Vec<_>, Vec<_>) = plan
                    .labels()
                    .filter(|label| label.contains("custom["))
                    .partition(|l| l.contains(".forward_"));
                assert_eq!((forward.len(), backward.len()), (3, 4));
            }
        }
    }
}

/// Of the seven functions of a layer norm and a forward value that only a gradient reads, those that a plan needs.
#[test]
fn what_no_gradient_needs_is_not_computed() {
    let Some(gpu) = gpu() else { return };
    let op = layer_norm();
    let square = "fn forward_twice(i: u32) -> f32 { return 2.0 * x(i); }
                  fn forward_y(i: u32) -> f32 { return x(i) * x(i); }
                  fn backward_x(i: u32) -> f32 { return grad_y(i) * twice(i); }";
    let square = CustomOp::builder("square", square).input("x");
    let square = square.forward("twice", |shapes| Ok(shapes[0].to_vec())).build().unwrap();
    let graph = Graph::new();
    let (x, scale) = (graph.input("x", [3, 5]), graph.parameter("scale", [5], Init::Constant(1.5)));
    let w = graph.parameter("w", [5], Init::Constant(0.5));
    let root = graph.custom(&square, &[&graph.custom(&op, &[&x.mul(&w), &scale])]).sum();
    let mut params = graph.store(&gpu, 1).unwrap();
    let (data, mut grads) = (noises(1, 15), None);
    let rows: [(&[&str], usize, usize); 4] =
        [(&[], 5, 5), (&["w"], 5, 2), (&["scale"], 5, 4), (&["w", "scale"], 4, 0)];
    for (frozen, forward, backward) in rows {
        frozen.iter().for_each(|name| params.freeze(name).unwrap());
        let plan = graph.compile(&params, &PlanOptions::train(&root), &mut Workspace::new()).unwrap();
        let stages = |kind: &str| plan.labels().filter(|label| label.contains(kind)).count();
        assert_eq!((stages(".forward_"), stages(".backward_")), (forward, backward), "{frozen:?} frozen");
        plan.write("x", &data).unwrap();
        submit(&gpu, &[&plan]);
        let now = ["w", "scale"].map(|name| bits(&params.read_grad(name).unwrap()));
        let whole = grads.get_or_insert_with(|| now.clone());
        assert_eq!(now, *whole, "{frozen:?} frozen");
        frozen.iter().for_each(|name| params.thaw(name).unwrap());
    }
    let evaluate = PlanOptions::evaluate().output("y", &root);
    let plan = graph.compile(&params, &evaluate, &mut Workspace::new()).unwrap();
    assert_eq!(plan.labels().filter(|label| label.contains("custom[")).count(), 4);
}

/// A loss over the whole batch, and values for each sample of which some have no axis of their own.
#[test]
fn a_trainer_knows_which_outputs_have_rows_of_samples() {
    let Some(gpu) = gpu() else { return };
    let total = "fn forward_y(i: u32) -> f32 {
                     var sum = 0.0;
                     for (var k = 0u; k < x_len; k++) { sum += x(k) * x(k); }
                     return sum / f32(x_len);
                 }
                 fn backward_x(i: u32) -> f32 { return 2.0 * grad_y(0u) * x(i) / f32(x_len); }";
    let total = CustomOp::builder("total", total).input("x").output("y", |_| Ok(vec![1])).build().unwrap();
    let halves = "fn forward_a(i: u32) -> f32 { return x(i); }
                  fn forward_b(i: u32) -> f32 { return x(i % x_dim0 * x_dim1 + i / x_dim0); }";
    let halves = CustomOp::builder("halves", halves).input("x");
    let halves = halves.output("a", |shapes| Ok(vec![shapes[0].iter().product()]));
    let halves = halves.output("b", |shapes| Ok(vec![shapes[0][1], shapes[0][0]])).build().unwrap();
    for declared in [4, 3, 1] {
        let graph = Graph::new();
        let x = graph.input("x", [declared, 3]);
        let h = x.linear(2);
        let losses = [graph.custom(&total, &[&h]), h.square().mean()];
        let [_, b] = &graph.custom_all(&halves, &[&x])[..] else { panic!("two outputs") };
        let turned = b.transpose(0, 1);
        let ends = losses.map(|loss| {
            let mut trainer =
                graph.trainer(&loss, SGD { lr: 0.1, ..Default::default() }).build(&gpu).unwrap();
            for batch in [4, 2, 1, 5] {
                trainer.step(&[("x", &noises(batch as u64, 3 * batch))]).unwrap();
            }
            let data = noises(9, 18);
            let whole = trainer.evaluate(&[("x", &data)], 6).unwrap().loss;
            for batch in [2, 1] {
                let loss = trainer.evaluate(&[("x", &data)], batch).unwrap().loss;
                assert!((loss - whole).abs() < 1e-6, "{loss} is not {whole}");
            }
            assert!(trainer.predict(&loss, &[("x", &data)], 2).is_err());
            assert!(trainer.predict(b, &[("x", &data)], 2).is_err());
            assert_eq!(trainer.predict(&turned, &[("x", &data)], 4).unwrap(), data);
            trainer.params().read("linear1.weight").unwrap()
        });
        for (own, library) in ends[0].iter().zip(&ends[1]) {
            assert!((own - library).abs() < 1e-6, "{own} is not {library}");
        }
    }
}

/// A sigmoid, to be compared with the library's.
fn sigmoid() -> CustomOp {
    let wgsl = "fn forward_y(i: u32) -> f32 { return 1.0 / (1.0 + exp(-x(i))); }
                fn backward_x(i: u32) -> f32 { return grad_y(i) * y(i) * (1.0 - y(i)); }";
    CustomOp::builder("sigmoid", wgsl).input("x").build().unwrap()
}

#[test]
fn it_stands_among_other_layers_as_they_do() {
    let op = sigmoid();
    for gpu in gpus() {
        for channels in [3, 8] {
            // Twice, behind a convolution that lies channels last, with a relu before and behind; the first feeds two.
            let network = |own: bool| {
                let graph = Graph::new();
                let (x, y) = (graph.input("x", [4, 2, 6, 5]), graph.labels("y", 4));
                let apply = |x: &gradus::graph::Var| if own { graph.custom(&op, &[x]) } else { x.sigmoid() };
                let a = apply(&x.conv2d(Conv2d::new(channels, 3).padding(1).name("c")).relu());
                let b = a.relu().add(&a).flatten();
                let loss = apply(&b.linear(gradus::nn::Linear::new(5).name("l"))).cross_entropy(&y);
                (graph, loss)
            };
            let mut trainers = [true, false].map(|own| {
                let (graph, loss) = network(own);
                graph
                    .trainer(&loss, SGD { lr: 0.5, momentum: 0.9, ..Default::default() })
                    .seed(3)
                    .build(&gpu)
                    .unwrap()
            });
            let (x, y) = (noises(1, 4 * 60), [0, 4, 2, 2]);
            let mut warm = gpu.counters();
            for trainer in &mut trainers {
                for step in 0..12 {
                    if step == 6 {
                        warm = gpu.counters();
                    }
                    trainer.step(&[("x", &x), ("y", &y)]).unwrap();
                }
                let count = gpu.counters().since(&warm);
                let made = (count.allocations, count.pipelines, count.bind_groups, count.submits);
                assert_eq!(made, (0, 0, 0, 6));
            }
            let [own, library] = trainers.map(|trainer| {
                let spans = trainer.params().layout().spans();
                spans.iter().flat_map(|span| trainer.params().read(&span.name).unwrap()).collect::<Vec<f32>>()
            });
            for (own, library) in own.iter().zip(&library) {
                assert!((own - library).abs() < 1e-5, "{own} is not {library}");
            }
        }
    }
}

fn compiled(gpu: &Gpu, graph: &Graph, options: &PlanOptions) -> Result<Plan, Error> {
    // A store holds one parameter at least.
    if graph.parameters().is_empty() {
        graph.parameter("unused", [1], Init::Constant(0.0));
    }
    graph.compile(&graph.store(gpu, 1)?, options, &mut Workspace::new())
}

#[test]
fn one_value_for_two_inputs_gets_both_gradients() {
    let Some(gpu) = gpu() else { return };
    let wgsl = "fn forward_y(i: u32) -> f32 { return a(i) * a(i) * b(i); }
                fn backward_a(i: u32) -> f32 { return grad_y(i) * 2.0 * a(i) * b(i); }
                fn backward_b(i: u32) -> f32 { return grad_y(i) * a(i) * a(i); }";
    let op = CustomOp::builder("product", wgsl).input("a").input("b").build().unwrap();
    let graph = Graph::new();
    let x = graph.input("x", [3, 5]);
    let y = graph.custom(&op, &[&x, &x]);
    let options = PlanOptions::train(&y).upstream("dy").output("y", &y).gradient("dx", &x);
    let plan = compiled(&gpu, &graph, &options).unwrap();
    let (x, dy) = (noises(1, 15), noises(2, 15));
    plan.write("x", &x).unwrap();
    plan.write("dy", &dy).unwrap();
    submit(&gpu, &[&plan]);
    let cubes: Vec<f64> = x.iter().map(|x| f64::from(*x).powi(3)).collect();
    let slopes: Vec<f64> =
        x.iter().zip(&dy).map(|(x, d)| 3.0 * f64::from(*x).powi(2) * f64::from(*d)).collect();
    near(&plan.read("y").unwrap(), &cubes, 1e-6, "y");
    near(&plan.read("dx").unwrap(), &slopes, 1e-6, "dx");
}

/// The parts lie in the memory of what they are parts of, but not packed; the last input is that memory whole.
#[test]
fn parts_of_one_value_get_all_gradients() {
    let Some(gpu) = gpu() else { return };
    let wgsl = "fn forward_y(i: u32) -> f32 { return a(i) * b(i) * whole(i); }
                fn backward_a(i: u32) -> f32 { return grad_y(i) * b(i) * whole(i); }
                fn backward_b(i: u32) -> f32 { return grad_y(i) * a(i) * whole(i); }
                fn backward_whole(i: u32) -> f32 {
                    if (i >= a_len) { return 0.0; }
                    return grad_y(i) * a(i) * b(i);
                }";
    let builder = CustomOp::builder("product", wgsl).input("a").input("b").input("whole");
    let op = builder.output("y", |shapes| Ok(shapes[0].to_vec())).build().unwrap();
    for columns in [4, 5] {
        let graph = Graph::new();
        let x = graph.input("x", [3, columns]);
        let y = graph.custom(&op, &[&x.narrow(0, 1, 2), &x.narrow(0, 1, 2), &x]);
        let options = PlanOptions::train(&y).upstream("dy").gradient("dx", &x);
        let plan = compiled(&gpu, &graph, &options).unwrap();
        let (x, dy) = (noises(1, 3 * columns), noises(2, 2 * columns));
        plan.write("x", &x).unwrap();
        plan.write("dy", &dy).unwrap();
        submit(&gpu, &[&plan]);
        let mut slopes = vec![0.0; 3 * columns];
        for (i, dy) in dy.iter().enumerate() {
            let [part, whole, dy] = [x[i + columns], x[i], *dy].map(f64::from);
            slopes[i + columns] += 2.0 * dy * part * whole;
            slopes[i] += dy * part * part;
        }
        near(&plan.read("dx").unwrap(), &slopes, 1e-6, "dx");
    }
}

#[test]
fn a_value_and_its_transpose_may_both_be_inputs() {
    let Some(gpu) = gpu() else { return };
    let wgsl = "fn forward_y(i: u32) -> f32 { return a(i) * a(i) * b(i); }
                fn backward_a(i: u32) -> f32 { return grad_y(i) * 2.0 * a(i) * b(i); }
                fn backward_b(i: u32) -> f32 { return grad_y(i) * a(i) * a(i); }";
    let op = CustomOp::builder("product", wgsl).input("a").input("b").build().unwrap();
    for transposed_first in [true, false] {
        let graph = Graph::new();
        let x = graph.input("x", [5, 5]);
        let (one, other) = (x.transpose(0, 1), x.clone());
        let inputs = if transposed_first { [&one, &other] } else { [&other, &one] };
        let y = graph.custom(&op, &inputs);
        let options = PlanOptions::train(&y).upstream("dy").gradient("dx", &x);
        let plan = compiled(&gpu, &graph, &options).unwrap();
        let (x, dy) = (noises(1, 25), noises(2, 25));
        plan.write("x", &x).unwrap();
        plan.write("dy", &dy).unwrap();
        submit(&gpu, &[&plan]);
        let wide = |x: f32| f64::from(x);
        let slopes: Vec<f64> = (0..25)
            .map(|at| {
                let turned = at % 5 * 5 + at / 5;
                // Where the element is `a`, and where it is `b`.
                let (a, b) = if transposed_first { (turned, at) } else { (at, turned) };
                2.0 * wide(dy[a]) * wide(x[at]) * wide(x[turned]) + wide(dy[b]) * wide(x[turned]).powi(2)
            })
            .collect();
        near(&plan.read("dx").unwrap(), &slopes, 1e-6, &format!("dx, transposed first {transposed_first}"));
    }
}

/// Labels, two outputs of which any may be without a gradient, and indices beyond the end.
#[test]
fn outputs_without_a_gradient_count_as_zeros() {
    let Some(gpu) = gpu() else { return };
    let wgsl = "fn forward_picked(row: u32) -> f32 { return x(row * x_dim1 + class_of(row)); }
                fn forward_doubled(i: u32) -> f32 { return 2.0 * x(i) + 0.0 * x(i + 4000000000u); }
                fn backward_x(i: u32) -> f32 {
                    let row = i / x_dim1;
                    let hit = f32(i % x_dim1 == class_of(row));
                    return hit * grad_picked(row) + 2.0 * grad_doubled(i);
                }";
    let op = CustomOp::builder("pick", wgsl).input("x").labels("class_of");
    let op = op.output("picked", |shapes| Ok(vec![shapes[0][0]]));
    let op = op.output("doubled", |shapes| Ok(shapes[0].to_vec())).build().unwrap();
    let graph = Graph::new();
    let (x, y) = (graph.input("x", [3, 5]), graph.labels("y", 3));
    let [picked, doubled] = &graph.custom_all(&op, &[&x, &y])[..] else { panic!("two outputs") };
    assert_eq!((picked.shape(), doubled.shape()), (vec![3], vec![3, 5]));
    let data = noises(1, 15);
    let labels = [4_u32, 0, 2];
    let hit = |i: usize| f64::from(u8::from(i % 5 == labels[i / 5] as usize));
    let both = picked.sum().add(&doubled.sum());
    for (root, of_picked, of_doubled) in
        [(picked.sum(), 1.0, 0.0), (doubled.sum(), 0.0, 2.0), (both, 1.0, 2.0)]
    {
        let options = PlanOptions::train(&root).gradient("dx", &x).output("p", picked).output("d", doubled);
        let plan = compiled(&gpu, &graph, &options).unwrap();
        plan.write("x", &data).unwrap();
        plan.write("y", &labels).unwrap();
        submit(&gpu, &[&plan]);
        let want: Vec<f64> = (0..15).map(|i| of_picked * hit(i) + of_doubled).collect();
        near(&plan.read("dx").unwrap(), &want, 0.0, "dx");
        assert_eq!(plan.read("p").unwrap(), [data[4], data[5], data[12]]);
        let doubles: Vec<f32> = data.iter().map(|x| 2.0 * x).collect();
        assert_eq!(bits(&plan.read("d").unwrap()), bits(&doubles));
    }
}

#[test]
fn what_has_no_gradient_is_computed_but_not_trained_through() {
    let Some(gpu) = gpu() else { return };
    let wgsl = "fn forward_y(i: u32) -> f32 { return round(x(i)); }";
    let op = CustomOp::builder("round", wgsl).input("x").build().unwrap();
    let graph = Graph::new();
    let (x, target) = (graph.input("x", [4, 3]), graph.input("t", [4, 3]));
    let h = x.linear(3);
    let metric = graph.custom(&op, &[&h]).mean();
    // Of data alone it may be a part of the loss, and of what is trained a metric.
    let loss = h.mse_loss(&graph.custom(&op, &[&target]));
    let mut trainer = graph.trainer(&loss, SGD::default()).metric("rounded", &metric).build(&gpu).unwrap();
    trainer.step(&[("x", &noises(1, 12)), ("t", &noises(2, 12))]).unwrap();
    let through = graph.custom(&op, &[&h]).mse_loss(&target);
    let error = compiled(&gpu, &graph, &PlanOptions::train(&through)).unwrap_err().to_string();
    let expected =
        "custom3: op round: it has no `fn backward_x(i: u32) -> f32`, and what x is computed from is trained";
    assert_eq!(error, expected);
    let error = op.check_gradient(&gpu, &[(&[2], &[0.1, 0.2])]).unwrap_err().to_string();
    let expected = "op round: none of its inputs has a gradient to check: there is no `backward_<input>`";
    assert_eq!(error, expected);
}

#[test]
fn right_gradients_agree_with_differences_and_wrong_ones_do_not() {
    let Some(gpu) = gpu() else { return };
    for shape in [[3, 5], [2, 8], [1, 3]] {
        let scale: Vec<f32> = noises(2, shape[1]).iter().map(|s| s + 1.5).collect();
        let x: Vec<f32> = noises(1, shape[0] * shape[1]).iter().map(|x| 10.0 * x).collect();
        layer_norm().check_gradient(&gpu, &[(&shape, &x), (&[shape[1]], &scale)]).unwrap();
        sigmoid().check_gradient(&gpu, &[(&shape, &x)]).unwrap();
    }
    let wrong = |from: &str, to: &str| {
        let wgsl = "fn forward_y(i: u32) -> f32 { return exp(a(i)) * b(i); }
                    fn backward_a(i: u32) -> f32 { return grad_y(i) * y(i); }
                    fn backward_b(i: u32) -> f32 { return grad_y(i) * exp(a(i)); }";
        assert!(wgsl.contains(from));
        let op = CustomOp::builder("product", wgsl.replace(from, to)).input("a").input("b").build().unwrap();
        op.check_gradient(&gpu, &[(&[2, 3], &noises(1, 6)), (&[2, 3], &noises(2, 6))])
    };
    wrong("exp", "exp").unwrap();
    let rows = [
        ("grad_y(i) * y(i)", "grad_y(i) * b(i)", "a", 0),
        ("grad_y(i) * y(i)", "-grad_y(i) * y(i)", "a", 0),
        ("grad_y(i) * y(i)", "grad_y(i) * y(i) * 1.01", "a", 0),
        ("grad_y(i) * y(i)", "grad_y(i) * y(i) + f32(i == 4u) * 0.02", "a", 4),
        (
            "grad_y(i) * exp(a(i))",
            "select(grad_y(i), 0.0, i < 5u) * exp(a(i)) + select(0.0, grad_y(i) * exp(a(i)), i < 5u) - select(0.0, grad_y(i), i == 5u)",
            "b",
            5,
        ),
        ("grad_y(i) * exp(a(i))", "0.0", "b", 0),
        ("grad_y(i) * exp(a(i))", "grad_y(i) * exp(a(i)) / (b(i) - b(i))", "b", 0),
    ];
    for (from, to, input, element) in rows {
        match wrong(from, to) {
            Err(Error::Gradient { op, input: of, element: at, .. }) => {
                assert_eq!((&*op, &*of, at), ("product", input, element), "{to}");
            }
            other => panic!("{to}: {other:?}"),
        }
    }
    // Labels keep their shape.
    let pick = "fn forward_y(i: u32) -> f32 { return x(i * x_last + class_of(i)); }
                fn backward_x(i: u32) -> f32 {
                    let row = i / x_last;
                    return select(0.0, grad_y(row), i % x_last == class_of(row));
                }";
    let pick = CustomOp::builder("pick", pick).input("x").labels("class_of");
    let pick = pick.output("y", |shapes| match shapes[1] {
        [batch, steps] => Ok(vec![*batch, *steps]),
        other => Err(format!("expected a class for each step, got {other:?}")),
    });
    let classes = [0_u32, 4, 2, 1, 3, 3];
    pick.build().unwrap().check_gradient(&gpu, &[(&[2, 3, 5], &noises(1, 30)), (&[2, 3], &classes)]).unwrap();
    let error = sigmoid().check_gradient(&gpu, &[]).unwrap_err().to_string();
    assert_eq!(error, "inputs of op sigmoid: expected 1 elements, got 0");
    let error = sigmoid().check_gradient(&gpu, &[(&[2], &[0.5])]).unwrap_err().to_string();
    assert_eq!(error, "input x of 2 samples: expected 2 elements, got 1");
}

#[test]
fn a_scalar_is_that_of_its_node() {
    let Some(gpu) = gpu() else { return };
    let wgsl = "fn forward_y(i: u32) -> f32 { return scalars.by * x(i); }";
    let mut op = CustomOp::builder("scaled", wgsl).input("x").scalar("by", 2.0).build().unwrap();
    let graph = Graph::new();
    let x = graph.input("x", [2, 3]);
    let twice = graph.custom(&op, &[&x]);
    op.set("by", -0.5).unwrap();
    let halved = graph.custom(&op, &[&twice]);
    let plan = compiled(&gpu, &graph, &PlanOptions::evaluate().output("y", &halved)).unwrap();
    let x = noises(1, 6);
    plan.write("x", &x).unwrap();
    submit(&gpu, &[&plan]);
    assert_eq!(plan.read("y").unwrap(), x.iter().map(|x| -x).collect::<Vec<_>>());
}

#[test]
fn the_example_learns() {
    if gpu().is_none() {
        return;
    }
    let said = crate::example::stdout(&crate::example::done(&mut crate::example::built("custom_op")));
    assert!(said.lines().last().unwrap().starts_with("loss "), "{said}");
}
