//! Adaptive average pooling and nearest upsampling against plain f64 loops.

use gradus::graph::{Graph, HostData, Init, PlanOptions, Var};
use gradus::nn::Upsample;

use crate::common::noises;
use crate::network::{gpus, run};
use crate::ops::{Case, check_all};
use crate::reference::{assert_close, wide};

/// The mean of each of `out` windows of planes of `[h, w]`.
fn adaptive(x: &[f64], [h, w]: [usize; 2], out: [usize; 2]) -> Vec<f64> {
    let range = |i: usize, len: usize, out: usize| i * len / out..((i + 1) * len).div_ceil(out);
    let mut y = Vec::new();
    for plane in x.chunks(h * w) {
        for (oy, ox) in (0..out[0]).flat_map(|oy| (0..out[1]).map(move |ox| (oy, ox))) {
            let (rows, columns) = (range(oy, h, out[0]), range(ox, w, out[1]));
            let count = rows.len() * columns.len();
            let window = rows.flat_map(|row| columns.clone().map(move |column| plane[row * w + column]));
            y.push(window.sum::<f64>() / count as f64);
        }
    }
    y
}

#[test]
fn adaptive_avg_pool2d_is_the_mean_of_its_windows() {
    let rows = [
        ([3, 5, 5, 7], [1, 1]),
        ([2, 3, 6, 8], [3, 2]),
        ([1, 6, 7, 7], [3, 5]),
        ([2, 4, 10, 9], [7, 4]),
        ([1, 3, 5, 5], [5, 5]),
        // More windows than elements.
        ([1, 5, 3, 2], [7, 5]),
        ([2, 1, 1, 1], [3, 4]),
        ([1, 2, 4, 3], [8, 3]),
        ([70, 3, 4, 4], [2, 2]),
        ([1, 9, 1, 33], [1, 10]),
        // Windows, and windows over an element, that are too many for one invocation.
        ([1, 2, 127, 128], [1, 1]),
        ([1, 3, 131, 133], [1, 1]),
        ([1, 2, 1, 20_001], [1, 1]),
        ([1, 1, 33_001, 1], [2, 1]),
        ([1, 2, 1, 1], [131, 133]),
        ([1, 1, 260, 3], [1, 2]),
    ];
    let gpus = gpus();
    for (shape, out) in rows {
        let len: usize = shape.iter().product();
        let case = Case {
            name: format!("adaptive_avg_pool2d of {shape:?} to {out:?}"),
            parameters: vec![("x", noises(6, len))],
            labels: None,
            build: &|graph| graph.parameter("x", shape, Init::Constant(0.0)).adaptive_avg_pool2d(out),
            value: &|t| adaptive(&t[0], [shape[2], shape[3]], out),
            half: 0.5,
        };
        check_all(&gpus, &case, len.max(shape[0] * shape[1] * out[0] * out[1]));
    }
}

/// Which input each output of an axis is a copy of, as torch's CPU kernels compute it, in f32.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "places are few")]
fn sources(len: usize, out: usize, step: f32) -> Vec<usize> {
    (0..out).map(|o| ((o as f32 * step).floor() as usize).min(len - 1)).collect()
}

#[test]
fn upsample_copies_the_nearest_before_and_sums_gradients() {
    enum Size {
        Scale([f64; 2]),
        To([usize; 2]),
    }
    use Size::{Scale, To};
    let rows = [
        ([3, 2, 3, 5], Scale([2.0, 2.0])),
        ([2, 5, 4, 3], Scale([3.0, 1.0])),
        ([1, 3, 3, 7], Scale([1.5, 2.5])),
        ([1, 4, 6, 7], Scale([0.5, 0.7])),
        ([1, 2, 2, 3], Scale([41.0, 1.0])),
        ([2, 3, 4, 5], To([4, 5])),
        ([2, 3, 4, 5], To([8, 15])),
        ([1, 6, 7, 3], To([3, 10])),
        ([1, 1, 1, 1], To([5, 4])),
        ([90, 2, 2, 2], Scale([2.0, 2.0])),
        // More copies of an input than one invocation sums.
        ([1, 2, 1, 1], Scale([131.0, 133.0])),
        ([1, 3, 1, 2], To([1, 40_003])),
        ([1, 1, 2, 1], Scale([20_000.5, 1.0])),
    ];
    for gpu in gpus() {
        for (shape, size) in &rows {
            let [n, c, h, w] = *shape;
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "as torch does")]
            let (out, step, layer) = match *size {
                Scale(scale) => {
                    let out = [(h as f64 * scale[0]) as usize, (w as f64 * scale[1]) as usize];
                    (out, scale.map(|scale| (1.0 / scale) as f32), Upsample::new(scale))
                }
                To(size) => {
                    (size, [h as f32 / size[0] as f32, w as f32 / size[1] as f32], Upsample::to_size(size))
                }
            };
            let (rows, columns) = (sources(h, out[0], step[0]), sources(w, out[1], step[1]));
            let graph = Graph::new();
            let y = graph.parameter("x", *shape, Init::Constant(0.0)).upsample(layer);
            assert_eq!(y.shape(), [n, c, out[0], out[1]]);
            let (x, dy) = (noises(1, n * c * h * w), noises(2, n * c * out[0] * out[1]));
            let (mut want, mut gradient) = (Vec::new(), vec![0.0; x.len()]);
            for plane in 0..n * c {
                for (row, column) in
                    rows.iter().flat_map(|row| columns.iter().map(move |column| (row, column)))
                {
                    let at = (plane * h + row) * w + column;
                    gradient[at] += f64::from(dy[want.len()]);
                    want.push(f64::from(x[at]));
                }
            }
            let inputs: [(&str, &dyn HostData); 1] = [("dy", &dy)];
            let options = PlanOptions::train(&y).upstream("dy");
            let got = run(&gpu, &graph, &options, &[("x", &x)], &inputs, &["loss"]);
            let what = format!("upsample of {shape:?} to {out:?} in steps of {step:?}");
            assert_close(&what, &got.outputs["loss"], &want);
            assert_close(&format!("{what}: gradient"), &got.gradients["x"], &gradient);
        }
    }
}

#[test]
fn a_sequence_is_upsampled_along_its_length() {
    for gpu in gpus() {
        let graph = Graph::new();
        let x = graph.parameter("x", [1, 2, 3], Init::Constant(0.0));
        let (double, third) = (x.upsample(2), x.upsample(Upsample::to_size(5)));
        let values = noises(3, 6);
        let options = PlanOptions::evaluate().output("double", &double).output("third", &third);
        let got = run(&gpu, &graph, &options, &[("x", &values)], &[], &["double", "third"]).outputs;
        let pick = |places: &[usize]| {
            let rows = wide(&values);
            rows.chunks(3)
                .flat_map(|row| places.iter().map(|at| row[*at]).collect::<Vec<_>>())
                .collect::<Vec<_>>()
        };
        assert_close("by 2", &got["double"], &pick(&[0, 0, 1, 1, 2, 2]));
        assert_close("to 5", &got["third"], &pick(&[0, 0, 1, 1, 2]));
    }
}

/// Both kinds of gradients that arrive at one tensor are added.
#[test]
fn gradients_of_two_sizes_are_added() {
    for gpu in gpus() {
        let graph = Graph::new();
        let x = graph.parameter("x", [1, 3, 4, 4], Init::Constant(0.0)).bias();
        let y = x.upsample(2).mean().add(&x.upsample(1.5).mean()).add(&x.adaptive_avg_pool2d(3).mean());
        let got = run(&gpu, &graph, &PlanOptions::train(&y), &[("x", &noises(1, 48))], &[], &["loss"]);
        let total: f64 = wide(&got.gradients["x"]).iter().sum();
        assert!((total - 3.0).abs() < 1e-5, "{total}");
        assert_close("bias", &got.gradients["bias1"], &[1.0; 3]);
    }
}

#[test]
fn sizes_that_make_no_image_are_refused() {
    type Build = fn(&Graph) -> Var;
    let rows: [(Build, &str); 8] = [
        (
            |g| g.input("x", [2, 3, 4, 5]).adaptive_avg_pool2d([3, 0]),
            "adaptive_avg_pool2d1: output_size must be at least 1, got 0",
        ),
        (
            |g| g.input("x", [2, 3, 4]).adaptive_avg_pool2d(1),
            "adaptive_avg_pool2d1: expected an image [N, C, H, W], got [2, 3, 4]",
        ),
        (
            |g| g.input("x", [1, 1, 1, 100_003]).adaptive_avg_pool2d([1, 50_000]),
            "adaptive_avg_pool2d1: expected an axis that 50000 windows can cut in 32 bits: at most 85899 elements, or a \
             multiple, got [1, 1, 1, 100003]",
        ),
        (
            |g| g.input("x", [2, 3]).upsample(2),
            "upsample1: expected an image [N, C, H, W] or a sequence [N, C, L], got [2, 3]",
        ),
        (
            |g| g.input("x", [2, 3, 4, 5]).upsample([1.0, f64::NAN]),
            "upsample1: scale_factor must be positive and finite, got NaN",
        ),
        (
            |g| g.input("x", [2, 3, 4, 5]).upsample(0),
            "upsample1: scale_factor must be positive and finite, got 0",
        ),
        (
            |g| g.input("x", [2, 3, 4, 5]).upsample([1.0, 0.1]),
            "upsample1: expected so many elements that some are left, as [2, 3, 4, 0] has none, got [2, 3, 4, 5]",
        ),
        (
            |g| g.input("x", [2, 3, 4]).upsample([1, 2]),
            "upsample1: expected an image [N, C, H, W] for two numbers, got [2, 3, 4]",
        ),
    ];
    for (build, said) in rows {
        let graph = Graph::new();
        build(&graph);
        let said = said.replace("adaptive_avg_pool2d1", "adaptive_avg_pool2d_1");
        assert_eq!(graph.check().unwrap_err().to_string(), said);
    }
}
