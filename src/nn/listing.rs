mod convolutions;
mod functions;
mod losses;
mod moves;
mod sequences;
#[cfg(test)]
mod tests;

use super::{
    AvgPool2d, BatchNorm, Conv1d, Conv2d, ConvTranspose2d, CrossEntropy, Embedding, GroupNorm, Init,
    LayerNorm, Linear, MaxPool2d, Padding, RMSNorm, ScaledDotProductAttention,
};
use crate::gpu::{Capabilities, KernelListing};
use crate::graph::{CustomOp, Dtype, Graph, PlanOptions, Var, autodiff, ops, resident};

/// One kernel for each WGSL file and for each variant with different text. For tests.
pub(crate) fn kernel_listings() -> Vec<KernelListing> {
    let mut listings = resident::kernel_listings();
    listings.extend(ops::product::kernel_listings());
    let variants = [(false, None), (true, None), (false, Some(Dtype::F16))];
    let of_kinds = Capabilities::of_each_kind().into_iter().flat_map(|kind| variants.map(|way| (kind, way)));
    let of_widths = Capabilities::of_each_width().map(|width| (width, variants[0]));
    for (capabilities, (accumulate, autocast)) in of_kinds.chain(of_widths) {
        let more = [
            moves::moves(),
            convolutions::convolutions(),
            norms(),
            lookups(),
            attentions(),
            sequences::sequences(),
            losses::losses(),
            functions::functions(),
        ];
        let graphs = [everything(), resized(), long_lines(), long_sums()].into_iter().chain(more);
        for (graph, loss, accuracy) in graphs {
            let options = PlanOptions::train(&loss).output("accuracy", &accuracy);
            let options = PlanOptions { accumulate, autocast, casts_all: true, ..options };
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
    listings
}

/// A graph with every operation: wide and narrow, strided and dilated, with and without pooling, with one input and
/// with two.
fn everything() -> (Graph, Var, Var) {
    let graph = Graph::new();
    let (x, y) = (graph.input("x", [6, 3, 12, 12]), graph.labels("y", 6));
    let shift = graph.parameter("shift", [6, 8, 12, 12], Init::Normal { std: 1.0 });
    // The first ReLU has no neighbouring kernel to be fused with.
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
    let logits = custom(&graph, &logits, &y);
    let weighted = CrossEntropy::new().label_smoothing(0.1).weight(&[1.0, 0.5, 2.0, 1.0, 3.0]);
    let loss = logits.cross_entropy_with(weighted, &y).add(&logits.mse_loss(&logits.relu()));
    let plane = graph.input("plane", [6, 1, 8, 8]);
    let pooled = plane.conv2d(Conv2d::new(9, 3)).relu().max_pool2d(2).sum();
    let loss = loss.add(&pooled).add(&plane.conv2d(Conv2d::new(5, 2).stride(2)).sum());
    let loss = loss.add(&product(&graph, [&[3, 1, 5, 7], &[2, 7, 3]], "broadcast"));
    let loss = loss.add(&product(&graph, [&[2, 3, 5, 8], &[2, 3, 8, 4]], "even"));
    let accuracy = logits.accuracy(&y);
    (graph, loss, accuracy)
}

/// A custom operation with all kinds of values, whose names are keywords of other languages.
fn custom(graph: &Graph, x: &Var, labels: &Var) -> Var {
    let rows = |shapes: &[&[usize]]| Ok(vec![shapes[0][0], 1]);
    let wgsl = "fn forward_half(i: u32) -> f32 { return 0.5 * kernel(i * kernel_stride0); }
                fn forward_device(i: u32) -> f32 {
                    return kernel(i) * scalars.float + half(i / kernel_last) + f32(vertex(i / kernel_dim1));
                }
                fn backward_int(i: u32) -> f32 { return grad_device(i * kernel_last); }
                fn backward_kernel(i: u32) -> f32 { return grad_device(i) * scalars.float + int(i / kernel_last); }";
    let op = CustomOp::builder("listed", wgsl).input("kernel").labels("vertex").scalar("float", 0.5);
    let op = op.forward("half", rows).output("device", |shapes| Ok(shapes[0].to_vec())).backward("int", rows);
    graph.custom(&op.build().expect("the op of all kernels is sound"), &[x, labels])
}

/// The mean of a product of two parameters.
fn product(graph: &Graph, [x, other]: [&[usize]; 2], name: &str) -> Var {
    let factor = |which: &str, shape| graph.parameter(&format!("{name}.{which}"), shape, Init::Constant(0.0));
    factor("x", x).matmul(&factor("other", other)).mean()
}

/// A graph of grouped convolutions and resizing, with short and long sums.
fn resized() -> (Graph, Var, Var) {
    let graph = Graph::new();
    let (x, y) = (graph.input("x", [2, 6, 9, 8]).bias(), graph.labels("y", 2));
    // Groups that share a `vec4`, groups that do not, and depthwise.
    let mixed = x.conv2d(Conv2d::new(9, 3).padding(1).groups(3));
    let even = x.conv2d(Conv2d::new(16, 1)).conv2d(Conv2d::new(8, 2).padding(Padding::SAME).groups(2)).relu();
    let each = x.conv2d(Conv2d::new(6, 3).groups(6)).relu().conv2d(Conv2d::new(6, 3).dilation(2).groups(6));
    let apart = x.conv2d(Conv2d::new(6, 3).stride(2).padding(1).groups(6));
    let row = graph.input("row", [2, 4, 30]).bias().conv1d(Conv1d::new(6, 3).stride(2).groups(2));
    let up = mixed.conv_transpose2d(ConvTranspose2d::new(6, 3).stride(2).output_padding(1).groups(3));
    let up = up
        .conv_transpose2d(ConvTranspose2d::new(6, 3).groups(6))
        .conv_transpose2d(ConvTranspose2d::new(4, 2));
    let sizes = [x.adaptive_avg_pool2d([4, 3]), x.upsample(2), x.upsample(1.5)];
    // Sums that are too long for one invocation.
    let large = graph.input("large", [1, 4, 131, 133]).bias();
    let window = || Conv2d::new(4, [130, 131]);
    let long = [
        large.conv2d(window().groups(4)),
        large.conv2d(window().groups(4).stride(2)),
        large.conv2d(Conv2d::new(4, [100, 99]).groups(2)),
        large.conv2d(window().groups(1)).conv_transpose2d(ConvTranspose2d::new(4, [100, 99])),
        large.adaptive_avg_pool2d(1),
        large.adaptive_avg_pool2d(1).adaptive_avg_pool2d([130, 131]),
        large.adaptive_avg_pool2d(1).upsample([130, 131]),
    ];
    let logits = mixed.flatten().linear(5);
    let all = [even, each, apart, row, up].into_iter().chain(sizes).chain(long);
    let loss = all.fold(logits.cross_entropy(&y), |sum, value| sum.add(&value.mean()));
    (graph.clone(), loss, logits.accuracy(&y))
}

/// A graph of embeddings: a small table, a larger one, and many positions.
fn lookups() -> (Graph, Var, Var) {
    let graph = Graph::new();
    let (few, many) = (graph.labels("few", [2, 9]), graph.labels("many", [3, 1500]));
    let tables = [
        few.embedding(Embedding::new(7, 6).padding_idx(1)).mean(),
        few.embedding(Embedding::new(7, 8)).mean(),
        many.embedding(Embedding::new(70_000, 4)).mean(),
        graph.labels("some", 300).embedding(Embedding::new(70_000, 5)).mean(),
        many.embedding(Embedding::new(70_000, 5)).mean(),
    ];
    let (logits, labels) = (graph.parameter("logits", [4, 3], Init::Constant(0.0)), graph.labels("y", 4));
    let loss = tables.iter().fold(logits.cross_entropy(&labels), |sum, table| sum.add(table));
    (graph.clone(), loss, logits.accuracy(&labels))
}

/// A graph of attention: with one and with several tiles of features, masked, with dropout, and causal.
fn attentions() -> (Graph, Var, Var) {
    let graph = Graph::new();
    let tensor = |name: String, shape: [usize; 4]| graph.parameter(&name, shape, Init::Constant(0.0));
    let [mask, long_mask] = ["mask", "long mask"]
        .map(|name| (name, if name == "mask" { 5 } else { 40 }))
        .map(|(name, queries)| graph.input(name, [2, 1, queries, 1]));
    let plain = ScaledDotProductAttention::new();
    let options = [
        (3, 9, plain.clone()),
        (32, 32, plain.clone().is_causal(true)),
        (6, 6, plain.clone().attn_mask(&mask)),
        (6, 6, plain.clone().dropout_p(0.5)),
        (6, 6, plain.attn_mask(&mask).dropout_p(0.5)),
        (68, 132, ScaledDotProductAttention::new()),
    ];
    let long = ScaledDotProductAttention::new();
    // Tiles shared by several workgroups.
    let long = [
        (9, 128, long.clone()),
        (64, 64, long.clone().is_causal(true)),
        (6, 6, long.clone().attn_mask(&long_mask).dropout_p(0.5)),
        (128, 70, long.dropout_p(0.5)),
    ];
    let short = options.into_iter().map(|(features, values, options)| ([5, 7, features, values], options));
    let long = long.into_iter().map(|(features, values, options)| ([40, 33, features, values], options));
    let means = short.chain(long).enumerate().map(|(at, ([queries, keys, features, values], options))| {
        let query = tensor(format!("query{at}"), [2, 3, queries, features]);
        let key = tensor(format!("key{at}"), [2, 3, keys, features]);
        let value = tensor(format!("value{at}"), [2, 3, keys, values]);
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

/// A graph of products, convolutions and poolings whose sums are too long for one invocation.
fn long_sums() -> (Graph, Var, Var) {
    let graph = Graph::new();
    let (x, y) = (graph.input("x", [1, 1, 347, 365]), graph.labels("y", 1));
    let x = x.bias();
    // Its weight gradient sums whole rounds of pixels; the kernel of the next convolution is larger than one
    // invocation sums.
    let a = x.conv2d(Conv2d::new(2, [48, 32]).without_bias()).conv2d(Conv2d::new(3, [200, 200]));
    // Many channels, with and without strides, forward and backward.
    let b = a.conv2d(Conv2d::new(30_000, 3).stride(2)).conv2d(Conv2d::new(2, 3).padding(1));
    let b = b.conv2d(Conv2d::new(40_000, 2)).conv2d(Conv2d::new(3, 2).padding(1));
    // One row of pixels that is split.
    let c = graph.input("row", [1, 2, 1, 300_001]).bias().conv2d(Conv2d::new(1, [1, 3]));
    // Windows with 16-bit and with 32-bit indices.
    let narrow = MaxPool2d::new([130, 131]).stride(1);
    let d = x.relu().max_pool2d(narrow).add(&x.avg_pool2d(AvgPool2d::new([130, 131]).stride(1)));
    let e = x.max_pool2d(MaxPool2d::new([300, 301]).stride(1)).mean();
    let means = [b.mean(), c.mean(), d.mean(), e, graph.input("rows", [70_001, 4]).linear(3).mean()];
    let logits = c.flatten().linear(4).linear(70_000).linear(5);
    let long = product(&graph, [&[2, 1, 70_001], &[70_001, 3]], "long");
    let loss = means.iter().chain([&long]).fold(logits.cross_entropy(&y), |sum, mean| sum.add(mean));
    (graph.clone(), loss, logits.accuracy(&y))
}

/// A graph of normalisations: of whole lines, of split lines, and of groups that share quads; with and without
/// parameters, and with and without a fused chain.
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
    // Groups of whole quads and others, then groups too long for one invocation.
    let b = images.group_norm(3).group_norm(4).group_norm(GroupNorm::new(2).affine(false));
    let narrow = graph.parameter("narrow", [20, 12], Init::Normal { std: 1.0 });
    let large = graph.parameter("large", [1, 12, 1, 3000], Init::Normal { std: 1.0 });
    let c = large.group_norm(3).group_norm(4).batch_norm2d(BatchNorm::new());
    let c =
        c.batch_norm2d(fixed.clone()).relu().batch_norm2d(BatchNorm::new()).gelu().dropout(0.5).add(&large);
    let ended = narrow.layer_norm(12).gelu().add(&narrow).batch_norm1d(BatchNorm::new()).relu();
    let means = [b.batch_norm2d(counted.clone()).mean(), batch(&narrow).mean(), c.mean(), ended.mean()];
    let loss = means.iter().fold(logits.cross_entropy(&y), |sum, mean| sum.add(mean));
    (graph, loss, logits.accuracy(&y))
}
