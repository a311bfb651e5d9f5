//! Chains of functions at the end of normalisations, of every kernel that writes one.

use gradus::gpu::KernelKind;
use gradus::graph::{Graph, Init, Plan, PlanOptions, Var, Workspace};
use gradus::nn::{BatchNorm, Conv2d, GroupNorm, LayerNorm, RMSNorm};
use gradus::{Gpu, ParamStore};

use super::Norm;
use crate::common::noises;
use crate::network::{Outcome, gpus, run, submit};
use crate::ops::{Case, check_all};
use crate::reference::{assert_close, wide};

/// A normalisation `l`.
struct Row {
    name: &'static str,
    shape: &'static [usize],
    norm: fn(&'static [usize]) -> Norm<'static>,
    build: fn(&Var) -> Var,
    /// Storage buffers that the kernel which writes the result binds.
    buffers: usize,
}

impl Row {
    /// Storage buffers of the kernel that a device gets: where lanes share lines, more of these are taken whole.
    fn buffers(&self, gpu: &Gpu) -> usize {
        let is_whole = gpu.kernel_kind() == KernelKind::Gpu && self.shape == [1, 5, 1, 257];
        if is_whole { 8 } else { self.buffers }
    }

    fn len(&self) -> usize {
        self.shape.iter().product()
    }

    fn last(&self) -> usize {
        self.shape[self.shape.len() - 1]
    }

    fn has_bias(&self) -> bool {
        self.name != "rms_norm"
    }

    /// The normalised elements.
    fn value(&self, x: &[f64], weight: &[f64], bias: Option<&[f64]>) -> Vec<f64> {
        let norm = (self.norm)(self.shape);
        let normalized = match self.name {
            "fixed batch_norm" => x.iter().map(|x| x / (1.0 + norm.eps).sqrt()).collect(),
            _ => norm.normalized(x),
        };
        let of = |(i, x): (usize, f64)| {
            let at = (norm.weight_of)(i);
            x * weight[at] + bias.map_or(0.0, |bias| bias[at])
        };
        normalized.into_iter().enumerate().map(of).collect()
    }

    fn parameters(&self) -> Vec<(&'static str, Vec<f32>)> {
        let weights = (self.norm)(self.shape).weights;
        let mut parameters = vec![
            ("x", noises(1, self.len()).iter().map(|x| 2.0 * x + 0.5).collect()),
            ("other", noises(2, self.len())),
            ("scale", noises(3, self.last())),
            ("l.weight", noises(4, weights)),
        ];
        if self.has_bias() {
            parameters.push(("l.bias", noises(5, weights)));
        }
        parameters
    }

    /// The normalisation and what `chain` makes of it, of what it normalised, another of its shape, and a row.
    fn graph(&self, graph: &Graph, chain: Chain) -> [Var; 2] {
        let x = graph.parameter("x", self.shape, Init::Constant(0.0));
        let other = graph.parameter("other", self.shape, Init::Constant(0.0));
        let scale = graph.parameter("scale", [self.last()], Init::Constant(0.0));
        let norm = (self.build)(&x);
        let y = chain(&norm, [&x, &other, &scale]);
        [norm, y]
    }
}

type Chain = fn(&Var, [&Var; 3]) -> Var;

fn fixed() -> BatchNorm {
    BatchNorm::new().training(false)
}

/// Lines that one invocation takes, in parts, and that share quads; padded and not, in both orders of memory.
const ROWS: [Row; 12] = [
    Row {
        name: "layer_norm",
        shape: &[4, 8],
        norm: |shape| Norm::last(shape, 1, 1e-5, true),
        build: |x| x.layer_norm(LayerNorm::new(8).name("l")),
        buffers: 5,
    },
    Row {
        name: "layer_norm",
        shape: &[5, 3, 9],
        norm: |shape| Norm::last(shape, 2, 1e-5, true),
        build: |x| x.layer_norm(LayerNorm::new([3, 9]).name("l")),
        buffers: 5,
    },
    Row {
        name: "layer_norm",
        shape: &[2, 4097],
        norm: |shape| Norm::last(shape, 1, 1e-5, true),
        build: |x| x.layer_norm(LayerNorm::new(4097).name("l")),
        buffers: 5,
    },
    Row {
        name: "rms_norm",
        shape: &[7, 33],
        norm: |shape| Norm::last(shape, 1, 1e-5, false),
        build: |x| x.rms_norm(RMSNorm::new(33).eps(1e-5).name("l")),
        buffers: 4,
    },
    Row {
        name: "group_norm",
        shape: &[2, 8, 3, 5],
        norm: |shape| Norm::groups(shape, 2),
        build: |x| x.group_norm(GroupNorm::new(2).name("l")),
        buffers: 5,
    },
    Row {
        name: "group_norm",
        shape: &[2, 9, 3, 5],
        norm: |shape| Norm::groups(shape, 3),
        build: |x| x.group_norm(GroupNorm::new(3).name("l")),
        buffers: 5,
    },
    Row {
        name: "group_norm",
        shape: &[1, 8, 25, 41],
        norm: |shape| Norm::groups(shape, 2),
        build: |x| x.group_norm(GroupNorm::new(2).name("l")),
        buffers: 5,
    },
    Row {
        name: "batch_norm",
        shape: &[32, 6],
        norm: |shape| Norm::batch(shape, 1e-5),
        build: |x| x.batch_norm1d(BatchNorm::new().name("l")),
        buffers: 8,
    },
    Row {
        name: "batch_norm",
        shape: &[3, 5, 4, 7],
        norm: |shape| Norm::batch(shape, 1e-5),
        build: |x| x.batch_norm2d(BatchNorm::new().momentum(None).name("l")),
        buffers: 8,
    },
    Row {
        name: "batch_norm",
        shape: &[256, 4],
        norm: |shape| Norm::batch(shape, 1e-5),
        build: |x| x.batch_norm1d(BatchNorm::new().track_running_stats(false).name("l")),
        buffers: 5,
    },
    Row {
        name: "batch_norm",
        shape: &[1, 5, 1, 257],
        norm: |shape| Norm::batch(shape, 1e-5),
        build: |x| x.batch_norm2d(BatchNorm::new().name("l")),
        buffers: 5,
    },
    Row {
        name: "fixed batch_norm",
        shape: &[3, 6, 5],
        norm: |shape| Norm::batch(shape, 1e-5),
        build: |x| x.batch_norm1d(fixed().name("l")),
        buffers: 6,
    },
];

fn gelu(x: f64) -> f64 {
    x * 0.5 * libm::erfc(-x * std::f64::consts::FRAC_1_SQRT_2)
}

#[test]
fn a_chain_after_a_normalisation_follows_f64() {
    let gpus = gpus();
    // What the backward pass needs: the result alone, or what was normalised.
    let of_result: Chain = |norm, [x, ..]| norm.add(x).tanh();
    let of_value: Chain = |norm, [_, other, scale]| norm.gelu().mul(scale).add(other);
    for (row, chain) in ROWS.iter().flat_map(|row| [(row, 0), (row, 1)]) {
        let case = Case {
            name: format!("chain {chain} after {} of {:?}", row.name, row.shape),
            parameters: row.parameters(),
            labels: None,
            build: &|graph| {
                let [_, y] = row.graph(graph, [of_result, of_value][chain]);
                y
            },
            value: &|t| {
                let norm = row.value(&t[0], &t[3], t.get(4).map(|bias| &bias[..]));
                let of = |(i, y): (usize, f64)| match chain {
                    0 => (y + t[0][i]).tanh(),
                    _ => gelu(y) * t[2][i % row.last()] + t[1][i],
                };
                norm.into_iter().enumerate().map(of).collect()
            },
            half: 1e-4,
        };
        check_all(&gpus, &case, 20 * row.len());
    }
}

/// Chains, and how many buffers each binds at the end of a kernel.
const CHAINS: [(&str, Chain, usize); 4] = [
    ("relu", |norm, _| norm.relu(), 0),
    ("add+relu", |norm, [x, ..]| norm.add(x).relu(), 1),
    ("gelu+add", |norm, [_, other, _]| norm.gelu().add(other), 2),
    ("mul+dropout", |norm, [_, _, scale]| norm.mul(scale).dropout(0.5), 3),
];

fn compile(gpu: &Gpu, graph: &Graph, options: &PlanOptions) -> (ParamStore, Plan) {
    let params = graph.store(gpu, 1).unwrap();
    let plan = graph.compile(&params, options, &mut Workspace::new()).unwrap();
    (params, plan)
}

#[test]
fn a_chain_that_fits_is_no_dispatch_and_the_same_as_one_apart() {
    for gpu in gpus() {
        for (row, (name, chain, more)) in ROWS.iter().flat_map(|row| CHAINS.map(|chain| (row, chain))) {
            let what = format!("{name} after {} of {:?}", row.name, row.shape);
            let graph = Graph::new();
            let [norm, y] = row.graph(&graph, chain);
            let together = PlanOptions::train(&y).upstream("dy");
            // Somebody else sees what is between them.
            let apart = together.clone().output("norm", &norm);
            let labels = [&together, &apart].map(|options| {
                let (_, plan) = compile(&gpu, &graph, options);
                plan.labels().map(str::to_owned).collect::<Vec<_>>()
            });
            let fits = row.buffers(&gpu) + more <= 8;
            let ends = |label: &String| label.starts_with("l: norm") && label.ends_with(&format!("[{name}]"));
            assert_eq!(labels[0].iter().filter(|label| ends(label)).count(), usize::from(fits), "{what}");
            assert_eq!(labels[1].len() - labels[0].len(), usize::from(fits), "{what}: {labels:?}");

            let (parameters, dy) = (row.parameters(), noises(9, row.len()));
            let values: Vec<(&str, &[f32])> =
                parameters.iter().map(|(name, values)| (*name, &values[..])).collect();
            let of = |options| run(&gpu, &graph, options, &values, &[("dy", &dy)], &["loss"]);
            let [got, again, want] = [&together, &together, &apart].map(of);
            assert_eq!((&got.outputs, &got.gradients), (&again.outputs, &again.gradients), "{what}, again");
            let close = |part: &str, got: &[f32], want: &[f32]| {
                assert_close(&format!("{what}: {part}"), got, &wide(want));
            };
            close("value", &got.outputs["loss"], &want.outputs["loss"]);
            let Outcome { gradients, .. } = want;
            gradients.iter().for_each(|(name, want)| close(name, &got.gradients[name], want));
        }
    }
}

#[test]
fn what_binds_too_much_is_cut() {
    for gpu in gpus() {
        let graph = Graph::new();
        let x = graph.parameter("x", [6, 8], Init::Constant(1.0));
        let [a, b, c, d, e] = ["a", "b", "c", "d", "e"].map(|name| graph.input(name, [6, 8]));
        let y = x.layer_norm(LayerNorm::new(8).name("l")).gelu().mul(&a).add(&b).add(&c);
        let first = |y: &Var, count| {
            let (_, plan) = compile(&gpu, &graph, &PlanOptions::train(y).upstream("dy"));
            plan.labels().take(count).map(str::to_owned).collect::<Vec<_>>()
        };
        // In one kernel of its own it also has one for its gradients.
        let ends = |labels: &[String], want: [&str; 2]| {
            assert!(labels.iter().zip(want).all(|(label, want)| label.ends_with(want)), "{labels:?}");
        };
        ends(&first(&y, 2), [": norm", ": elementwise[gelu+mul+add+add]"]);
        // What would not fit there either.
        let longer = y.add(&d).add(&e);
        ends(&first(&longer, 2), [": norm[gelu+mul+add]", ": elementwise[add+add+add]"]);
        // Where there is no backward pass, nothing is kept for it.
        let (_, plan) = compile(&gpu, &graph, &PlanOptions::evaluate().output("y", &y));
        let labels: Vec<&str> = plan.labels().collect();
        assert_eq!(labels, ["l: norm[gelu+mul+add+add]"]);
    }
}

#[test]
fn whole_columns_that_move_running_statistics_have_room_for_what_binds_nothing() {
    for gpu in gpus() {
        let rows: [(Chain, &[&str]); 3] = [
            (|norm, _| norm.relu(), &["l: norm[relu]"]),
            (|norm, _| norm.gelu(), &["l: norm", "elementwise[gelu]"]),
            (|norm, _| norm.relu().dropout(0.5), &["l: norm", "elementwise[relu+dropout]"]),
        ];
        for (chain, want) in rows {
            let graph = Graph::new();
            let x = graph.parameter("x", [32, 8], Init::Constant(1.0));
            let y = chain(&x.batch_norm1d(BatchNorm::new().name("l")), [&x; 3]);
            let (_, plan) = compile(&gpu, &graph, &PlanOptions::train(&y).upstream("dy"));
            let labels: Vec<&str> = plan.labels().collect();
            // Forward, and one of the chain and one of the normalisation back.
            assert_eq!(labels.len(), want.len() + 2, "{labels:?}");
            assert!(labels.iter().zip(want).all(|(label, want)| label.ends_with(want)), "{labels:?}");
        }
    }
}

#[test]
fn a_residual_block_is_two_dispatches_less() {
    for gpu in gpus() {
        let graph = Graph::new();
        let x = graph.input("x", [32, 32, 14, 14]).bias();
        let layer = |x: &Var, name: &str| {
            let conv = Conv2d::new(32, 3).padding(1).without_bias();
            x.conv2d(conv).batch_norm2d(BatchNorm::new().name(name))
        };
        let first = layer(&x, "bn1");
        let second = layer(&first.relu(), "bn2");
        let loss = second.add(&x).relu().mean();
        let together = PlanOptions::train(&loss);
        let apart = together.clone().output("first", &first).output("second", &second);
        let counts = [&together, &apart].map(|options| compile(&gpu, &graph, options).1.labels().count());
        println!("a residual block with {:?} kernels: {counts:?} dispatches", gpu.kernel_kind());
        assert_eq!(counts[0] + 2, counts[1]);
        let (_, plan) = compile(&gpu, &graph, &together);
        for end in ["bn1: norm_write[relu]", "bn2: norm_write[add+relu]"] {
            assert_eq!(plan.labels().filter(|label| *label == end).count(), 1, "{end}");
        }
        let evaluate = PlanOptions::evaluate().output("loss", &loss);
        let labels: Vec<String> = compile(&gpu, &graph, &evaluate).1.labels().map(str::to_owned).collect();
        let apart = labels.iter().filter(|label| label.contains("elementwise["));
        assert_eq!(apart.collect::<Vec<_>>(), ["bias1: elementwise[add]"], "{labels:?}");
    }
}

#[test]
fn shared_running_statistics_move_in_the_order_of_the_graph() {
    for gpu in gpus() {
        let graph = Graph::new();
        let [a, b] = ["a", "b"].map(|name| graph.input(name, [4, 4]));
        let layer = |name: &str| BatchNorm::new().momentum(0.5).name(name);
        let [first, second] = [a.batch_norm1d(layer("first")), b.batch_norm1d(layer("second"))];
        for tensor in ["running_mean", "running_var", "num_batches_tracked"] {
            graph.tie(&format!("second.{tensor}"), &format!("first.{tensor}"));
        }
        // The relu of the first runs after the second.
        let y = second.tanh().add(&first.relu());
        let (params, plan) = compile(&gpu, &graph, &PlanOptions::train(&y).upstream("dy"));
        assert!(
            plan.labels().all(|label| !label.contains(": norm[")),
            "a kernel that moves them has a chain"
        );
        plan.write("a", &[1.0_f32; 16]).unwrap();
        plan.write("b", &[3.0_f32; 16]).unwrap();
        plan.write("dy", &[1.0_f32; 16]).unwrap();
        submit(&gpu, &[&plan]);
        assert_eq!(params.read("first.running_mean").unwrap(), [0.5 * 0.5 * 1.0 + 0.5 * 3.0; 4]);
        assert_eq!(params.read("first.num_batches_tracked").unwrap(), [2.0]);
        // Where none moves, none needs to wait.
        let evaluate = PlanOptions::evaluate().output("y", &y);
        let (_, plan) = compile(&gpu, &graph, &evaluate);
        assert!(
            plan.labels().any(|label| label.contains(": norm_write[")),
            "{:?}",
            plan.labels().collect::<Vec<_>>()
        );
    }
}

#[test]
fn a_chain_reads_a_buffer_beside_the_running_statistics() {
    for gpu in gpus() {
        let graph = Graph::new();
        let x = graph.parameter("x", [6, 8], Init::Constant(0.0));
        let mask = graph.buffer("mask", [8], Init::Constant(2.0));
        let y = x.batch_norm1d(BatchNorm::new().affine(false).name("l")).mul(&mask);
        let (values, dy) = (noises(1, 48), noises(2, 48));
        let options = PlanOptions::train(&y).upstream("dy");
        let (_, plan) = compile(&gpu, &graph, &options);
        assert!(plan.labels().any(|label| label == "l: norm[mul]"));
        let got = run(&gpu, &graph, &options, &[("x", &values)], &[("dy", &dy)], &["loss"]);
        let want = Norm::batch(&[6, 8], 1e-5).normalized(&wide(&values));
        let want: Vec<f64> = want.iter().map(|y| 2.0 * y).collect();
        assert_close("times a buffer", &got.outputs["loss"], &want);
    }
}
