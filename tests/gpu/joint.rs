//! Dispatches that do several things at once do each as it is done alone, to the bit.

use gradus::Gpu;
use gradus::gpu::{KernelKind, Recorder};
use gradus::graph::{Graph, PlanOptions, Var, Workspace};
use gradus::nn::{Conv2d, CrossEntropy, Linear, Reduction};

use crate::common::{bits, gpu, noises};

/// What a plan ran, and the bits of the gradients of its parameters by their names.
struct Ran {
    labels: Vec<String>,
    gradients: Vec<(String, Vec<u32>)>,
}

impl Ran {
    fn count(&self, kernel: &str) -> usize {
        self.labels.iter().filter(|label| label.contains(&format!(": {kernel}"))).count()
    }
}

/// Numbers that depend on a name; all shifts are equal.
fn values(name: &str, len: usize) -> Vec<f32> {
    let name = if name.starts_with("bias") { "bias" } else { name };
    noises(name.bytes().fold(1, |hash: u64, byte| (hash * 31 + u64::from(byte)) % 65_521), len)
}

/// Trains `root` once; inputs and parameters get values by their names, and labels count up.
fn run(gpu: &Gpu, graph: &Graph, options: &PlanOptions) -> Ran {
    let mut params = graph.store(gpu, 7).unwrap();
    let spans = params.layout().spans().iter();
    let names: Vec<(String, usize)> = spans.map(|span| (span.name.clone(), span.len)).collect();
    for (name, len) in &names {
        params.write(name, &values(name, *len)).unwrap();
    }
    let plan = graph.compile(&params, options, &mut Workspace::new()).unwrap();
    for (name, shape) in plan.inputs() {
        let len = shape.iter().product::<usize>();
        match name {
            "y" => plan.write(name, &(0..3).cycle().take(len).collect::<Vec<u32>>()).unwrap(),
            _ => plan.write(name, &values(name, len)).unwrap(),
        }
    }
    let mut encoder = gpu.encoder("joint");
    plan.record(&mut Recorder::new(gpu, &mut encoder)).unwrap();
    gpu.submit(encoder).unwrap();
    let read = |name: &str| bits(&params.read_grad(name).unwrap());
    let gradients = names.iter().map(|(name, _)| (name.clone(), read(name))).collect();
    Ran { labels: plan.labels().map(str::to_owned).collect(), gradients }
}

#[test]
fn weights_of_several_convolutions_are_packed_and_their_gradients_finished_together() {
    let Some(gpu) = gpu() else { return };
    let layers = || {
        [
            (3, Conv2d::new(5, 3).padding(1)),
            (8, Conv2d::new(16, 3).without_bias()),
            (6, Conv2d::new(4, 2).groups(2)),
            (5, Conv2d::new(5, 3).groups(5)),
            (4, Conv2d::new(33, 1)),
            (2, Conv2d::new(8, 5).stride(2).without_bias()),
            (16, Conv2d::new(16, 3).groups(4)),
        ]
        .into_iter()
        .enumerate()
    };
    let branch = |graph: &Graph, number: usize, channels: usize, layer: Conv2d| -> Var {
        let x = graph.input(&format!("x{number}"), [2, channels, 7, 9]).bias();
        x.conv2d(layer.name(&format!("c{number}"))).square().sum()
    };
    let graph = Graph::new();
    let terms: Vec<Var> =
        layers().map(|(number, (channels, layer))| branch(&graph, number, channels, layer)).collect();
    let root = terms[1..].iter().fold(terms[0].clone(), |sum, term| sum.add(term));
    let all = run(&gpu, &graph, &PlanOptions::train(&root));
    // Twelve tensors, five at most in a dispatch; weights are packed twice, once for the input's gradient.
    assert!(all.count("conv2d_pack") <= 4, "{:?}", all.labels);
    assert!(all.count("conv2d_weight_grad_finish") <= 4, "{:?}", all.labels);
    for (number, (channels, layer)) in layers() {
        let graph = Graph::new();
        let root = branch(&graph, number, channels, layer);
        let alone = run(&gpu, &graph, &PlanOptions::train(&root));
        assert_eq!((alone.count("conv2d_pack"), alone.count("conv2d_weight_grad_finish")), (1, 1));
        let convolution = format!("c{number}.");
        for (name, gradient) in alone.gradients.iter().filter(|(name, _)| name.starts_with(&convolution)) {
            let found = all.gradients.iter().find(|(other, _)| other == name).unwrap();
            assert!(found.1 == *gradient, "{name}");
        }
    }
}

#[test]
fn a_convolution_that_is_used_twice_adds_to_its_gradient() {
    let Some(gpu) = gpu() else { return };
    let graph = Graph::new();
    let term = |name: &str, tie: bool| {
        let y = graph.input(name, [2, 3, 6, 6]).conv2d(Conv2d::new(8, 3).name(name));
        if tie {
            ["weight", "bias"].iter().for_each(|of| graph.tie(&format!("x.{of}"), &format!("z.{of}")));
        }
        y.square().sum()
    };
    let (x, z) = (term("x", false), term("z", true));
    let both = run(&gpu, &graph, &PlanOptions::train(&x.add(&z)));
    let sums = |name: &str| both.gradients.iter().find(|(known, _)| known == name).unwrap().1.clone();
    let [first, second] = [&x, &z].map(|root| run(&gpu, &graph, &PlanOptions::train(root)));
    for (at, name) in ["z.weight", "z.bias"].into_iter().enumerate() {
        let each = [&first, &second].map(|ran| ran.gradients[at].clone());
        assert!(each.iter().all(|(known, _)| known == name), "{each:?}");
        // The backward pass begins with the last.
        for (place, sum) in sums(name).into_iter().enumerate() {
            let [x, z] = [&each[0].1, &each[1].1].map(|bits| f32::from_bits(bits[place]));
            assert_eq!(f32::from_bits(sum), x + z, "{name}, {place}");
        }
    }
}

#[test]
fn a_loss_and_its_gradient_are_one_dispatch() {
    let Some(gpu) = gpu() else { return };
    let options = || CrossEntropy::new().reduction(Reduction::Sum);
    let cases = [
        (vec![1, 3], CrossEntropy::new()),
        (vec![65, 10], CrossEntropy::new().label_smoothing(0.1)),
        (vec![7, 3], options().weight(&[0.5, 1.0, 2.0])),
        (vec![9, 5], options().ignore_index(1)),
        (vec![3, 6, 2, 5], CrossEntropy::new()),
    ];
    for (number, (shape, options)) in cases.into_iter().enumerate() {
        let graph = Graph::new();
        let labels = graph.labels("y", [&shape[..1], &shape[2..]].concat());
        let shifted = graph.input("x", shape).bias();
        let logits = shifted.negative();
        let loss = logits.cross_entropy_with(options.clone(), &labels);
        let one = run(&gpu, &graph, &PlanOptions::train(&loss));
        // The gradient comes from outside, or goes to more than these logits.
        let apart = run(&gpu, &graph, &PlanOptions::train(&loss.negative().negative()));
        let kernels = |ran: &Ran| ["cross_entropy", "sum_grad"].map(|kernel| ran.count(kernel));
        assert_eq!((kernels(&one), kernels(&apart)), ([1, 0], [2, 1]), "case {number}: {:?}", one.labels);
        assert_eq!(one.gradients, apart.gradients, "case {number}");
        let two = run(&gpu, &graph, &PlanOptions::train(&loss).gradient("logits", &logits));
        assert_eq!(two.gradients, apart.gradients, "case {number}");
    }
}

#[test]
fn the_gradient_of_a_bias_comes_with_that_of_its_weight() {
    let Some(gpu) = gpu() else { return };
    for (rows, features, out) in [(1, 4, 3), (5, 8, 33), (64, 20, 10), (33, 7, 70), (2_001, 4, 12)] {
        let graph = Graph::new();
        let x = graph.input("x", [rows, features]).bias();
        let root = x.linear(Linear::new(out).name("l")).square().sum();
        let ran = run(&gpu, &graph, &PlanOptions::train(&root));
        let together = gpu.kernel_kind() == KernelKind::CpuSubgroup && features % 4 == 0;
        assert_eq!(ran.count("column_sum") == 0, together, "{rows} rows of {features}: {:?}", ran.labels);
        let gradient = |name: &str| &ran.gradients.iter().find(|(known, _)| known == name).unwrap().1;
        let [weight, bias] = ["l.weight", "l.bias"]
            .map(|name| values(name, if name == "l.bias" { out } else { out * features }));
        let (data, shift) = (values("x", rows * features), values("bias1", features));
        for o in 0..out {
            let dy = |row: usize| {
                let term = |k: usize| {
                    let x = f64::from(data[row * features + k] + shift[k]);
                    f64::from(weight[o * features + k]) * x
                };
                2.0 * ((0..features).map(term).sum::<f64>() + f64::from(bias[o]))
            };
            let (want, all) = (0..rows).map(dy).fold((0.0, 0.0), |(sum, all), dy| (sum + dy, all + dy.abs()));
            let got = f64::from(f32::from_bits(gradient("l.bias")[o]));
            assert!((got - want).abs() <= 2e-6 * all, "{rows} rows, {o}: {got}, expected {want}");
        }
    }
}
