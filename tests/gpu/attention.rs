//! Scaled dot-product attention against f64 loops: masks, causality, dropout, views, and sizes on both sides of a dispatch.

use gradus::graph::{Graph, Init, PlanOptions, Var, Workspace};
use gradus::nn::ScaledDotProductAttention;

use crate::common::{noise, noises};
use crate::joined::philox;
use crate::network::{gpus, run, submit};
use crate::ops::{Case, check_all};
use crate::reference::{assert_close, wide};

/// Planes, queries, keys, elements of a query, elements of a value.
#[derive(Clone, Copy, Debug)]
struct Sizes {
    planes: usize,
    queries: usize,
    keys: usize,
    features: usize,
    values: usize,
}

impl Sizes {
    fn lens(&self) -> [usize; 3] {
        [
            self.planes * self.queries * self.features,
            self.planes * self.keys * self.features,
            self.planes * self.keys * self.values,
        ]
    }

    fn cost(&self) -> usize {
        self.planes * self.queries * self.keys * (self.features + self.values)
    }

    /// The attention of dense tensors; `kept` of a plane, a query and a key is what a weight is multiplied with, unless it
    /// is hidden.
    fn attend(
        &self,
        [query, key, value]: [&[f64]; 3],
        scale: f64,
        kept: &dyn Fn([usize; 3]) -> Option<f64>,
    ) -> Vec<f64> {
        let row = |of: &[f64], at: usize, len: usize| of[at * len..][..len].to_vec();
        let mut y = Vec::new();
        for (plane, i) in (0..self.planes).flat_map(|plane| (0..self.queries).map(move |i| (plane, i))) {
            let q = row(query, plane * self.queries + i, self.features);
            let scores: Vec<(usize, f64, f64)> = (0..self.keys)
                .filter_map(|j| {
                    let k = row(key, plane * self.keys + j, self.features);
                    let score: f64 = q.iter().zip(&k).map(|(a, b)| a * b).sum();
                    Some((j, score * scale, kept([plane, i, j])?))
                })
                .collect();
            let largest = scores.iter().fold(f64::NEG_INFINITY, |largest, (_, s, _)| largest.max(*s));
            let sum: f64 = scores.iter().map(|(_, s, _)| (s - largest).exp()).sum();
            let mut out = vec![0.0; self.values];
            for (j, score, kept) in scores {
                let v = row(value, plane * self.keys + j, self.values);
                let weight = (score - largest).exp() / sum * kept;
                out.iter_mut().zip(&v).for_each(|(out, v)| *out += weight * v);
            }
            y.extend(out);
        }
        y
    }
}

fn sizes([planes, queries, keys, features, values]: [usize; 5]) -> Sizes {
    Sizes { planes, queries, keys, features, values }
}

fn tensors(sizes: Sizes) -> Vec<(&'static str, Vec<f32>)> {
    let [query, key, value] = sizes.lens();
    vec![("query", noises(1, query)), ("key", noises(2, key)), ("value", noises(3, value))]
}

/// The three parameters with the leading axes.
fn declare(graph: &Graph, sizes: Sizes, leading: &[usize]) -> [Var; 3] {
    let of = |name: &str, rows: usize, columns: usize| {
        graph.parameter(name, [leading, &[rows, columns]].concat(), Init::Constant(0.0))
    };
    [
        of("query", sizes.queries, sizes.features),
        of("key", sizes.keys, sizes.features),
        of("value", sizes.keys, sizes.values),
    ]
}

const PLAIN: fn() -> ScaledDotProductAttention = ScaledDotProductAttention::new;

#[test]
fn attention_is_the_weighted_sum_at_all_sizes_causal_or_not() {
    let gpus = gpus();
    let rows: [(&[usize], [usize; 5]); 14] = [
        (&[1, 1], [1, 1, 1, 1, 1]),
        (&[2, 3], [6, 5, 5, 4, 4]),
        (&[2, 3], [6, 5, 7, 3, 6]),
        (&[1, 2], [2, 9, 4, 8, 5]),
        (&[3, 1], [3, 1, 17, 6, 3]),
        (&[2, 2], [4, 17, 1, 5, 9]),
        (&[1, 1], [1, 33, 30, 36, 12]),
        // More than one tile of features, in queries, in values and in both.
        (&[1, 1], [1, 3, 5, 67, 4]),
        (&[1, 2], [2, 3, 9, 12, 70]),
        (&[], [1, 4, 6, 130, 129]),
        (&[3], [3, 6, 4, 5, 8]),
        (&[2, 1, 2], [4, 3, 6, 4, 7]),
        // Tiles of rows.
        (&[1, 1], [1, 33, 35, 9, 6]),
        (&[2], [2, 40, 32, 36, 68]),
    ];
    for (leading, of) in rows {
        let sizes = sizes(of);
        for is_causal in [false, true] {
            let scale = if is_causal { 0.7 } else { 1.0 / (sizes.features as f64).sqrt() };
            let given = is_causal.then_some(0.7);
            let case = Case {
                name: format!("attention of {leading:?}, {sizes:?}, causal {is_causal}"),
                parameters: tensors(sizes),
                labels: None,
                build: &|graph| {
                    let [q, k, v] = declare(graph, sizes, leading);
                    q.scaled_dot_product_attention(&k, &v, PLAIN().is_causal(is_causal).scale(given))
                },
                value: &|t| {
                    let kept = |[_, i, j]: [usize; 3]| (!is_causal || j <= i).then_some(1.0);
                    sizes.attend([&t[0], &t[1], &t[2]], scale, &kept)
                },
                half: 1e-5,
            };
            check_all(&gpus, &case, 20 * sizes.cost().max(40_000));
        }
    }
}

#[test]
fn a_mask_of_each_broadcast_shape_hides_scores_and_a_hidden_row_is_zero() {
    let gpus = gpus();
    let (b, h) = (2, 3);
    let sizes = sizes([b * h, 5, 7, 3, 2]);
    let masks: [&[usize]; 12] = [
        &[2, 3, 5, 7],
        &[2, 1, 1, 7],
        &[1, 3, 1, 7],
        &[2, 1, 5, 1],
        &[1, 1, 5, 7],
        &[3, 5, 7],
        &[3, 1, 1],
        &[5, 7],
        &[5, 1],
        &[1, 7],
        &[7],
        &[1],
    ];
    for (shape, is_causal) in masks.into_iter().enumerate().map(|(at, shape)| (shape, at % 3 == 1)) {
        // Half of it hides, and whole rows of some.
        let mask: Vec<f32> = (0..shape.iter().product()).map(|at| f32::from(noise(9, at) > 0.0)).collect();
        let taken = |[plane, i, j]: [usize; 3]| {
            let place = [plane / h, plane % h, i, j];
            let axes = shape.iter().zip(&place[4 - shape.len()..]);
            mask[axes.fold(0, |at, (extent, place)| at * extent + place % extent)] != 0.0
        };
        let case = Case {
            name: format!("attention with a mask of {shape:?}, causal {is_causal}"),
            parameters: [tensors(sizes), vec![("mask", mask.clone())]].concat(),
            labels: None,
            build: &|graph| {
                let [q, k, v] = declare(graph, sizes, &[b, h]);
                let mask = graph.parameter("mask", shape, Init::Constant(0.0));
                q.scaled_dot_product_attention(&k, &v, PLAIN().attn_mask(&mask).is_causal(is_causal))
            },
            value: &|t| {
                let kept = |at: [usize; 3]| (taken(at) && (!is_causal || at[2] <= at[1])).then_some(1.0);
                sizes.attend([&t[0], &t[1], &t[2]], 1.0 / 3f64.sqrt(), &kept)
            },
            half: 1e-5,
        };
        // Some of the differences.
        check_all(&gpus, &case, 1_000_000);
    }
}

#[test]
fn a_mask_that_hides_all_leaves_zeros_and_no_nan() {
    for gpu in gpus() {
        let graph = Graph::new();
        let sizes = sizes([4, 5, 6, 3, 5]);
        let [q, k, v] = declare(&graph, sizes, &[2, 2]);
        let y = q.scaled_dot_product_attention(&k, &v, PLAIN().attn_mask(&graph.input("mask", [2, 1, 1, 6])));
        let dy = noises(4, 100);
        let mask = [0.0_f32; 12];
        let tensors = tensors(sizes);
        let values: Vec<(&str, &[f32])> = tensors.iter().map(|(name, values)| (*name, &values[..])).collect();
        let options = PlanOptions::train(&y).upstream("dy");
        let got = run(&gpu, &graph, &options, &values, &[("dy", &dy), ("mask", &mask)], &["loss"]);
        assert!(got.outputs["loss"].iter().all(|y| *y == 0.0));
        assert!(got.gradients.values().flatten().all(|gradient| *gradient == 0.0));
    }
}

#[test]
fn more_keys_or_queries_than_one_dispatch_takes_go_on_in_the_next() {
    let gpus = gpus();
    for of in [[1, 2, 70_001, 3, 5], [1, 70_001, 2, 5, 3], [1, 1, 9_000, 130, 70]] {
        let sizes = sizes(of);
        for gpu in &gpus {
            let graph = Graph::new();
            let [q, k, v] = declare(&graph, sizes, &[]);
            let y = q.scaled_dot_product_attention(&k, &v, PLAIN());
            let params = graph.store(gpu, 0).unwrap();
            let options = PlanOptions::train(&y).upstream("dy");
            let plan = graph.compile(&params, &options, &mut Workspace::new()).unwrap();
            let kernels = plan.labels().filter(|label| label.contains("attention_grad")).count();
            assert!(kernels > 2, "{sizes:?} takes {kernels} dispatches");
        }
        let case = Case {
            name: format!("attention of {sizes:?}"),
            parameters: tensors(sizes),
            labels: None,
            build: &|graph| {
                let [q, k, v] = declare(graph, sizes, &[]);
                q.scaled_dot_product_attention(&k, &v, PLAIN())
            },
            value: &|t| {
                let scale = 1.0 / (sizes.features as f64).sqrt();
                sizes.attend([&t[0], &t[1], &t[2]], scale, &|_| Some(1.0))
            },
            half: 1e-4,
        };
        check_all(&gpus, &case, 200 * sizes.cost());
    }
}

#[test]
fn one_value_may_be_query_key_and_value() {
    let gpus = gpus();
    let sizes = sizes([4, 6, 6, 7, 7]);
    let [len, ..] = sizes.lens();
    for shared in [2, 3] {
        let case = Case {
            name: format!("attention with {shared} inputs that are one"),
            parameters: vec![("x", noises(1, len)), ("other", noises(2, len))],
            labels: None,
            build: &|graph| {
                let [x, other] =
                    ["x", "other"].map(|name| graph.parameter(name, [2, 2, 6, 7], Init::Constant(0.0)));
                let query = if shared == 3 { x.add(&other) } else { other };
                let x = if shared == 3 { query.clone() } else { x };
                query.scaled_dot_product_attention(&x, &x, PLAIN())
            },
            value: &|t| {
                let sum: Vec<f64> = t[0].iter().zip(&t[1]).map(|(a, b)| a + b).collect();
                let of = if shared == 3 { [&sum[..]; 3] } else { [&t[1][..], &t[0], &t[0]] };
                sizes.attend(of, 1.0 / 7f64.sqrt(), &|_| Some(1.0))
            },
            half: 1e-5,
        };
        check_all(&gpus, &case, sizes.cost());
    }
}

#[test]
fn rows_of_one_element_that_is_repeated_are_read_as_rows() {
    let gpus = gpus();
    for (queries, features) in [(4, 5), (3, 4), (7, 2)] {
        let sizes = sizes([6, queries, queries, features, features]);
        let len = 6 * queries;
        let case = Case {
            name: format!("attention of {queries} rows of {features} that are one element each"),
            parameters: vec![("q", noises(1, len)), ("k", noises(2, len)), ("v", noises(3, len))],
            labels: None,
            build: &|graph| {
                let [q, k, v] = ["q", "k", "v"].map(|name| {
                    let column = graph.parameter(name, [2, 3, queries, 1], Init::Constant(0.0));
                    column.expand(&[-1, -1, -1, isize::try_from(features).unwrap()])
                });
                q.scaled_dot_product_attention(&k, &v, PLAIN())
            },
            value: &|t| {
                let spread = |x: &[f64]| x.iter().flat_map(|x| vec![*x; features]).collect::<Vec<_>>();
                let [q, k, v] = [0, 1, 2].map(|at| spread(&t[at]));
                sizes.attend([&q, &k, &v], 1.0 / (features as f64).sqrt(), &|_| Some(1.0))
            },
            half: 1e-5,
        };
        check_all(&gpus, &case, sizes.cost());
    }
}

#[test]
fn keys_and_values_may_be_tied_parameters() {
    let gpus = gpus();
    let sizes = sizes([2, 3, 5, 8, 8]);
    let [query, key, _] = sizes.lens();
    let case = Case {
        name: "attention of tied keys and values".into(),
        parameters: vec![("q", noises(1, query)), ("k", noises(2, key))],
        labels: None,
        build: &|graph| {
            let of = |name, rows| graph.parameter(name, [2, rows, 8], Init::Constant(0.0));
            let (q, k, v) = (of("q", 3), of("k", 5), of("v", 5));
            graph.tie("v", "k");
            q.scaled_dot_product_attention(&k, &v, PLAIN())
        },
        value: &|t| sizes.attend([&t[0], &t[1], &t[1]], 1.0 / 8f64.sqrt(), &|_| Some(1.0)),
        half: 1e-5,
    };
    check_all(&gpus, &case, sizes.cost());
}

#[test]
fn dropped_weights_are_those_that_philox_names_in_both_passes() {
    let sizes = sizes([4, 5, 10, 6, 7]);
    let tensors = tensors(sizes);
    let (seed, step, p) = (7_u64 << 40 | 3, 9_u64 << 35 | 5, 0.3);
    let words = |x: u64| [x & 0xffff_ffff, x >> 32].map(|word| u32::try_from(word).unwrap());
    let kept = |[plane, i, j]: [usize; 3]| {
        let quad = u32::try_from((plane * 5 + i) * 3 + j / 4).unwrap();
        let [low, high] = words(step);
        // The second attention of its graph.
        let word = philox([quad, 1 | 1 << 31, low, high], words(seed))[j % 4];
        Some(if (word >> 8) as f32 / 16_777_216.0 >= 0.3 { 1.0 / 0.7 } else { 0.0 })
    };
    for gpu in gpus() {
        let graph = Graph::new();
        let [q, k, v] = declare(&graph, sizes, &[2, 2]);
        let dropped = || PLAIN().dropout_p(p);
        let _ = q.scaled_dot_product_attention(&k, &v, dropped());
        let y = q.scaled_dot_product_attention(&k, &v, dropped());
        let mut params = graph.store(&gpu, 0).unwrap();
        tensors.iter().for_each(|(name, values)| params.write(name, values).unwrap());
        let options = PlanOptions::train(&y).upstream("dy");
        let plan = graph.compile(&params, &options, &mut Workspace::new()).unwrap();
        let dy = noises(4, 140);
        plan.write("dy", &dy).unwrap();
        plan.set_step(seed, step);
        submit(&gpu, &[&plan]);
        let exact: Vec<Vec<f64>> = tensors.iter().map(|(_, values)| wide(values)).collect();
        let attend = |t: &[Vec<f64>]| sizes.attend([&t[0], &t[1], &t[2]], 1.0 / 6f64.sqrt(), &kept);
        assert_close("dropped", &plan.read("loss").unwrap(), &attend(&exact));
        for (number, (name, values)) in tensors.iter().enumerate() {
            let slope = |at: usize| {
                let end = |sign: f64| {
                    let mut moved = exact.clone();
                    moved[number][at] += sign * 1e-5;
                    attend(&moved).iter().zip(&dy).map(|(y, dy)| y * f64::from(*dy)).sum::<f64>()
                };
                (end(1.0) - end(-1.0)) / 2e-5
            };
            let want: Vec<f64> = (0..values.len()).map(slope).collect();
            assert_close(name, &params.read_grad(name).unwrap(), &want);
        }
        // Nothing is dropped in an evaluation, and nothing left where all is dropped.
        let evaluate =
            graph.compile(&params, &PlanOptions::evaluate().output("y", &y), &mut Workspace::new()).unwrap();
        submit(&gpu, &[&evaluate]);
        let whole = sizes.attend([&exact[0], &exact[1], &exact[2]], 1.0 / 6f64.sqrt(), &|_| Some(1.0));
        assert_close("evaluated", &evaluate.read("y").unwrap(), &whole);
    }
}

#[test]
fn large_scores_lose_nothing_and_nan_stays_in_its_row() {
    for gpu in gpus() {
        let sizes = sizes([1, 5, 9, 6, 5]);
        let graph = Graph::new();
        let [q, k, v] = declare(&graph, sizes, &[]);
        let y = q.scaled_dot_product_attention(&k, &v, PLAIN());
        let mut tensors = tensors(sizes);
        tensors[0].1.iter_mut().for_each(|x| *x = (*x * 64.0).round() * 16.0);
        tensors[1].1.iter_mut().for_each(|x| *x = (*x * 64.0).round() / 4.0);
        let exact: Vec<Vec<f64>> = tensors.iter().map(|(_, values)| wide(values)).collect();
        let mut want = sizes.attend([&exact[0], &exact[1], &exact[2]], 1.0 / 6f64.sqrt(), &|_| Some(1.0));
        tensors[0].1[2 * 6 + 3] = f32::NAN;
        let values: Vec<(&str, &[f32])> = tensors.iter().map(|(name, values)| (*name, &values[..])).collect();
        let options = PlanOptions::evaluate().output("y", &y);
        let mut got = run(&gpu, &graph, &options, &values, &[], &["y"]).outputs.remove("y").unwrap();
        assert!(got.drain(10..15).all(|x| x.is_nan()));
        want.drain(10..15);
        assert_close("large scores", &got, &want);
    }
}

#[test]
fn both_passes_take_four_dispatches_and_frozen_inputs_fewer() {
    for gpu in gpus() {
        for (trained, want) in [([true; 3], 4), ([true, false, false], 3), ([false, false, true], 3)] {
            let graph = Graph::new();
            let inputs = [0, 1, 2].map(|at| {
                let name = ["query", "key", "value"][at];
                match trained[at] {
                    true => graph.parameter(name, [2, 3, 5, 8], Init::Constant(0.0)),
                    false => graph.input(name, [2, 3, 5, 8]),
                }
            });
            let [q, k, v] = &inputs;
            let y = q.scaled_dot_product_attention(k, v, PLAIN().is_causal(true));
            let params = graph.store(&gpu, 0).unwrap();
            let options = PlanOptions::train(&y.mean());
            let plan = graph.compile(&params, &options, &mut Workspace::new()).unwrap();
            let labels: Vec<&str> = plan.labels().filter(|label| label.contains(": attention")).collect();
            assert_eq!(labels.len(), want, "{:?}", plan.labels().collect::<Vec<_>>());
        }
    }
}

#[test]
fn what_cannot_attend_is_refused_with_the_layer_and_both_shapes() {
    let refused = |shapes: [&[usize]; 3], options: &dyn Fn(&Graph) -> ScaledDotProductAttention| {
        let graph = Graph::new();
        let [q, k, v] = [0, 1, 2].map(|at| graph.input(["q", "k", "v"][at], shapes[at]));
        let _ = q.scaled_dot_product_attention(&k, &v, options(&graph));
        graph.check().unwrap_err().to_string().replace("scaled_dot_product_attention1: ", "")
    };
    let rows: [([&[usize]; 3], &str); 6] = [
        ([&[4], &[4], &[4]], "expected a query [.., T, D], got [4]"),
        (
            [&[2, 3, 5, 8], &[2, 3, 7, 9], &[2, 3, 7, 8]],
            "expected a key [2, 3, S, 8] for the query [2, 3, 5, 8], got [2, 3, 7, 9]",
        ),
        (
            [&[2, 3, 5, 8], &[2, 4, 7, 8], &[2, 3, 7, 8]],
            "expected a key [2, 3, S, 8] for the query [2, 3, 5, 8], got [2, 4, 7, 8]",
        ),
        ([&[3, 5, 8], &[5, 8], &[3, 7, 8]], "expected a key [3, S, 8] for the query [3, 5, 8], got [5, 8]"),
        (
            [&[2, 3, 5, 8], &[2, 3, 7, 8], &[2, 3, 6, 8]],
            "expected a value [.., 7, E] for the key [2, 3, 7, 8], got [2, 3, 6, 8]",
        ),
        ([&[5, 16_385], &[7, 16_385], &[7, 1]], "expected at most 16384 features, got [5, 16385]"),
    ];
    for (shapes, want) in rows {
        assert_eq!(refused(shapes, &|_| PLAIN()), want);
    }
    let fits: [&[usize]; 3] = [&[2, 3, 5, 8], &[2, 3, 7, 8], &[2, 3, 7, 8]];
    for shape in [&[2, 3, 5, 6][..], &[2, 2, 1, 1], &[1, 2, 3, 5, 7], &[7, 5]] {
        let want = format!("expected a mask that is broadcast to the scores [2, 3, 5, 7], got {shape:?}");
        assert_eq!(refused(fits, &|graph| PLAIN().attn_mask(&graph.input("mask", shape))), want);
    }
    assert_eq!(refused(fits, &|_| PLAIN().dropout_p(1.5)), "dropout_p must be in [0, 1], got 1.5");
    assert_eq!(refused(fits, &|_| PLAIN().scale(f64::NAN)), "scale must be finite, got NaN");
}
