mod moves;

use super::{AvgPool2d, Conv2d, CrossEntropy, Embedding, Init, Linear, MaxPool2d, ScaledDotProductAttention};
use crate::gpu::{Capabilities, KernelListing};
use crate::graph::{Graph, PlanOptions, Var, autodiff, resident};

/// A kernel of every file and of every variant that has text of its own, for tests.
pub(crate) fn kernel_listings() -> Vec<KernelListing> {
    let mut listings = resident::kernel_listings();
    for capabilities in Capabilities::of_each_kind() {
        for accumulate in [false, true] {
            let graphs = [everything(), long_lines(), long_sums(), moves::moves(), lookups(), attentions()];
            for (graph, loss, accuracy) in graphs {
                let options =
                    PlanOptions { accumulate, ..PlanOptions::train(&loss).output("accuracy", &accuracy) };
                let lowering = autodiff::lower(&graph, &options, &capabilities)
                    .expect("the graphs of all kernels are sound");
                for step in lowering.steps {
                    if listings.iter().all(|listing| listing.source != step.kernel) {
                        listings.push(KernelListing { source: step.kernel, blocks: vec![step.block] });
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

/// A graph of embeddings: of a small table, of a larger one, and of many places.
fn lookups() -> (Graph, Var, Var) {
    let graph = Graph::new();
    let (few, many) = (graph.labels("few", [2, 9]), graph.labels("many", [3, 1500]));
    let tables = [
        few.embedding(Embedding::new(7, 6).padding_idx(1)).mean(),
        graph.labels("some", 300).embedding(Embedding::new(70_000, 5)).mean(),
        many.embedding(Embedding::new(70_000, 5)).mean(),
    ];
    let (logits, labels) = (graph.parameter("logits", [4, 3], Init::Constant(0.0)), graph.labels("y", 4));
    let loss = tables.iter().fold(logits.cross_entropy(&labels), |sum, table| sum.add(table));
    (graph.clone(), loss, logits.accuracy(&labels))
}

/// A graph of attention: with one tile of features and with several, masked, dropped and causal.
fn attentions() -> (Graph, Var, Var) {
    let graph = Graph::new();
    let tensor = |name: String, shape: [usize; 4]| graph.parameter(&name, shape, Init::Constant(0.0));
    let mask = graph.input("mask", [2, 1, 5, 1]);
    let plain = ScaledDotProductAttention::new();
    let options = [
        (3, 9, plain.clone()),
        (32, 32, plain.clone().is_causal(true)),
        (6, 6, plain.clone().attn_mask(&mask)),
        (6, 6, plain.clone().dropout_p(0.5)),
        (6, 6, plain.attn_mask(&mask).dropout_p(0.5)),
        (68, 132, ScaledDotProductAttention::new()),
    ];
    let means = options.into_iter().enumerate().map(|(at, (features, values, options))| {
        let query = tensor(format!("query{at}"), [2, 3, 5, features]);
        let key = tensor(format!("key{at}"), [2, 3, 7, features]);
        let value = tensor(format!("value{at}"), [2, 3, 7, values]);
        query.scaled_dot_product_attention(&key, &value, options).mean()
    });
    let means: Vec<Var> = means.collect();
    let (logits, labels) = (graph.parameter("logits", [4, 3], Init::Constant(0.0)), graph.labels("y", 4));
    let loss = means.iter().fold(logits.cross_entropy(&labels), |sum, mean| sum.add(mean));
    (graph.clone(), loss, logits.accuracy(&labels))
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
