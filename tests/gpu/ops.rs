//! Every operation, with every kind of kernels, against plain f64 loops: the forward pass directly, the gradients
//! by central differences of the loops.

use gradus::Gpu;
use gradus::graph::{Graph, HostData, Init, PlanOptions, Var};
use gradus::nn::{Conv2d, Linear};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;

use crate::common::{noise, noises};
use crate::network::{distinct, gpus, run};
use crate::reference::{self, Slide, assert_close, wide};

/// An operation over parameters, and what it should compute of them.
pub(crate) struct Case<'a> {
    pub(crate) name: String,
    /// Parameters with their values, in the order in which `value` takes them.
    pub(crate) parameters: Vec<(&'static str, Vec<f32>)>,
    pub(crate) labels: Option<Vec<u32>>,
    pub(crate) build: &'a dyn Fn(&Graph) -> Var,
    pub(crate) value: &'a dyn Fn(&[Vec<f64>]) -> Vec<f64>,
    /// Half the distance of a central difference: no kink may lie within it.
    pub(crate) half: f64,
}

/// Elements of a tensor whose differences are taken: all of them while that costs little, else some spread over it.
fn probed(len: usize, cost: usize) -> impl Iterator<Item = usize> {
    let most = (20_000_000 / cost.max(1)).clamp(16, len.max(16));
    let step = len.div_ceil(most);
    (0..len).step_by(step).chain((len > 1).then_some(len - 1))
}

fn check(gpu: &Gpu, case: &Case<'_>, cost: usize) {
    let what = format!("{} with {:?} kernels", case.name, gpu.kernel_kind());
    let graph = Graph::new();
    let y = (case.build)(&graph);
    graph.check().unwrap_or_else(|e| panic!("{what}: {e}"));
    let dy = noises(99, y.shape().iter().product());
    let values: Vec<(&str, &[f32])> =
        case.parameters.iter().map(|(name, values)| (*name, &values[..])).collect();
    let mut inputs: Vec<(&str, &dyn HostData)> = vec![("dy", &dy)];
    inputs.extend(case.labels.iter().map(|labels| ("labels", labels as &dyn HostData)));
    let options = PlanOptions::train(&y).upstream("dy");
    let got = run(gpu, &graph, &options, &values, &inputs, &["loss"]);

    let mut exact: Vec<Vec<f64>> = case.parameters.iter().map(|(_, values)| wide(values)).collect();
    assert_close(&what, &got.outputs["loss"], &(case.value)(&exact));
    for (number, (name, values)) in case.parameters.iter().enumerate() {
        let gradient = &got.gradients[*name];
        let (mut picked, mut differences) = (Vec::new(), Vec::new());
        for at in probed(values.len(), cost) {
            let middle = exact[number][at];
            let mut ends = [0.0; 2];
            for (end, sign) in ends.iter_mut().zip([-1.0, 1.0]) {
                exact[number][at] = middle + sign * case.half;
                *end = (case.value)(&exact).iter().zip(&dy).map(|(y, dy)| y * f64::from(*dy)).sum();
            }
            exact[number][at] = middle;
            picked.push(gradient[at]);
            differences.push((ends[1] - ends[0]) / (2.0 * case.half));
        }
        assert_close(&format!("{what}: gradient of {name}"), &picked, &differences);
    }
}

/// Runs a case with every kind of kernels; `cost` is about how many products its loops take.
pub(crate) fn check_all(gpus: &[Gpu], case: &Case<'_>, cost: usize) {
    for gpu in gpus {
        check(gpu, case, cost);
    }
}

fn check_conv2d(gpus: &[Gpu], [n, c, h, w]: [usize; 4], out: usize, slide: Slide, bias: bool) {
    let len = c * slide.kernel[0] * slide.kernel[1];
    let mut parameters = vec![("x", noises(1, n * c * h * w)), ("l.weight", noises(2, out * len))];
    if bias {
        parameters.push(("l.bias", noises(3, out)));
    }
    let [height, width] = slide.output([h, w]);
    let case = Case {
        name: format!("conv2d of [{n}, {c}, {h}, {w}] to {out} channels, {slide:?}, bias {bias}"),
        parameters,
        labels: None,
        build: &|graph| {
            let layer = Conv2d::new(out, slide.kernel).stride(slide.stride).padding(slide.padding);
            let layer = layer.dilation(slide.dilation).name("l");
            let layer = if bias { layer } else { layer.without_bias() };
            graph.parameter("x", [n, c, h, w], Init::Constant(0.0)).conv2d(layer)
        },
        value: &|t| reference::conv2d(&t[0], [n, c, h, w], &t[1], out, t.get(2).map(|b| &b[..]), &slide),
        // Linear in each tensor, so the distance is free.
        half: 0.5,
    };
    check_all(gpus, &case, n * out * height * width * len);
}

#[test]
fn conv2d_is_the_sum_over_its_window() {
    let slide = Slide::new;
    let rows = [
        // The reference network's two, shrunk: one channel in, many out.
        ([2, 1, 9, 9], 16, slide([3, 3], [1, 1], [1, 1]), true),
        ([2, 16, 7, 7], 33, slide([3, 3], [1, 1], [1, 1]), true),
        // One pixel, one channel, one image.
        ([1, 1, 1, 1], 1, slide([1, 1], [1, 1], [0, 0]), true),
        ([1, 3, 5, 7], 5, slide([1, 1], [1, 1], [0, 0]), false),
        ([3, 17, 4, 5], 8, slide([1, 1], [2, 2], [0, 0]), true),
        ([1, 5, 6, 6], 3, slide([1, 1], [1, 1], [1, 2]), true),
        ([2, 3, 8, 9], 4, slide([2, 3], [1, 2], [0, 1]), true),
        ([2, 3, 9, 8], 17, slide([5, 5], [2, 2], [2, 2]), true),
        ([1, 33, 5, 5], 17, slide([3, 3], [2, 1], [1, 0]), false),
        // A wide row takes several tiles, the last of them cut.
        ([1, 4, 3, 40], 8, slide([3, 3], [1, 1], [1, 1]), true),
        ([1, 2, 2, 37], 5, slide([1, 5], [1, 3], [0, 2]), true),
        // The kernel is the image; larger than it, with padding; padding beyond the kernel.
        ([2, 3, 5, 4], 6, slide([5, 4], [1, 1], [0, 0]), true),
        ([1, 2, 2, 2], 3, slide([4, 3], [1, 1], [1, 1]), true),
        ([1, 2, 3, 3], 3, slide([2, 2], [1, 1], [3, 2]), true),
        ([1, 2, 3, 3], 3, slide([2, 2], [3, 3], [3, 2]), true),
        // Places that no window reaches have a gradient of zero.
        ([1, 3, 8, 8], 2, slide([2, 2], [3, 3], [0, 0]), true),
        // Too wide to unroll, by the kernel and by the stride.
        ([1, 2, 2, 300], 3, slide([1, 150], [1, 7], [0, 3]), true),
        ([1, 2, 2, 300], 3, slide([1, 3], [1, 70], [0, 0]), true),
        // With gaps, which no window reaches, or which only other windows reach.
        ([2, 3, 9, 8], 5, slide([3, 3], [1, 1], [2, 2]).dilated([2, 2]), true),
        ([1, 5, 7, 10], 17, slide([2, 3], [2, 1], [1, 3]).dilated([3, 2]), false),
        ([2, 4, 6, 9], 8, slide([1, 3], [3, 2], [0, 2]).dilated([5, 2]), true),
        ([1, 2, 8, 7], 3, slide([3, 2], [1, 3], [0, 1]).dilated([1, 4]), true),
        // A kernel of one element has no gaps.
        ([2, 3, 5, 5], 6, slide([1, 1], [1, 1], [0, 0]).dilated([3, 7]), true),
        // Only corners of the kernel meet the image.
        ([1, 2, 3, 3], 4, slide([3, 3], [1, 1], [4, 5]).dilated([4, 5]), true),
    ];
    let gpus = gpus();
    for (x, out, slide, bias) in rows {
        check_conv2d(&gpus, x, out, slide, bias);
    }
}

#[test]
fn conv2d_of_drawn_sizes_is_the_sum_over_its_window() {
    let mut random = Pcg64::seed_from_u64(11);
    let mut draw = |from: &[usize]| from[random.random_range(0..from.len())];
    let gpus = gpus();
    for _ in 0..10 {
        let kernel = [draw(&[1, 2, 3, 5]), draw(&[1, 2, 3, 5])];
        let slide =
            Slide::new(kernel, [draw(&[1, 2, 3]), draw(&[1, 1, 2, 3])], [draw(&[0, 1, 2]), draw(&[0, 1, 2])]);
        let x = [draw(&[1, 2, 5]), draw(&[1, 3, 4, 5, 17]), draw(&[5, 6, 9]), draw(&[5, 7, 8, 19])];
        check_conv2d(&gpus, x, draw(&[1, 2, 3, 8, 20, 33]), slide, draw(&[0, 1, 1]) == 1);
    }
}

#[test]
fn linear_is_the_product_with_its_weight() {
    let rows: [(&[usize], usize, bool); 10] = [
        (&[1, 4], 1, true),
        (&[5, 3], 7, true),
        (&[33, 8], 10, true),
        (&[2, 64], 33, false),
        (&[70, 12], 5, true),
        (&[7, 33], 17, false),
        (&[3, 1], 1, true),
        (&[2, 3, 4], 6, true),
        (&[2, 5, 7], 3, false),
        (&[8], 5, true),
    ];
    let gpus = gpus();
    for (shape, out, bias) in rows {
        let features = *shape.last().unwrap();
        let len: usize = shape.iter().product();
        let mut parameters = vec![("x", noises(1, len)), ("l.weight", noises(2, out * features))];
        if bias {
            parameters.push(("l.bias", noises(3, out)));
        }
        let case = Case {
            name: format!("linear of {shape:?} to {out}, bias {bias}"),
            parameters,
            labels: None,
            build: &|graph| {
                let layer = Linear::new(out).name("l");
                let layer = if bias { layer } else { layer.without_bias() };
                graph.parameter("x", shape, Init::Constant(0.0)).linear(layer)
            },
            value: &|t| reference::linear(&t[0], features, &t[1], t.get(2).map(|b| &b[..])),
            half: 0.5,
        };
        check_all(&gpus, &case, len * out);
    }
}

/// Shapes of every rank, with and without padding of their rows.
pub(crate) const SHAPES: [&[usize]; 7] =
    [&[1], &[6], &[3, 5], &[300, 4], &[2, 3, 7], &[2, 3, 4, 5], &[1, 4, 1, 9]];

#[test]
fn bias_is_added_to_each_channel() {
    let gpus = gpus();
    for shape in SHAPES {
        let (len, channel, pixels) = match *shape {
            [n, c, h, w] => (n * c * h * w, c, h * w),
            _ => (shape.iter().product(), *shape.last().unwrap(), 1),
        };
        let case = Case {
            name: format!("bias of {shape:?}"),
            parameters: vec![("x", noises(1, len)), ("bias1", noises(2, channel))],
            labels: None,
            build: &|graph| graph.parameter("x", shape, Init::Constant(0.0)).bias(),
            value: &|t| t[0].iter().enumerate().map(|(i, x)| x + t[1][i / pixels % channel]).collect(),
            half: 0.5,
        };
        check_all(&gpus, &case, len);
    }
}

#[test]
fn the_sum_of_many_rows_is_the_gradient_of_a_bias() {
    // Past 256 rows the sum is cut into parts.
    for gpu in gpus() {
        for (rows, columns) in [(257, 3), (1000, 5), (4097, 33)] {
            let graph = Graph::new();
            let x = graph.input("x", [rows, columns]);
            let y = x.bias();
            let dy = noises(5, rows * columns);
            let zeros = vec![0.0_f32; rows * columns];
            let inputs: [(&str, &dyn HostData); 2] = [("x", &zeros), ("dy", &dy)];
            let got = run(&gpu, &graph, &PlanOptions::train(&y).upstream("dy"), &[], &inputs, &[]);
            let want: Vec<f64> = (0..columns)
                .map(|column| dy.iter().skip(column).step_by(columns).copied().map(f64::from).sum())
                .collect();
            assert_close(&format!("bias of [{rows}, {columns}]"), &got.gradients["bias1"], &want);
        }
    }
}

#[test]
fn relu_and_mean_and_add_are_what_they_say() {
    let gpus = gpus();
    for shape in SHAPES {
        let len: usize = shape.iter().product();
        let (x, half) = (distinct(4, len), 0.1 / len as f64);
        let parameter = |graph: &Graph, name: &str| graph.parameter(name, shape, Init::Constant(0.0));
        let case = Case {
            name: format!("relu of {shape:?}"),
            parameters: vec![("x", x.clone())],
            labels: None,
            build: &|graph| parameter(graph, "x").relu(),
            value: &|t| reference::relu(&t[0]),
            half,
        };
        check_all(&gpus, &case, len);
        let mean = Case {
            name: format!("mean of {shape:?}"),
            parameters: vec![("x", x.clone())],
            build: &|graph| parameter(graph, "x").mean(),
            value: &|t| vec![t[0].iter().sum::<f64>() / len as f64],
            ..case
        };
        check_all(&gpus, &mean, len);
        let add = Case {
            name: format!("add of {shape:?}"),
            parameters: vec![("x", x), ("z", noises(5, len))],
            labels: None,
            build: &|graph| parameter(graph, "x").add(&parameter(graph, "z")),
            value: &|t| t[0].iter().zip(&t[1]).map(|(x, z)| x + z).collect(),
            half,
        };
        check_all(&gpus, &add, len);
    }
}

#[test]
fn a_long_mean_takes_several_passes() {
    for gpu in gpus() {
        for len in [255, 256, 257, 65_537, 70_001] {
            let graph = Graph::new();
            let y = graph.parameter("x", [len], Init::Constant(0.0)).mean();
            let x = noises(3, len);
            let got = run(&gpu, &graph, &PlanOptions::train(&y), &[("x", &x)], &[], &["loss"]);
            let mean = wide(&x).iter().sum::<f64>() / len as f64;
            assert_close(&format!("mean of {len}"), &got.outputs["loss"], &[mean]);
            let gradient: Vec<f32> = got.gradients["x"].iter().map(|g| g * len as f32).collect();
            assert_close(&format!("gradient of the mean of {len}"), &gradient, &vec![1.0; len]);
        }
    }
}

#[test]
fn flatten_keeps_torchs_order() {
    let gpus = gpus();
    for shape in
        [&[3, 5][..], &[2, 3, 4], &[2, 4, 3], &[2, 3, 4, 5], &[2, 4, 2, 2], &[3, 5, 1, 1], &[1, 8, 3, 1]]
    {
        let len: usize = shape.iter().product();
        let case = Case {
            name: format!("flatten of {shape:?}"),
            parameters: vec![("x", noises(1, len))],
            labels: None,
            build: &|graph| graph.parameter("x", shape, Init::Constant(0.0)).flatten(),
            value: &|t| t[0].clone(),
            half: 0.5,
        };
        check_all(&gpus, &case, len);
    }
}

#[test]
fn accuracy_counts_the_rows_whose_first_largest_is_at_the_label() {
    for gpu in gpus() {
        for (rows, classes) in [(1, 1), (5, 3), (70, 10), (9, 33)] {
            let graph = Graph::new();
            let (x, y) = (graph.input("x", [rows, classes]), graph.labels("y", rows));
            let accuracy = x.accuracy(&y);
            let logits: Vec<f32> = (0..rows * classes).map(|i| (noise(3, i) * 3.0).round()).collect();
            let labels: Vec<u32> = (0..rows).map(|i| u32::try_from(i % classes).unwrap()).collect();
            let first_largest = |row: &[f32]| {
                let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                row.iter().position(|x| *x == largest).unwrap()
            };
            let hits = logits.chunks(classes).zip(&labels).filter(|(r, l)| first_largest(r) == **l as usize);
            let want = hits.count() as f64 / rows as f64;
            // A store needs a tensor.
            graph.parameter("unused", [1], Init::Constant(0.0));
            let options = PlanOptions::evaluate().output("accuracy", &accuracy);
            let got = run(&gpu, &graph, &options, &[], &[("x", &logits), ("y", &labels)], &["accuracy"]);
            assert_close(&format!("accuracy of [{rows}, {classes}]"), &got.outputs["accuracy"], &[want]);
        }
    }
}
