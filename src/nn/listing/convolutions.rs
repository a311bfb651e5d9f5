use super::super::{Conv2d, Init};
use crate::graph::{Graph, Var};

/// A graph of convolutions that use every tile size on GPUs, forward and backward, with sums that do and do not fill
/// tiles, and grouped.
pub(super) fn convolutions() -> (Graph, Var, Var) {
    let graph = Graph::new();
    let image = |name: &str, shape: [usize; 4]| graph.input(name, shape).bias();
    let conv = |out| Conv2d::new(out, 3).padding(1);
    // Many pixels: from many channels, to few, and both.
    let wide = image("wide", [64, 128, 32, 32]).conv2d(conv(128)).relu().conv2d(conv(12));
    let wide = wide.conv2d(conv(12)).conv2d(conv(128)).conv2d(Conv2d::new(12, 3).stride([2, 1]));
    let odd = image("odd", [1, 128, 251, 251]).conv2d(conv(128)).conv2d(conv(12)).conv2d(conv(12));
    let some = image("some", [16, 64, 16, 16]).conv2d(conv(64)).conv2d(conv(12)).conv2d(conv(64));
    let others = image("others", [16, 64, 17, 15]).conv2d(conv(64).groups(2)).conv2d(conv(64).stride(2));
    let few = image("few", [2, 32, 8, 8]).conv2d(conv(32)).conv2d(conv(12)).conv2d(conv(12));
    // A weight large enough that its gradient uses large tiles, or tall ones.
    let heavy = image("heavy", [2, 512, 8, 8]).conv2d(conv(512)).mean();
    let heavy = heavy.add(&image("heavier", [1, 512, 7, 7]).conv2d(conv(512)).mean());
    let tall = image("tall", [2, 4096, 8, 8]).conv2d(conv(12)).mean();
    let tall = tall.add(&image("taller", [1, 4096, 7, 7]).conv2d(conv(12)).mean());
    let losses = [wide, odd, some, others, few].map(|value| value.mean());
    let (logits, labels) = (graph.parameter("logits", [4, 3], Init::Constant(0.0)), graph.labels("y", 4));
    let loss =
        losses.iter().chain([&heavy, &tall]).fold(logits.cross_entropy(&labels), |sum, loss| sum.add(loss));
    (graph.clone(), loss, logits.accuracy(&labels))
}
