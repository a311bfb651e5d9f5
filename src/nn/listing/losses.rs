use crate::graph::{Graph, Init, Var};
use crate::nn::{
    BCEWithLogitsLoss, CosineEmbeddingLoss, CrossEntropy, HuberLoss, KLDivLoss, NllLoss, Reduction,
    SmoothL1Loss,
};

/// A graph of all losses, with trained targets.
pub(super) fn losses() -> (Graph, Var, Var) {
    let graph = Graph::new();
    let parameter = |name: &str, shape: &[usize]| graph.parameter(name, shape, Init::Normal { std: 1.0 });
    let (x, target) = (parameter("x", &[6, 5]), parameter("target", &[6, 5]));
    let (y, pairs) = (graph.labels("y", 6), graph.input("pairs", [6]));
    let weight = [1.0, 0.5, 2.0, 1.0, 3.0];
    let weighted = BCEWithLogitsLoss::new().pos_weight(&parameter("pos_weight", &[5]));
    let losses = [
        x.l1_loss(&target),
        x.smooth_l1_loss(&target),
        x.smooth_l1_loss_with(SmoothL1Loss::new().beta(0.0), &target),
        x.huber_loss_with(HuberLoss::new().delta(0.5), &target),
        x.binary_cross_entropy(&target),
        x.binary_cross_entropy_with_logits(&target),
        x.binary_cross_entropy_with_logits_with(weighted, &target),
        x.kl_div_with(KLDivLoss::new().reduction(Reduction::BatchMean), &target),
        x.kl_div_with(KLDivLoss::new().log_target(true), &target),
        x.cosine_embedding_loss_with(CosineEmbeddingLoss::new().margin(0.5), &target, &pairs),
        x.cross_entropy_with(CrossEntropy::new().weight(&weight).label_smoothing(0.1), &target),
        x.nll_loss(&y),
        parameter("places", &[2, 5, 3])
            .nll_loss_with(NllLoss::new().weight(&weight).ignore_index(9), &graph.labels("each", [2, 3])),
        parameter("images", &[2, 5, 3, 2]).cross_entropy(&graph.labels("pixels", [2, 3, 2])),
    ];
    let loss = losses.into_iter().reduce(|sum, loss| sum.add(&loss)).expect("there are losses");
    (graph.clone(), loss, x.accuracy(&y))
}
