//! The losses of labels and of probabilities of classes, in places.

use gradus::graph::{Graph, Init, PlanOptions};
use gradus::nn::{CrossEntropy, NllLoss};

use super::{REDUCTIONS, reduced};
use crate::common::noises;
use crate::network::gpus;
use crate::ops::{Case, check_all};
use crate::reference;

/// The rows of `[N, classes, ..]`, the classes of each place side by side.
fn rows(x: &[f64], shape: &[usize]) -> Vec<f64> {
    let (classes, places) = (shape[1], shape[2..].iter().product::<usize>());
    let rows = shape[0] * places;
    let at = |row: usize, class: usize| (row / places * classes + class) * places + row % places;
    (0..rows * classes).map(|i| x[at(i / classes, i % classes)]).collect()
}

const PLACES: [&[usize]; 7] =
    [&[5, 3], &[1, 1], &[2, 5, 7], &[3, 4, 1], &[2, 6, 8], &[2, 5, 3, 3], &[65, 9, 4]];

#[test]
fn losses_of_labels_have_the_classes_on_axis_1() {
    let gpus = gpus();
    for (number, shape) in PLACES.into_iter().enumerate() {
        let labelled = [&shape[..1], &shape[2..]].concat();
        let (classes, samples) = (shape[1], labelled.iter().product::<usize>());
        let weight: Vec<f32> = (0..classes).map(|c| 0.5 + c as f32).collect();
        for (turn, reduction) in REDUCTIONS.into_iter().cycle().take(6).enumerate() {
            let (weighs, nll) = (turn >= 3, (turn + number) % 2 == 0);
            let ignored =
                [None, Some(77), Some(0)][(turn + number) % 3].filter(|_| samples > 1 && classes > 1);
            let label = |i| u32::try_from((i * 7 + i / 5) % classes).unwrap();
            let labels: Vec<u32> =
                (0..samples).map(|i| ignored.filter(|_| i % 3 == 1).unwrap_or(label(i))).collect();
            let wide = if weighs { reference::wide(&weight) } else { vec![1.0; classes] };
            let smoothing = [0.0, 0.2][usize::from(turn % 2 == 0 && !nll)];
            let case = Case {
                name: format!("losses of {shape:?}, {reduction:?}, {weighs}, {ignored:?}, nll {nll}"),
                parameters: vec![("x", noises(3, samples * classes))],
                labels: Some(labels.clone()),
                build: &|graph| {
                    let labels = graph.labels("labels", &labelled[..]);
                    let x = graph.parameter("x", shape, Init::Constant(0.0));
                    if nll {
                        let options = NllLoss::new().reduction(reduction).ignore_index(ignored);
                        let options = if weighs { options.weight(&weight) } else { options };
                        return x.nll_loss_with(options, &labels);
                    }
                    let options = CrossEntropy::new().reduction(reduction).ignore_index(ignored);
                    let options = if weighs { options.weight(&weight) } else { options };
                    x.cross_entropy_with(options.label_smoothing(smoothing), &labels)
                },
                value: &|t| {
                    let rows = rows(&t[0], shape);
                    let (losses, weights): (Vec<f64>, Vec<f64>) = if nll {
                        let row = |(row, label): (&[f64], &u32)| match Some(*label) == ignored {
                            true => (0.0, 0.0),
                            false => (-wide[*label as usize] * row[*label as usize], wide[*label as usize]),
                        };
                        rows.chunks(classes).zip(&labels).map(row).unzip()
                    } else {
                        reference::cross_entropies(&rows, &wide, &labels, smoothing, ignored)
                    };
                    reduced(reduction, &losses, &weights)
                },
                half: 1e-4,
            };
            check_all(&gpus, &case, samples * classes);
        }
    }
}

#[test]
fn cross_entropy_takes_probabilities_of_the_classes() {
    let gpus = gpus();
    for shape in PLACES {
        let (classes, len) = (shape[1], shape.iter().product::<usize>());
        let weight: Vec<f32> = (0..classes).map(|c| 0.5 + c as f32).collect();
        for (turn, reduction) in REDUCTIONS.into_iter().cycle().take(6).enumerate() {
            let (weighs, smoothing) = (turn >= 3, [0.0, 0.3][turn % 2]);
            let case = Case {
                name: format!(
                    "cross_entropy of probabilities {shape:?}, {reduction:?}, {weighs}, {smoothing}"
                ),
                // Any numbers will do: torch does not ask for sums of 1.
                parameters: vec![("x", noises(3, len)), ("target", noises(4, len))],
                labels: None,
                build: &|graph| {
                    let value = |name| graph.parameter(name, shape, Init::Constant(0.0));
                    let options = CrossEntropy::new().reduction(reduction).label_smoothing(smoothing);
                    let options = if weighs { options.weight(&weight) } else { options };
                    value("x").cross_entropy_with(options, &value("target"))
                },
                value: &|t| {
                    let (x, t) = (rows(&t[0], shape), rows(&t[1], shape));
                    let row = |(x, t): (&[f64], &[f64])| {
                        let sum = x.iter().map(|x| x.exp()).sum::<f64>().ln();
                        let part = |class: usize| {
                            let weight = if weighs { f64::from(weight[class]) } else { 1.0 };
                            let t = t[class] * (1.0 - smoothing) + smoothing / classes as f64;
                            weight * t * (sum - x[class])
                        };
                        (0..classes).map(part).sum()
                    };
                    let losses: Vec<f64> = x.chunks(classes).zip(t.chunks(classes)).map(row).collect();
                    reduced(reduction, &losses, &vec![1.0; losses.len()])
                },
                half: 1e-4,
            };
            check_all(&gpus, &case, len);
        }
    }
}

#[test]
fn losses_of_labels_in_places_take_no_dispatch_more() {
    let Some(gpu) = gpus().into_iter().next() else { return };
    let dispatches = |shape: &[usize], nll: bool| {
        let graph = Graph::new();
        let labels = graph.labels("labels", [&shape[..1], &shape[2..]].concat());
        let x = graph.parameter("x", shape, Init::Constant(0.0));
        let loss = if nll { x.nll_loss(&labels) } else { x.cross_entropy(&labels) };
        let params = graph.store(&gpu, 0).unwrap();
        let plan = graph.compile(&params, &PlanOptions::train(&loss), &mut Default::default()).unwrap();
        plan.labels().map(str::to_owned).collect::<Vec<_>>()
    };
    // Beside the way of the tensor to rows and back, which a convolution's result does not need. The gradient that comes with
    // the losses is copied to a tensor that is read where it lies.
    for (nll, back) in [(false, 1), (true, 2)] {
        let (rows, places) = (dispatches(&[6, 8], nll), dispatches(&[6, 8, 3], nll));
        assert_eq!(rows.len() + back, places.len(), "{rows:?}, {places:?}");
        assert!(rows.len() <= 4, "{rows:?}");
    }
}
