//! Softmax and cross-entropy of the largest and the smallest numbers, of infinities and NaN, as torch has them in f32.

use gradus::Gpu;
use gradus::graph::{Graph, HostData, Init, PlanOptions};
use gradus::nn::{CrossEntropy, Reduction};

use crate::network::{gpus, run};
use crate::reference::assert_close;

const INF: f32 = f32::INFINITY;

/// A row and what it is.
type Row = (String, Vec<f32>);

/// Rows of `classes` extreme numbers, the odd one in each place that may matter.
fn rows(classes: usize) -> Vec<Row> {
    let mut rows = Vec::new();
    for all in [f32::MIN, -3.2e38, -3.0e38, -1e30, 0.0, 1e30, 3.0e38, f32::MAX, -INF, INF, f32::NAN] {
        rows.push((format!("{classes} of {all:e}"), vec![all; classes]));
    }
    let pairs = [
        (f32::MIN, f32::MAX),
        (f32::MAX, f32::MIN),
        (f32::MIN, 0.0),
        (f32::MAX, 0.0),
        (f32::MIN, -3.2e38),
        (-3.2e38, f32::MIN),
        (-INF, 0.0),
        (-INF, f32::MIN),
        (-INF, f32::MAX),
        (0.0, -INF),
        (f32::MIN, -INF),
        (f32::MAX, -INF),
        (INF, 0.0),
        (INF, f32::MIN),
        (f32::NAN, 0.0),
        (f32::NAN, f32::MIN),
        (f32::NAN, -INF),
    ];
    for (odd, others) in pairs {
        for at in places(classes) {
            let mut row = vec![others; classes];
            row[at] = odd;
            rows.push((format!("{odd:e} at {at} of {classes}, else {others:e}"), row));
        }
    }
    rows
}

/// The first, the last and one between, each once.
fn places(classes: usize) -> Vec<usize> {
    let mut places = vec![0, classes / 2, classes - 1];
    places.dedup();
    places
}

/// What f32 makes of a number: infinite beyond its largest.
fn in_range(x: f64) -> f64 {
    if x.abs() > f64::from(f32::MAX) { f64::INFINITY.copysign(x) } else { x }
}

/// The logarithm of the softmax as torch computes it in f32, but for rounding: NaN unless the largest is finite.
fn log_softmax(row: &[f32]) -> Vec<f64> {
    let keep_nan = |a: f64, b: f64| if a.is_nan() || b.is_nan() { f64::NAN } else { a.max(b) };
    let largest = row.iter().map(|x| f64::from(*x)).fold(f64::NEG_INFINITY, keep_nan);
    let differences: Vec<f64> = row.iter().map(|x| in_range(f64::from(*x) - largest)).collect();
    let log_sum = differences.iter().map(|x| x.exp()).sum::<f64>().ln();
    differences.iter().map(|x| x - log_sum).collect()
}

/// The loss and the gradient of the logits, as torch's `nll_loss` of `log_softmax` has them.
fn cross_entropy(row: &[f32], label: usize, weight: &[f64], smoothing: f64) -> (f64, Vec<f64>) {
    let logarithms = log_softmax(row);
    let classes = row.len();
    let mut loss = (1.0 - smoothing) * in_range(weight[label] * -logarithms[label]);
    if smoothing > 0.0 {
        let sum = weight.iter().zip(&logarithms).map(|(w, y)| w * -y).sum();
        loss += smoothing / classes as f64 * in_range(sum);
    }
    let target = |class: usize| {
        let hot = if class == label { 1.0 - smoothing } else { 0.0 };
        weight[class] * (hot + smoothing / classes as f64)
    };
    let sum: f64 = (0..classes).map(target).sum();
    (in_range(loss), (0..classes).map(|class| logarithms[class].exp() * sum - target(class)).collect())
}

fn agrees(got: f32, want: f64, scale: f64) -> bool {
    let got = f64::from(got);
    got == want || (got.is_nan() && want.is_nan()) || (got - want).abs() <= 1e-5 * want.abs() + 1e-6 * scale
}

fn check_losses(gpu: &Gpu, classes: usize, smoothing: f64, weighs: bool) {
    let rows = rows(classes);
    let labelled: Vec<(&Row, usize)> =
        rows.iter().flat_map(|row| places(classes).into_iter().map(move |label| (row, label))).collect();
    let weight: Vec<f32> = (0..classes).map(|c| if weighs { [2.0, 0.0, 1.25][c % 3] } else { 1.0 }).collect();
    let options = CrossEntropy::new().reduction(Reduction::None).label_smoothing(smoothing);
    let options = if weighs { options.weight(&weight) } else { options };
    let graph = Graph::new();
    let x = graph.parameter("x", [labelled.len(), classes], Init::Constant(0.0));
    let y = x.cross_entropy_with(options, &graph.labels("labels", labelled.len()));
    let logits: Vec<f32> = labelled.iter().flat_map(|((_, row), _)| row.clone()).collect();
    let labels: Vec<u32> = labelled.iter().map(|(_, label)| u32::try_from(*label).unwrap()).collect();
    let dy = vec![0.5_f32; labelled.len()];
    let inputs: [(&str, &dyn HostData); 2] = [("labels", &labels), ("dy", &dy)];
    let options = PlanOptions::train(&y).upstream("dy");
    let got = run(gpu, &graph, &options, &[("x", &logits)], &inputs, &["loss"]);
    let wide: Vec<f64> = weight.iter().copied().map(f64::from).collect();
    for (number, ((name, row), label)) in labelled.iter().enumerate() {
        let (loss, gradient) = cross_entropy(row, *label, &wide, smoothing);
        let what = format!("{name}, label {label}, smoothing {smoothing}, weights {weighs}");
        let got_loss = got.outputs["loss"][number];
        assert!(agrees(got_loss, loss, 1.0), "{what}: the loss is {got_loss:e}, expected {loss:e}");
        let slopes = &got.gradients["x"][number * classes..][..classes];
        for (class, (slope, want)) in slopes.iter().zip(&gradient).enumerate() {
            let want = 0.5 * want;
            assert!(
                agrees(*slope, want, 1.0),
                "{what}: the gradient of {class} is {slope:e}, expected {want:e}"
            );
        }
    }
}

#[test]
fn cross_entropy_of_extreme_logits_is_torchs() {
    for gpu in gpus() {
        for classes in (1..=9).chain([4096, 4097, 4101]) {
            for (smoothing, weighs) in [(0.0, false), (0.0, true), (0.1, false), (0.3, true)] {
                check_losses(&gpu, classes, smoothing, weighs);
            }
        }
    }
}

#[test]
fn softmax_of_extreme_numbers_is_torchs_along_rows_and_columns() {
    for gpu in gpus() {
        for (classes, along_rows, log) in (1..=9)
            .chain([1024, 1025, 4096, 4097])
            .flat_map(|n| [(n, true, false), (n, true, true), (n, false, false), (n, false, true)])
        {
            let rows = rows(classes);
            let dense: Vec<f32> = rows.iter().flat_map(|(_, row)| row.clone()).collect();
            let count = rows.len();
            let place = |row: usize, class: usize| {
                if along_rows { row * classes + class } else { class * count + row }
            };
            let mut values = vec![0.0; dense.len()];
            for (row, class) in (0..count).flat_map(|row| (0..classes).map(move |class| (row, class))) {
                values[place(row, class)] = dense[row * classes + class];
            }
            let (shape, dim) = if along_rows { ([count, classes], 1) } else { ([classes, count], 0) };
            let graph = Graph::new();
            let x = graph.parameter("x", shape, Init::Constant(0.0));
            let y = if log { x.log_softmax(dim) } else { x.softmax(dim) };
            let dy: Vec<f32> = (0..values.len()).map(|i| if i % 3 == 0 { 1.0 } else { -0.5 }).collect();
            let options = PlanOptions::train(&y).upstream("dy");
            let got = run(&gpu, &graph, &options, &[("x", &values)], &[("dy", &dy)], &["loss"]);
            for (number, (name, row)) in rows.iter().enumerate() {
                let logarithms = log_softmax(row);
                let softmax: Vec<f64> = logarithms.iter().map(|y| y.exp()).collect();
                let slope = |class: usize| f64::from(dy[place(number, class)]);
                let sum: f64 = match log {
                    true => (0..classes).map(slope).sum(),
                    false => (0..classes).map(|class| softmax[class] * slope(class)).sum(),
                };
                for class in 0..classes {
                    let (y, dx) = match log {
                        true => (logarithms[class], slope(class) - softmax[class] * sum),
                        false => (softmax[class], softmax[class] * (slope(class) - sum)),
                    };
                    let at = place(number, class);
                    let (got_y, got_dx) = (got.outputs["loss"][at], got.gradients["x"][at]);
                    let what = format!("{name}, along rows {along_rows}, logarithm {log}: element {class}");
                    assert!(agrees(got_y, y, 1.0), "{what} is {got_y:e}, expected {y:e}");
                    let scale = sum.abs().max(1.0);
                    assert!(agrees(got_dx, dx, scale), "{what} has the gradient {got_dx:e}, expected {dx:e}");
                }
            }
        }
    }
}

#[test]
fn a_mean_of_rows_of_the_smallest_number_is_the_logarithm_of_the_classes() {
    for gpu in gpus() {
        for classes in [4, 5, 5001] {
            let graph = Graph::new();
            let labels = graph.labels("labels", 2);
            let loss = graph.parameter("x", [2, classes], Init::Constant(0.0)).cross_entropy(&labels);
            let last = u32::try_from(classes - 1).unwrap();
            let inputs: [(&str, &dyn HostData); 1] = [("labels", &vec![last, 1])];
            let x = vec![f32::MIN; 2 * classes];
            let got = run(&gpu, &graph, &PlanOptions::train(&loss), &[("x", &x)], &inputs, &["loss"]);
            assert_close("loss", &got.outputs["loss"], &[(classes as f64).ln()]);
            let slope = |at: usize| {
                let label = [classes - 1, 1][at / classes];
                0.5 * (1.0 / classes as f64 - if at % classes == label { 1.0 } else { 0.0 })
            };
            assert_close("gradient", &got.gradients["x"], &(0..2 * classes).map(slope).collect::<Vec<_>>());
        }
    }
}
