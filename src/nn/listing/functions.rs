use crate::graph::{Graph, Init, Var};
use crate::nn::PReLU;

/// A graph in which each pointwise function runs alone, and some run in chains fused with a product or a convolution.
pub(super) fn functions() -> (Graph, Var, Var) {
    let graph = Graph::new();
    let (x, y) = (graph.parameter("x", [4, 6], Init::Constant(0.5)), graph.labels("y", 4));
    let other = graph.parameter("other", [4, 1], Init::Constant(0.5));
    let unary = [
        x.exp(),
        x.log(),
        x.sqrt(),
        x.rsqrt(),
        x.square(),
        x.reciprocal(),
        x.abs(),
        x.negative(),
        x.pow(2.5),
        x.pow(3.0),
        x.clamp(-1.0, 1.0),
        x.clamp(0.0, None),
        x.clamp(None, 1.0),
        x.silu(),
        x.leaky_relu(0.01),
        x.elu(1.0),
        x.selu(),
        x.softplus(1.0, 20.0),
        x.log_sigmoid(),
        x.hardswish(),
        x.hardsigmoid(),
        x.hardtanh(-1.0, 1.0),
        x.mish(),
        x.prelu(PReLU::new()),
        &x * 2.0 + 1.0,
    ];
    let binary = [
        x.sub(&other),
        x.mul(&other),
        x.div(&other),
        x.maximum(&other),
        x.minimum(&other),
        x.where_(&other, &x),
    ];
    let ends = x.linear(8).gelu().dropout(0.1).linear(6).add(&x);
    let loss = ends.linear(3).cross_entropy(&y);
    let loss = unary.iter().chain(&binary).fold(loss, |sum, value| sum.add(&value.mean()));
    (graph.clone(), loss, x.accuracy(&y))
}
