//! Convolutions in groups, of sequences, and transposed ones, with every kind of kernels, against plain f64 loops.

use gradus::Gpu;
use gradus::graph::{Graph, HostData, Init, PlanOptions, Var};
use gradus::nn::{Conv1d, Conv2d, ConvTranspose2d, Padding};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;

use crate::common::noises;
use crate::network::{gpus, run};
use crate::reference::{self, Slide, assert_close, wide};

/// A convolution of images `[n, c, h, w]`: `before` are the zeros before the image, `size` is its output's.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Conv {
    x: [usize; 4],
    out: usize,
    groups: usize,
    kernel: [usize; 2],
    stride: [usize; 2],
    dilation: [usize; 2],
    before: [usize; 2],
    size: [usize; 2],
}

impl Conv {
    pub(crate) fn new(x: [usize; 4], out: usize, groups: usize, slide: &Slide) -> Self {
        let Slide { kernel, stride, dilation, padding, .. } = *slide;
        let size = slide.output([x[2], x[3]]);
        Self { x, out, groups, kernel, stride, dilation, before: padding, size }
    }

    pub(crate) fn weights(&self) -> usize {
        self.out * self.x[1] / self.groups * self.kernel[0] * self.kernel[1]
    }

    /// Calls `each` with the places of every product: in the input, in the weight and in the output.
    fn products(&self, mut each: impl FnMut(usize, usize, usize)) {
        let [n, c, h, w] = self.x;
        let [kh, kw] = self.kernel;
        let (inputs, outputs) = (c / self.groups, self.out / self.groups);
        let at = |axis: usize, o: usize, k: usize, len: usize| {
            let place = o * self.stride[axis] + k * self.dilation[axis];
            place.checked_sub(self.before[axis]).filter(|place| *place < len)
        };
        for (image, o) in (0..n).flat_map(|image| (0..self.out).map(move |o| (image, o))) {
            for (oy, ox) in (0..self.size[0]).flat_map(|y| (0..self.size[1]).map(move |x| (y, x))) {
                let y_at = ((image * self.out + o) * self.size[0] + oy) * self.size[1] + ox;
                for (ky, kx) in (0..kh).flat_map(|ky| (0..kw).map(move |kx| (ky, kx))) {
                    let (Some(iy), Some(ix)) = (at(0, oy, ky, h), at(1, ox, kx, w)) else { continue };
                    for i in 0..inputs {
                        let channel = o / outputs * inputs + i;
                        let x_at = ((image * c + channel) * h + iy) * w + ix;
                        each(x_at, ((o * inputs + i) * kh + ky) * kw + kx, y_at);
                    }
                }
            }
        }
    }

    /// Output and the gradients of `sum(dy * y)` with respect to input, weight and bias.
    pub(crate) fn passes(&self, x: &[f32], w: &[f32], b: &[f32], dy: &[f32]) -> [Vec<f64>; 4] {
        let (wide_x, wide_w, wide_dy) = (wide(x), wide(w), wide(dy));
        let channel = |at: usize| at / (self.size[0] * self.size[1]) % self.out;
        let mut y: Vec<f64> = (0..dy.len()).map(|at| f64::from(b[channel(at)])).collect();
        let (mut dx, mut dw, mut db) = (vec![0.0; x.len()], vec![0.0; w.len()], vec![0.0; self.out]);
        wide_dy.iter().enumerate().for_each(|(at, dy)| db[channel(at)] += dy);
        self.products(|x_at, w_at, y_at| {
            y[y_at] += wide_x[x_at] * wide_w[w_at];
            dx[x_at] += wide_dy[y_at] * wide_w[w_at];
            dw[w_at] += wide_dy[y_at] * wide_x[x_at];
        });
        [y, dx, dw, db]
    }

    /// As [`Conv::passes`], of the transposed convolution: `x` is as this one's output and `y` as its input.
    fn transposed(&self, x: &[f32], w: &[f32], b: &[f32], dy: &[f32]) -> [Vec<f64>; 4] {
        let (wide_x, wide_w, wide_dy) = (wide(x), wide(w), wide(dy));
        let [_, c, h, width] = self.x;
        let channel = |at: usize| at / (h * width) % c;
        let mut y: Vec<f64> = (0..dy.len()).map(|at| f64::from(b[channel(at)])).collect();
        let (mut dx, mut dw, mut db) = (vec![0.0; x.len()], vec![0.0; w.len()], vec![0.0; c]);
        wide_dy.iter().enumerate().for_each(|(at, dy)| db[channel(at)] += dy);
        self.products(|y_at, w_at, x_at| {
            y[y_at] += wide_x[x_at] * wide_w[w_at];
            dx[x_at] += wide_dy[y_at] * wide_w[w_at];
            dw[w_at] += wide_dy[y_at] * wide_x[x_at];
        });
        [y, dx, dw, db]
    }
}

/// Runs a layer named `l` of `x` and compares its output and gradients with `want`; without a bias if there is none.
fn compare(
    gpu: &Gpu,
    what: &str,
    shape: &[usize],
    build: impl Fn(&Var) -> Var,
    tensors: [&[f32]; 4],
    want: &[Vec<f64>; 4],
) {
    let [x, w, b, dy] = tensors;
    let what = format!("{what}, with {:?} kernels", gpu.kernel_kind());
    let graph = Graph::new();
    let y = build(&graph.parameter("x", shape, Init::Constant(0.0)));
    graph.check().unwrap_or_else(|error| panic!("{what}: {error}"));
    let has_bias = graph.parameters().len() > 2;
    let mut values: Vec<(&str, &[f32])> = vec![("x", x), ("l.weight", w)];
    if has_bias {
        values.push(("l.bias", b));
    }
    let dy = dy.to_vec();
    let inputs: [(&str, &dyn HostData); 1] = [("dy", &dy)];
    let got = run(gpu, &graph, &PlanOptions::train(&y).upstream("dy"), &values, &inputs, &["loss"]);
    assert_close(&what, &got.outputs["loss"], &want[0]);
    for (name, want) in ["x", "l.weight", "l.bias"].iter().zip(&want[1..]) {
        if has_bias || *name != "l.bias" {
            assert_close(&format!("{what}: gradient of {name}"), &got.gradients[*name], want);
        }
    }
}

pub(crate) fn check(gpus: &[Gpu], x: [usize; 4], out: usize, groups: usize, slide: Slide, bias: bool) {
    let conv = Conv::new(x, out, groups, &slide);
    let (values, w) = (noises(1, x.iter().product()), noises(2, conv.weights()));
    let b = if bias { noises(3, out) } else { vec![0.0; out] };
    let dy = noises(4, x[0] * out * conv.size[0] * conv.size[1]);
    let want = conv.passes(&values, &w, &b, &dy);
    let build = |x: &Var| {
        let layer = Conv2d::new(out, slide.kernel).stride(slide.stride).padding(slide.padding);
        let layer = layer.dilation(slide.dilation).groups(groups).name("l");
        x.conv2d(if bias { layer } else { layer.without_bias() })
    };
    for gpu in gpus {
        compare(gpu, &format!("{conv:?}"), &x, build, [&values, &w, &b, &dy], &want);
    }
}

pub(crate) const fn slide(kernel: [usize; 2], stride: [usize; 2], padding: [usize; 2]) -> Slide {
    Slide::new(kernel, stride, padding)
}

#[test]
fn output_channels_are_made_of_the_input_channels_of_their_group() {
    let rows = [
        ([1, 3, 5, 4], 5, 1, slide([3, 3], [1, 1], [1, 1]), true),
        // Groups that share a vec4 on one side, on both, on none.
        ([2, 6, 7, 8], 9, 3, slide([3, 3], [1, 1], [1, 1]), true),
        ([1, 8, 5, 6], 4, 2, slide([3, 2], [1, 1], [0, 1]), true),
        ([2, 12, 6, 5], 12, 3, slide([3, 3], [2, 2], [1, 1]), true),
        ([1, 16, 6, 9], 24, 2, slide([2, 3], [1, 1], [1, 2]).dilated([2, 2]), false),
        ([2, 4, 6, 5], 8, 4, slide([3, 3], [1, 2], [1, 1]), true),
        ([1, 9, 4, 4], 3, 3, slide([1, 1], [1, 1], [0, 0]), true),
        ([1, 24, 3, 3], 40, 8, slide([3, 3], [1, 1], [1, 1]), true),
        // Groups that fill lanes, with and without strides, in tiles of one, two and four channels a lane.
        ([2, 16, 5, 9], 48, 2, slide([3, 3], [1, 1], [1, 1]), true),
        ([1, 32, 6, 7], 32, 2, slide([3, 2], [2, 1], [1, 1]), true),
        ([1, 64, 4, 5], 64, 2, slide([1, 1], [1, 1], [0, 0]), true),
        ([3, 10, 3, 3], 15, 5, slide([3, 3], [1, 1], [0, 0]), true),
        ([1, 14, 8, 7], 6, 2, slide([2, 2], [3, 3], [0, 0]), true),
        ([1, 7, 6, 6], 21, 7, slide([3, 3], [2, 1], [2, 1]), true),
        ([70, 4, 3, 2], 6, 2, slide([2, 2], [1, 1], [1, 0]), true),
    ];
    let gpus = gpus();
    for (x, out, groups, slide, bias) in rows {
        check(&gpus, x, out, groups, slide, bias);
    }
}

/// The pooling may run in the convolution's kernel, where groups fill lanes.
#[test]
fn a_pooling_after_groups_takes_the_largest_of_their_sums() {
    for gpu in gpus() {
        for (channels, out, groups) in [(16, 32, 2), (32, 64, 2), (6, 6, 6), (6, 4, 2)] {
            let slide = slide([3, 3], [1, 1], [1, 1]);
            let conv = Conv::new([2, channels, 6, 4], out, groups, &slide);
            let (x, w) = (noises(1, 48 * channels), noises(2, conv.weights()));
            let [sums, ..] = conv.passes(&x, &w, &vec![0.0; out], &vec![0.0; 48 * out]);
            let halves = Slide::new([2, 2], [2, 2], [0, 0]);
            let (want, _) = reference::max_pool2d(&reference::relu(&sums), [2, out, 6, 4], &halves);
            let graph = Graph::new();
            let layer = Conv2d::new(out, 3).padding(1).groups(groups).without_bias().name("l");
            let y = graph.parameter("x", [2, channels, 6, 4], Init::Constant(0.0)).conv2d(layer);
            let options = PlanOptions::evaluate().output("y", &y.relu().max_pool2d(2));
            let got = run(&gpu, &graph, &options, &[("x", &x), ("l.weight", &w)], &[], &["y"]);
            let what = format!("{conv:?} and a pooling, with {:?} kernels", gpu.kernel_kind());
            assert_close(&what, &got.outputs["y"], &want);
        }
    }
}

#[test]
fn a_depthwise_convolution_is_one_of_each_channel() {
    let rows = [
        ([2, 5, 7, 9], slide([3, 3], [1, 1], [1, 1]), true),
        ([2, 6, 9, 8], slide([3, 3], [2, 2], [1, 1]), true),
        ([1, 8, 5, 6], slide([5, 5], [1, 1], [2, 2]), false),
        ([1, 3, 10, 17], slide([2, 5], [1, 3], [0, 2]), true),
        ([2, 4, 9, 8], slide([3, 3], [1, 1], [2, 3]).dilated([2, 3]), true),
        ([1, 7, 12, 11], slide([3, 2], [2, 3], [1, 0]).dilated([3, 4]), true),
        // Too wide to unroll, alone and with strides.
        ([1, 2, 4, 40], slide([2, 9], [1, 1], [0, 4]), true),
        ([1, 5, 4, 40], slide([1, 11], [1, 3], [0, 5]), true),
        // Strides beyond the kernel, padding beyond it, one output, one element.
        ([1, 3, 8, 8], slide([2, 2], [3, 3], [0, 0]), true),
        ([1, 3, 8, 9], slide([1, 1], [2, 2], [0, 0]), true),
        ([1, 2, 3, 3], slide([2, 2], [1, 1], [3, 3]), true),
        ([1, 2, 3, 3], slide([2, 2], [3, 3], [3, 2]), true),
        ([2, 9, 4, 3], slide([4, 3], [1, 1], [0, 0]), true),
        ([1, 8, 1, 1], slide([1, 1], [1, 1], [0, 0]), true),
        ([300, 2, 3, 3], slide([3, 3], [1, 1], [1, 1]), true),
        ([1, 2, 2, 37], slide([1, 3], [1, 1], [0, 1]), true),
    ];
    let gpus = gpus();
    for (x, slide, bias) in rows {
        check(&gpus, x, x[1], x[1], slide, bias);
    }
}

#[test]
fn convolutions_of_drawn_groups_are_the_sums_over_them() {
    let mut random = Pcg64::seed_from_u64(5);
    let mut draw = |from: &[usize]| from[random.random_range(0..from.len())];
    let gpus = gpus();
    for _ in 0..12 {
        let groups = draw(&[2, 3, 4, 5, 8]);
        let (inputs, out) = (groups * draw(&[1, 1, 2, 3, 4, 8]), groups * draw(&[1, 1, 2, 3, 4, 8]));
        let slide = slide(
            [draw(&[1, 2, 3, 5]), draw(&[1, 2, 3, 8])],
            [draw(&[1, 2, 3]), draw(&[1, 1, 2, 3])],
            [draw(&[0, 1, 2]), draw(&[1, 2, 3])],
        );
        let slide = slide.dilated([draw(&[1, 1, 2]), draw(&[1, 1, 2])]);
        let x = [draw(&[1, 2, 5]), inputs, draw(&[9, 10, 11]), draw(&[15, 16, 19])];
        check(&gpus, x, out, groups, slide, draw(&[0, 1]) == 1);
    }
}

/// Sums that are longer than the loops of one invocation may be: of a window and over the pixels.
#[test]
fn long_sums_in_groups_are_whole() {
    let rows = [
        ([1, 3, 131, 133], 3, 3, slide([130, 131], [1, 1], [0, 0])),
        ([1, 3, 132, 133], 3, 3, slide([130, 131], [2, 2], [1, 0])),
        ([1, 2, 1, 20_003], 2, 2, slide([1, 20_001], [1, 1], [0, 0])),
        ([1, 4, 92, 96], 6, 2, slide([90, 95], [1, 1], [0, 0])),
        ([1, 5, 300, 301], 5, 5, slide([3, 3], [1, 1], [1, 1])),
        ([1, 2, 1, 140_001], 2, 2, slide([1, 3], [1, 2], [0, 1])),
        ([2, 6, 150, 301], 4, 2, slide([1, 2], [1, 1], [0, 0])),
    ];
    let gpus = gpus();
    for (x, out, groups, slide) in rows {
        check(&gpus, x, out, groups, slide, true);
    }
}

#[test]
fn what_is_not_finite_stays_in_its_group() {
    for gpu in gpus() {
        for (channels, out, groups) in [(6, 9, 3), (8, 8, 2), (5, 5, 5), (6, 2, 2)] {
            for bad in [f32::NAN, f32::INFINITY] {
                let graph = Graph::new();
                let x = graph.parameter("x", [1, channels, 2, 3], Init::Constant(0.0));
                let y = x.conv2d(Conv2d::new(out, 1).groups(groups).name("l"));
                let back = y.conv_transpose2d(ConvTranspose2d::new(channels, 1).groups(groups).name("t"));
                let mut values = noises(1, channels * 6);
                values[0] = bad;
                let options = PlanOptions::evaluate().output("y", &y).output("back", &back);
                let got = run(&gpu, &graph, &options, &[("x", &values)], &[], &["y", "back"]).outputs;
                let what = format!("{channels} channels to {out} in {groups} groups, {bad}");
                for (name, each) in [("y", out / groups), ("back", channels / groups)] {
                    let finite: Vec<bool> = got[name].iter().map(|y| y.is_finite()).collect();
                    let want: Vec<bool> = (0..finite.len()).map(|at| at % 6 > 0 || at / 6 >= each).collect();
                    assert_eq!(finite, want, "{what}: {name}");
                }
            }
        }
    }
}

#[test]
fn a_convolution_of_a_sequence_is_one_of_an_image_of_one_row() {
    let rows = [
        ([2, 3, 11], 5, 1, [3, 2, 1, 1], true),
        ([1, 17, 40], 9, 1, [5, 1, 2, 1], false),
        ([3, 4, 9], 8, 2, [2, 1, 3, 3], true),
        ([2, 6, 33], 6, 6, [3, 1, 1, 1], true),
        ([2, 5, 6], 7, 1, [6, 1, 0, 1], true),
        ([1, 1, 1], 1, 1, [1, 1, 0, 1], true),
        ([130, 2, 7], 3, 1, [3, 3, 0, 1], true),
    ];
    let gpus = gpus();
    for (x, out, groups, [kernel, stride, padding, dilation], bias) in rows {
        let [n, c, len] = x;
        let slide = slide([1, kernel], [1, stride], [0, padding]).dilated([1, dilation]);
        let conv = Conv::new([n, c, 1, len], out, groups, &slide);
        let (values, w) = (noises(1, n * c * len), noises(2, conv.weights()));
        let b = if bias { noises(3, out) } else { vec![0.0; out] };
        let dy = noises(4, n * out * conv.size[1]);
        let want = conv.passes(&values, &w, &b, &dy);
        let build = |x: &Var| {
            let layer = Conv1d::new(out, kernel).stride(stride).padding(padding);
            let layer = layer.dilation(dilation).groups(groups).name("l");
            x.conv1d(if bias { layer } else { layer.without_bias() })
        };
        for gpu in &gpus {
            compare(gpu, &format!("conv1d {conv:?}"), &x, build, [&values, &w, &b, &dy], &want);
        }
    }
}

#[test]
fn the_same_padding_keeps_the_size_and_puts_the_odd_zero_behind() {
    let rows = [
        ([2, 3, 6, 7], 4, 1, [3, 3], [1, 1]),
        ([1, 3, 5, 6], 8, 1, [2, 4], [1, 1]),
        ([1, 4, 5, 6], 4, 4, [4, 2], [1, 1]),
        ([1, 4, 5, 6], 6, 2, [2, 3], [3, 2]),
        ([1, 2, 2, 2], 2, 1, [6, 5], [1, 1]),
        ([1, 2, 3, 4], 2, 2, [2, 2], [5, 7]),
        ([2, 3, 1, 9], 3, 1, [1, 2], [1, 1]),
    ];
    let gpus = gpus();
    for (x, out, groups, kernel, dilation) in rows {
        let before = [0, 1].map(|axis| dilation[axis] * (kernel[axis] - 1) / 2);
        let (stride, size) = ([1, 1], [x[2], x[3]]);
        let conv = Conv { x, out, groups, kernel, stride, dilation, before, size };
        let (values, w, b) = (noises(1, x.iter().product()), noises(2, conv.weights()), noises(3, out));
        let dy = noises(4, x[0] * out * size[0] * size[1]);
        let want = conv.passes(&values, &w, &b, &dy);
        let layer =
            || Conv2d::new(out, kernel).padding(Padding::SAME).dilation(dilation).groups(groups).name("l");
        for gpu in &gpus {
            let what = format!("same {conv:?}");
            compare(gpu, &what, &x, |x| x.conv2d(layer()), [&values, &w, &b, &dy], &want);
            if x[2] == 1 {
                let layer = || Conv1d::new(out, kernel[1]).padding(Padding::SAME).groups(groups).name("l");
                let shape = [x[0], x[1], x[3]];
                compare(gpu, &what, &shape, |x| x.conv1d(layer()), [&values, &w, &b, &dy], &want);
            }
        }
    }
}

#[test]
fn a_transposed_convolution_is_the_gradient_of_a_convolution() {
    // Input, output channels, groups, kernel with stride and padding, output padding, bias.
    let rows = [
        ([3, 3, 3, 5], 2, 1, slide([3, 3], [2, 2], [1, 1]), [1, 1], true),
        ([2, 5, 4, 4], 17, 1, slide([3, 3], [1, 1], [1, 1]), [0, 0], true),
        ([1, 16, 5, 6], 8, 1, slide([2, 2], [2, 2], [0, 0]), [0, 0], false),
        ([2, 4, 3, 4], 6, 2, slide([3, 2], [2, 3], [0, 1]), [1, 2], true),
        ([1, 6, 4, 5], 9, 3, slide([3, 3], [1, 1], [2, 1]), [0, 0], true),
        ([2, 5, 4, 3], 5, 5, slide([3, 3], [1, 1], [1, 1]), [0, 0], true),
        ([2, 5, 4, 3], 5, 5, slide([3, 3], [2, 2], [1, 1]), [1, 0], true),
        ([1, 4, 3, 3], 8, 4, slide([2, 2], [3, 3], [0, 0]), [2, 1], true),
        ([1, 3, 4, 4], 4, 1, slide([2, 3], [1, 2], [1, 0]).dilated([3, 2]), [2, 1], true),
        // An output padding of the dilation that the stride does not allow, also of one element.
        ([1, 2, 3, 3], 2, 1, slide([1, 1], [1, 1], [0, 0]).dilated([2, 3]), [1, 2], true),
        ([1, 3, 3, 3], 3, 3, slide([2, 2], [1, 1], [0, 0]).dilated([2, 3]), [1, 2], true),
        ([1, 1, 1, 1], 1, 1, slide([1, 1], [1, 1], [0, 0]), [0, 0], true),
        ([1, 2, 2, 2], 3, 1, slide([4, 4], [2, 2], [2, 2]), [0, 0], true),
        ([70, 3, 2, 2], 5, 1, slide([2, 2], [2, 2], [0, 0]), [0, 0], true),
        // Many channels, so that a phase of the stride is a product; some phases have no taps.
        ([2, 20, 4, 5], 12, 1, slide([3, 3], [2, 2], [1, 1]), [1, 0], true),
        ([1, 9, 5, 4], 33, 1, slide([2, 1], [3, 2], [0, 0]), [2, 1], true),
        ([1, 24, 3, 4], 32, 2, slide([4, 3], [2, 4], [1, 0]).dilated([1, 2]), [1, 3], true),
        // Sums that are longer than the loops of one invocation may be.
        ([1, 2, 140, 141], 2, 1, slide([2, 2], [2, 2], [0, 0]), [0, 0], true),
        ([1, 2, 3, 4], 2, 2, slide([130, 131], [1, 1], [0, 0]), [0, 0], true),
        ([1, 3, 2, 2], 2, 1, slide([130, 131], [2, 1], [1, 0]), [1, 0], true),
        ([1, 9_000, 2, 2], 2, 1, slide([2, 2], [2, 2], [0, 0]), [0, 0], true),
    ];
    let gpus = gpus();
    for (x, out, groups, slide, output_padding, bias) in rows {
        let Slide { kernel, stride, dilation, padding, .. } = slide;
        let size = [0, 1].map(|axis| {
            (x[2 + axis] - 1) * stride[axis] + dilation[axis] * (kernel[axis] - 1) + output_padding[axis] + 1
                - 2 * padding[axis]
        });
        let conv = Conv {
            x: [x[0], out, size[0], size[1]],
            out: x[1],
            groups,
            kernel,
            stride,
            dilation,
            before: padding,
            size: [x[2], x[3]],
        };
        let (values, w) = (noises(1, x.iter().product()), noises(2, conv.weights()));
        let b = if bias { noises(3, out) } else { vec![0.0; out] };
        let dy = noises(4, conv.x.iter().product());
        let want = conv.transposed(&values, &w, &b, &dy);
        let build = |x: &Var| {
            let layer = ConvTranspose2d::new(out, kernel).stride(stride).padding(padding);
            let layer = layer.output_padding(output_padding).dilation(dilation).groups(groups).name("l");
            x.conv_transpose2d(if bias { layer } else { layer.without_bias() })
        };
        for gpu in &gpus {
            compare(gpu, &format!("transposed {conv:?}"), &x, build, [&values, &w, &b, &dy], &want);
        }
    }
}

#[test]
fn layers_have_torchs_shapes_and_first_values() {
    let graph = Graph::new();
    let image = graph.input("x", [2, 6, 8, 8]);
    let _ = image.conv2d(Conv2d::new(9, [3, 2]).groups(3).name("grouped"));
    let _ = image.conv_transpose2d(ConvTranspose2d::new(4, 3).groups(2).name("transposed"));
    let _ = graph.input("row", [2, 6, 8]).conv1d(Conv1d::new(4, 5).name("row1"));
    graph.check().unwrap();
    // Weights, and what torch takes the bounds of their biases from.
    let rows = [
        ("grouped", vec![9, 2, 3, 2], 12.0_f64, 9),
        ("transposed", vec![6, 2, 3, 3], 18.0, 4),
        ("row1", vec![4, 6, 5], 30.0, 4),
    ];
    let parameters = graph.parameters();
    for (number, (name, weight, fan_in, bias)) in rows.into_iter().enumerate() {
        let [w, b] = [&parameters[2 * number], &parameters[2 * number + 1]];
        assert_eq!((&w.name[..], &w.shape), (&format!("{name}.weight")[..], &weight));
        assert_eq!(w.init, Init::KaimingUniform { a: 5f64.sqrt() });
        assert_eq!((&b.name[..], &b.shape[..]), (&format!("{name}.bias")[..], &[bias][..]));
        assert_eq!(b.init, Init::Uniform { bound: 1.0 / fan_in.sqrt() });
    }
}

#[test]
fn convolutions_that_do_not_fit_are_refused() {
    type Build = fn(&Graph) -> Var;
    let rows: [(Build, &str); 13] = [
        (
            |g| g.input("x", [2, 4, 8, 8]).conv2d(Conv2d::new(6, 3).groups(3).name("c")),
            "c: expected input channels that 3 groups divide, for a weight of 6 output channels, got [2, 4, 8, 8]",
        ),
        (
            |g| g.input("x", [2, 6, 8, 8]).conv2d(Conv2d::new(4, 3).groups(3).name("c")),
            "c: groups must be a divisor of its 4 output channels, for an input [2, 6, 8, 8], got 3",
        ),
        (
            |g| g.input("x", [2, 6, 8, 8]).conv2d(Conv2d::new(4, 3).groups(7)),
            "conv2d_1: expected input channels that 7 groups divide, for a weight of 4 output channels, got [2, 6, 8, 8]",
        ),
        (
            |g| g.input("x", [2, 6, 8, 8]).conv2d(Conv2d::new(4, 3).groups(0)),
            "conv2d_1: groups must be at least 1, got 0",
        ),
        (
            |g| g.input("x", [2, 6, 8]).conv1d(Conv1d::new(4, 3).groups(4)),
            "conv1d_1: expected input channels that 4 groups divide, for a weight of 4 output channels, got [2, 6, 8]",
        ),
        (
            |g| g.input("x", [2, 6, 8, 8]).conv1d(Conv1d::new(4, 3)),
            "conv1d_1: expected a sequence [N, C, L], got [2, 6, 8, 8]",
        ),
        (
            |g| g.input("x", [2, 6, 8]).conv1d(Conv1d::new(4, 5).dilation(3).padding(1)),
            "conv1d_1: expected a sequence of at least 13 with its padding, got [2, 6, 8]",
        ),
        (
            |g| g.input("x", [2, 6, 8]).conv1d(Conv1d::new(4, 5).padding([1, 2])),
            "conv1d_1: padding must be one number, got [1, 2]",
        ),
        (
            |g| g.input("x", [2, 6, 8, 8]).conv2d(Conv2d::new(4, 3).padding(Padding::SAME).stride([1, 2])),
            "conv2d_1: stride must be 1 with the padding `same`, got 2",
        ),
        (
            |g| {
                let layer = ConvTranspose2d::new(4, 3).stride([2, 3]).output_padding([1, 3]);
                g.input("x", [2, 6, 8, 8]).conv_transpose2d(layer.name("t"))
            },
            "t: output_padding must be less than its stride of 3 or its dilation of 1, got 3",
        ),
        (
            |g| g.input("x", [2, 6, 8, 8]).conv_transpose2d(ConvTranspose2d::new(6, 3).groups(4)),
            "conv_transpose2d_1: expected input channels that 4 groups divide, for a weight of 6 output channels, got [2, 6, 8, 8]",
        ),
        (
            |g| g.input("x", [2, 6, 1, 8]).conv_transpose2d(ConvTranspose2d::new(6, 3).padding(2)),
            "conv_transpose2d_1: expected an image of which its padding of [2, 2] leaves something, got [2, 6, 1, 8]",
        ),
        (
            |g| g.input("x", [2, 6, 8]).conv_transpose2d(ConvTranspose2d::new(6, 3)),
            "conv_transpose2d_1: expected an image [N, C, H, W], got [2, 6, 8]",
        ),
    ];
    for (build, said) in rows {
        let graph = Graph::new();
        build(&graph);
        assert_eq!(graph.check().unwrap_err().to_string(), said);
    }
}
