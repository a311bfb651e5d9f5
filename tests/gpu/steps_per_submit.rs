//! Several steps in one submit: the same bits as one a submit, whatever is read, written or refused in between.

use gradus::Gpu;
use gradus::grad::{Accumulate, ClipGradNorm, GradScaler, Skip, Transforms};
use gradus::graph::{Graph, HostData, Resident, Var};
use gradus::optim::{AdamW, StateDict};
use gradus::schedule::OneCycleLR;
use gradus::train::{StepReport, Trainer, TrainerBuilder};

use crate::common::{bits, gpu, noises};
use crate::network::gpus;

const FEATURES: usize = 12;

fn builder() -> (TrainerBuilder<AdamW>, Var) {
    let graph = Graph::new();
    let (x, y) = (graph.input("x", [8, FEATURES]), graph.labels("y", 8));
    let logits = x.linear(20).relu().dropout(0.25).linear(4);
    let loss = logits.cross_entropy(&y);
    let accuracy = logits.accuracy(&y);
    let builder = graph.trainer(&loss, AdamW { lr: 1e-2, ..Default::default() });
    (builder.schedule(OneCycleLR::new(1e-2, 100)).metric("accuracy", &accuracy).seed(3), logits)
}

/// Transforms that clip, that scale and may skip, that accumulate, and none.
fn transforms(number: usize) -> Transforms {
    let clip_grad_norm = (number > 0).then(|| ClipGradNorm::new(0.5));
    let scales = number == 2;
    let grad_scaler = scales.then(|| GradScaler { growth_interval: 3, ..GradScaler::default() });
    let skip = scales.then(Skip::default);
    let accumulate = (number == 3).then(|| Accumulate::new(3));
    Transforms { clip_grad_norm, grad_scaler, skip, accumulate, ..Transforms::default() }
}

fn trainer(gpu: &Gpu, steps: usize) -> Trainer<AdamW> {
    builder().0.steps_per_submit(steps).build(gpu).unwrap()
}

/// A batch of one of three sizes, by its number.
struct Batch {
    x: Vec<f32>,
    y: Vec<u32>,
}

impl Batch {
    fn new(number: usize) -> Self {
        let samples = [8, 8, 5, 8, 3][number % 5];
        let y = (0..samples).map(|i| u32::try_from((i * 7 + number) % 4).unwrap()).collect();
        Self { x: noises(number as u64, samples * FEATURES), y }
    }

    fn data(&self) -> [(&'static str, &dyn HostData); 2] {
        [("x", &self.x), ("y", &self.y)]
    }
}

/// All that a run leaves.
type Left = (Vec<u32>, StateDict, Vec<StepReport>, u64);

fn left(trainer: &mut Trainer<AdamW>, mut reports: Vec<StepReport>) -> Left {
    while let Some(report) = trainer.read_report().unwrap() {
        reports.push(report);
    }
    let params = trainer.params().params().read_all(trainer.params().gpu()).unwrap();
    (bits(&params), trainer.optimizer().read_state_dict().unwrap(), reports, trainer.steps())
}

fn run(trainer: &mut Trainer<AdamW>, steps: std::ops::Range<usize>) -> Vec<StepReport> {
    let mut reports = Vec::new();
    for number in steps {
        trainer.step(&Batch::new(number).data()).unwrap();
        while let Some(report) = trainer.poll().unwrap() {
            reports.push(report);
        }
    }
    reports
}

#[test]
fn several_steps_in_a_submit_are_the_same_bits() {
    for gpu in gpus() {
        for number in 0..4 {
            let of = |steps: usize| {
                let mut trainer =
                    builder().0.transforms(transforms(number)).steps_per_submit(steps).build(&gpu).unwrap();
                let reports = run(&mut trainer, 0..31);
                left(&mut trainer, reports)
            };
            let one = of(1);
            assert_eq!(one.2.len(), 31);
            for steps in [2, 3, 5, 8] {
                let several = of(steps);
                assert!(several == one, "{steps} steps a submit, transforms {number}");
            }
        }
    }
}

#[test]
fn gradients_that_are_not_finite_are_skipped_in_the_middle_of_a_group() {
    for gpu in gpus() {
        let of = |steps: usize| {
            let transforms = Transforms { skip: Some(Skip::default()), ..Transforms::default() };
            let mut trainer = builder().0.transforms(transforms).steps_per_submit(steps).build(&gpu).unwrap();
            for number in 0..21 {
                let mut batch = Batch::new(number);
                if number % 6 == 1 {
                    batch.x[3] = f32::INFINITY;
                }
                trainer.step(&batch.data()).unwrap();
            }
            let reports = Vec::new();
            let (params, state, reports, steps) = left(&mut trainer, reports);
            trainer.optimizer_mut().read_step_results().unwrap();
            let losses: Vec<u32> = reports.iter().map(|report| report.loss.to_bits()).collect();
            (params, state, losses, steps, trainer.optimizer().applied("linear1.weight").unwrap())
        };
        let one = of(1);
        assert_eq!(one.4, 21 - 4);
        assert!(of(4) == one && of(8) == one);
    }
}

#[test]
fn a_group_is_one_submit_and_makes_nothing() {
    for gpu in gpus() {
        for (steps, wanted) in [(1, 24), (2, 12), (4, 6), (8, 3), (5, 4)] {
            let mut trainer = trainer(&gpu, steps);
            let batch = Batch::new(0);
            for _ in 0..40 {
                trainer.step(&batch.data()).unwrap();
            }
            trainer.read_loss().unwrap();
            let before = gpu.counters();
            for _ in 0..24 {
                trainer.step(&batch.data()).unwrap();
            }
            let count = gpu.counters().since(&before);
            // The rest of 24 waits for others.
            assert_eq!(count.submits, wanted, "{steps}");
            assert_eq!((count.allocations, count.pipelines, count.bind_groups), (0, 0, 0), "{steps}");
            assert_eq!((count.uploads, count.passes), (24, 24), "{steps}");
            trainer.submit().unwrap();
            let rest = u64::from(24 % steps != 0);
            assert_eq!(gpu.counters().since(&before).submits, wanted + rest);
            // There is nothing to submit.
            trainer.submit().unwrap();
            assert_eq!(gpu.counters().since(&before).submits, wanted + rest);
        }
    }
}

#[test]
fn an_epoch_ends_a_group() {
    let Some(gpu) = gpu() else { return };
    let mut trainer = builder().0.steps_per_epoch(5).steps_per_submit(4).build(&gpu).unwrap();
    let mut submits = Vec::new();
    for number in 0..11 {
        let before = gpu.counters();
        trainer.step(&Batch::new(5 * number).data()).unwrap();
        submits.push(gpu.counters().since(&before).submits);
    }
    assert_eq!(submits, [0, 0, 0, 1, 1, 0, 0, 0, 1, 1, 0]);
}

/// Something that a user does between steps, with what is read, in bits.
type Between = fn(&mut Trainer<AdamW>, &Var) -> Vec<u32>;

#[test]
fn whatever_is_done_between_steps_finds_them_taken() {
    let all: [(&str, Between); 10] = [
        ("read a parameter", |trainer, _| bits(&trainer.params().read("linear1.weight").unwrap())),
        ("read a slot", |trainer, _| {
            let state = trainer.optimizer().read_state_dict().unwrap();
            vec![u32::try_from(format!("{state:?}").len()).unwrap()]
        }),
        ("read the loss", |trainer, _| vec![trainer.read_loss().unwrap().to_bits()]),
        ("evaluate", |trainer, _| {
            let evaluation = trainer.evaluate(&Batch::new(0).data(), 3).unwrap();
            let halves = |value: f64| [value.to_bits() >> 32, value.to_bits() & 0xffff_ffff];
            let all = [halves(evaluation.loss), halves(evaluation.metrics[0])].concat();
            all.into_iter().map(|half| u32::try_from(half).unwrap()).collect()
        }),
        ("predict", |trainer, logits| bits(&trainer.predict(logits, &[("x", &Batch::new(1).x)], 5).unwrap())),
        ("write a parameter", |trainer, _| {
            trainer.params_mut().write("linear1.bias", &noises(9, 20)).unwrap();
            Vec::new()
        }),
        ("freeze", |trainer, _| {
            trainer.params_mut().freeze("linear2.weight").unwrap();
            Vec::new()
        }),
        ("set a rate", |trainer, _| {
            trainer.optimizer_mut().rules_mut().for_each(|rule| rule.lr = 3e-2);
            Vec::new()
        }),
        ("save and load", |trainer, _| {
            let checkpoint = trainer.read_checkpoint().unwrap();
            trainer.step(&Batch::new(77).data()).unwrap();
            trainer.load_checkpoint(&checkpoint).unwrap();
            Vec::new()
        }),
        ("refuse a label", |trainer, _| {
            let batch = Batch::new(0);
            let error = trainer.step(&[("x", &batch.x), ("y", &[9; 8])]).unwrap_err();
            vec![u32::try_from(error.to_string().len()).unwrap()]
        }),
    ];
    for gpu in gpus() {
        for (what, between) in all {
            let of = |steps: usize| {
                let (builder, logits) = builder();
                let mut trainer = builder.steps_per_submit(steps).build(&gpu).unwrap();
                let mut seen = Vec::new();
                for number in 0..13 {
                    trainer.step(&Batch::new(number).data()).unwrap();
                    if number % 5 == 2 {
                        seen.push(between(&mut trainer, &logits));
                    }
                }
                let (params, state, _, steps) = left(&mut trainer, Vec::new());
                (params, state, steps, seen)
            };
            assert!(of(1) == of(4), "{what}");
        }
    }
}

#[test]
fn a_run_goes_on_from_the_middle_of_a_group() {
    for gpu in gpus() {
        let whole = {
            let mut trainer = trainer(&gpu, 1);
            run(&mut trainer, 0..20);
            left(&mut trainer, Vec::new())
        };
        for (before, after) in [(4, 4), (4, 1), (1, 3), (8, 5)] {
            let checkpoint = {
                let mut trainer = trainer(&gpu, before);
                run(&mut trainer, 0..7);
                trainer.read_checkpoint().unwrap()
            };
            let mut trainer = trainer(&gpu, after);
            // Steps on their way are not those of the run that is loaded.
            run(&mut trainer, 30..32);
            trainer.load_checkpoint(&checkpoint).unwrap();
            run(&mut trainer, 7..20);
            let (params, state, _, steps) = left(&mut trainer, Vec::new());
            assert!(
                (params, state, steps) == (whole.0.clone(), whole.1.clone(), whole.3),
                "{before} {after}"
            );
        }
    }
}

#[test]
fn what_lies_on_the_device_is_read_by_each_step_of_a_group() {
    let Some(gpu) = gpu() else { return };
    let of = |steps: usize| {
        let mut trainer = trainer(&gpu, steps);
        let numbers = noises(4, 23 * FEATURES);
        let set = Resident::numbers(&gpu, &numbers, &[FEATURES]).unwrap();
        let labels: Vec<u32> = (0..23).map(|i| i * 5 % 4).collect();
        let labels = Resident::labels(&gpu, &labels).unwrap();
        let own = gradus::gpu::Buffer::<f32>::storage(&gpu, "own", 8 * FEATURES).unwrap();
        for step in 0..13_u32 {
            let rows: Vec<u32> = (0..8).map(|i| (step * 8 + i) * 3 % 23).collect();
            if step % 4 == 1 {
                // Written by the host between steps, read by the next one alone.
                own.write(&gpu, 0, &noises(u64::from(step), 8 * FEATURES)).unwrap();
                trainer.step(&[("x", &own.raw().slice(..)), ("y", &labels.rows(&rows))]).unwrap();
            } else {
                trainer.step(&[("x", &set.rows(&rows)), ("y", &labels.rows(&rows))]).unwrap();
            }
        }
        left(&mut trainer, Vec::new())
    };
    let one = of(1);
    assert!(of(3) == one && of(8) == one);
}

#[test]
fn steps_that_nobody_waits_for_go_with_their_trainer() {
    let Some(gpu) = gpu() else { return };
    let mut first = trainer(&gpu, 8);
    run(&mut first, 0..3);
    let before = gpu.counters().submits;
    drop(first);
    gpu.wait().unwrap();
    assert_eq!(gpu.counters().submits, before);
    // Two that take turns.
    let (mut a, mut b) = (trainer(&gpu, 4), trainer(&gpu, 4));
    for number in 0..9 {
        a.step(&Batch::new(number).data()).unwrap();
        b.step(&Batch::new(number).data()).unwrap();
    }
    let (a, b) = (left(&mut a, Vec::new()), left(&mut b, Vec::new()));
    assert!(a == b);
}

#[test]
fn a_group_on_a_lost_device_is_as_if_it_had_not_been() {
    let Some(gpu) = gpu() else { return };
    let mut trainer = trainer(&gpu, 4);
    run(&mut trainer, 0..6);
    assert_eq!((trainer.steps(), trainer.optimizer().attempted()), (6, 6));
    gpu.device().destroy();
    let error = trainer.submit().unwrap_err().to_string();
    assert!(error.contains("the device was lost"), "{error}");
    assert_eq!((trainer.steps(), trainer.optimizer().attempted()), (4, 4));
    let error = trainer.step(&Batch::new(0).data()).unwrap_err().to_string();
    assert!(error.contains("the device was lost"), "{error}");
}

#[test]
fn no_steps_and_too_many_are_refused() {
    let Some(gpu) = gpu() else { return };
    for steps in [0, 9, usize::MAX] {
        let error = builder().0.steps_per_submit(steps).build(&gpu).unwrap_err().to_string();
        assert_eq!(error, format!("steps_per_submit must be in [1, 8], got {steps}"));
    }
    assert_eq!(Trainer::<AdamW>::MOST_STEPS_PER_SUBMIT, 8);
}
