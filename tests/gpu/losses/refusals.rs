//! What losses refuse.

use gradus::graph::{Graph, Var};
use gradus::nn::{BCEWithLogitsLoss, CosineEmbeddingLoss, CrossEntropy, HuberLoss, NllLoss, SmoothL1Loss};

#[test]
fn losses_refuse_shapes_and_options_with_their_names() {
    let x = |graph: &Graph| graph.input("x", [4, 3]);
    type Build<'a> = &'a dyn Fn(&Graph) -> Var;
    let rows: [(Build<'_>, &str); 17] = [
        (&|g| x(g).l1_loss(&g.input("t", [4, 1])), "l1_loss_1: expected [4, 3] for both inputs, got [4, 1]"),
        (
            &|g| x(g).binary_cross_entropy(&g.input("t", [3])),
            "binary_cross_entropy1: expected [4, 3] for both inputs, got [3]",
        ),
        (
            &|g| {
                let options = BCEWithLogitsLoss::new().pos_weight(&g.input("w", [4]));
                x(g).binary_cross_entropy_with_logits_with(options, &g.input("t", [4, 3]))
            },
            "binary_cross_entropy_with_logits1: expected a shape that broadcasts with [4, 3], got [4]",
        ),
        (
            &|g| {
                let options = BCEWithLogitsLoss::new().pos_weight(&g.input("w", [2, 4, 3]));
                x(g).binary_cross_entropy_with_logits_with(options, &g.input("t", [4, 3]))
            },
            "binary_cross_entropy_with_logits1: expected a weight that broadcasts to [4, 3], got [2, 4, 3]",
        ),
        (
            &|g| x(g).smooth_l1_loss_with(SmoothL1Loss::new().beta(-0.1), &g.input("t", [4, 3])),
            "smooth_l1_loss_1: beta must be finite and at least 0, got -0.1",
        ),
        (
            &|g| x(g).smooth_l1_loss_with(SmoothL1Loss::new().beta(1e39), &g.input("t", [4, 3])),
            "smooth_l1_loss_1: beta must be finite in 32 bits, got 1e39",
        ),
        (
            &|g| x(g).huber_loss_with(HuberLoss::new().delta(0.0), &g.input("t", [4, 3])),
            "huber_loss1: delta must be finite and above 0, got 0",
        ),
        (
            &|g| x(g).huber_loss_with(HuberLoss::new().delta(f64::NAN), &g.input("t", [4, 3])),
            "huber_loss1: delta must be finite and above 0, got NaN",
        ),
        (
            &|g| {
                let options = CosineEmbeddingLoss::new().margin(1.1);
                x(g).cosine_embedding_loss_with(options, &g.input("o", [4, 3]), &g.input("t", [4]))
            },
            "cosine_embedding_loss2: margin must be in [-1, 1], got 1.1",
        ),
        (
            &|g| x(g).cosine_embedding_loss(&g.input("o", [1, 3]), &g.input("t", [4])),
            "cosine_embedding_loss1: expected [4, 3] for both inputs, got [1, 3]",
        ),
        (
            &|g| x(g).cosine_embedding_loss(&g.input("o", [4, 3]), &g.input("t", [3])),
            "cosine_embedding_loss2: expected [4] for both inputs, got [3]",
        ),
        (
            &|g| g.input("a", [4]).cosine_embedding_loss(&g.input("o", [4]), &g.input("t", [1])),
            "cosine_embedding_loss1: expected rows [N, D], got [4]",
        ),
        (
            &|g| x(g).nll_loss(&g.labels("y", [4, 3])),
            "nll_loss1: expected labels [4] for logarithms of probabilities [4, 3], got [4, 3]",
        ),
        (
            &|g| x(g).nll_loss_with(NllLoss::new().weight(&[1.0; 4]), &g.labels("y", 4)),
            "nll_loss1: weight: expected 3 elements, got 4",
        ),
        (
            &|g| g.input("a", [2, 3, 5]).cross_entropy(&g.labels("y", [2, 4])),
            "cross_entropy1: expected labels [2, 5] for logits [2, 3, 5], got [2, 4]",
        ),
        (
            &|g| x(g).cross_entropy(&g.input("t", [4, 2])),
            "cross_entropy1: expected [4, 3] for both inputs, got [4, 2]",
        ),
        (
            &|g| x(g).cross_entropy_with(CrossEntropy::new().ignore_index(1), &g.input("t", [4, 3])),
            "cross_entropy1: ignore_index must be none where the target holds probabilities, got 1",
        ),
    ];
    for (build, message) in rows {
        let graph = Graph::new();
        let _ = build(&graph);
        assert_eq!(graph.check().map_err(|error| error.to_string()), Err(message.to_owned()));
    }
}
