//! Sets that lie on the device: the same bits as uploaded batches, for a few bytes a step.

use gradus::Gpu;
use gradus::graph::{Graph, HostData, Init, Plan, PlanOptions, Resident, Workspace};
use gradus::nn::Conv2d;
use gradus::optim::AdamW;
use gradus::train::Trainer;
use gradus::train::data::Dataset;

use crate::common::{bits, gpu, noises};
use crate::network::{gpus, submit};

/// Images of three channels and 35 bytes or numbers a channel: no sample begins at a word.
const SHAPE: [usize; 3] = [3, 5, 7];
const SAMPLE: usize = 105;
const SAMPLES: usize = 23;

/// A plan that shows what has arrived at the input `x`.
fn mirror(gpu: &Gpu, batch: usize) -> Plan {
    let graph = Graph::new();
    let x = graph.input("x", [batch, SHAPE[0], SHAPE[1], SHAPE[2]]);
    let zero = graph.parameter("zero", [batch, SHAPE[0], SHAPE[1], SHAPE[2]], Init::Constant(0.0));
    let store = graph.store(gpu, 0).unwrap();
    let options = PlanOptions::evaluate().output("seen", &x.add(&zero));
    graph.compile(&store, &options, &mut Workspace::new()).unwrap()
}

fn seen(gpu: &Gpu, plan: &Plan, data: &dyn HostData) -> Vec<u32> {
    plan.write("x", data).unwrap();
    submit(gpu, &[plan]);
    bits(&plan.read("seen").unwrap())
}

/// Bytes of every value, and the numbers that they stand for in each channel.
fn byte_set() -> (Vec<u8>, Vec<f32>, Vec<f32>) {
    let bytes: Vec<u8> = (0..SAMPLES * SAMPLE).map(|i| u8::try_from(i * 89 % 256).unwrap()).collect();
    let table = noises(8, 3 * 256);
    let channel = |i: usize| i % SAMPLE / 35;
    let numbers = (0..).zip(&bytes).map(|(i, byte)| table[channel(i) * 256 + usize::from(*byte)]).collect();
    (bytes, table, numbers)
}

fn gathered(numbers: &[f32], rows: &[u32]) -> Vec<f32> {
    rows.iter().flat_map(|&row| &numbers[row as usize * SAMPLE..][..SAMPLE]).copied().collect()
}

#[test]
fn rows_are_the_bits_that_an_upload_would_bring() {
    for gpu in gpus() {
        let (bytes, table, numbers) = byte_set();
        let sets = [
            Resident::numbers(&gpu, &numbers, &SHAPE).unwrap(),
            Resident::bytes(&gpu, &bytes, &SHAPE, &table).unwrap(),
        ];
        let plan = mirror(&gpu, 4);
        for rows in [[0, 1, 2, 3], [22, 0, 22, 7], [5, 5, 5, 5]] {
            let uploaded = seen(&gpu, &plan, &gathered(&numbers, &rows));
            for set in &sets {
                assert_eq!(seen(&gpu, &plan, &set.rows(&rows)), uploaded, "{rows:?}");
            }
        }
        // An upload after rows is not overwritten by them.
        let other = noises(3, 4 * SAMPLE);
        let want = seen(&gpu, &mirror(&gpu, 4), &other);
        assert_eq!(seen(&gpu, &plan, &other), want);
    }
}

#[test]
fn a_batch_that_does_not_end_at_a_word_is_whole() {
    let Some(gpu) = gpu() else { return };
    let (bytes, table, numbers) = byte_set();
    let set = Resident::bytes(&gpu, &bytes, &SHAPE, &table).unwrap();
    for batch in [1, 3] {
        let rows: Vec<u32> = (0..batch).map(|i| 22 - i).collect();
        let plan = mirror(&gpu, rows.len());
        let uploaded = seen(&gpu, &plan, &gathered(&numbers, &rows));
        assert_eq!(seen(&gpu, &plan, &set.rows(&rows)), uploaded);
    }
}

#[test]
fn sets_and_rows_that_do_not_fit_are_refused() {
    let Some(gpu) = gpu() else { return };
    let rows = [
        (
            Resident::numbers(&gpu, &[0.0; 7], &[2]).map(drop),
            "a set in whole samples of [2]: expected 8 elements, got 7",
        ),
        (
            Resident::numbers(&gpu, &[], &[2]).map(drop),
            "a set in whole samples of [2]: expected 2 elements, got 0",
        ),
        (
            Resident::numbers(&gpu, &[0.0; 2], &[2, 0]).map(drop),
            "a set in whole samples of [2, 0]: expected 2 elements, got 2",
        ),
        (Resident::labels(&gpu, &[]).map(drop), "a set in whole samples of []: expected 1 elements, got 0"),
        (
            Resident::bytes(&gpu, &[0; 12], &[3, 2, 2], &[0.0; 256]).map(drop),
            "table of the numbers of 3 channels: expected 768 elements, got 256",
        ),
    ];
    for (result, message) in rows {
        assert_eq!(result.unwrap_err().to_string(), message);
    }

    let (mut trainer, set, labels) = trainer(&gpu);
    let other = Resident::numbers(&gpu, &[0.0; 8], &[4]).unwrap();
    let wrong = Resident::labels(&gpu, &[0, 1, 5]).unwrap();
    let at = [0_u32, 1];
    type Inputs<'a> = [(&'a str, &'a dyn HostData); 2];
    let (x, y) = (&set.rows(&at), &labels.rows(&at));
    let refused: [(Inputs<'_>, &str); 6] = [
        ([("x", &set.rows(&[0, 23])), ("y", y)], "row 1 of input x must be below the 23 samples, got 23"),
        ([("x", &other.rows(&at)), ("y", y)], "input x: expected samples of [3, 5, 7], got [4]"),
        ([("x", &labels.rows(&at)), ("y", y)], "input x: expected f32 numbers"),
        ([("x", x), ("y", x)], "input y: expected u32 labels"),
        ([("x", x), ("y", &labels.rows(&[1]))], "input y of 2 samples: expected 2 elements, got 1"),
        ([("x", x), ("y", &wrong.rows(&at))], "a label of the set for input y must be below 4, got 5"),
    ];
    let before = gpu.counters();
    for (data, message) in refused {
        assert_eq!(trainer.step(&data).unwrap_err().to_string(), message);
    }
    let count = gpu.counters().since(&before);
    assert_eq!((count.submits, count.uploads, count.allocations), (0, 0, 0));
    trainer.step(&[("x", x), ("y", y)]).unwrap();
}

fn trainer(gpu: &Gpu) -> (Trainer<AdamW>, Resident, Resident) {
    let graph = Graph::new();
    let (x, y) = (graph.input("x", [8, 3, 5, 7]), graph.labels("y", 8));
    let loss = x.flatten().linear(6).relu().linear(4).cross_entropy(&y);
    let trainer = graph.trainer(&loss, AdamW::default()).seed(1).build(gpu).unwrap();
    let (bytes, table, _) = byte_set();
    let labels: Vec<u32> = (0..23).map(|i| i * 7 % 4).collect();
    let set = Resident::bytes(gpu, &bytes, &SHAPE, &table).unwrap();
    (trainer, set, Resident::labels(gpu, &labels).unwrap())
}

#[test]
fn two_thousand_steps_upload_little_and_make_nothing() {
    let Some(gpu) = gpu() else { return };
    let (mut trainer, set, labels) = trainer(&gpu);
    let (mut uploaded, ..) = self::trainer(&gpu);
    let (_, _, numbers) = byte_set();
    let mut after_warm_up = None;
    for step in 0..2000_u32 {
        let rows: Vec<u32> = (0..8).map(|i| (step * 8 + i) * 5 % 23).collect();
        let before = gpu.counters();
        trainer.step(&[("x", &set.rows(&rows)), ("y", &labels.rows(&rows))]).unwrap();
        let count = gpu.counters().since(&before);
        assert!(count.upload_bytes <= 4096, "step {step} uploads {} bytes", count.upload_bytes);
        // The first step also makes what gathers.
        assert_eq!((count.uploads, count.submits), (if step == 0 { 3 } else { 1 }, 1), "step {step}");
        if step == 5 {
            after_warm_up = Some(gpu.counters());
        }
        if step < 5 {
            let x = gathered(&numbers, &rows);
            let y: Vec<u32> = rows.iter().map(|i| i * 7 % 4).collect();
            uploaded.step(&[("x", &x), ("y", &y)]).unwrap();
            let (ours, theirs) = (trainer.params(), uploaded.params());
            assert_eq!(
                bits(&ours.params().read_all(&gpu).unwrap()),
                bits(&theirs.params().read_all(&gpu).unwrap()),
                "step {step}"
            );
        }
    }
    let count = gpu.counters().since(&after_warm_up.unwrap());
    let made = (count.allocations, count.pipelines, count.bind_groups, count.live_bytes);
    assert_eq!(made, (0, 0, 0, 0));
}

/// As `train_cnn` goes about it: a smaller last batch, evaluations and checkpoints between the steps.
#[test]
fn two_thousand_steps_of_the_example_hold_the_same_memory() {
    let Some(gpu) = gpu() else { return };
    let pixels = (0..25 * 64_u32).map(|i| u8::try_from(i * i % 251).unwrap()).collect();
    let labels = (0..25).map(|i| i % 10).collect();
    let data = Dataset::from_u8(pixels, &[1, 8, 8], labels, 10).unwrap();
    let set = data.to_device(&gpu).unwrap();
    for resident in [false, true] {
        let graph = Graph::new();
        let (x, y) = (graph.input("x", [4, 1, 8, 8]), graph.labels("y", 4));
        let h = x.conv2d(Conv2d::new(16, 3).padding(1)).relu().max_pool2d(2);
        let h = h.conv2d(Conv2d::new(32, 3).padding(1)).relu().max_pool2d(2);
        let logits = h.flatten().linear(64).relu().linear(10);
        let builder =
            graph.trainer(&logits.cross_entropy(&y), AdamW::default()).metric("a", &logits.accuracy(&y));
        let mut trainer = builder.build(&gpu).unwrap();
        let mut live = Vec::new();
        for epoch in 0..286 {
            let batches = data.shuffled(1, epoch).batches(4).unwrap();
            for (batch, rows) in batches.clone().zip(batches.indices()) {
                match resident {
                    true => trainer.step(&[("x", &set.x.rows(rows)), ("y", &set.y.rows(rows))]).unwrap(),
                    false => trainer.step(&[("x", &batch.x), ("y", &batch.y)]).unwrap(),
                }
            }
            trainer.evaluate(&[("x", &data.numbers()), ("y", &data.y())], 10).unwrap();
            if epoch % 50 == 1 {
                trainer.read_checkpoint().unwrap();
            }
            live.push(gpu.counters().live_bytes);
        }
        assert!(live[2..].iter().all(|bytes| *bytes == live[2]), "resident: {resident}, {live:?}");
        assert_eq!(trainer.steps(), 2002);
    }
}
