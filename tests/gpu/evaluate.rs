//! Losses and metrics over a data set: what they are, whatever the size of the batches.

use gradus::graph::{Graph, Init, Var};
use gradus::nn::{CrossEntropy, Reduction};
use gradus::optim::SGD;
use gradus::train::Trainer;

use crate::common::{gpu, noises};

const CLASSES: usize = 3;
const IGNORED: u32 = 255;
const SAMPLES: usize = 60;
const WEIGHT: [f32; CLASSES] = [0.25, 3.0, 1.5];
const PENALTY: [f32; 3] = [0.5, -0.25, 1.0];

struct Set {
    x: Vec<f32>,
    y: Vec<u32>,
}

impl Set {
    /// The first ten labels are ignored, and others here and there; classes come in runs.
    fn new() -> Self {
        let label = |i: usize| match i {
            0..10 => IGNORED,
            _ if i % 5 == 2 => IGNORED,
            _ => u32::try_from(i / 13 % CLASSES).unwrap(),
        };
        Self { x: noises(3, SAMPLES * 4), y: (0..SAMPLES).map(label).collect() }
    }
}

fn softmax_loss(row: &[f64], class: usize) -> f64 {
    let largest = row.iter().copied().fold(f64::MIN, f64::max);
    largest + row.iter().map(|x| (x - largest).exp()).sum::<f64>().ln() - row[class]
}

/// The numerator and the denominator of torch's mean, in f64.
fn cross_entropy(logits: &[f64], labels: &[u32], weight: [f32; 3], smoothing: f64) -> [f64; 2] {
    let mut sums = [0.0; 2];
    for (row, label) in logits.chunks(CLASSES).zip(labels).filter(|(_, label)| **label != IGNORED) {
        let at = |class: usize| f64::from(weight[class]) * softmax_loss(row, class);
        let all: f64 = (0..CLASSES).map(at).sum();
        sums[0] += (1.0 - smoothing) * at(*label as usize) + smoothing / CLASSES as f64 * all;
        sums[1] += f64::from(weight[*label as usize]);
    }
    sums
}

fn ignoring() -> CrossEntropy {
    CrossEntropy::new().ignore_index(IGNORED)
}

/// What a metric is made of.
struct Model {
    graph: Graph,
    x: Var,
    logits: Var,
    labels: Var,
}

impl Model {
    fn new() -> Self {
        let graph = Graph::new();
        let (x, labels) = (graph.input("x", [8, 4]), graph.labels("y", 8));
        let logits = x.linear(CLASSES);
        Self { graph, x, logits, labels }
    }

    fn loss(&self, options: CrossEntropy) -> Var {
        self.logits.cross_entropy_with(options, &self.labels)
    }
}

/// The scalars in f64 that the expectations are made of.
struct Sums {
    ignored: f64,
    weighted: f64,
    summed: f64,
    mean_x: f64,
    sum_x: f64,
}

type Row = (&'static str, fn(&Model) -> Var, fn(&Sums) -> f64);

const ROWS: &[Row] = &[
    ("ignored", |m| m.loss(ignoring()), |s| s.ignored),
    ("weighted, smooth", |m| m.loss(ignoring().weight(&WEIGHT).label_smoothing(0.2)), |s| s.weighted),
    ("a sum", |m| m.loss(ignoring().weight(&WEIGHT).reduction(Reduction::Sum)), |s| s.summed),
    ("a mean of parts", |m| m.x.mean(), |s| s.mean_x),
    ("a sum of parts", |m| m.x.sum(), |s| s.sum_x),
    ("a mean of a sum", |m| m.x.sum().mean().sum(), |s| s.sum_x),
    ("means of axes", |m| m.x.mean_dim(&[1], true).mean_dim(&[0], false), |s| s.mean_x),
    ("a mean of means over samples", |m| m.x.mean_dim(&[0], false).mean(), |s| s.mean_x),
    ("a sum of sums over samples", |m| m.x.sum_dim(&[0], false).sum(), |s| s.sum_x),
    (
        "a sum of pieces of it",
        |m| m.x.sum_dim(&[0], true).transpose(0, 1).sum_dim(&[0, 1], false),
        |s| s.sum_x,
    ),
    (
        "a mean over samples that lie otherwise",
        |m| m.x.transpose(0, 1).reshape(&[2, 2, -1]).mean_dim(&[], false),
        |s| s.mean_x,
    ),
    ("a mean of two batches in one", |m| m.x.concat(&[&m.x], 0).mean_dim(&[1, 0], false), |s| s.mean_x),
    (
        "a sum of axes of rows in one",
        |m| m.x.unsqueeze(1).expand(&[-1, 3, 4]).flatten_dims(0, 1).sum_dim(&[0], true).mean(),
        |s| 3.0 * s.sum_x / 4.0,
    ),
    ("a penalty", |m| penalty(m), |_| 1.25),
    ("a mean with weights and a penalty", |m| m.loss(ignoring()).add(&penalty(m)), |s| s.ignored + 1.25),
    (
        "two ratios",
        |m| m.loss(ignoring()).add(&m.loss(ignoring().weight(&WEIGHT).label_smoothing(0.2))),
        |s| s.ignored + s.weighted,
    ),
    (
        "a ratio twice",
        |m| {
            let loss = m.loss(ignoring());
            loss.add(&loss)
        },
        |s| 2.0 * s.ignored,
    ),
    ("a sum and a mean", |m| m.x.sum().add(&m.x.mean()), |s| s.sum_x + s.mean_x),
    ("a square", |m| m.loss(ignoring()).mse_loss(&m.x.mean()), |s| (s.ignored - s.mean_x).powi(2)),
    ("a relu above 0", |m| m.loss(ignoring()).relu(), |s| s.ignored),
    ("a relu", |m| m.x.sum().relu(), |s| s.sum_x.max(0.0)),
    ("a sigmoid", |m| m.loss(ignoring()).sigmoid(), |s| 1.0 / (1.0 + (-s.ignored).exp())),
    ("a tanh", |m| m.loss(ignoring()).tanh(), |s| s.ignored.tanh()),
    (
        "a gelu_tanh",
        |m| m.loss(ignoring()).gelu_tanh(),
        |s| {
            let x = s.ignored;
            0.5 * x * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x.powi(3))).tanh())
        },
    ),
    ("a dropout", |m| m.loss(ignoring()).dropout(0.5), |s| s.ignored),
];

/// A sum over parameters, which no batch changes.
fn penalty(model: &Model) -> Var {
    static NUMBER: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
    let name = format!("penalty {}", NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
    model.graph.parameter(&name, [PENALTY.len()], Init::Constant(1.25 / 3.0)).sum()
}

fn close(got: f64, want: f64) -> bool {
    (got - want).abs() <= 2e-6 * want.abs().max(1.0)
}

fn evaluated(trainer: &mut Trainer<SGD>, set: &Set, batch: usize) -> Vec<f64> {
    let got = trainer.evaluate(&[("x", &set.x), ("y", &set.y)], batch).unwrap();
    assert_eq!(got.samples, set.y.len());
    [vec![got.loss], got.metrics].concat()
}

#[test]
fn a_scalar_over_a_data_set_does_not_depend_on_the_batches() {
    let Some(gpu) = gpu() else { return };
    let (model, set) = (Model::new(), Set::new());
    let mut builder = model.graph.trainer(&ROWS[0].1(&model), SGD::default());
    for (name, metric, _) in ROWS {
        builder = builder.metric(name, &metric(&model));
    }
    let mut trainer = builder.build(&gpu).unwrap();
    let logits = trainer.predict(&model.logits, &[("x", &set.x)], SAMPLES).unwrap();
    let logits: Vec<f64> = logits.into_iter().map(f64::from).collect();
    let ratio = |[numerator, denominator]: [f64; 2]| numerator / denominator;
    let sum_x = set.x.iter().copied().map(f64::from).sum::<f64>();
    let sums = Sums {
        ignored: ratio(cross_entropy(&logits, &set.y, [1.0; 3], 0.0)),
        weighted: ratio(cross_entropy(&logits, &set.y, WEIGHT, 0.2)),
        summed: cross_entropy(&logits, &set.y, WEIGHT, 0.0)[0],
        mean_x: sum_x / set.x.len() as f64,
        sum_x,
    };
    for batch in [1, 2, 7, 8, 32, 59, SAMPLES, 1000] {
        let got = evaluated(&mut trainer, &set, batch);
        assert!(close(got[0], sums.ignored), "loss in batches of {batch}: {} for {}", got[0], sums.ignored);
        for ((name, _, want), got) in ROWS.iter().zip(&got[1..]) {
            let want = want(&sums);
            assert!(close(*got, want), "{name} in batches of {batch}: {got} for {want}");
        }
    }
}

#[test]
fn what_the_host_cannot_compute_is_a_mean_of_batches_by_their_samples() {
    let Some(gpu) = gpu() else { return };
    let model = Model::new();
    let loss = model.logits.cross_entropy(&model.labels);
    let largest = model.x.amax(&[0, 1], false);
    let spread = model.x.var_dim(&[0], 1, false).sum();
    let builder = model.graph.trainer(&loss, SGD::default()).metric("gelu", &loss.gelu());
    let mut trainer = builder.metric("largest", &largest).metric("spread", &spread).build(&gpu).unwrap();
    let x = noises(4, 10 * 4);
    let y: Vec<u32> = (0..10).map(|i| i % 3).collect();
    let part = |trainer: &mut Trainer<SGD>, from: usize, to: usize| {
        let set = Set { x: x[4 * from..4 * to].to_vec(), y: y[from..to].to_vec() };
        evaluated(trainer, &set, 100)
    };
    let [first, second, rest] = [(0, 4), (4, 8), (8, 10)].map(|(from, to)| part(&mut trainer, from, to));
    let got = evaluated(&mut trainer, &Set { x: x.clone(), y: y.clone() }, 4);
    for (metric, got) in got.into_iter().enumerate() {
        let want = (4.0 * first[metric] + 4.0 * second[metric] + 2.0 * rest[metric]) / 10.0;
        assert!(close(got, want), "metric {metric}: {got} for {want}");
    }
}

#[test]
fn more_parts_than_a_slot_once_had_are_read_whole() {
    let Some(gpu) = gpu() else { return };
    let (model, set) = (Model::new(), Set::new());
    let weights: Vec<[f32; 3]> = (0..63).map(|i| [1.0, 1.0 + i as f32, 2.0]).collect();
    let mut builder = model.graph.trainer(&model.loss(ignoring()), SGD::default());
    for (number, weight) in weights.iter().enumerate() {
        builder = builder.metric(&format!("m{number}"), &model.loss(ignoring().weight(weight)));
    }
    let mut trainer = builder.build(&gpu).unwrap();
    let logits = trainer.predict(&model.logits, &[("x", &set.x)], SAMPLES).unwrap();
    let logits: Vec<f64> = logits.into_iter().map(f64::from).collect();
    trainer.step(&[("x", &set.x), ("y", &set.y)]).unwrap();
    assert_eq!(trainer.read_report().unwrap().unwrap().metrics.len(), 63);
    // The step has changed the parameters; a rate of 0 would not.
    let logits_now = trainer.predict(&model.logits, &[("x", &set.x)], SAMPLES).unwrap();
    assert_ne!(logits, logits_now.iter().copied().map(f64::from).collect::<Vec<_>>());
    let logits: Vec<f64> = logits_now.into_iter().map(f64::from).collect();
    for batch in [7, SAMPLES] {
        let got = evaluated(&mut trainer, &set, batch);
        for (weight, got) in weights.iter().zip(&got[1..]) {
            let [numerator, denominator] = cross_entropy(&logits, &set.y, *weight, 0.0);
            assert!(close(*got, numerator / denominator), "{weight:?} in batches of {batch}: {got}");
        }
    }
}

#[test]
fn where_all_labels_are_ignored_the_mean_is_nan_and_other_scalars_are_not() {
    let Some(gpu) = gpu() else { return };
    let model = Model::new();
    let builder = model.graph.trainer(&model.loss(ignoring()), SGD::default());
    let builder = builder.metric("sum", &model.loss(ignoring().reduction(Reduction::Sum)));
    let mut trainer = builder.metric("mean", &model.x.mean()).build(&gpu).unwrap();
    let set = Set { x: vec![0.5; 5 * 4], y: vec![IGNORED; 5] };
    for batch in [1, 2, 5] {
        let got = evaluated(&mut trainer, &set, batch);
        assert!(got[0].is_nan(), "{got:?}");
        assert_eq!(got[1..], [0.0, 0.5]);
    }
}

#[test]
fn a_value_for_each_sample_is_a_scalar_of_one_sample_alone() {
    let Some(gpu) = gpu() else { return };
    let graph = Graph::new();
    let (x, labels, number) = (graph.input("x", [1, 4]), graph.labels("y", 1), graph.input("n", [1]));
    let logits = x.linear(CLASSES);
    let loss = logits.cross_entropy(&labels);
    let options = CrossEntropy::new().reduction(Reduction::None);
    let (xs, y, n) = (noises(5, 6 * 4), vec![0_u32, 1, 2, 0, 1, 2], noises(6, 6));
    let each = logits.cross_entropy_with(options, &labels);
    for metric in [&each, &each.relu(), &number, &number.tanh()] {
        let builder = graph.trainer(&loss, SGD::default()).metric("m", metric);
        let mut trainer = builder.metric("n", &number.mean()).build(&gpu).unwrap();
        let kept = trainer.params().read("linear1.weight").unwrap();
        for batch in [2, 5, 6, 7] {
            let refused = trainer.evaluate(&[("x", &xs), ("y", &y), ("n", &n)], batch).unwrap_err();
            let got = batch.min(6);
            let said = format!(
                "m: expected a scalar of shape [1] at every batch size, such as a mean or a sum, got [{got}]"
            );
            assert_eq!(refused.to_string(), said);
        }
        let refused = trainer.step(&[("x", &xs), ("y", &y), ("n", &n)]).unwrap_err();
        assert!(refused.to_string().starts_with("m: expected a scalar of shape [1]"), "{refused}");
        assert_eq!((trainer.steps(), trainer.params().read("linear1.weight").unwrap()), (0, kept));
        // One by one they are scalars.
        trainer.evaluate(&[("x", &xs), ("y", &y), ("n", &n)], 1).unwrap();
        trainer.step(&[("x", &&xs[..4]), ("y", &&y[..1]), ("n", &&n[..1])]).unwrap();
    }
    let builder = graph.trainer(&loss, SGD::default()).metric("m", &each.mean());
    let mut trainer = builder.metric("n", &number.mean()).build(&gpu).unwrap();
    for batch in 1..8 {
        let got = trainer.evaluate(&[("x", &xs), ("y", &y), ("n", &n)], batch).unwrap();
        assert!(close(got.metrics[0], got.loss), "{got:?} in batches of {batch}");
    }
}

#[test]
fn what_has_no_row_for_each_sample_is_not_predicted() {
    let Some(gpu) = gpu() else { return };
    for declared in [1, 2] {
        let graph = Graph::new();
        let (x, labels) = (graph.input("x", [declared, 4]), graph.labels("y", declared));
        let parameter = graph.parameter("p", [declared, 4], Init::Constant(0.5));
        let logits = x.linear(CLASSES);
        let loss = logits.cross_entropy(&labels).add(&parameter.sum());
        let mut trainer = graph.trainer(&loss, SGD::default()).build(&gpu).unwrap();
        let (xs, y) = (noises(5, 6 * 4), vec![0_u32; 6]);
        for batch in [1, 4, 6] {
            for refused in [
                trainer.predict(&loss, &[("x", &xs), ("y", &y)], batch).unwrap_err(),
                trainer.predict(&parameter, &[("x", &xs)], batch).unwrap_err(),
                trainer.predict(&parameter.relu(), &[("x", &xs)], batch).unwrap_err(),
                trainer.predict(&x.amax(&[0], true), &[("x", &xs)], batch).unwrap_err(),
                trainer.predict(&x.slice(0, 0, 1, 1), &[("x", &xs)], batch).unwrap_err(),
                trainer.predict(&x.transpose(0, 1), &[("x", &xs)], batch).unwrap_err(),
            ] {
                assert!(refused.to_string().contains(": expected one row "), "{refused}");
            }
            assert_eq!(trainer.predict(&logits, &[("x", &xs)], batch).unwrap().len(), 6 * CLASSES);
            assert_eq!(trainer.predict(&x, &[("x", &xs)], batch).unwrap(), xs);
            // There and back again.
            let turned = x.transpose(0, 1).reshape(&[2, 2, -1]).permute(&[2, 0, 1]).flatten_dims(1, 2);
            assert_eq!(trainer.predict(&turned, &[("x", &xs)], batch).unwrap(), xs);
            let rows = x.reshape(&[-1, 2]).reshape(&[-1, 4]);
            assert_eq!(trainer.predict(&rows, &[("x", &xs)], batch).unwrap(), xs);
        }
    }
}
