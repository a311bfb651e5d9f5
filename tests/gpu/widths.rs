//! Subgroups of 4, 8 and 16 lanes: whatever the width, kernels leave the same bits.

use std::collections::BTreeMap;
use std::env;
use std::process::Command;

use gradus::gpu::{KernelKind, Recorder};
use gradus::graph::{Graph, Init, PlanOptions, Var, Workspace};
use gradus::nn::{Conv2d, GRU, LSTM, Linear, MaxPool2d, ScaledDotProductAttention};
use gradus::{Gpu, ParamStore};

use crate::common::{gpu, noises};

/// Bits of the vectors that llvmpipe computes with, of which a lane has 32; other drivers do not read it.
const VECTOR_WIDTH: &str = "LP_NATIVE_VECTOR_WIDTH";

/// Asks this test, in a process of its own, to print what it computes.
const PRINTS: &str = "GRADUS_TEST_PRINTS_BITS";

type Build = fn(&Graph) -> Var;

fn tensor(graph: &Graph, name: &str, shape: &[usize]) -> Var {
    graph.parameter(name, shape, Init::Normal { std: 1.0 })
}

fn images(graph: &Graph, shape: [usize; 4], layer: Conv2d) -> Var {
    tensor(graph, "x", &shape).conv2d(layer)
}

/// Networks whose kernels use subgroups, at sizes that fill neither 4 nor 16 lanes, and at some that do.
const NETWORKS: &[(&str, Build)] = &[
    ("linear", |graph| tensor(graph, "x", &[37, 30]).linear(71).relu().linear(Linear::new(5))),
    ("long linear", |graph| tensor(graph, "x", &[3, 17_000]).linear(9)),
    ("products of both factors' rows", |graph| {
        tensor(graph, "a", &[3, 40, 28]).matmul(&tensor(graph, "b", &[3, 28, 36]))
    }),
    ("products of columns", |graph| {
        tensor(graph, "a", &[28, 72]).transpose(0, 1).matmul(&tensor(graph, "b", &[28, 100]))
    }),
    ("pooled plane", |graph| {
        let x = graph.input("x", [2, 1, 14, 17]);
        x.conv2d(Conv2d::new(20, 3).padding(1)).relu().max_pool2d(2).flatten().linear(3)
    }),
    ("pooled", |graph| images(graph, [2, 5, 11, 37], Conv2d::new(36, 3).padding(1)).relu().max_pool2d(2)),
    ("pooled of few channels", |graph| images(graph, [2, 5, 11, 9], Conv2d::new(12, 3)).max_pool2d(2)),
    ("few channels", |graph| images(graph, [2, 6, 9, 8], Conv2d::new(7, 3)).relu()),
    ("strided", |graph| images(graph, [2, 9, 13, 12], Conv2d::new(70, 3).stride(2).padding(1))),
    ("dilated", |graph| images(graph, [2, 9, 13, 12], Conv2d::new(33, 3).dilation(2))),
    ("groups of 64", |graph| images(graph, [1, 128, 5, 6], Conv2d::new(128, 3).groups(2))),
    ("groups of 3", |graph| images(graph, [2, 9, 7, 6], Conv2d::new(9, 3).groups(3))),
    ("large pooling", |graph| {
        images(graph, [2, 3, 20, 20], Conv2d::new(24, 5)).max_pool2d(MaxPool2d::new(3).stride(2))
    }),
    ("attention", |graph| {
        let [q, k, v] = [("q", 13, 12), ("k", 21, 12), ("v", 21, 20)]
            .map(|(name, rows, features)| tensor(graph, name, &[2, 3, rows, features]));
        q.scaled_dot_product_attention(&k, &v, ScaledDotProductAttention::new())
    }),
    ("causal attention", |graph| {
        let [q, k, v] = ["q", "k", "v"].map(|name| tensor(graph, name, &[2, 37, 8]));
        q.scaled_dot_product_attention(&k, &v, ScaledDotProductAttention::new().is_causal(true))
    }),
    ("lstm", |graph| tensor(graph, "x", &[3, 19, 6]).lstm(LSTM::new(36), None).0),
    ("gru", |graph| tensor(graph, "x", &[3, 5, 6]).gru(GRU::new(20), None).0),
];

/// What a network leaves: the bits of its result and of all gradients, and its dispatches.
fn run(gpu: &Gpu, build: Build) -> (u64, usize) {
    let graph = Graph::new();
    let y = build(&graph);
    let params: ParamStore = graph.store(gpu, 7).unwrap();
    let options = PlanOptions::train(&y.square().mean()).output("y", &y);
    let plan = graph.compile(&params, &options, &mut Workspace::new()).unwrap();
    // Only one has an input.
    let _ = plan.write("x", &noises(1, 2 * 14 * 17));
    let mut encoder = gpu.encoder("widths");
    plan.record(&mut Recorder::new(gpu, &mut encoder)).unwrap();
    gpu.submit(encoder).unwrap();
    let mut all = plan.read("y").unwrap();
    all.extend(params.grads().read_all(gpu).unwrap());
    assert!(all.iter().all(|value| value.is_finite()) && all.iter().any(|value| *value != 0.0));
    // FNV-1a.
    let hash = all.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, value| {
        (hash ^ u64::from(value.to_bits())).wrapping_mul(0x0100_0000_01b3)
    });
    (hash, plan.labels().count())
}

/// The lines that a process prints in which subgroups have another width.
fn printed(bits: u32) -> Vec<String> {
    let name = "widths::results_have_the_same_bits_at_every_width_of_subgroups";
    let output = Command::new(env::current_exe().unwrap())
        .args([name, "--exact", "--nocapture", "--test-threads=1"])
        .env(VECTOR_WIDTH, bits.to_string())
        .env(PRINTS, "1")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{bits} bits: {text}\n{}", String::from_utf8_lossy(&output.stderr));
    let lines = text.lines().filter_map(|line| line.split_once("BITS ").map(|(_, rest)| rest.to_owned()));
    lines.collect()
}

#[test]
fn results_have_the_same_bits_at_every_width_of_subgroups() {
    let Some(gpu) = gpu() else { return };
    if env::var_os(PRINTS).is_some() {
        println!("\nBITS {:?} {:?}", gpu.kernel_kind(), gpu.capabilities().subgroup_lanes);
        for (name, build) in NETWORKS {
            println!("BITS {name}: {:?}", run(&gpu, *build));
        }
        return;
    }
    let mut at_width = BTreeMap::new();
    for bits in [128, 256, 512] {
        let mut lines = printed(bits);
        at_width.insert(lines.remove(0), lines);
    }
    let all: Vec<_> = at_width.values().collect();
    assert!(all.iter().all(|lines| lines.len() == NETWORKS.len()), "{at_width:#?}");
    assert!(all.iter().all(|lines| *lines == all[0]), "{at_width:#?}");
    if gpu.info().name.contains("llvmpipe") {
        let kind = |lanes: u32| format!("{:?} {:?}", KernelKind::CpuSubgroup, Some([lanes; 2]));
        assert!(at_width.contains_key(&kind(4)), "128 bits are four lanes: {at_width:#?}");
        assert!(at_width.keys().all(|key| [4, 8, 16].map(kind).contains(key)), "{at_width:#?}");
    }
}
