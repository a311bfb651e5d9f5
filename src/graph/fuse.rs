use super::Node;
use crate::gpu::Capabilities;

/// Where a ReLU is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Relu {
    /// In a chain of functions.
    Alone,
    /// At the start of the consumer's kernel.
    InConsumer,
}

/// For each node, where it is computed if it is a ReLU.
///
/// A ReLU moves into the max pooling after it if no other node uses the value in between: max and ReLU commute.
pub(crate) fn relus(nodes: &[Node], is_output: impl Fn(usize) -> bool) -> Vec<Relu> {
    let only_consumer = only_consumers(nodes, is_output);
    nodes
        .iter()
        .enumerate()
        .map(|(id, node)| {
            if !node.op.is_relu() {
                return Relu::Alone;
            }
            if only_consumer[id].is_some_and(|consumer| nodes[consumer].op.takes_relu_before()) {
                Relu::InConsumer
            } else {
                Relu::Alone
            }
        })
        .collect()
}

/// For each node, the max pooling that is fused to the end of its kernel, after an optional ReLU.
///
/// Only if no other node uses the pooled value, because it is not stored.
pub(crate) fn pools(
    nodes: &[Node],
    shapes: &[Vec<usize>],
    relus: &[Relu],
    capabilities: &Capabilities,
    is_output: impl Fn(usize) -> bool,
) -> Vec<Option<usize>> {
    let only_consumer = only_consumers(nodes, is_output);
    let mut pools = vec![None; nodes.len()];
    for (id, node) in nodes.iter().enumerate().filter(|(_, node)| node.op.halves()) {
        let input = node.inputs[0];
        let producer = if relus[input] == Relu::InConsumer { nodes[input].inputs[0] } else { input };
        let takes_pool = || {
            let input = nodes[producer].inputs.first();
            input.is_some_and(|&input| nodes[producer].op.takes_pool_after(&shapes[input], capabilities))
        };
        if only_consumer[producer].is_some() && takes_pool() {
            pools[producer] = Some(id);
        }
    }
    pools
}

/// For each node, the only node that uses its value; `None` if there are more or the value is an output.
pub(super) fn only_consumers(nodes: &[Node], is_output: impl Fn(usize) -> bool) -> Vec<Option<usize>> {
    let mut consumers = vec![Vec::new(); nodes.len()];
    for (id, node) in nodes.iter().enumerate() {
        for &input in &node.inputs {
            if consumers[input].last() != Some(&id) {
                consumers[input].push(id);
            }
        }
    }
    let only = |id: usize| match consumers[id][..] {
        [one] if !is_output(id) => Some(one),
        _ => None,
    };
    (0..nodes.len()).map(only).collect()
}
