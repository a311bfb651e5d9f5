//! Attention of several heads: against f64 loops, self and cross, with each order of batch and sequence.

use gradus::gpu::KernelKind;
use gradus::graph::{Graph, Init, PlanOptions, Var, Workspace};
use gradus::nn::MultiheadAttention;

use crate::common::{noise, noises};
use crate::network::{gpus, submit};
use crate::ops::{Case, check_all};

#[derive(Clone, Copy, Debug)]
struct Sizes {
    batch: usize,
    queries: usize,
    keys: usize,
    width: usize,
    heads: usize,
}

/// `x W^T + b` of rows.
fn linear(x: &[f64], weight: &[f64], columns: usize, bias: &[f64]) -> Vec<f64> {
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let row = |x: &[f64]| weight.chunks(columns).zip(bias).map(|(w, b)| dot(x, w) + b).collect::<Vec<_>>();
    x.chunks(columns).flat_map(row).collect()
}

/// Of dense `[N, T, width]`, with the weights and biases of the three maps one after the other.
fn attend(
    sizes: Sizes,
    [query, key, value]: [&[f64]; 3],
    [weight, bias, out, out_bias]: [&[f64]; 4],
    seen: &dyn Fn([usize; 3]) -> bool,
) -> Vec<f64> {
    let Sizes { batch, queries, keys, width, heads } = sizes;
    let square = width * width;
    let map = |x: &[f64], part: usize| {
        linear(x, &weight[part * square..][..square], width, &bias[part * width..][..width])
    };
    let (q, k, v) = (map(query, 0), map(key, 1), map(value, 2));
    let features = width / heads;
    let mut y = vec![0.0; batch * queries * width];
    for (n, i) in (0..batch).flat_map(|n| (0..queries).map(move |i| (n, i))) {
        for head in 0..heads {
            let row = |of: &[f64], rows: usize, at: usize| {
                of[(n * rows + at) * width + head * features..][..features].to_vec()
            };
            let mine = row(&q, queries, i);
            let score = |j: usize| {
                let s: f64 = mine.iter().zip(row(&k, keys, j)).map(|(a, b)| a * b).sum();
                (s / (features as f64).sqrt()).exp()
            };
            let shown: Vec<(usize, f64)> =
                (0..keys).filter(|&j| seen([n, i, j])).map(|j| (j, score(j))).collect();
            let sum: f64 = shown.iter().map(|(_, weight)| weight).sum();
            for (j, weight) in shown {
                let first = (n * queries + i) * width + head * features;
                for (e, v) in row(&v, keys, j).into_iter().enumerate() {
                    y[first + e] += weight / sum * v;
                }
            }
        }
    }
    linear(&y, out, width, out_bias)
}

/// `[N, T, C]` as `[T, N, C]`, or the other way round.
fn swapped(x: &[f64], [outer, inner, columns]: [usize; 3]) -> Vec<f64> {
    let row = |i: usize, o: usize| x[(o * inner + i) * columns..][..columns].to_vec();
    (0..inner).flat_map(|i| (0..outer).flat_map(move |o| row(i, o))).collect()
}

/// Self-attention of `x`, or `x` that attends to `memory`.
fn check(sizes: Sizes, is_self: bool, batch_first: bool, is_causal: bool, masks: [bool; 2]) {
    let Sizes { batch, queries, keys, width, heads } = sizes;
    let padding: Vec<f32> = (0..batch * keys).map(|at| f32::from(noise(8, at) > -0.3)).collect();
    let shown: Vec<f32> = (0..queries * keys).map(|at| f32::from(noise(9, at) > -0.3)).collect();
    let seen = |[n, i, j]: [usize; 3]| {
        (!is_causal || j <= i)
            && (!masks[0] || shown[i * keys + j] != 0.0)
            && (!masks[1] || padding[n * keys + j] != 0.0)
    };
    let mut parameters = vec![
        ("x", noises(1, batch * queries * width)),
        ("m.in_proj_weight", noises(3, 3 * width * width)),
        ("m.in_proj_bias", noises(4, 3 * width)),
        ("m.out_proj.weight", noises(5, width * width)),
        ("m.out_proj.bias", noises(6, width)),
        ("shown", shown.clone()),
        ("padding", padding.clone()),
    ];
    if !is_self {
        parameters.push(("memory", noises(2, batch * keys * width)));
    }
    let case = Case {
        name: format!("{sizes:?}, self {is_self}, batch first {batch_first}, {is_causal}, {masks:?}"),
        parameters,
        labels: None,
        build: &|graph| {
            let order = |rows| if batch_first { [batch, rows, width] } else { [rows, batch, width] };
            let tensor = |name: &str, shape: &[usize]| graph.parameter(name, shape, Init::Constant(0.0));
            let x = tensor("x", &order(queries));
            let (shown, padding) = (tensor("shown", &[queries, keys]), tensor("padding", &[batch, keys]));
            let memory = if is_self { x.clone() } else { tensor("memory", &order(keys)) };
            let mut layer = MultiheadAttention::new(width, heads).batch_first(batch_first).name("m");
            if masks[0] {
                layer = layer.attn_mask(&shown);
            }
            if masks[1] {
                layer = layer.key_padding_mask(&padding);
            }
            x.multihead_attention(&memory, &memory, layer.is_causal(is_causal))
        },
        value: &|t| {
            let dense = |x: &[f64], rows| {
                if batch_first { x.to_vec() } else { swapped(x, [rows, batch, width]) }
            };
            let x = dense(&t[0], queries);
            let memory = if is_self { x.clone() } else { dense(&t[7], keys) };
            let y = attend(sizes, [&x, &memory, &memory], [&t[1], &t[2], &t[3], &t[4]], &seen);
            if batch_first { y } else { swapped(&y, [batch, queries, width]) }
        },
        half: 1e-5,
    };
    check_all(&gpus(), &case, 400_000);
}

#[test]
fn heads_attend_as_torch_says_in_each_order() {
    let sizes =
        |[batch, queries, keys, width, heads]: [usize; 5]| Sizes { batch, queries, keys, width, heads };
    check(sizes([2, 5, 5, 8, 2]), true, true, false, [false; 2]);
    check(sizes([2, 5, 5, 8, 2]), true, false, true, [false; 2]);
    // Heads that are no whole quads, and one that is all.
    check(sizes([2, 3, 3, 6, 2]), true, true, true, [true, false]);
    check(sizes([1, 4, 4, 5, 1]), true, false, false, [false; 2]);
    check(sizes([2, 3, 6, 8, 2]), false, true, false, [true, true]);
    check(sizes([3, 5, 2, 8, 4]), false, false, true, [false, true]);
    check(sizes([2, 1, 1, 4, 1]), true, true, true, [false; 2]);
}

/// Sequences in torch's default order, turned in the graph: a plan of any batch gives what batches in front give.
#[test]
fn the_batch_may_be_any_size_in_either_order() {
    for gpu in gpus() {
        for (declared, cross) in [(4, false), (1, false), (3, true)] {
            let run = |batch_first: bool, declared: usize| {
                let graph = Graph::new();
                let x = graph.input("x", [declared, 6, 8]);
                let mask = graph.input("mask", [declared, 6]);
                let turned = |x: &Var| if batch_first { x.clone() } else { x.transpose(0, 1) };
                let query = turned(&x);
                let key = if cross { turned(&(&x * 2.0)) } else { query.clone() };
                let layer = MultiheadAttention::new(8, 2).batch_first(batch_first).key_padding_mask(&mask);
                let y = turned(&query.multihead_attention(&key, &key, layer.name("m")));
                let store = graph.store(&gpu, 3).unwrap();
                let options = PlanOptions::train(&y.square().sum()).output("y", &y).batch(5);
                let plan = graph.compile(&store, &options, &mut Workspace::new()).unwrap();
                plan.write("x", &noises(1, 5 * 48)).unwrap();
                plan.write("mask", &(0..30).map(|at| f32::from(u8::from(at % 7 != 3))).collect::<Vec<_>>())
                    .unwrap();
                submit(&gpu, &[&plan]);
                let grads =
                    ["m.in_proj_weight", "m.out_proj.weight"].map(|name| store.read_grad(name).unwrap());
                [plan.read("y").unwrap(), grads.concat()].concat()
            };
            let want = run(true, 5);
            for got in [run(true, declared), run(false, declared), run(false, 5)] {
                assert_eq!(got.len(), want.len());
                for (got, want) in got.iter().zip(&want) {
                    assert!(
                        (got - want).abs() <= 1e-5 * want.abs().max(1.0),
                        "{got} is not {want}, {declared}"
                    );
                }
            }
        }
    }
}

#[test]
fn a_block_of_self_attention_takes_no_copy() {
    for gpu in gpus() {
        for batch_first in [true, false] {
            let graph = Graph::new();
            let x = graph.parameter("x", [2, 6, 32], Init::Constant(0.1));
            let layer = MultiheadAttention::new(32, 4).batch_first(batch_first).is_causal(true);
            let y = x.multihead_attention(&x, &x, layer).mean();
            let params = graph.store(&gpu, 0).unwrap();
            let plan = graph.compile(&params, &PlanOptions::train(&y), &mut Workspace::new()).unwrap();
            let labels: Vec<&str> = plan.labels().collect();
            let copies = labels.iter().filter(|label| label.contains(": copy")).count();
            assert_eq!(copies, 0, "{labels:?}");
            let products = labels.iter().filter(|label| label.contains("in_proj")).count();
            // The product, and the gradients of its weight, bias and input; the bias's may come with the weight's.
            let expected = if gpu.kernel_kind() == KernelKind::CpuSubgroup { 3 } else { 4 };
            assert_eq!(products, expected, "{labels:?}");
        }
    }
}

#[test]
fn parameters_have_torchs_names_shapes_and_first_values() {
    for gpu in gpus() {
        let graph = Graph::new();
        let x = graph.input("x", [3, 2, 8]);
        let [k, v] = [("k", 5), ("v", 6)].map(|(name, width)| graph.input(name, [4, 2, width]));
        let _ = x.multihead_attention(&x, &x, MultiheadAttention::new(8, 2).name("a"));
        let other = MultiheadAttention::new(8, 2).kdim(5).vdim(6).name("b");
        assert_eq!(x.multihead_attention(&k, &v, other).shape(), [3, 2, 8]);
        let _ = x.multihead_attention(&x, &x, MultiheadAttention::new(8, 2).without_bias().name("c"));
        let params = graph.store(&gpu, 0).unwrap();
        let names: Vec<(String, Vec<usize>)> =
            graph.parameters().into_iter().map(|parameter| (parameter.name, parameter.shape)).collect();
        let want: Vec<(String, Vec<usize>)> = [
            ("a.in_proj_weight", &[24, 8][..]),
            ("a.in_proj_bias", &[24]),
            ("a.out_proj.weight", &[8, 8]),
            ("a.out_proj.bias", &[8]),
            ("b.q_proj_weight", &[8, 8]),
            ("b.k_proj_weight", &[8, 5]),
            ("b.v_proj_weight", &[8, 6]),
            ("b.in_proj_bias", &[24]),
            ("b.out_proj.weight", &[8, 8]),
            ("b.out_proj.bias", &[8]),
            ("c.in_proj_weight", &[24, 8]),
            ("c.out_proj.weight", &[8, 8]),
        ]
        .map(|(name, shape)| (name.to_owned(), shape.to_vec()))
        .into();
        assert_eq!(names, want);
        assert!(params.read("a.in_proj_bias").unwrap().iter().all(|x| *x == 0.0));
        assert!(params.read("a.out_proj.bias").unwrap().iter().all(|x| *x == 0.0));
        let bound = (6.0_f32 / 32.0).sqrt();
        let weight = params.read("a.in_proj_weight").unwrap();
        let largest = weight.iter().fold(0.0_f32, |largest, x| largest.max(x.abs()));
        assert!(largest <= bound && largest > 0.9 * bound, "{largest} of {bound}");
    }
}

#[test]
fn what_does_not_fit_is_refused_with_the_layer_and_both_shapes() {
    let refused = |build: &dyn Fn(&Graph) -> Var| {
        let graph = Graph::new();
        build(&graph);
        graph.check().unwrap_err().to_string().replace("multihead_attention1", "m")
    };
    let layer = || MultiheadAttention::new(8, 2).batch_first(true);
    type Row<'a> = (&'a dyn Fn(&Graph) -> Var, &'a str);
    let rows: [Row<'_>; 8] = [
        (
            &|g| {
                let x = g.input("x", [2, 5, 10]);
                x.multihead_attention(&x, &x, MultiheadAttention::new(10, 3))
            },
            "m: num_heads must be a divisor of embed_dim 10, got 3",
        ),
        (
            &|g| {
                let x = g.input("x", [2, 5, 10]);
                x.multihead_attention(&x, &x, MultiheadAttention::new(10, 0))
            },
            "m: num_heads must be a divisor of embed_dim 10, got 0",
        ),
        (
            &|g| {
                let x = g.input("x", [2, 5, 7]);
                x.multihead_attention(&x, &x, layer())
            },
            "m: expected a query [N, T, 8] or [T, 8], all of one rank, got [2, 5, 7]",
        ),
        (
            &|g| {
                g.input("x", [2, 5, 8]).multihead_attention(
                    &g.input("k", [5, 8]),
                    &g.input("v", [5, 8]),
                    layer(),
                )
            },
            "m: expected a key [N, T, 8] or [T, 8], all of one rank, got [5, 8]",
        ),
        (
            &|g| {
                let k = g.input("k", [3, 4, 8]);
                g.input("x", [2, 5, 8]).multihead_attention(&k, &k, layer())
            },
            "m: expected a batch and a length as those of query [2, 5, 8] and key [3, 4, 8], got [3, 4, 8]",
        ),
        (
            &|g| {
                let x = g.input("x", [2, 5, 8]);
                x.multihead_attention(&x, &x, layer().attn_mask(&g.input("mask", [4, 4])))
            },
            "m.attention: expected a mask that is broadcast to the scores [2, 2, 5, 5], got [4, 4]",
        ),
        (
            &|g| {
                let x = g.input("x", [2, 5, 8]);
                x.multihead_attention(&x, &x, layer().key_padding_mask(&g.input("mask", [2, 4])))
            },
            "m: expected a key_padding_mask [2, 5] for the key [2, 5, 8], got [2, 4]",
        ),
        (
            &|g| {
                let x = g.input("x", [5, 1 << 20]);
                x.multihead_attention(&x, &x, MultiheadAttention::new(1 << 20, 2).name("m"))
            },
            "m.in_proj_weight: expected at most 536870912 elements, got [3145728, 1048576]",
        ),
    ];
    for (build, want) in rows {
        assert_eq!(refused(build), want);
    }
}
