//! Accuracy of any number of classes, whose rows are split between invocations from 4,097 on.

use gradus::Gpu;
use gradus::graph::{Graph, HostData, Init, PlanOptions};

use crate::common::{noise, noises};
use crate::network::{gpus, run};

/// Hits of rows of logits at their labels.
fn hits(gpu: &Gpu, classes: usize, logits: &[f32], labels: &[u32]) -> f64 {
    let graph = Graph::new();
    let rows = labels.len();
    let accuracy = graph.input("x", [rows, classes]).accuracy(&graph.labels("labels", rows));
    // A store needs a tensor.
    graph.parameter("unused", [1], Init::Constant(0.0));
    let options = PlanOptions::evaluate().output("accuracy", &accuracy);
    let (logits, labels) = (logits.to_vec(), labels.to_vec());
    let inputs: [(&str, &dyn HostData); 2] = [("x", &logits), ("labels", &labels)];
    let got = run(gpu, &graph, &options, &[], &inputs, &["accuracy"]).outputs["accuracy"][0];
    (f64::from(got) * rows as f64).round()
}

/// As torch's `argmax`: the first largest, where NaN is larger than all others.
fn first_largest(row: &[f32]) -> usize {
    let nan = row.iter().position(|x| x.is_nan());
    let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    nan.or_else(|| row.iter().position(|x| *x == largest)).unwrap()
}

#[test]
fn accuracy_finds_the_first_largest_of_any_number_of_classes() {
    const INF: f32 = f32::INFINITY;
    for gpu in gpus() {
        for classes in (1..=9).chain([4096, 4097, 65_535, 65_537, 128_256, 300_000]) {
            let spread = |number: usize| (number * 7919 + 3) % classes;
            let set = |at: &[usize], value: f32, others: f32| {
                let mut row = vec![others; classes];
                at.iter().for_each(|&at| row[at] = value);
                row
            };
            let mut rows = vec![
                noises(1, classes),
                (0..classes).map(|i| (3.0 * noise(2, i)).round()).collect(),
                set(&[classes - 1], 1.0, 0.0),
                set(&[0], 1.0, 0.0),
                set(&[spread(2), spread(3), classes - 1], 5.0, -5.0),
                set(&[classes - 1, spread(5)], -0.0, 0.0),
                set(&[classes - 1, spread(5)], 0.0, -0.0),
                vec![-INF; classes],
                vec![f32::MIN; classes],
                vec![f32::MAX; classes],
                vec![f32::NAN; classes],
                vec![-f32::NAN; classes],
                set(&[classes - 1], f32::MIN, -INF),
                set(&[classes / 2], INF, f32::MAX),
                set(&[classes - 1, spread(4)], f32::NAN, INF),
                set(&[classes - 1], -f32::NAN, 1.0),
                set(&[spread(1)], -1e-45, -1.0),
            ];
            rows.push(rows[0].iter().map(|x| -x.abs() * 1e38).collect());
            let labels: Vec<u32> =
                rows.iter().map(|row| u32::try_from(first_largest(row)).unwrap()).collect();
            let logits = rows.concat();
            // One row at a time, or the mean would hide two errors.
            let all = hits(&gpu, classes, &logits, &labels);
            if all != rows.len() as f64 {
                for (number, (row, label)) in rows.iter().zip(&labels).enumerate() {
                    assert_eq!(
                        hits(&gpu, classes, row, &[*label]),
                        1.0,
                        "row {number} of {classes} classes, at {label}"
                    );
                }
            }
            assert_eq!(all, rows.len() as f64, "{classes} classes");
            if classes > 1 {
                let others: Vec<u32> =
                    labels.iter().map(|l| (l + 1) % u32::try_from(classes).unwrap()).collect();
                assert_eq!(
                    hits(&gpu, classes, &logits, &others),
                    0.0,
                    "{classes} classes, labels beside the largest"
                );
            }
        }
    }
}
