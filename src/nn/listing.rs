mod moves;
mod sequences;

use super::{
    AvgPool2d, BatchNorm, Conv2d, CrossEntropy, GroupNorm, Init, LayerNorm, Linear, MaxPool2d, RMSNorm,
};
use crate::gpu::{Capabilities, KernelListing};
use crate::graph::{Graph, PlanOptions, Var, autodiff, resident};

/// A kernel of every file and of every variant that has text of its own, for tests.
pub(crate) fn kernel_listings() -> Vec<KernelListing> {
    let mut listings = resident::kernel_listings();
    for capabilities in Capabilities::of_each_kind() {
        for accumulate in [false, true] {
            let graphs =
                [everything(), long_lines(), long_sums(), moves::moves(), norms(), sequences::sequences()];
            for (graph, loss, accuracy) in graphs {
                let options =
                    PlanOptions { accumulate, ..PlanOptions::train(&loss).output("accuracy", &accuracy) };
                let lowering = autodiff::lower(&graph, &options, &capabilities)
                    .expect("the graphs of all kernels are sound");
                for step in lowering.steps {
                    if listings.iter().all(|listing| listing.source != *step.kernel) {
                        let source = step.kernel.as_ref().clone();
                        listings.push(KernelListing { source, blocks: vec![step.block] });
                    }
                }
            }
        }
    }
    listings
}

/// A graph in which every operation occurs: wide and narrow, strided and dilated, pooled and not, with one input
/// and two.
fn everything() -> (Graph, Var, Var) {
    let graph = Graph::new();
    let (x, y) = (graph.input("x", [6, 3, 12, 12]), graph.labels("y", 6));
    let shift = graph.parameter("shift", [6, 8, 12, 12], Init::Normal { std: 1.0 });
    // The first relu has no neighbour to run in.
    let a = x.relu().conv2d(Conv2d::new(8, 3).padding(1)).relu();
    let b = a.add(&shift).bias().relu();
    let c = b.conv2d(Conv2d::new(40, 3).padding(1)).add(&a.conv2d(Conv2d::new(40, 1).without_bias()));
    let d = c.relu().max_pool2d(2).conv2d(Conv2d::new(16, 3).padding(1)).max_pool2d(2);
    let e = d.conv2d(Conv2d::new(16, 3).stride(2)).relu().max_pool2d(MaxPool2d::new(2).stride(1).padding(1));
    let f = e.conv2d(Conv2d::new(32, 3).padding(1)).relu().max_pool2d(2);
    let g = f.sigmoid().tanh().gelu().gelu_tanh().softmax(1).log_softmax(-1).dropout(0.5);
    let g = g.dropout_mask(0.5, &f);
    let h = g.add(&f.conv2d(Conv2d::new(32, 2).dilation(2).padding(1))).avg_pool2d(AvgPool2d::new(1));
    let logits = h.flatten().linear(32).relu().linear(Linear::new(7)).linear(5);
    let weighted = CrossEntropy::new().label_smoothing(0.1).weight(&[1.0, 0.5, 2.0, 1.0, 3.0]);
    let loss = logits.cross_entropy_with(weighted, &y).add(&logits.mse_loss(&logits.relu()));
    let accuracy = logits.accuracy(&y);
    (graph, loss, accuracy)
}

/// A graph of operations along lines that are too long for one invocation.
fn long_lines() -> (Graph, Var, Var) {
    let graph = Graph::new();
    let y = graph.labels("y", 2000);
    let logits = graph.parameter("logits", [2000, 5001], Init::Constant(0.0));
    let options = CrossEntropy::new().label_smoothing(0.1);
    let loss = logits.softmax(0).log_softmax(1).cross_entropy_with(options, &y);
    (graph.clone(), loss, logits.accuracy(&y))
}

/// A graph of products, convolutions and poolings that sum too much for one invocation.
fn long_sums() -> (Graph, Var, Var) {
    let graph = Graph::new();
    let (x, y) = (graph.input("x", [1, 1, 347, 365]), graph.labels("y", 1));
    let x = x.bias();
    // Its weights take whole rounds of pixels, and the kernel after it is larger than one invocation sums.
    let a = x.conv2d(Conv2d::new(2, [48, 32]).without_bias()).conv2d(Conv2d::new(3, [200, 200]));
    // Many channels, with and without strides, in both directions.
    let b = a.conv2d(Conv2d::new(30_000, 3).stride(2)).conv2d(Conv2d::new(2, 3).padding(1));
    let b = b.conv2d(Conv2d::new(40_000, 2)).conv2d(Conv2d::new(3, 2).padding(1));
    // One row of pixels that is cut.
    let c = graph.input("row", [1, 2, 1, 300_001]).bias().conv2d(Conv2d::new(1, [1, 3]));
    // Windows with places of 16 and of 32 bits.
    let narrow = MaxPool2d::new([130, 131]).stride(1);
    let d = x.relu().max_pool2d(narrow).add(&x.avg_pool2d(AvgPool2d::new([130, 131]).stride(1)));
    let e = x.max_pool2d(MaxPool2d::new([300, 301]).stride(1)).mean();
    let means = [b.mean(), c.mean(), d.mean(), e, graph.input("rows", [70_001, 4]).linear(3).mean()];
    let logits = c.flatten().linear(4).linear(70_000).linear(5);
    let loss = means.iter().fold(logits.cross_entropy(&y), |sum, mean| sum.add(mean));
    (graph.clone(), loss, logits.accuracy(&y))
}

/// A graph of normalisations of whole lines, of lines in parts and of groups that share quads, with and without tensors.
fn norms() -> (Graph, Var, Var) {
    let graph = Graph::new();
    let y = graph.labels("y", 2000);
    let x = graph.parameter("x", [2000, 30], Init::Normal { std: 1.0 });
    let plain = |x: &Var| x.layer_norm(LayerNorm::new(30).elementwise_affine(false));
    let a = plain(&x.layer_norm(30)).layer_norm(LayerNorm::new(30).without_bias()).rms_norm(30);
    let a = a.layer_norm([2000, 30]).rms_norm(RMSNorm::new([2000, 30]).elementwise_affine(false));
    let counted = BatchNorm::new().momentum(None);
    let fixed = BatchNorm::new().training(false);
    let untracked = BatchNorm::new().affine(false).track_running_stats(false);
    let batch = |x: &Var| {
        let x = x.batch_norm1d(BatchNorm::new()).batch_norm1d(counted.clone()).batch_norm1d(fixed.clone());
        x.batch_norm1d(untracked.clone()).batch_norm1d(fixed.clone().affine(false))
    };
    let logits = batch(&a);
    let images = graph.parameter("images", [2, 12, 9, 11], Init::Normal { std: 1.0 });
    // Groups of whole quads and others; then of more than one invocation takes.
    let b = images.group_norm(3).group_norm(4).group_norm(GroupNorm::new(2).affine(false));
    let narrow = graph.parameter("narrow", [20, 12], Init::Normal { std: 1.0 });
    let large = graph.parameter("large", [1, 12, 1, 3000], Init::Normal { std: 1.0 });
    let c = large.group_norm(3).group_norm(4).batch_norm2d(BatchNorm::new());
    let means = [b.batch_norm2d(counted.clone()).mean(), batch(&narrow).mean(), c.mean()];
    let loss = means.iter().fold(logits.cross_entropy(&y), |sum, mean| sum.add(mean));
    (graph, loss, logits.accuracy(&y))
}
