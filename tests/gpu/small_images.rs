//! Convolutions of images that are smaller than a tile of their sums: a tile goes on in the next image.

use gradus::graph::{Graph, HostData, Init, PlanOptions};
use gradus::nn::Conv2d;

use crate::common::noises;
use crate::convolutions::{check, slide};
use crate::network::{gpus, run};

/// Images, channels, height, width, output channels, and whether the sums are pooled.
const CASES: [([usize; 4], usize, bool); 8] = [
    ([5, 16, 2, 2], 32, false),
    ([9, 6, 1, 3], 20, false),
    ([7, 8, 3, 4], 40, false),
    ([3, 16, 7, 7], 16, false),
    ([5, 16, 2, 2], 32, true),
    ([7, 8, 4, 5], 16, true),
    ([3, 12, 6, 14], 32, true),
    ([3, 1, 5, 12], 16, true),
];

/// The bits of the output and of the input's gradient are those of each image by itself.
#[test]
fn images_of_a_batch_are_convolved_as_each_alone() {
    for gpu in gpus() {
        for (shape, out, pooled) in CASES {
            let [images, channels, height, width] = shape;
            let each = channels * height * width;
            let x = noises(1, images * each);
            let (weight, bias) = (noises(2, out * channels * 9), noises(3, out));
            let outputs = if pooled { height / 2 * (width / 2) } else { height * width } * out;
            let dy = noises(4, images * outputs);
            let passes = |images: usize, x: &[f32], dy: &[f32]| {
                let graph = Graph::new();
                let input = graph.parameter("x", [images, channels, height, width], Init::Constant(0.0));
                let sums = input.conv2d(Conv2d::new(out, 3).padding(1).name("conv"));
                let y = if pooled { sums.relu().max_pool2d(2) } else { sums.relu() };
                let values: [(&str, &[f32]); 3] = [("x", x), ("conv.weight", &weight), ("conv.bias", &bias)];
                let dy = dy.to_vec();
                let inputs: [(&str, &dyn HostData); 1] = [("dy", &dy)];
                let options = PlanOptions::train(&y).upstream("dy");
                let got = run(&gpu, &graph, &options, &values, &inputs, &["loss"]);
                (got.outputs["loss"].clone(), got.gradients["x"].clone())
            };
            let (y, dx) = passes(images, &x, &dy);
            for image in 0..images {
                let [its_x, its_y] = [each, outputs].map(|len| image * len..(image + 1) * len);
                let alone = passes(1, &x[its_x.clone()], &dy[its_y.clone()]);
                let what = format!("image {image} of {shape:?} to {out}, {:?} kernels", gpu.kernel_kind());
                assert!(y[its_y] == alone.0, "{what}: pooled {pooled}");
                assert!(dx[its_x] == alone.1, "{what}: gradient, pooled {pooled}");
            }
        }
    }
}

#[test]
fn kernels_and_strides_over_small_images_sum_their_windows() {
    let gpus = gpus();
    for (x, out, kernel, stride, padding) in [
        ([5, 16, 2, 2], 32, [3, 3], [1, 1], [1, 1]),
        ([5, 5, 2, 2], 32, [5, 5], [1, 1], [2, 2]),
        ([4, 8, 3, 3], 12, [3, 3], [2, 2], [1, 1]),
        ([6, 4, 4, 4], 36, [3, 3], [1, 1], [0, 0]),
        ([3, 3, 8, 8], 16, [5, 5], [1, 1], [2, 2]),
        ([3, 4, 5, 9], 16, [1, 4], [1, 2], [0, 3]),
        ([9, 16, 1, 1], 8, [3, 3], [1, 1], [1, 1]),
    ] {
        check(&gpus, x, out, 1, slide(kernel, stride, padding), true);
    }
}
