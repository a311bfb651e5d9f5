//! Convolutions of as many channels as tiles in workgroup memory are worth, with every kind of kernels, against plain f64
//! loops.

use gradus::graph::{Graph, HostData, Init, PlanOptions};
use gradus::nn::Conv2d;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;

use crate::common::noises;
use crate::convolutions::{Conv, check, slide};
use crate::network::{gpus, run};
use crate::reference::{self, assert_close};

/// With strides, gaps and paddings of all kinds.
#[test]
fn convolutions_of_many_channels_are_their_sums() {
    let mut random = Pcg64::seed_from_u64(15);
    let mut draw = |from: &[usize]| from[random.random_range(0..from.len())];
    let gpus = gpus();
    for _ in 0..12 {
        let groups = draw(&[1, 1, 2]);
        let even =
            |channels: usize| if groups == 1 { channels } else { groups * channels.next_multiple_of(4) };
        let (inputs, out) = (even(draw(&[3, 9, 16, 33])), even(draw(&[9, 10, 31, 36, 65])));
        let slide = slide(
            [draw(&[1, 2, 3, 5]), draw(&[1, 2, 3, 4])],
            [draw(&[1, 2, 3]), draw(&[1, 1, 2, 4])],
            [draw(&[0, 1, 2]), draw(&[0, 1, 3])],
        );
        let slide = slide.dilated([draw(&[1, 1, 2]), draw(&[1, 1, 2, 3])]);
        let x = [draw(&[1, 2, 3]), inputs, draw(&[9, 10, 11]), draw(&[10, 11, 13])];
        check(&gpus, x, out, groups, slide, draw(&[0, 1]) == 1);
    }
}

/// A value that two convolutions read, whose results are functions of more than their sums.
#[test]
fn what_follows_a_convolution_of_many_channels_is_of_its_sums() {
    let slide = slide([3, 3], [1, 1], [1, 1]);
    for (channels, out) in [(12, 20), (160, 36)] {
        let conv = Conv::new([1, channels, 5, 6], out, 1, &slide);
        let (x, b) = (noises(1, channels * 30), noises(3, out));
        let weights = [noises(2, conv.weights()), noises(5, conv.weights())];
        let dy = noises(4, out * 30);
        let sums = [0, 1].map(|at| conv.passes(&x, &weights[at], &b, &dy));
        let rectified = reference::relu(&sums[0][0]);
        let want: Vec<f64> = rectified.iter().zip(&sums[1][0]).map(|(a, b)| a + b).collect();
        let behind: Vec<f32> =
            sums[0][0].iter().zip(&dy).map(|(y, dy)| if *y > 0.0 { *dy } else { 0.0 }).collect();
        let gradients = [conv.passes(&x, &weights[0], &b, &behind), conv.passes(&x, &weights[1], &b, &dy)];
        let dx: Vec<f64> = gradients[0][1].iter().zip(&gradients[1][1]).map(|(a, b)| a + b).collect();
        for gpu in gpus() {
            let graph = Graph::new();
            let input = graph.parameter("x", [1, channels, 5, 6], Init::Constant(0.0));
            let layer = |name: &str| Conv2d::new(out, 3).padding(1).name(name);
            let y = input.conv2d(layer("a")).relu().add(&input.conv2d(layer("b")));
            let values: [(&str, &[f32]); 5] = [
                ("x", &x),
                ("a.weight", &weights[0]),
                ("a.bias", &b),
                ("b.weight", &weights[1]),
                ("b.bias", &b),
            ];
            let inputs: [(&str, &dyn HostData); 1] = [("dy", &dy)];
            let got = run(&gpu, &graph, &PlanOptions::train(&y).upstream("dy"), &values, &inputs, &["loss"]);
            let what = format!("{channels} channels to {out}, with {:?} kernels", gpu.kernel_kind());
            assert_close(&what, &got.outputs["loss"], &want);
            assert_close(&format!("{what}: gradient of x"), &got.gradients["x"], &dx);
            for (name, of) in ["a", "b"].iter().zip(&gradients) {
                assert_close(&format!("{what}: {name}"), &got.gradients[&format!("{name}.weight")], &of[2]);
                assert_close(&format!("{what}: {name}"), &got.gradients[&format!("{name}.bias")], &of[3]);
            }
        }
    }
}
