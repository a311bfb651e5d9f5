//! Attention over tiles of rows.

use gradus::graph::{Graph, Init, Var};
use gradus::nn::ScaledDotProductAttention;

use super::{Case, KernelKind, dispatches, gpus};
use crate::common::{noise, noises};

/// Queries, keys, elements of a query, elements of a value.
type Sizes = [usize; 4];

/// Tiles of rows that are whole and that are not, of columns that are staged together, and of heads of one sum; and whether
/// attention is causal, dropped and masked.
const CASES: [(Sizes, [bool; 3]); 5] = [
    ([32, 32, 64, 64], [false; 3]),
    ([33, 65, 9, 128], [true, false, true]),
    ([70, 40, 100, 6], [false, true, true]),
    ([40, 33, 128, 128], [true, true, false]),
    ([95, 129, 3, 36], [true, true, true]),
];

fn tensors([queries, keys, features, values]: Sizes) -> super::Values {
    vec![
        ("q", noises(1, 2 * queries * 3 * features)),
        ("k", noises(2, 2 * keys * 3 * features)),
        ("v", noises(3, 2 * keys * 3 * values)),
    ]
}

/// Two batches of three heads, which lie beside each other in the rows of the parameters.
fn attend(
    graph: &Graph,
    [queries, keys, features, values]: Sizes,
    options: ScaledDotProductAttention,
) -> Var {
    let heads = |name: &str, rows: usize, columns: usize| {
        let x = graph.parameter(name, [2, rows, 3 * columns], Init::Constant(0.0));
        x.reshape(&[2, isize::try_from(rows).unwrap(), 3, isize::try_from(columns).unwrap()])
            .permute(&[0, 2, 1, 3])
    };
    let [q, k, v] = [heads("q", queries, features), heads("k", keys, features), heads("v", keys, values)];
    q.scaled_dot_product_attention(&k, &v, options)
}

#[test]
fn attention_is_the_same_over_tiles() {
    let gpus = gpus();
    for (sizes, [is_causal, drops, is_masked]) in CASES {
        let build = |graph: &Graph| {
            let options = ScaledDotProductAttention::new().is_causal(is_causal);
            let options = options.dropout_p(if drops { 0.3 } else { 0.0 });
            let mask =
                |graph: &Graph| graph.parameter("mask", [2, 1, sizes[0], sizes[1]], Init::Constant(0.0));
            attend(graph, sizes, if is_masked { options.attn_mask(&mask(graph)) } else { options })
        };
        let mask = (0..2 * sizes[0] * sizes[1]).map(|at| f32::from(noise(9, at) > -0.5)).collect();
        let mut values = tensors(sizes);
        values.extend(is_masked.then_some(("mask", mask)));
        let name = format!("attention of {sizes:?}, causal {is_causal}, dropped {drops}, masked {is_masked}");
        Case { name, values, labels: None, build: &build }.check(&gpus);
    }
}

#[test]
fn long_sequences_are_tiled_and_take_as_many_dispatches_as_short_ones() {
    let gpus = gpus();
    let Some(gpu) = gpus.iter().find(|gpu| gpu.kernel_kind() == KernelKind::Gpu) else { return };
    // Forward, the sums of queries, and the gradients of the query and of key and value, which are two for large heads.
    for (sizes, tiled, all) in [
        ([31, 40, 64, 64], 0, 4),
        ([32, 32, 64, 64], 3, 4),
        ([200, 300, 36, 8], 3, 4),
        ([64, 64, 128, 128], 4, 5),
        ([64, 64, 129, 128], 0, 5),
    ] {
        let build = |graph: &Graph| attend(graph, sizes, ScaledDotProductAttention::new());
        let count = |kernels: &[&str]| dispatches(gpu, &build, kernels).len();
        assert_eq!(count(&["_tiled"]), tiled, "{sizes:?}");
        assert_eq!(count(&[": attention"]), all, "{sizes:?}");
    }
}
