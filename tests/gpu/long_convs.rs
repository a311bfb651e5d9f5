//! Convolutions whose sums are longer than the loops of one invocation may be, against f64.

use gradus::Gpu;
use gradus::graph::{Graph, HostData, Init, PlanOptions};
use gradus::nn::Conv2d;

use crate::common::noises;
use crate::network::{gpus, run};
use crate::reference::{self, Slide, assert_close, wide};

/// The gradients of `sum(dy * conv2d(x, w))` with respect to `x`, `w` and the bias.
fn gradients(
    [x, w, dy]: [&[f32]; 3],
    [_, c, h, width]: [usize; 4],
    out: usize,
    slide: &Slide,
) -> [Vec<f64>; 3] {
    let [out_h, out_w] = slide.output([h, width]);
    let [kh, kw] = slide.kernel;
    let (mut dx, mut dw, mut db) = (vec![0.0; x.len()], vec![0.0; w.len()], vec![0.0; out]);
    let inside = |at: usize, k: usize, axis: usize, len: usize| {
        let place = at * slide.stride[axis] + k * slide.dilation[axis];
        place.checked_sub(slide.padding[axis]).filter(|place| *place < len)
    };
    for (at, dy) in dy.iter().copied().map(f64::from).enumerate() {
        let (ox, oy) = (at % out_w, at / out_w % out_h);
        let (o, image) = (at / (out_w * out_h) % out, at / (out_w * out_h * out));
        db[o] += dy;
        for ky in 0..kh {
            let Some(y) = inside(oy, ky, 0, h) else { continue };
            for kx in 0..kw {
                let Some(column) = inside(ox, kx, 1, width) else { continue };
                for channel in 0..c {
                    let x_at = ((image * c + channel) * h + y) * width + column;
                    let w_at = ((o * c + channel) * kh + ky) * kw + kx;
                    dx[x_at] += dy * f64::from(w[w_at]);
                    dw[w_at] += dy * f64::from(x[x_at]);
                }
            }
        }
    }
    [dx, dw, db]
}

fn check(gpu: &Gpu, shape: [usize; 4], out: usize, slide: Slide) {
    let graph = Graph::new();
    let layer = Conv2d::new(out, slide.kernel).stride(slide.stride).padding(slide.padding);
    let layer = layer.dilation(slide.dilation).name("l");
    let y = graph.parameter("x", shape, Init::Constant(0.0)).conv2d(layer);
    let x = noises(1, shape.iter().product());
    let (w, b) = (noises(2, out * shape[1] * slide.kernel[0] * slide.kernel[1]), noises(3, out));
    let dy = noises(4, y.shape().iter().product());
    let values: [(&str, &[f32]); 3] = [("x", &x), ("l.weight", &w), ("l.bias", &b)];
    let options = PlanOptions::train(&y).upstream("dy");
    let got = run(gpu, &graph, &options, &values, &[("dy", &dy)], &["loss"]);
    let what = format!("conv2d of {shape:?} to {out}, {slide:?}, with {:?} kernels", gpu.kernel_kind());
    let want = reference::conv2d(&wide(&x), shape, &wide(&w), out, Some(&wide(&b)), &slide);
    assert_close(&what, &got.outputs["loss"], &want);
    let [dx, dw, db] = gradients([&x, &w, &dy], shape, out, &slide);
    assert_close(&format!("{what}: gradient of x"), &got.gradients["x"], &dx);
    assert_close(&format!("{what}: gradient of the weight"), &got.gradients["l.weight"], &dw);
    assert_close(&format!("{what}: gradient of the bias"), &got.gradients["l.bias"], &db);
}

#[test]
fn weight_gradients_over_many_pixels_are_their_sums() {
    let slide = Slide::new;
    let rows = [
        ([1, 1, 128, 127], 2, slide([3, 3], [1, 1], [1, 1])),
        ([1, 1, 550, 551], 2, slide([3, 3], [1, 1], [1, 1])),
        ([3, 5, 320, 321], 3, slide([2, 2], [1, 1], [0, 0])),
        ([1, 3, 700, 600], 2, slide([1, 1], [1, 1], [0, 0])),
        ([2, 1, 500, 901], 2, slide([3, 2], [2, 1], [1, 0]).dilated([1, 3])),
        // One long row, or one long column.
        ([1, 2, 1, 300_001], 3, slide([1, 3], [1, 1], [0, 1])),
        ([1, 2, 1, 70_000], 3, slide([1, 1], [1, 1], [0, 0])),
        ([1, 1, 2, 140_000], 1, slide([2, 3], [1, 2], [0, 0])),
        ([1, 2, 140_001, 1], 3, slide([3, 1], [1, 1], [1, 0])),
        // More channels, and more parts than lie side by side.
        ([1, 3, 1, 300_001], 9, slide([1, 3], [1, 1], [0, 1])),
    ];
    for gpu in gpus() {
        for (shape, out, slide) in rows {
            check(&gpu, shape, out, slide);
        }
    }
}

/// So many weights that the tiles of one part fill the adapter, and all pixels would be one chain.
#[test]
fn many_weight_gradients_over_many_pixels_are_their_sums() {
    for gpu in gpus() {
        check(&gpu, [1, 1, 347, 365], 1, Slide::new([48, 32], [1, 1], [0, 0]));
    }
}

#[test]
fn large_windows_are_summed() {
    let slide = Slide::new;
    let rows = [
        // On both sides of the bound, in rows, in columns, in both.
        ([1, 1, 70, 130], 2, slide([64, 127], [1, 1], [0, 0])),
        ([1, 1, 101, 102], 2, slide([100, 101], [1, 1], [0, 0])),
        ([1, 2, 1, 8_501], 2, slide([1, 8_500], [1, 1], [0, 0])),
        ([1, 2, 8_501, 1], 2, slide([8_500, 1], [1, 1], [0, 0])),
        ([1, 3, 3_000, 3], 2, slide([2_998, 3], [1, 1], [0, 0])),
        ([1, 2, 300, 6], 9, slide([290, 5], [2, 3], [3, 1])),
        ([2, 1, 260, 300], 2, slide([129, 140], [1, 2], [0, 1]).dilated([2, 2])),
    ];
    for gpu in gpus() {
        for (shape, out, slide) in rows {
            check(&gpu, shape, out, slide);
        }
    }
}

#[test]
fn many_channels_are_summed() {
    let slide = Slide::new;
    let rows = [
        ([1, 70_000, 2, 2], 2, slide([1, 1], [1, 1], [0, 0])),
        ([1, 66_001, 1, 1], 3, slide([1, 1], [1, 1], [0, 0])),
        ([1, 9_001, 3, 4], 3, slide([3, 3], [1, 1], [1, 1])),
        ([1, 3, 3, 4], 9_001, slide([3, 3], [1, 1], [1, 1])),
        ([1, 2, 2, 2], 70_001, slide([1, 1], [1, 1], [0, 0])),
        ([1, 3, 5, 5], 9_000, slide([2, 3], [2, 2], [1, 1])),
        ([1, 9_000, 3, 4], 10, slide([3, 3], [1, 2], [1, 1])),
    ];
    for gpu in gpus() {
        for (shape, out, slide) in rows {
            check(&gpu, shape, out, slide);
        }
    }
}

#[test]
fn what_follows_a_split_convolution_sees_the_whole_sum() {
    let slide = Slide::new([3, 3], [1, 1], [1, 1]);
    let (shape, out) = ([1, 9_000, 4, 6], 16);
    let (x, w) = (noises(1, shape.iter().product()), noises(2, out * 9_000 * 9));
    let sums = reference::conv2d(&wide(&x), shape, &wide(&w), out, None, &slide);
    let rectified = reference::relu(&sums);
    let halves = Slide::new([2, 2], [2, 2], [0, 0]);
    let pooled = reference::max_pool2d(&rectified, [1, out, 4, 6], &halves).0;
    for gpu in gpus() {
        let graph = Graph::new();
        let conv = || Conv2d::new(out, 3).padding(1).without_bias();
        let input = graph.input("x", shape);
        let y = input.conv2d(conv().name("a")).relu();
        let z = input.conv2d(conv().name("b")).relu().max_pool2d(2);
        let options = PlanOptions::evaluate().output("y", &y).output("z", &z);
        let values: [(&str, &[f32]); 2] = [("a.weight", &w), ("b.weight", &w)];
        let inputs: [(&str, &dyn HostData); 1] = [("x", &x)];
        let got = run(&gpu, &graph, &options, &values, &inputs, &["y", "z"]);
        let what = format!("{:?} kernels", gpu.kernel_kind());
        assert_close(&format!("relu with {what}"), &got.outputs["y"], &rectified);
        assert_close(&format!("pooling with {what}"), &got.outputs["z"], &pooled);
    }
}

/// Two convolutions that share a bias, a weight, both or nothing, over few and over many pixels.
#[test]
fn tied_convolutions_add_each_gradient_to_its_own() {
    for gpu in gpus() {
        for [height, width] in [[3, 5], [300, 301]] {
            let gradients = |ties: &[&str]| {
                let graph = Graph::new();
                let part = |name: &str| {
                    let x = graph.input(&format!("{name}.x"), [1, 2, height, width]);
                    x.conv2d(Conv2d::new(3, 2).name(name))
                };
                let y = part("a").add(&part("b"));
                ties.iter().for_each(|name| graph.tie(&format!("b.{name}"), &format!("a.{name}")));
                let (a, b) = (noises(1, 2 * height * width), noises(2, 2 * height * width));
                let dy = noises(3, 3 * (height - 1) * (width - 1));
                let inputs: [(&str, &dyn HostData); 3] = [("a.x", &a), ("b.x", &b), ("dy", &dy)];
                run(&gpu, &graph, &PlanOptions::train(&y).upstream("dy"), &[], &inputs, &[]).gradients
            };
            let apart = gradients(&[]);
            for ties in [&["bias"][..], &["weight"], &["weight", "bias"]] {
                let got = gradients(ties);
                for name in ["weight", "bias"] {
                    let of = |layer: &str| wide(&apart[&format!("{layer}.{name}")]);
                    let mut want = of("a");
                    if ties.contains(&name) {
                        want.iter_mut().zip(of("b")).for_each(|(sum, b)| *sum += b);
                    }
                    let what = format!("{height}x{width}, tied {ties:?}, {:?} kernels", gpu.kernel_kind());
                    assert_close(&format!("{what}: {name}"), &got[&format!("a.{name}")], &want);
                }
            }
        }
    }
}
