//! Poolings whose windows are larger than the loops of one invocation may be, against f64. Their kernels are of one
//! kind.

use gradus::Gpu;
use gradus::graph::{Graph, Init, PlanOptions};
use gradus::nn::{AvgPool2d, MaxPool2d};

use crate::common::{gpu, noise, noises};
use crate::network::run;
use crate::reference::{self, Slide, assert_close, wide};

/// Runs a max pooling over `x` and checks the largest and where their gradients go.
fn check_max(gpu: &Gpu, name: &str, x: &[f32], shape: [usize; 4], slide: Slide) {
    let graph = Graph::new();
    let pool = MaxPool2d::new(slide.kernel).stride(slide.stride).padding(slide.padding);
    let pool = pool.dilation(slide.dilation).ceil_mode(slide.ceil_mode);
    let y = graph.parameter("x", shape, Init::Constant(0.0)).max_pool2d(pool);
    let (want, places) = reference::max_pool2d(&wide(x), shape, &slide);
    let dy = noises(8, want.len());
    let options = PlanOptions::train(&y).upstream("dy");
    let got = run(gpu, &graph, &options, &[("x", x)], &[("dy", &dy)], &["loss"]);
    let what = format!("max_pool2d of {shape:?}, {name}, {slide:?}");
    assert_close(&what, &got.outputs["loss"], &want);
    let mut gradient = vec![0.0; x.len()];
    for (place, dy) in places.iter().zip(&dy) {
        gradient[*place] += f64::from(*dy);
    }
    assert_close(&format!("{what}: gradient"), &got.gradients["x"], &gradient);
}

/// Global windows on both sides of the bound of trips, of 16-bit places and of what llvmpipe loops.
const GLOBAL: [[usize; 2]; 9] = [
    [127, 127],
    [128, 128],
    [1, 20_000],
    [20_000, 1],
    [2, 16_384],
    [255, 256],
    [257, 255],
    [300, 300],
    [1, 65_535],
];

#[test]
fn the_largest_of_a_large_window_is_found_wherever_it_stands() {
    if let Some(gpu) = gpu() {
        for kernel in GLOBAL {
            let len = kernel[0] * kernel[1];
            let shape = [1, 3, kernel[0], kernel[1]];
            let slide = Slide::new(kernel, kernel, [0, 0]);
            // The first, the last and another, with ties before and behind.
            for tops in [&[0][..], &[len - 1], &[len / 3], &[len / 2, len - 1], &[0, len / 3, len - 1]] {
                let mut x: Vec<f32> = (0..3 * len).map(|i| (noise(7, i) * 2.0).round() - 3.0).collect();
                for plane in 0..3 {
                    tops.iter().for_each(|top| x[plane * len + top] = 5.0);
                }
                check_max(&gpu, &format!("tops at {tops:?}"), &x, shape, slide);
            }
        }
    }
}

#[test]
fn a_large_window_with_nan_is_nan_from_the_last_of_them() {
    if let Some(gpu) = gpu() {
        for kernel in [[128, 128], [255, 256], [300, 300]] {
            let len = kernel[0] * kernel[1];
            for nans in [&[0][..], &[len - 1], &[3, len / 2]] {
                let graph = Graph::new();
                let x = graph.parameter("x", [1, 1, kernel[0], kernel[1]], Init::Constant(0.0));
                let y = x.max_pool2d(kernel);
                let mut x = noises(3, len);
                nans.iter().for_each(|at| x[*at] = f32::NAN);
                let options = PlanOptions::train(&y).upstream("dy");
                let got = run(&gpu, &graph, &options, &[("x", &x)], &[("dy", &vec![2.0_f32])], &["loss"]);
                assert!(got.outputs["loss"][0].is_nan(), "{kernel:?} with NaN at {nans:?}");
                let gradient = &got.gradients["x"];
                let at = gradient.iter().position(|g| *g != 0.0);
                assert_eq!((at, gradient[nans[nans.len() - 1]]), (nans.last().copied(), 2.0), "{kernel:?}");
            }
        }
    }
}

#[test]
fn a_relu_before_a_large_window_runs_after_the_last_tile() {
    if let Some(gpu) = gpu() {
        let kernel = [255, 256];
        let len = kernel[0] * kernel[1];
        for (top, want, slope) in [(0.5_f32, 0.5_f32, 3.0_f32), (-0.25, 0.0, 0.0)] {
            let graph = Graph::new();
            let y = graph.parameter("x", [1, 1, 255, 256], Init::Constant(0.0)).relu().max_pool2d(kernel);
            let mut x = vec![-1.0_f32; len];
            x[len / 5] = top;
            let options = PlanOptions::train(&y).upstream("dy");
            let got = run(&gpu, &graph, &options, &[("x", &x)], &[("dy", &vec![3.0_f32])], &["loss"]);
            assert_eq!(got.outputs["loss"], [want], "{top}");
            assert_eq!(got.gradients["x"][len / 5], slope, "{top}");
            assert_eq!(got.gradients["x"].iter().filter(|g| **g != 0.0).count(), usize::from(slope > 0.0));
        }
    }
}

/// Windows that overlap, with gaps, padding and strides, of more elements than one invocation looks at.
const OVERLAPPING: [([usize; 4], Slide); 7] = [
    ([1, 2, 140, 141], Slide::new([130, 131], [3, 2], [0, 0])),
    ([1, 1, 270, 280], Slide::new([260, 270], [1, 3], [5, 0])),
    ([1, 1, 300, 310], Slide::new([140, 141], [5, 7], [9, 2]).dilated([2, 2])),
    ([2, 1, 1, 20_100], Slide::new([1, 20_000], [1, 9], [0, 100])),
    ([1, 1, 20_100, 1], Slide::new([20_000, 1], [7, 1], [0, 0]).ceil()),
    // All of the image and much of the padding; one element that all windows hold.
    ([1, 5, 4, 5], Slide::new([400, 300], [1, 2], [200, 150])),
    ([1, 1, 1, 1], Slide::new([65_535, 65_535], [1, 1], [32_767, 32_767])),
];

#[test]
fn large_windows_that_overlap_have_their_largest_and_their_means() {
    if let Some(gpu) = gpu() {
        for (shape, slide) in OVERLAPPING {
            let len: usize = shape.iter().product();
            if slide.kernel[0] < 65_535 {
                let x: Vec<f32> = (0..len).map(|i| (noise(7, i) * 40.0).round() - 1.0).collect();
                check_max(&gpu, "noise", &x, shape, slide);
            }
            if slide.dilation == [1, 1] && slide.kernel[0] < 65_535 {
                check_mean(&gpu, shape, slide, true);
                check_mean(&gpu, shape, slide, false);
            }
        }
    }
}

#[test]
fn a_window_that_is_nearly_all_padding_takes_no_time_for_it() {
    let (shape, slide) = OVERLAPPING[6];
    if let Some(gpu) = gpu() {
        let graph = Graph::new();
        let x = graph.parameter("x", shape, Init::Constant(0.0));
        let pool = MaxPool2d::new(slide.kernel).stride(slide.stride).padding(slide.padding);
        let mean = AvgPool2d::new(slide.kernel).padding(slide.padding).count_include_pad(false);
        let y = x.max_pool2d(pool).add(&x.avg_pool2d(mean));
        let options = PlanOptions::train(&y).upstream("dy");
        let got = run(&gpu, &graph, &options, &[("x", &[-0.5])], &[("dy", &vec![2.0_f32])], &["loss"]);
        assert_eq!((got.outputs["loss"][0], got.gradients["x"][0]), (-1.0, 4.0));
    }
}

fn check_mean(gpu: &Gpu, shape: [usize; 4], slide: Slide, count_padding: bool) {
    let [_, _, h, w] = shape;
    let graph = Graph::new();
    let pool = AvgPool2d::new(slide.kernel).stride(slide.stride).padding(slide.padding);
    let pool = pool.ceil_mode(slide.ceil_mode).count_include_pad(count_padding);
    let y = graph.parameter("x", shape, Init::Constant(0.0)).avg_pool2d(pool);
    let x = noises(6, shape.iter().product());
    // Sums that do not vanish among so many elements.
    let x: Vec<f32> = x.iter().map(|x| x + 1.0).collect();
    let want = reference::avg_pool2d(&wide(&x), shape, &slide, count_padding, None);
    let dy: Vec<f32> = noises(8, want.len()).iter().map(|dy| dy + 1.0).collect();
    let options = PlanOptions::train(&y).upstream("dy");
    let got = run(gpu, &graph, &options, &[("x", &x)], &[("dy", &dy)], &["loss"]);
    let what = format!("avg_pool2d of {shape:?}, {slide:?}, {count_padding}");
    assert_near(&what, &got.outputs["loss"], &want);
    let [height, width] = slide.output([h, w]);
    let mut gradient = vec![0.0; x.len()];
    for (at, dy) in dy.iter().copied().map(f64::from).enumerate() {
        let (plane, oy, ox) = (at / (height * width), at / width % height, at % width);
        let range = |o: usize, axis: usize, len: usize| {
            let first = o * slide.stride[axis];
            let end = first + slide.kernel[axis];
            let [p, pad] = [slide.padding[axis]; 2];
            let inside = first.max(p) - p..end.min(len + p) - p;
            (inside.clone(), if count_padding { end.min(len + 2 * pad) - first } else { inside.len() })
        };
        let ((rows, tall), (columns, wide)) = (range(oy, 0, h), range(ox, 1, w));
        for row in rows {
            for column in columns.clone() {
                gradient[(plane * h + row) * w + column] += dy / (tall * wide) as f64;
            }
        }
    }
    assert_near(&format!("{what}: gradient"), &got.gradients["x"], &gradient);
}

/// As `assert_close`, of the largest however small it is: gradients of large windows are.
fn assert_near(what: &str, got: &[f32], want: &[f64]) {
    assert_eq!(got.len(), want.len(), "{what}: elements");
    let largest = want.iter().fold(0.0_f64, |largest, x| largest.max(x.abs()));
    for (at, (got, want)) in got.iter().zip(want).enumerate() {
        let apart = (f64::from(*got) - want).abs();
        assert!(apart <= 2e-5 * largest, "{what}: element {at} is {got}, expected {want}");
    }
}

#[test]
fn the_mean_of_a_large_window_is_that_of_all_its_elements() {
    if let Some(gpu) = gpu() {
        for kernel in GLOBAL {
            check_mean(&gpu, [1, 2, kernel[0], kernel[1]], Slide::new(kernel, kernel, [0, 0]), true);
        }
    }
}

/// Each element lies in more windows than one invocation looks at.
#[test]
fn elements_of_very_many_windows_gather_all_their_gradients() {
    if let Some(gpu) = gpu() {
        let slide = Slide::new([1, 16_384], [1, 1], [0, 8_192]);
        let shape = [1, 1, 1, 16_400];
        let x: Vec<f32> = (0..shape[3]).map(|i| (noise(7, i) * 9.0).round()).collect();
        check_max(&gpu, "noise", &x, shape, slide);
        check_mean(&gpu, shape, slide, true);
    }
}
