//! Whole blocks of a transformer, 512 wide with 8 heads, against what torch recorded in f64.

use std::path::Path;

use gradus::Gpu;
use gradus::graph::{Graph, HostData, Init, PlanOptions, Var};
use gradus::nn::{LayerNorm, Linear, Module, MultiheadAttention};
use serde_json::Value;

use crate::common::{noise, noises};
use crate::network::{Outcome, gpus, run};

const SHAPE: [usize; 3] = [2, 64, 512];

/// torch's `TransformerEncoderLayer(512, 8, 2048, activation="gelu", norm_first=True)`, causal.
fn causal(x: &Var) -> Var {
    let layer = MultiheadAttention::new(512, 8).batch_first(true).is_causal(true);
    let attention = |h: &Var| h.multihead_attention(h, h, layer.clone().name(""));
    let x = x + &x.apply("norm1", &LayerNorm::new(512)).apply("self_attn", &attention);
    let h = x.apply("norm2", &LayerNorm::new(512)).apply("linear1", &Linear::new(2048)).gelu();
    &x + &h.apply("linear2", &Linear::new(512))
}

/// The values of queries, keys and values alone go on.
fn without_attention(x: &Var) -> Var {
    let qkv = x.apply("norm1", &LayerNorm::new(512)).apply("qkv", &Linear::new(3 * 512));
    let x = x + &qkv.narrow(-1, 2 * 512, 512).apply("proj", &Linear::new(512));
    let h = x.apply("norm2", &LayerNorm::new(512)).apply("fc1", &Linear::new(2048)).gelu_tanh();
    &x + &h.apply("fc2", &Linear::new(512))
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap()
}

#[expect(clippy::cast_possible_truncation, reason = "they are exact in f32")]
fn single(number: f64) -> f32 {
    number as f32
}

/// Holds a tensor to its norm, to its products with noise, and to its first elements.
fn check(what: &str, got: &[f32], want: &Value) {
    let norm = number(&want["norm"]);
    let close = |of: &str, got: f64, want: f64, within: f64| {
        assert!((got - want).abs() <= within, "{what}: {of} {got}, expected {want} within {within:e}");
    };
    // Rounding errors of f32 along chains of some thousand terms, which add up like noise.
    let wide = || got.iter().map(|x| f64::from(*x));
    close("norm", wide().map(|x| x * x).sum::<f64>().sqrt(), norm, 3e-6 * norm);
    for (stream, sum) in (1..).zip(want["sums"].as_array().unwrap()) {
        let products = wide().enumerate().map(|(at, x)| x * f64::from(noise(stream, at)));
        close("sum of products", products.sum(), number(sum), 3e-6 * norm);
    }
    let typical = norm / (got.len() as f64).sqrt();
    for (x, first) in wide().zip(want["first"].as_array().unwrap()) {
        close("element", x, number(first), 2e-5 * typical.max(number(first).abs()));
    }
}

fn check_block(gpu: &Gpu, name: &str, build: impl Module) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/gpu/torch/block/block.json");
    let recorded: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let recorded = &recorded[name];
    let graph = Graph::new();
    let x = graph.parameter("x", SHAPE, Init::Constant(0.0));
    let y = x.apply("", &build);
    let root = y.mul(&graph.input("dy", SHAPE)).sum();
    let mut values = vec![("x", noises(3, SHAPE.iter().product()))];
    for (name, of) in recorded["parameters"].as_object().unwrap() {
        let [scale, shift] = ["scale", "shift"].map(|key| single(number(&of[key])));
        let shape = of["shape"].as_array().unwrap().iter().map(|extent| extent.as_u64().unwrap());
        let made = noises(of["stream"].as_u64().unwrap(), usize::try_from(shape.product::<u64>()).unwrap());
        values.push((name, made.iter().map(|x| x * scale + shift).collect()));
    }
    assert_eq!(graph.parameters().len(), values.len(), "torch's parameters and no others");
    let values: Vec<(&str, &[f32])> = values.iter().map(|(name, values)| (*name, &values[..])).collect();
    let dy = noises(4, SHAPE.iter().product());
    let inputs: [(&str, &dyn HostData); 1] = [("dy", &dy)];
    let options = PlanOptions::train(&root).output("y", &y);
    let Outcome { outputs, gradients } = run(gpu, &graph, &options, &values, &inputs, &["y"]);
    let what = |of: &str| format!("{name}, {of}, {:?} kernels", gpu.kernel_kind());
    check(&what("y"), &outputs["y"], &recorded["y"]);
    check(&what("gradient of x"), &gradients["x"], &recorded["x"]);
    for (name, of) in recorded["parameters"].as_object().unwrap() {
        check(&what(&format!("gradient of {name}")), &gradients[name], &of["grad"]);
    }
}

#[test]
fn blocks_of_512_elements_and_8_heads_are_torchs() {
    for gpu in &gpus() {
        check_block(gpu, "causal", causal);
        check_block(gpu, "without_attention", without_attention);
    }
}
