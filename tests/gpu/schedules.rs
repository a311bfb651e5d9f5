//! Schedules and early stopping at work in a trainer.

use std::fs;
use std::ops::Range;
use std::path::Path;

use gradus::Gpu;
use gradus::graph::Graph;
use gradus::nn::{Conv2d, Linear};
use gradus::optim::SGD;
use gradus::schedule::{OneCycleLR, PerEpoch, ReduceLROnPlateau, Schedule, StepLR};
use gradus::train::{Checkpoint, EarlyStopping, EarlyStoppingState, Trainer, TrainerBuilder};

use crate::common::{gpu, noises};
use crate::folder::Folder;

/// Steps between two metrics.
const EPOCH: u64 = 4;

fn builder(hidden: usize) -> TrainerBuilder<SGD> {
    let graph = Graph::new();
    let (x, y) = (graph.input("x", [4, 1, 6, 6]), graph.labels("y", 4));
    let h = x.conv2d(Conv2d::new(5, 3).name("conv")).relu().max_pool2d(2).flatten();
    let logits = h.linear(Linear::new(hidden).name("hidden")).relu().linear(Linear::new(3).name("head"));
    graph.trainer(&logits.cross_entropy(&y), SGD { lr: 0.1, momentum: 0.9, ..Default::default() }).seed(3)
}

fn scheduled(gpu: &Gpu, schedule: impl Schedule + 'static) -> Trainer<SGD> {
    builder(7).schedule(schedule).build(gpu).unwrap()
}

/// Better at first, then never again.
fn metric(epoch: u64) -> f64 {
    1.0 / epoch.min(3) as f64
}

fn train(trainer: &mut Trainer<SGD>, steps: Range<u64>) {
    for step in steps {
        trainer.step(&[("x", &noises(step, 4 * 36)), ("y", &vec![0, 1, 2, 1])]).unwrap();
        if (step + 1).is_multiple_of(EPOCH) {
            trainer.observe(metric((step + 1) / EPOCH)).unwrap();
        }
    }
}

fn rate(trainer: &Trainer<SGD>) -> f64 {
    trainer.optimizer().group("default").unwrap().lr
}

fn save(trainer: &mut Trainer<SGD>, path: &Path) -> Vec<u8> {
    trainer.read_checkpoint().unwrap().write(path).unwrap();
    fs::read(path).unwrap()
}

fn plateau() -> ReduceLROnPlateau {
    ReduceLROnPlateau { factor: 0.5, patience: 1, cooldown: 1, ..Default::default() }
}

#[test]
fn a_run_resumed_anywhere_under_a_schedule_ends_in_the_same_file() {
    let Some(gpu) = gpu() else { return };
    let folder = Folder::new("schedules-resume");
    let path = folder.join("model.safetensors");
    let schedules: [fn() -> Box<dyn Schedule>; 2] =
        [|| Box::new(OneCycleLR::new(0.2, 40)), || Box::new(plateau())];
    for schedule in schedules {
        let mut whole = scheduled(&gpu, schedule());
        train(&mut whole, 0..40);
        let want = save(&mut whole, &path);
        for stop in [0, 3, 20, 21, 39] {
            let mut first = scheduled(&gpu, schedule());
            train(&mut first, 0..stop);
            let saved = save(&mut first, &path);
            let mut second = scheduled(&gpu, schedule());
            second.load_checkpoint(&Checkpoint::read(&path).unwrap()).unwrap();
            assert!(save(&mut second, &path) == saved, "loaded at {stop} and saved again");
            train(&mut second, stop..40);
            assert!(save(&mut second, &path) == want, "stopped at {stop}");
        }
    }
}

#[test]
fn a_plateau_lowers_the_rate_and_its_state_is_needed_to_go_on() {
    let Some(gpu) = gpu() else { return };
    let mut trainer = scheduled(&gpu, plateau());
    let mut rates = Vec::new();
    for epoch in 0..9 {
        train(&mut trainer, epoch * EPOCH..(epoch + 1) * EPOCH);
        rates.push(rate(&trainer));
    }
    // Better at 1, 2 and 3; worse at 4 and 5; 6 is the cooldown; worse at 7 and 8.
    assert_eq!(rates, [0.1, 0.1, 0.1, 0.1, 0.1, 0.05, 0.05, 0.05, 0.025]);
    let error = trainer.observe(f64::NAN).unwrap_err().to_string();
    assert_eq!(error, "metric must be a number, got NaN");

    let good = trainer.read_checkpoint().unwrap();
    let mut without = good.clone();
    without.schedule_state = None;
    let mut broken = good.clone();
    broken.schedule_state = Some(serde_json::json!({"best": 0.5}));
    let mut lacking = good.clone();
    lacking.optimizer.state.get_mut("conv.bias").unwrap().slots.remove("momentum_buffer");
    for (checkpoint, message) in [
        (without, "checkpoint: schedule: the state of one that follows a metric is missing"),
        (broken, "checkpoint: schedule: ReduceLROnPlateau: missing field `cooldown_counter`"),
        (lacking, "checkpoint: optimizer: conv.bias lacks the slot \"momentum_buffer\""),
    ] {
        let mut fresh = scheduled(&gpu, plateau());
        train(&mut fresh, 0..5);
        let before = fresh.read_checkpoint().unwrap();
        assert_eq!(fresh.load_checkpoint(&checkpoint).unwrap_err().to_string(), message);
        assert!(fresh.read_checkpoint().unwrap() == before, "{message}");
    }
}

#[test]
fn a_schedule_of_epochs_is_told_the_epoch() {
    let Some(gpu) = gpu() else { return };
    let schedule = || PerEpoch(StepLR { gamma: 0.5, ..StepLR::new(2) });
    let mut trainer = builder(7).schedule(schedule()).steps_per_epoch(EPOCH).build(&gpu).unwrap();
    let mut rates = Vec::new();
    for epoch in 0..5 {
        train(&mut trainer, epoch * EPOCH..(epoch + 1) * EPOCH);
        rates.push(rate(&trainer));
    }
    assert_eq!(rates, [0.1, 0.1, 0.05, 0.05, 0.025]);
    let error = |builder: TrainerBuilder<SGD>| builder.build(&gpu).unwrap_err().to_string();
    let said = "schedule: its interval is epoch: the trainer needs steps_per_epoch";
    assert_eq!(error(builder(7).schedule(schedule())), said);
    assert_eq!(
        error(builder(7).schedule(schedule()).steps_per_epoch(0)),
        "steps_per_epoch must be at least 1, got 0"
    );
}

#[test]
fn the_best_parameters_come_back_even_through_a_file() {
    let Some(gpu) = gpu() else { return };
    let all = |trainer: &Trainer<SGD>| trainer.params().params().read_all(&gpu).unwrap();
    let mut trainer = builder(7).build(&gpu).unwrap();
    let mut stopping = EarlyStopping { patience: 2, restore_best_weights: true, ..Default::default() };
    let mut best = Vec::new();
    for epoch in 0.. {
        train(&mut trainer, epoch * EPOCH..(epoch + 1) * EPOCH);
        let stop = stopping.watch(metric(epoch + 1), &trainer).unwrap();
        if epoch == 2 {
            best = all(&trainer);
        }
        let text = serde_json::to_string(&stopping.state).unwrap();
        stopping.state = serde_json::from_str::<EarlyStoppingState>(&text).unwrap();
        if stop {
            assert_eq!((epoch, stopping.state.best_epoch), (4, Some(2)));
            break;
        }
    }
    assert!(all(&trainer) != best);
    let mut other = builder(8).build(&gpu).unwrap();
    let before = all(&other);
    let error = stopping.restore(&mut other).unwrap_err().to_string();
    assert_eq!(error, "state dict: the best parameters are those of another model");
    assert!(all(&other) == before);
    assert!(stopping.restore(&mut trainer).unwrap());
    assert!(all(&trainer) == best);
    assert!(!EarlyStopping::default().restore(&mut trainer).unwrap());
}

/// More parameters than JSON in a header has place for, and a few.
#[test]
fn early_stopping_goes_through_a_checkpoint_with_all_its_parameters() {
    let Some(gpu) = gpu() else { return };
    let folder = Folder::new("early-stopping");
    let path = folder.join("model.safetensors");
    for (side, wide) in [(2, 3), (40, 2450)] {
        let side: usize = side;
        let build = || {
            let graph = Graph::new();
            let (x, y) = (graph.input("x", [2, wide]), graph.labels("y", 2));
            let h = x.linear(Linear::new(wide).name("hidden")).relu();
            let loss = h.linear(Linear::new(side).name("head")).cross_entropy(&y);
            graph.trainer(&loss, SGD { lr: 0.1, ..Default::default() }).seed(5).build(&gpu).unwrap()
        };
        let step = |trainer: &mut Trainer<SGD>, step: u64| {
            trainer.step(&[("x", &noises(step, 2 * wide)), ("y", &vec![0, 1])]).unwrap();
        };
        let all = |trainer: &Trainer<SGD>| {
            let all = trainer.params().params().read_all(&gpu).unwrap();
            all.iter().map(|value| value.to_bits()).collect::<Vec<_>>()
        };
        let config = EarlyStopping { patience: 3, restore_best_weights: true, ..Default::default() };
        let (mut trainer, mut stopping) = (build(), config.clone());
        step(&mut trainer, 0);
        assert!(!stopping.watch(0.5, &trainer).unwrap());
        let best = all(&trainer);
        step(&mut trainer, 1);
        assert!(!stopping.watch(0.7, &trainer).unwrap());
        let mut checkpoint = trainer.read_checkpoint().unwrap();
        checkpoint.early_stopping = Some(stopping.state.clone());
        checkpoint.write(&path).unwrap();
        println!("{} parameters: {} bytes", all(&trainer).len(), fs::metadata(&path).unwrap().len());

        let read = Checkpoint::read(&path).unwrap();
        assert!(read.early_stopping == checkpoint.early_stopping);
        let (mut resumed, mut after) = (build(), config);
        resumed.load_checkpoint(&read).unwrap();
        after.state = read.early_stopping.unwrap_or_default();
        assert!(after == stopping);
        for (trainer, stopping) in [(&mut trainer, &mut stopping), (&mut resumed, &mut after)] {
            step(trainer, 2);
            assert!(!stopping.watch(0.6, trainer).unwrap());
            step(trainer, 3);
            assert!(stopping.watch(0.6, trainer).unwrap());
        }
        assert!(after == stopping && all(&resumed) == all(&trainer) && all(&resumed) != best);
        assert!(after.restore(&mut resumed).unwrap());
        assert!(all(&resumed) == best);
    }
}
