//! The poolings against plain f64 loops.

use gradus::graph::{Graph, Init, PlanOptions};
use gradus::nn::{AvgPool2d, Conv2d, MaxPool2d};

use crate::common::{noise, noises};
use crate::network::{distinct, gpus, run};
use crate::ops::{Case, check_all};
use crate::reference::{self, Slide, assert_close, wide};

fn pool(slide: Slide) -> MaxPool2d {
    let pool = MaxPool2d::new(slide.kernel).stride(slide.stride).padding(slide.padding);
    pool.dilation(slide.dilation).ceil_mode(slide.ceil_mode)
}

const POOLS: [([usize; 4], Slide); 17] = [
    ([2, 3, 6, 6], Slide::new([2, 2], [2, 2], [0, 0])),
    ([1, 1, 7, 5], Slide::new([2, 2], [2, 2], [0, 0])),
    ([1, 5, 5, 5], Slide::new([3, 3], [1, 1], [1, 1])),
    ([2, 4, 7, 9], Slide::new([3, 3], [2, 2], [1, 1])),
    ([1, 17, 6, 7], Slide::new([2, 3], [1, 2], [1, 1])),
    ([1, 2, 4, 4], Slide::new([4, 4], [4, 4], [2, 2])),
    ([1, 3, 9, 9], Slide::new([2, 2], [3, 3], [0, 0])),
    ([1, 2, 3, 40], Slide::new([1, 5], [1, 1], [0, 2])),
    ([3, 2, 3, 3], Slide::new([1, 1], [1, 1], [0, 0])),
    // A last window that hangs over the edge, one that would begin beyond it, and one that is all there is.
    ([2, 3, 7, 5], Slide::new([2, 2], [2, 2], [0, 0]).ceil()),
    ([1, 5, 6, 8], Slide::new([2, 3], [3, 2], [1, 1]).ceil()),
    ([1, 2, 5, 4], Slide::new([2, 2], [2, 2], [1, 1]).ceil()),
    ([2, 1, 2, 3], Slide::new([4, 3], [3, 5], [0, 1]).ceil()),
    ([1, 3, 7, 7], Slide::new([1, 1], [4, 3], [0, 0]).ceil()),
    ([2, 3, 9, 8], Slide::new([3, 2], [1, 2], [2, 1]).dilated([2, 3])),
    ([1, 2, 8, 7], Slide::new([2, 3], [2, 3], [1, 2]).dilated([3, 2]).ceil()),
    ([1, 4, 6, 6], Slide::new([2, 2], [2, 2], [0, 0]).dilated([2, 1])),
];

#[test]
fn max_pool2d_takes_the_largest_and_sends_its_gradient_there() {
    let gpus = gpus();
    for (shape, slide) in POOLS {
        let len: usize = shape.iter().product();
        let case = Case {
            name: format!("max_pool2d of {shape:?}, {slide:?}"),
            parameters: vec![("x", distinct(6, len))],
            labels: None,
            build: &|graph| graph.parameter("x", shape, Init::Constant(0.0)).max_pool2d(pool(slide)),
            value: &|t| reference::max_pool2d(&t[0], shape, &slide).0,
            half: 0.1 / len as f64,
        };
        check_all(&gpus, &case, len * slide.kernel[0] * slide.kernel[1]);
    }
}

#[test]
fn the_first_of_equals_takes_the_gradient_of_a_window() {
    for gpu in gpus() {
        for (shape, slide) in POOLS {
            let len: usize = shape.iter().product();
            // Few values, most of them negative or zero: ties in nearly every window.
            let x: Vec<f32> = (0..len).map(|i| (noise(7, i) * 2.0).round() - 1.0).collect();
            let graph = Graph::new();
            let y = graph.parameter("x", shape, Init::Constant(0.0)).max_pool2d(pool(slide));
            let (want, places) = reference::max_pool2d(&wide(&x), shape, &slide);
            let dy = noises(8, want.len());
            let options = PlanOptions::train(&y).upstream("dy");
            let got = run(&gpu, &graph, &options, &[("x", &x)], &[("dy", &dy)], &["loss"]);
            let what = format!("max_pool2d of {shape:?}, {slide:?}, with {:?} kernels", gpu.kernel_kind());
            assert_close(&what, &got.outputs["loss"], &want);
            let mut gradient = vec![0.0; len];
            for (place, dy) in places.iter().zip(&dy) {
                gradient[*place] += f64::from(*dy);
            }
            assert_close(&format!("{what}: gradient"), &got.gradients["x"], &gradient);
        }
    }
}

#[test]
fn a_pooling_after_a_convolution_keeps_its_last_windows() {
    // Neither may run in the kernel of a convolution with tiles.
    let rows = [
        ([2, 3, 5, 7], Slide::new([3, 3], [1, 1], [1, 1]), Slide::new([2, 2], [2, 2], [0, 0]).ceil()),
        (
            [2, 3, 6, 6],
            Slide::new([3, 3], [1, 1], [1, 1]),
            Slide::new([2, 2], [2, 2], [0, 0]).dilated([2, 2]),
        ),
        (
            [2, 3, 7, 9],
            Slide::new([3, 3], [1, 1], [1, 1]).dilated([2, 2]),
            Slide::new([2, 2], [2, 2], [0, 0]),
        ),
    ];
    for gpu in gpus() {
        for (shape, conv, slide) in rows {
            let graph = Graph::new();
            let layer = Conv2d::new(16, conv.kernel).padding(conv.padding).dilation(conv.dilation).name("c");
            let x = graph.parameter("x", shape, Init::Constant(0.0));
            let y = x.conv2d(layer.without_bias()).relu().max_pool2d(pool(slide));
            let (x, w) = (noises(1, shape.iter().product()), noises(2, 16 * 3 * 9));
            let sums = reference::conv2d(&wide(&x), shape, &wide(&w), 16, None, &conv);
            let [height, width] = conv.output([shape[2], shape[3]]);
            let want =
                reference::max_pool2d(&reference::relu(&sums), [shape[0], 16, height, width], &slide).0;
            let options = PlanOptions::evaluate().output("y", &y);
            let got = run(&gpu, &graph, &options, &[("x", &x), ("c.weight", &w)], &[], &["y"]);
            let what = format!("{slide:?} after {conv:?} with {:?} kernels", gpu.kernel_kind());
            assert_close(&what, &got.outputs["y"], &want);
        }
    }
}

#[test]
fn avg_pool2d_is_the_mean_of_its_window() {
    let gpus = gpus();
    for (number, (shape, slide)) in POOLS.into_iter().filter(|(_, s)| s.dilation == [1, 1]).enumerate() {
        for (count_padding, divisor) in [(true, None), (false, None), (number % 2 == 0, Some(3))] {
            let len: usize = shape.iter().product();
            let case = Case {
                name: format!("avg_pool2d of {shape:?}, {slide:?}, {count_padding}, {divisor:?}"),
                parameters: vec![("x", noises(6, len))],
                labels: None,
                build: &|graph| {
                    let layer = AvgPool2d::new(slide.kernel).stride(slide.stride).padding(slide.padding);
                    let layer = layer.ceil_mode(slide.ceil_mode).count_include_pad(count_padding);
                    let x = graph.parameter("x", shape, Init::Constant(0.0));
                    x.avg_pool2d(layer.divisor_override(divisor))
                },
                value: &|t| reference::avg_pool2d(&t[0], shape, &slide, count_padding, divisor),
                half: 0.5,
            };
            check_all(&gpus, &case, len * slide.kernel[0] * slide.kernel[1]);
        }
    }
}

#[test]
fn a_mean_with_a_nan_is_nan_and_others_are_not() {
    for gpu in gpus() {
        let graph = Graph::new();
        let y = graph.parameter("x", [1, 3, 2, 4], Init::Constant(0.0)).avg_pool2d(2);
        let mut x = vec![1.0_f32; 24];
        x[2] = f32::NAN;
        let options = PlanOptions::evaluate().output("y", &y);
        let got = run(&gpu, &graph, &options, &[("x", &x)], &[], &["y"]).outputs;
        let y = &got["y"];
        assert!(y[0] == 1.0 && y[1].is_nan() && y[2..] == [1.0; 4], "{y:?}");
    }
}
