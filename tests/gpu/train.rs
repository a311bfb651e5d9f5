//! The trainer: what a step costs, what it reports, what it refuses, and that two runs end in the same bits.

use gradus::Gpu;
use gradus::gpu::Counters;
use gradus::graph::{Graph, HostData, Parameter, PlanOptions, Var, Workspace};
use gradus::nn::{Conv2d, Linear};
use gradus::optim::{AdamW, SGD, StateDict};
use gradus::schedule::OneCycleLR;
use gradus::train::{StepReport, Trainer};

use crate::common::{bits, gpu, noises};
use crate::network::{gpus, submit};

const CLASSES: usize = 4;

fn network() -> (Graph, Var, Var) {
    let graph = Graph::new();
    let (x, y) = (graph.input("x", [8, 1, 6, 6]), graph.labels("y", 8));
    let h = x.conv2d(Conv2d::new(6, 3).padding(1).name("conv")).relu().max_pool2d(2);
    let logits =
        h.flatten().linear(Linear::new(12).name("hidden")).relu().linear(Linear::new(CLASSES).name("head"));
    (graph, logits.cross_entropy(&y), logits.accuracy(&y))
}

struct Data {
    x: Vec<f32>,
    y: Vec<u32>,
}

impl Data {
    fn new(stream: u64, samples: usize) -> Self {
        let y: Vec<u32> = (0..samples).map(|i| u32::try_from((i * 7 + 3) % CLASSES).unwrap()).collect();
        let mut x = noises(stream, samples * 36);
        // A corner says what the class is.
        for (sample, label) in x.chunks_mut(36).zip(&y) {
            sample[*label as usize] += 2.0;
        }
        Self { x, y }
    }

    fn inputs(&self) -> [(&'static str, &dyn HostData); 2] {
        [("x", &self.x), ("y", &self.y)]
    }
}

fn trainer(gpu: &Gpu, steps: u64) -> Trainer<AdamW> {
    let (graph, loss, accuracy) = network();
    let builder = graph.trainer(&loss, AdamW { lr: 1e-2, ..Default::default() });
    builder.schedule(OneCycleLR::new(1e-2, steps)).metric("accuracy", &accuracy).seed(5).build(gpu).unwrap()
}

/// Everything that a refusal must leave alone, bit for bit.
fn everything(trainer: &Trainer<AdamW>) -> (Vec<u32>, StateDict, u64, u64) {
    let params = trainer.params().params().read_all(trainer.params().gpu()).unwrap();
    let optimizer = trainer.optimizer();
    (bits(&params), optimizer.read_state_dict().unwrap(), trainer.steps(), optimizer.attempted())
}

#[test]
fn a_step_after_the_first_is_one_submit_and_makes_nothing() {
    for gpu in gpus() {
        let mut trainer = trainer(&gpu, 120);
        let batches: Vec<Data> = (0..5).map(|stream| Data::new(stream, 8)).collect();
        let mut reports: Vec<StepReport> = Vec::new();
        let mut counts: Vec<Counters> = Vec::new();
        for step in 0..103 {
            let before = gpu.counters();
            trainer.step(&batches[step % 5].inputs()).unwrap();
            while let Some(report) = trainer.poll().unwrap() {
                reports.push(report);
            }
            // The host has something else to do meanwhile: no step finds its predecessors on their way.
            gpu.wait().unwrap();
            if step >= 3 {
                let count = gpu.counters().since(&before);
                let made = (count.allocations, count.pipelines, count.bind_groups, count.live_bytes);
                assert_eq!(made, (0, 0, 0, 0), "step {step}");
                assert_eq!((count.submits, count.read_backs, count.passes), (1, 0, 1), "step {step}");
                counts.push(count);
            }
        }
        let live = gpu.counters().live_bytes;
        assert_eq!(counts.len(), 100);
        assert!(counts.windows(2).all(|two| two[0] == two[1]), "{:?} is not {:?}", counts[0], counts[99]);
        // Two inputs and the optimizer's constants lie in one piece of memory.
        assert_eq!(counts[0].uploads, 1);
        while let Some(report) = trainer.read_report().unwrap() {
            reports.push(report);
        }
        let steps: Vec<u64> = reports.iter().map(|report| report.step).collect();
        assert_eq!(steps, (0..103).collect::<Vec<_>>());
        assert!(reports.iter().all(|r| r.loss.is_finite() && (0.0..=1.0).contains(&r.metrics[0])));
        assert!(reports[102].loss < reports[0].loss / 2.0, "{:?} {:?}", reports[0], reports[102]);
        assert_eq!(gpu.counters().live_bytes, live);
        assert_eq!(trainer.read_loss().unwrap(), reports[102].loss);
    }
}

#[test]
fn a_report_arrives_without_another_step() {
    let Some(gpu) = gpu() else { return };
    let mut trainer = trainer(&gpu, 10);
    assert!(trainer.read_loss().unwrap().is_nan());
    assert_eq!(trainer.poll().unwrap(), None);
    trainer.step(&Data::new(1, 8).inputs()).unwrap();
    let mut report = None;
    for _ in 0..1_000_000 {
        report = trainer.poll().unwrap();
        if report.is_some() {
            break;
        }
        std::thread::yield_now();
    }
    assert_eq!(report.map(|report| report.step), Some(0));
    assert_eq!(gpu.counters().read_backs, 0);
}

#[test]
fn steps_that_nobody_reads_are_reported_in_order_later() {
    let Some(gpu) = gpu() else { return };
    let (mut silent, mut asked) = (trainer(&gpu, 20), trainer(&gpu, 20));
    let mut losses = Vec::new();
    for step in 0..11 {
        let data = Data::new(step, 8);
        silent.step(&data.inputs()).unwrap();
        asked.step(&data.inputs()).unwrap();
        losses.push(asked.read_loss().unwrap());
    }
    let mut later = Vec::new();
    while let Some(report) = silent.read_report().unwrap() {
        assert_eq!(report.step, later.len() as u64);
        later.push(report.loss);
    }
    assert_eq!(bits(&later), bits(&losses));
}

#[test]
fn two_runs_end_in_the_same_bits() {
    let run = || {
        let gpu = gpu()?;
        let mut trainer = trainer(&gpu, 40);
        for step in 0..40 {
            // The last batch of an epoch is smaller.
            let data = Data::new(step % 4, if step % 4 == 3 { 5 } else { 8 });
            trainer.step(&data.inputs()).unwrap();
            if step == 20 {
                trainer.evaluate(&Data::new(9, 19).inputs(), 8).unwrap();
            }
        }
        Some(everything(&trainer))
    };
    let Some(first) = run() else { return };
    assert!(run().unwrap() == first, "two runs of 40 steps differ");
}

#[test]
fn evaluation_changes_nothing_of_what_training_does() {
    let Some(gpu) = gpu() else { return };
    let run = |evaluate: bool| {
        let mut trainer = trainer(&gpu, 10);
        for step in 0..10 {
            trainer.step(&Data::new(step, 8).inputs()).unwrap();
            if evaluate {
                trainer.evaluate(&Data::new(7, 13).inputs(), 5).unwrap();
            }
        }
        let mut reports = Vec::new();
        while let Some(report) = trainer.read_report().unwrap() {
            reports.push((report.step, report.loss.to_bits()));
        }
        (everything(&trainer), reports)
    };
    assert!(run(true) == run(false));
}

#[test]
fn a_smaller_last_batch_has_a_plan_of_its_own() {
    let Some(gpu) = gpu() else { return };
    let mut trainer = trainer(&gpu, 100);
    let (whole, rest) = (Data::new(1, 8), Data::new(2, 3));
    trainer.step(&whole.inputs()).unwrap();
    let before = gpu.counters();
    trainer.step(&rest.inputs()).unwrap();
    assert!(gpu.counters().since(&before).bind_groups > 0);
    // What the step did is what a graph of three samples says.
    let mut twin = self::trainer(&gpu, 100);
    twin.step(&whole.inputs()).unwrap();
    let (graph, loss, _) = network();
    let options = PlanOptions::train(&loss).batch(3);
    let plan = graph.compile(twin.params(), &options, &mut Workspace::new()).unwrap();
    plan.write("x", &rest.x).unwrap();
    plan.write("y", &rest.y).unwrap();
    submit(&gpu, &[&plan]);
    for span in twin.params().layout().spans() {
        let (ours, theirs) = (trainer.params().read_grad(&span.name), twin.params().read_grad(&span.name));
        assert_eq!(bits(&ours.unwrap()), bits(&theirs.unwrap()), "{}", span.name);
    }
    assert_eq!(trainer.read_loss().unwrap(), plan.read("loss").unwrap()[0]);
    let before = gpu.counters();
    for data in [&whole, &rest, &whole, &rest] {
        trainer.step(&data.inputs()).unwrap();
    }
    let count = gpu.counters().since(&before);
    assert_eq!((count.submits, count.allocations, count.pipelines, count.bind_groups), (4, 0, 0, 0));
}

#[test]
fn evaluation_counts_every_sample_once() {
    for gpu in gpus() {
        let mut trainer = trainer(&gpu, 10);
        trainer.step(&Data::new(1, 8).inputs()).unwrap();
        let data = Data::new(3, 29);
        // Sample by sample, in f64.
        let (graph, loss, accuracy) = network();
        let options = PlanOptions::evaluate().output("loss", &loss).output("accuracy", &accuracy).batch(1);
        let plan = graph.compile(trainer.params(), &options, &mut Workspace::new()).unwrap();
        let mut want = [0.0; 2];
        for (x, y) in data.x.chunks(36).zip(&data.y) {
            plan.write("x", x).unwrap();
            plan.write("y", &[*y][..]).unwrap();
            submit(&gpu, &[&plan]);
            for (sum, name) in want.iter_mut().zip(["loss", "accuracy"]) {
                *sum += f64::from(plan.read(name).unwrap()[0]) / 29.0;
            }
        }
        for batch in [1, 4, 7, 8, 28, 29, 30, 1000] {
            let got = trainer.evaluate(&data.inputs(), batch).unwrap();
            let what =
                format!("batch {batch} with {:?} kernels: {got:?}, expected {want:?}", gpu.kernel_kind());
            assert_eq!(got.samples, 29);
            assert!((got.loss - want[0]).abs() < 1e-6, "{what}");
            assert!((got.metrics[0] - want[1]).abs() < 1e-6, "{what}");
        }
        // The step's report has waited.
        assert_eq!(trainer.read_report().unwrap().map(|report| report.step), Some(0));
        assert_eq!(trainer.read_report().unwrap(), None);
    }
}

#[test]
fn refused_data_change_nothing() {
    let Some(gpu) = gpu() else { return };
    let mut trainer = trainer(&gpu, 10);
    let good = Data::new(1, 8);
    for _ in 0..3 {
        trainer.step(&good.inputs()).unwrap();
    }
    let seven = Data::new(1, 7);
    let mut wrong = Data::new(1, 8);
    wrong.y[6] = 4;
    let (x, y): (&dyn HostData, &dyn HostData) = (&good.x, &good.y);
    let none: Vec<f32> = Vec::new();
    let numbers = vec![0.0_f32; 8];
    let partial = noises(1, 8 * 36 - 1);
    type Inputs<'a> = Vec<(&'a str, &'a dyn HostData)>;
    let rows: Vec<(Inputs<'_>, &str)> = vec![
        (vec![], "inputs: expected at least one"),
        (vec![("x", x)], "inputs: y is missing"),
        (vec![("y", y)], "inputs: x is missing"),
        (vec![("x", x), ("z", y)], "unknown input \"z\"; known: x, y"),
        (vec![("z", x), ("y", y)], "unknown input \"z\"; known: x, y"),
        (vec![("x", x), ("y", y), ("x", x)], "duplicate input \"x\""),
        (vec![("x", x), ("y", &seven.y)], "input y of 8 samples: expected 8 elements, got 7"),
        (vec![("y", &seven.y), ("x", x)], "input x of 7 samples: expected 252 elements, got 288"),
        (
            vec![("x", &partial), ("y", y)],
            "input x, in whole samples of [1, 6, 6]: expected 288 elements, got 287",
        ),
        (vec![("x", &none), ("y", y)], "input x, in whole samples of [1, 6, 6]: expected 36 elements, got 0"),
        (vec![("x", x), ("y", &numbers)], "input y: expected u32 labels"),
        (vec![("x", &wrong.x), ("y", &wrong.y)], "label 6 of input y must be below 4, got 4"),
    ];
    let before = everything(&trainer);
    let counters = gpu.counters();
    for (data, message) in &rows {
        assert_eq!(trainer.step(data).unwrap_err().to_string(), *message);
        assert_eq!(trainer.evaluate(data, 3).unwrap_err().to_string(), *message, "evaluate");
    }
    let error = trainer.evaluate(&good.inputs(), 0).unwrap_err();
    assert_eq!(error.to_string(), "batch must be at least 1, got 0");
    let count = gpu.counters().since(&counters);
    assert_eq!((count.submits, count.uploads, count.allocations, count.bind_groups), (0, 0, 0, 0));
    assert!(everything(&trainer) == before);
    // A rate that the rule refuses.
    trainer.optimizer_mut().group_mut("default").unwrap().weight_decay = -1.0;
    let error = trainer.step(&good.inputs()).unwrap_err();
    assert_eq!(error.to_string(), "weight_decay must be finite and at least 0, got -1");
    trainer.optimizer_mut().group_mut("default").unwrap().weight_decay = AdamW::default().weight_decay;
    assert!(everything(&trainer) == before);
    // And it goes on as if nothing had been.
    let mut twin = self::trainer(&gpu, 10);
    for _ in 0..5 {
        twin.step(&good.inputs()).unwrap();
    }
    for _ in 0..2 {
        trainer.step(&good.inputs()).unwrap();
    }
    assert!(everything(&trainer) == everything(&twin));
}

#[test]
fn a_step_past_the_end_of_the_schedule_is_refused_and_not_counted() {
    let Some(gpu) = gpu() else { return };
    let mut trainer = trainer(&gpu, 4);
    let data = Data::new(1, 8);
    let mut taken = 0;
    let error = loop {
        match trainer.step(&data.inputs()) {
            Ok(()) => taken += 1,
            Err(error) => break error.to_string(),
        }
    };
    // torch allows one step more than the cycle has.
    assert_eq!(taken, 5);
    assert!(error.contains('4') && error.contains('5'), "{error}");
    let before = everything(&trainer);
    assert_eq!((before.2, before.3), (5, 5));
    assert_eq!(trainer.step(&data.inputs()).unwrap_err().to_string(), error);
    assert!(everything(&trainer) == before);
    trainer.evaluate(&data.inputs(), 3).unwrap();
    let mut reports = 0;
    while trainer.read_report().unwrap().is_some() {
        reports += 1;
    }
    assert_eq!(reports, 5);
}

#[test]
fn what_cannot_be_trained_is_refused_when_the_trainer_is_built() {
    let Some(gpu) = gpu() else { return };
    let (graph, loss, accuracy) = network();
    let (_, foreign, _) = network();
    let logits = graph.input("other", [8, 3]);
    let rule = SGD { lr: 0.1, ..Default::default() };
    let said = |loss: &Var, metrics: &[(&str, &Var)]| {
        let mut builder = graph.trainer(loss, rule.clone());
        for (name, metric) in metrics {
            builder = builder.metric(name, metric);
        }
        builder.build(&gpu).map(|_| ()).map_err(|e| e.to_string())
    };
    let refused = |said: Result<(), String>| said.unwrap_err();
    assert_eq!(refused(said(&logits, &[])), "loss: expected a scalar of shape [1], got [8, 3]");
    assert_eq!(refused(said(&foreign, &[])), "output loss: it belongs to another graph");
    assert_eq!(refused(said(&loss, &[("m", &foreign)])), "output m: it belongs to another graph");
    assert_eq!(refused(said(&loss, &[("m", &logits)])), "m: expected a scalar of shape [1], got [8, 3]");
    assert_eq!(refused(said(&loss, &[("loss", &accuracy)])), "duplicate output \"loss\"");
    let twice = [("m", &accuracy), ("m", &accuracy)];
    assert_eq!(refused(said(&loss, &twice)), "duplicate output \"m\"");
    let names: Vec<String> = (0..64).map(|number| format!("m{number}")).collect();
    let many: Vec<(&str, &Var)> = names.iter().map(|name| (&name[..], &accuracy)).collect();
    assert_eq!(refused(said(&loss, &many)), "metrics must be at most 63, got 64");
    assert_eq!(said(&loss, &many[..63]), Ok(()));
    let bad = graph.trainer(&loss, SGD { lr: -1.0, ..Default::default() }).build(&gpu);
    assert_eq!(bad.unwrap_err().to_string(), "lr must be finite and at least 0, got -1");
    let bad = graph.trainer(&loss, rule).schedule(OneCycleLR::new(-1.0, 10)).build(&gpu);
    assert!(bad.unwrap_err().to_string().contains("max_lr"));
}

#[test]
fn a_report_of_63_metrics_is_read_whole() {
    let Some(gpu) = gpu() else { return };
    let (graph, loss, accuracy) = network();
    let mut builder = graph.trainer(&loss, AdamW::default());
    for number in 0..63 {
        builder = builder.metric(&format!("m{number}"), &accuracy);
    }
    let mut trainer = builder.build(&gpu).unwrap();
    trainer.step(&Data::new(1, 8).inputs()).unwrap();
    let report = trainer.read_report().unwrap().unwrap();
    assert_eq!(report.metrics.len(), 63);
    assert!(report.metrics.iter().all(|metric| *metric == report.metrics[0]));
}

#[test]
fn a_batch_beyond_the_binding_limit_is_refused_and_training_goes_on() {
    let options = gradus::GpuOptions { max_binding_bytes: Some(1 << 16), ..Default::default() };
    let Some(gpu) = crate::common::gpu_with(options) else { return };
    let mut trainer = trainer(&gpu, 10);
    let (small, large) = (Data::new(1, 8), Data::new(1, 500));
    trainer.step(&small.inputs()).unwrap();
    let before = everything(&trainer);
    let live = gpu.counters().live_bytes;
    let error = trainer.step(&large.inputs()).unwrap_err().to_string();
    assert!(error.contains("exceed the max_storage_buffer_binding_size of 65536 bytes"), "{error}");
    assert!(trainer.evaluate(&large.inputs(), 500).is_err());
    assert_eq!(gpu.counters().live_bytes, live);
    assert!(everything(&trainer) == before);
    assert_eq!(trainer.evaluate(&large.inputs(), 20).unwrap().samples, 500);
    trainer.step(&small.inputs()).unwrap();
    assert_eq!(trainer.steps(), 2);
}

#[test]
fn a_parameter_that_the_loss_does_not_reach_is_left_alone() {
    let Some(gpu) = gpu() else { return };
    let graph = Graph::new();
    let (x, y) = (graph.input("x", [4, 8]), graph.labels("y", 4));
    let aside = x.linear(Linear::new(3).name("aside"));
    let named = x.linear(Linear::new(6).name("linear1")).relu().linear(5);
    assert_eq!(named.name(), "linear2");
    assert_eq!(aside.shape(), [4, 3]);
    let rule = AdamW { weight_decay: 0.5, lr: 0.1, ..Default::default() };
    let mut trainer = graph.trainer(&named.cross_entropy(&y), rule).build(&gpu).unwrap();
    let before = trainer.params().read("aside.weight").unwrap();
    for _ in 0..3 {
        trainer.step(&[("x", &vec![0.5; 32]), ("y", &vec![1; 4])]).unwrap();
    }
    assert_eq!(trainer.params().read("aside.weight").unwrap(), before);
    assert_eq!(trainer.optimizer().applied("aside.weight").unwrap(), 0);
    assert_eq!(trainer.optimizer().applied("linear1.weight").unwrap(), 3);
}

#[test]
fn groups_may_be_named_by_what_a_closure_holds() {
    let Some(gpu) = gpu() else { return };
    let graph = Graph::new();
    let loss = graph.input("x", [2, 3]).linear(2).mean();
    let decays = [".weight".to_owned()];
    let named = move |parameter: &Parameter| {
        let decays = decays.iter().any(|suffix| parameter.name.ends_with(suffix));
        if decays { "decay" } else { "no_decay" }.to_owned()
    };
    let trainer = graph.trainer(&loss, AdamW::default()).groups(named).build(&gpu).unwrap();
    assert_eq!(trainer.params().layout().groups(), ["decay", "no_decay"]);
}
