//! Products of matrices and of batches of them, from every kind of kernels, against f64 loops.

use gradus::gpu::KernelKind;
use gradus::graph::{Graph, Init, PlanOptions, Workspace};
use gradus::nn::Linear;
use gradus::{Error, Gpu};

use crate::common::noises;
use crate::network::{gpus, run, with_padding};

/// How an input reaches the product: as it lies, or with two axes exchanged, as a view.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Lies {
    AsItIs,
    /// The last two axes.
    Transposed,
    /// The second and the third axis from the end, as heads and steps of an attention.
    Heads,
}

impl Lies {
    /// The axes that are exchanged.
    fn swap(self, rank: usize) -> Option<[usize; 2]> {
        match self {
            Self::AsItIs => None,
            Self::Transposed => Some([rank - 2, rank - 1]),
            Self::Heads => Some([rank - 3, rank - 2]),
        }
    }

    fn stored(self, shape: &[usize]) -> Vec<usize> {
        let mut stored = shape.to_vec();
        if let Some([a, b]) = self.swap(shape.len()) {
            stored.swap(a, b);
        }
        stored
    }
}

/// A tensor of f64 in torch's order.
#[derive(Clone, Debug)]
struct Tensor {
    shape: Vec<usize>,
    data: Vec<f64>,
}

impl Tensor {
    fn zeros(shape: &[usize]) -> Self {
        Self { shape: shape.to_vec(), data: vec![0.0; shape.iter().product()] }
    }

    fn noise(stream: u64, shape: &[usize]) -> Self {
        let data = noises(stream, shape.iter().product());
        Self { shape: shape.to_vec(), data: data.into_iter().map(f64::from).collect() }
    }

    #[expect(clippy::cast_possible_truncation, reason = "the library computes in f32")]
    fn f32(&self) -> Vec<f32> {
        self.data.iter().map(|x| *x as f32).collect()
    }

    /// With two axes exchanged.
    fn swapped(&self, axes: Option<[usize; 2]>) -> Self {
        let Some([a, b]) = axes else { return self.clone() };
        let mut out = Self::zeros(&self.shape);
        out.shape.swap(a, b);
        for (at, x) in self.data.iter().enumerate() {
            let mut index = unflatten(at, &self.shape);
            index.swap(a, b);
            let to = flatten(&index, &out.shape);
            out.data[to] = *x;
        }
        out
    }
}

fn unflatten(mut at: usize, shape: &[usize]) -> Vec<usize> {
    let mut index = vec![0; shape.len()];
    for (place, extent) in index.iter_mut().zip(shape).rev() {
        *place = at % extent;
        at /= extent;
    }
    index
}

fn flatten(index: &[usize], shape: &[usize]) -> usize {
    index.iter().zip(shape).fold(0, |at, (place, extent)| at * extent + place)
}

/// Every triple of elements that a product multiplies and adds: of `x`, of `other` and of `y`.
fn terms(x: &[usize], other: &[usize], y: &[usize], mut visit: impl FnMut(usize, usize, usize)) {
    // A vector is a row, or a column, whose axis is missing in the result.
    let x2: Vec<usize> = if x.len() == 1 { vec![1, x[0]] } else { x.to_vec() };
    let other2: Vec<usize> = if other.len() == 1 { vec![other[0], 1] } else { other.to_vec() };
    let (rows, inner) = (x2[x2.len() - 2], x2[x2.len() - 1]);
    let columns = other2[other2.len() - 1];
    let axes = x2.len().max(other2.len()) - 2;
    let matrix = usize::from(x.len() > 1) + usize::from(other.len() > 1);
    let batch = &y[..axes.min(y.len().saturating_sub(matrix))];
    let place = |index: &[usize], shape: &[usize], row: usize, column: usize| {
        let own = shape.len() - 2;
        let own_index: Vec<usize> =
            index[index.len() - own..].iter().zip(shape).map(|(place, extent)| place % extent).collect();
        flatten(&[&own_index[..], &[row, column]].concat(), shape)
    };
    for number in 0..batch.iter().product() {
        let index = unflatten(number, batch);
        for row in 0..rows {
            for column in 0..columns {
                let to = (number * rows + row) * columns + column;
                for k in 0..inner {
                    visit(place(&index, &x2, row, k), place(&index, &other2, k, column), to);
                }
            }
        }
    }
}

struct Case {
    x: &'static [usize],
    x_lies: Lies,
    other: &'static [usize],
    other_lies: Lies,
}

const fn case(x: &'static [usize], other: &'static [usize]) -> Case {
    lying(x, Lies::AsItIs, other, Lies::AsItIs)
}

const fn lying(x: &'static [usize], x_lies: Lies, other: &'static [usize], other_lies: Lies) -> Case {
    Case { x, x_lies, other, other_lies }
}

fn close(what: &str, got: &[f32], want: &[f64], terms: usize) {
    assert_eq!(got.len(), want.len(), "{what}");
    // Rounding of that many products of numbers below 1, and of their sum.
    let tolerance = f64::from(f32::EPSILON) * (4.0 + 2.0 * terms as f64);
    for (at, (got, want)) in got.iter().zip(want).enumerate() {
        assert!((f64::from(*got) - want).abs() <= tolerance, "{what}[{at}]: {got}, expected {want}");
    }
}

fn check(gpu: &Gpu, case: &Case, number: usize) {
    let Case { x, x_lies, other, other_lies } = case;
    let what =
        format!("case {number}: {x:?} {x_lies:?} times {other:?} {other_lies:?}, {:?}", gpu.kernel_kind());
    let graph = Graph::new();
    let factor = |name: &str, shape: &[usize], lies: Lies| {
        let stored = graph.parameter(name, lies.stored(shape), Init::Constant(0.0));
        match lies {
            Lies::AsItIs => stored,
            Lies::Transposed => stored.transpose(-1, -2),
            Lies::Heads => stored.transpose(-3, -2),
        }
    };
    let y = factor("x", x, *x_lies).matmul(&factor("other", other, *other_lies));
    let shape = y.shape();
    let [a, b, dy] = [Tensor::noise(1, x), Tensor::noise(2, other), Tensor::noise(3, &shape)];
    let [mut want, mut da, mut db] = [Tensor::zeros(&shape), Tensor::zeros(x), Tensor::zeros(other)];
    terms(x, other, &shape, |i, j, to| {
        want.data[to] += a.data[i] * b.data[j];
        da.data[i] += dy.data[to] * b.data[j];
        db.data[j] += a.data[i] * dy.data[to];
    });
    let [a, b] = [(&a, x_lies), (&b, other_lies)].map(|(t, lies)| t.swapped(lies.swap(t.shape.len())).f32());
    let options = PlanOptions::train(&y).upstream("dy");
    let outcome = run(gpu, &graph, &options, &[("x", &a), ("other", &b)], &[("dy", &dy.f32())], &["loss"]);
    let products = x.iter().chain(*other).product::<usize>();
    let [of_y, of_da, of_db] = [&want, &da, &db].map(|t| products.div_ceil(t.data.len()).max(8));
    close(&format!("{what}: y"), &outcome.outputs["loss"], &want.data, of_y.min(2_000));
    let da = da.swapped(x_lies.swap(x.len()));
    let db = db.swapped(other_lies.swap(other.len()));
    close(&format!("{what}: gradient of x"), &outcome.gradients["x"], &da.data, of_da.min(2_000));
    close(&format!("{what}: gradient of other"), &outcome.gradients["other"], &db.data, of_db.min(2_000));
}

#[test]
fn products_and_their_gradients_are_those_of_plain_loops() {
    use Lies::{AsItIs, Heads, Transposed};
    let cases = [
        // Matrices: extents of 1, odd ones, several tiles.
        case(&[1, 1], &[1, 1]),
        case(&[3, 5], &[5, 7]),
        case(&[33, 8], &[8, 36]),
        case(&[70, 37], &[37, 41]),
        case(&[1, 64], &[64, 33]),
        case(&[65, 1], &[1, 34]),
        // Vectors.
        case(&[9], &[9]),
        case(&[1], &[1]),
        case(&[9], &[9, 6]),
        case(&[5, 9], &[9]),
        case(&[8], &[3, 8, 12]),
        case(&[9], &[3, 2, 9, 5]),
        case(&[2, 3, 5, 9], &[9]),
        case(&[3, 8, 12], &[12]),
        // Batches of one shape, and broadcast in either direction and in both.
        case(&[3, 5, 6], &[3, 6, 7]),
        case(&[2, 3, 8, 4], &[2, 3, 4, 12]),
        case(&[4, 5, 8], &[8, 6]),
        case(&[4, 5, 7], &[7, 6]),
        case(&[5, 7], &[4, 7, 6]),
        case(&[3, 1, 5, 7], &[2, 7, 3]),
        case(&[1, 4, 5, 6], &[3, 1, 6, 2]),
        case(&[3, 1, 2, 1, 4, 5], &[1, 2, 1, 3, 5, 3]),
        case(&[6, 1, 5], &[5, 3]),
        case(&[6, 1, 5], &[6, 5, 1]),
        // Views: every way in which two matrices can lie.
        lying(&[5, 9], AsItIs, &[9, 7], Transposed),
        lying(&[5, 9], Transposed, &[9, 7], AsItIs),
        lying(&[5, 9], Transposed, &[9, 7], Transposed),
        lying(&[3, 40, 36], AsItIs, &[3, 36, 33], Transposed),
        lying(&[3, 40, 36], Transposed, &[3, 36, 33], AsItIs),
        lying(&[3, 40, 36], Transposed, &[3, 36, 33], Transposed),
        lying(&[3, 1, 5, 7], Transposed, &[2, 7, 3], Transposed),
        lying(&[4, 6, 7], Transposed, &[7, 5], Transposed),
        lying(&[2, 3, 5, 8], Heads, &[2, 3, 8, 6], Heads),
        lying(&[2, 3, 5, 8], Heads, &[8, 6], AsItIs),
        lying(&[2, 3, 5, 8], Heads, &[3, 8, 6], Heads),
        lying(&[2, 3, 1, 8], Heads, &[8], AsItIs),
    ];
    for gpu in gpus() {
        for (number, case) in cases.iter().enumerate() {
            check(&gpu, case, number);
        }
    }
}

/// Inner dimensions on both sides of what one invocation adds, in one matrix and in a batch; and repeats of them.
#[test]
fn long_inner_dimensions_are_split() {
    for gpu in gpus() {
        for (number, inner) in [16_384, 16_385, 40_001].into_iter().enumerate() {
            let graph = Graph::new();
            let [x, other] = [("x", [2, 1, inner]), ("other", [2, inner, 3])];
            let [x, other] =
                [x, other].map(|(name, shape)| graph.parameter(name, shape, Init::Constant(0.0)));
            let y = x.matmul(&other);
            let [a, b] = [noises(4, 2 * inner), noises(5, 6 * inner)];
            let options = PlanOptions::train(&y).upstream("dy");
            let dy = [1.0, -0.5, 0.25, 2.0, 1.0, -1.0];
            let outcome =
                run(&gpu, &graph, &options, &[("x", &a), ("other", &b)], &[("dy", &&dy[..])], &["loss"]);
            let what = format!("case {number}, {:?} kernels", gpu.kernel_kind());
            for (at, got) in outcome.outputs["loss"].iter().enumerate() {
                let (batch, column) = (at / 3, at % 3);
                let term = |k: usize| {
                    f64::from(a[batch * inner + k]) * f64::from(b[(batch * inner + k) * 3 + column])
                };
                let want: f64 = (0..inner).map(term).sum();
                assert!(
                    (f64::from(*got) - want).abs() < 2e-3,
                    "{what}, element {at}: {got}, expected {want}"
                );
            }
            for (at, got) in outcome.gradients["x"].iter().enumerate() {
                let term = |n: usize| f64::from(dy[at / inner * 3 + n]) * f64::from(b[at * 3 + n]);
                let want: f64 = (0..3).map(term).sum();
                assert!(
                    (f64::from(*got) - want).abs() < 1e-5,
                    "{what}, gradient of x at {at}: {got}, {want}"
                );
            }
        }
    }
}

/// Dispatches of a plan by their kernels, without what brings parameters and their gradients in order.
fn products(gpu: &Gpu, x: &[usize], other: &[usize], lies: Lies) -> Vec<String> {
    let graph = Graph::new();
    let stored = graph.parameter("x", lies.stored(x), Init::Constant(0.0));
    let x = match lies {
        Lies::AsItIs => stored,
        Lies::Transposed => stored.transpose(-1, -2),
        Lies::Heads => stored.transpose(-3, -2),
    };
    let y = x.matmul(&graph.parameter("other", other, Init::Constant(0.0)));
    let params = graph.store(gpu, 1).unwrap();
    let plan = graph.compile(&params, &PlanOptions::train(&y).upstream("dy"), &mut Workspace::new()).unwrap();
    // GPUs split a sum of few tiles, and add its parts.
    let adds_parts = gpu.kernel_kind() == KernelKind::Gpu;
    let labels = plan.labels().filter(|label| !(adds_parts && label.contains("sum_parts")));
    labels.map(str::to_owned).collect()
}

#[test]
fn a_batch_is_one_dispatch_and_so_is_each_gradient() {
    for gpu in gpus() {
        for (x, other, lies) in [
            // As of an attention: queries and keys of 32 heads.
            (&[8, 4, 64, 32][..], &[8, 4, 32, 64][..], Lies::Heads),
            (&[8, 4, 64, 64], &[8, 4, 64, 32], Lies::AsItIs),
            (&[64, 64, 128], &[128, 512], Lies::AsItIs),
            (&[3, 1, 8, 8], &[2, 8, 4], Lies::AsItIs),
            (&[3, 40, 36], &[3, 36, 32], Lies::Transposed),
        ] {
            let labels = products(&gpu, x, other, lies);
            let what =
                format!("{x:?} times {other:?}, {lies:?}, {:?} kernels: {labels:?}", gpu.kernel_kind());
            assert_eq!(labels.len(), 3, "{what}");
            assert!(labels.iter().all(|label| label.contains(": matmul_")), "{what}");
        }
    }
}

/// More axes than kernels count are brought together first.
#[test]
fn a_linear_layer_takes_views_of_any_rank() {
    const SHAPE: [usize; 9] = [2, 3, 2, 1, 2, 3, 2, 2, 4];
    for gpu in gpus() {
        let graph = Graph::new();
        let stored = graph.parameter("x", SHAPE, Init::Constant(0.0));
        let x = stored.transpose(0, 1).transpose(2, 4).transpose(5, 7);
        let y = x.linear(Linear::new(3).without_bias().name("l"));
        let shape = x.shape();
        let len: usize = SHAPE.iter().product();
        let [values, weight, dy] = [noises(1, len), noises(2, 12), noises(3, len / 4 * 3)];
        let options = PlanOptions::train(&y).upstream("dy");
        let outcome =
            run(&gpu, &graph, &options, &[("x", &values), ("l.weight", &weight)], &[("dy", &dy)], &["loss"]);
        let (mut want, mut dx, mut dw) = (vec![0.0; len / 4 * 3], vec![0.0; len], vec![0.0; 12]);
        for at in 0..len {
            let mut index = unflatten(at, &shape);
            index.swap(5, 7);
            index.swap(2, 4);
            index.swap(0, 1);
            let (from, row, k) = (flatten(&index, &SHAPE), at / 4, at % 4);
            for out in 0..3 {
                let [x, w, g] = [values[from], weight[out * 4 + k], dy[row * 3 + out]].map(f64::from);
                want[row * 3 + out] += x * w;
                dx[from] += g * w;
                dw[out * 4 + k] += g * x;
            }
        }
        close("y", &outcome.outputs["loss"], &want, 4);
        close("gradient of x", &outcome.gradients["x"], &dx, 3);
        close("gradient of the weight", &outcome.gradients["l.weight"], &dw, len / 4);
    }
}

/// Each kernel ends with what follows: columns and rows that are odd, transposed factors, parts of a long sum.
#[test]
fn a_function_after_a_product_runs_at_its_end() {
    for gpu in gpus() {
        for (x, other, transposed, dispatches) in [
            ([5, 8], [8, 6], false, 1),
            ([5, 8], [8, 6], true, 1),
            ([33, 9], [9, 40], false, 1),
            ([2, 40_000], [40_000, 3], false, 2),
        ] {
            let graph = Graph::new();
            let stored = if transposed { [other[1], other[0]] } else { other };
            // Inputs of rows that are padded would cost dispatches of their own.
            let factor = |name: &str, shape: [usize; 2]| graph.parameter(name, shape, Init::Constant(0.0));
            let (a, b) = (factor("x", x), factor("other", stored));
            let y = a.matmul(&if transposed { b.transpose(0, 1) } else { b }).relu();
            let options = PlanOptions::evaluate().output("y", &y);
            let [av, bv] = [noises(1, x[0] * x[1]), noises(2, other[0] * other[1])];
            let outcome = run(&gpu, &graph, &options, &[("x", &av), ("other", &bv)], &[], &["y"]);
            let what = format!("{x:?} times {other:?}, {transposed}, {:?} kernels", gpu.kernel_kind());
            for (at, got) in outcome.outputs["y"].iter().enumerate() {
                let (row, column) = (at / other[1], at % other[1]);
                let place = |k: usize| if transposed { column * x[1] + k } else { k * other[1] + column };
                let sum: f64 =
                    (0..x[1]).map(|k| f64::from(av[row * x[1] + k]) * f64::from(bv[place(k)])).sum();
                assert!((f64::from(*got) - sum.max(0.0)).abs() < 2e-3, "{what}, {at}: {got}, expected {sum}");
            }
            let params = graph.store(&gpu, 1).unwrap();
            let plan = graph.compile(&params, &options, &mut Workspace::new()).unwrap();
            let kernels: Vec<&str> = plan.labels().filter(|label| !label.contains("to_rows")).collect();
            assert_eq!(kernels.len(), dispatches, "{what}: {kernels:?}");
        }
    }
}

#[test]
fn a_linear_layer_reads_views_where_they_lie() {
    for gpu in gpus() {
        let graph = Graph::new();
        let stored = graph.parameter("x", [2, 5, 3, 8], Init::Constant(0.0));
        let y = stored.transpose(1, 2).linear(Linear::new(4).name("l"));
        let options = PlanOptions::train(&y).upstream("dy");
        let values = [noises(1, 240), noises(2, 32), noises(3, 4)];
        let dy = noises(4, 120);
        let named: Vec<(&str, &[f32])> =
            ["x", "l.weight", "l.bias"].into_iter().zip(values.iter().map(|v| &v[..])).collect();
        let outcome = run(&gpu, &graph, &options, &named, &[("dy", &dy)], &["loss"]);
        let [x, w, b] = &values;
        let wide = |x: f32| f64::from(x);
        let (mut y, mut dx) = (vec![0.0; 120], vec![0.0; 240]);
        let (mut dw, mut db) = (vec![0.0; 32], vec![0.0; 4]);
        for (row, out) in (0..30).flat_map(|row| (0..4).map(move |out| (row, out))) {
            let (image, step, head) = (row / 15, row / 5 % 3, row % 5);
            // The step is the third axis where it is stored.
            let from = ((image * 5 + head) * 3 + step) * 8;
            let g = wide(dy[row * 4 + out]);
            y[row * 4 + out] += wide(b[out]);
            db[out] += g;
            for k in 0..8 {
                y[row * 4 + out] += wide(x[from + k]) * wide(w[out * 8 + k]);
                dx[from + k] += g * wide(w[out * 8 + k]);
                dw[out * 8 + k] += g * wide(x[from + k]);
            }
        }
        close("y", &outcome.outputs["loss"], &y, 8);
        close("gradient of x", &outcome.gradients["x"], &dx, 4);
        close("gradient of the weight", &outcome.gradients["l.weight"], &dw, 30);
        close("gradient of the bias", &outcome.gradients["l.bias"], &db, 30);
        let params = graph.store(&gpu, 1).unwrap();
        let plan = graph.compile(&params, &options, &mut Workspace::new()).unwrap();
        let kernels: Vec<&str> = plan.labels().filter(|label| label.contains("copy")).collect();
        assert_eq!(kernels, [""; 0], "{:?} kernels", gpu.kernel_kind());
    }
}

#[test]
fn what_overflows_in_one_row_leaves_others_and_the_padding_alone() {
    for gpu in gpus() {
        let graph = Graph::new();
        let [x, other] = [("x", [3, 5]), ("other", [5, 6])]
            .map(|(name, shape)| graph.parameter(name, shape, Init::Constant(0.0)));
        let y = x.matmul(&other);
        let mut params = graph.store(&gpu, 1).unwrap();
        let mut a = noises(1, 15);
        a[5..10].fill(f32::INFINITY);
        params.write("x", &a).unwrap();
        params.write("other", &[0.5; 30]).unwrap();
        let plan =
            graph.compile(&params, &PlanOptions::evaluate().output("y", &y), &mut Workspace::new()).unwrap();
        crate::network::submit(&gpu, &[&plan]);
        let all = with_padding(&gpu, &plan, "y");
        assert_eq!(all.len(), 24);
        for (row, got) in all.chunks(8).enumerate() {
            assert_eq!(got[6..], [0.0; 2], "row {row}, {:?} kernels", gpu.kernel_kind());
            assert!(got[..6].iter().all(|x| x.is_finite() == (row != 1)), "row {row}: {got:?}");
        }
    }
}

#[test]
fn factors_that_do_not_fit_are_refused_with_both_shapes() {
    let refusal = |x: &[usize], other: &[usize]| {
        let graph = Graph::new();
        let _ = graph.input("x", x).matmul(&graph.input("other", other));
        graph.check().unwrap_err()
    };
    let error = refusal(&[3, 4], &[5, 6]);
    assert!(
        matches!(&error, Error::Shape { layer, got, .. } if layer == "matmul1" && got == &[5, 6]),
        "{error:?}"
    );
    assert!(error.to_string().contains("[4] or [.., 4, columns] for a left factor [3, 4]"), "{error}");
    let error = refusal(&[2, 3, 4], &[3, 4, 5]).to_string();
    assert!(error.contains("broadcast with those of [2, 3, 4]") && error.contains("[3, 4, 5]"), "{error}");
    let error = refusal(&[1; 9], &[1, 1]).to_string();
    assert!(error.contains("at most 8 axes"), "{error}");
}
