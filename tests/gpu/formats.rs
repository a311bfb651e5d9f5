//! Files of formats that were released: they keep loading, and the steps that follow keep their numbers.

use std::fs;
use std::path::PathBuf;

use gradus::grad::{GradScaler, Transforms};
use gradus::graph::Graph;
use gradus::nn::Linear;
use gradus::optim::{AdamW, NAdam, Optimizer, Rule, StateDict};
use gradus::schedule::{self, CosineAnnealingLR};
use gradus::train::{Checkpoint, EarlyStopping, Trainer};
use gradus::{Gpu, ParamStore};
use serde_json::{Value, json};

use crate::common::{gpu, noises, run};

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/formats").join(name)
}

fn json_of(name: &str) -> Value {
    serde_json::from_str(&fs::read_to_string(path(name)).unwrap()).unwrap()
}

fn trainer(gpu: &Gpu) -> Trainer<AdamW> {
    let graph = Graph::new();
    let (x, y) = (graph.input("x", [2, 4]), graph.labels("y", 2));
    let loss = x.linear(Linear::new(4).name("hidden")).relu().linear(Linear::new(3).name("head"));
    let transforms = Transforms {
        grad_scaler: Some(GradScaler { init_scale: 1024.0, ..GradScaler::default() }),
        ..Transforms::default()
    };
    graph
        .trainer(&loss.cross_entropy(&y), AdamW { amsgrad: true, ..Default::default() })
        .groups(|parameter| if parameter.shape.len() > 1 { "decay" } else { "rest" }.into())
        .schedule(CosineAnnealingLR::new(10))
        .transforms(transforms)
        .seed(3)
        .build(gpu)
        .unwrap()
}

fn train(trainer: &mut Trainer<AdamW>, steps: std::ops::Range<u64>) {
    for step in steps {
        trainer.step(&[("x", &noises(step, 8)), ("y", &vec![0, 2])]).unwrap();
    }
}

/// All that a checkpoint says.
fn contents(checkpoint: &Checkpoint) -> Value {
    let params = checkpoint.params.iter();
    let params: Value =
        params.map(|(name, p)| (name.clone(), json!({"shape": p.shape, "values": p.values}))).collect();
    json!({
        "step": checkpoint.step, "seed": checkpoint.seed, "params": params, "frozen": checkpoint.frozen,
        "optimizer": checkpoint.optimizer, "schedule": checkpoint.schedule, "gate": checkpoint.gate,
        "schedule_state": checkpoint.schedule_state, "run": checkpoint.run,
    })
}

fn store(gpu: &Gpu) -> ParamStore {
    let (w, b) = (noises(1, 6), noises(2, 3));
    let params = ParamStore::builder()
        .group("decay", |g| g.tensor("w", [2, 3], &w))
        .group("rest", |g| g.tensor("b", [3], &b));
    params.build(gpu).unwrap()
}

fn optimizer(params: &ParamStore) -> Optimizer<NAdam> {
    let rest = ("rest", json!({"weight_decay": 0.0, "betas": [0.8, 0.99]}));
    NAdam { lr: 0.01, weight_decay: 0.1, ..Default::default() }.build_with(params, &[rest]).unwrap()
}

fn values(params: &ParamStore) -> Value {
    let spans = params.layout().spans().iter();
    spans.map(|span| (span.name.clone(), json!(params.read(&span.name).unwrap()))).collect()
}

/// Parameters, to a few roundings of another device.
fn assert_near(got: &Value, want: &Value) {
    for (name, want) in want.as_object().unwrap() {
        for (got, want) in got[name].as_array().unwrap().iter().zip(want.as_array().unwrap()) {
            let (got, want) = (got.as_f64().unwrap(), want.as_f64().unwrap());
            assert!((got - want).abs() <= 1e-6, "{name}: {got}, expected {want}");
        }
    }
}

#[test]
fn checkpoints_of_format_1_load() {
    let Some(gpu) = gpu() else { return };
    let want = json_of("checkpoint-1.json");
    let checkpoint = Checkpoint::read(path("checkpoint-1.safetensors")).unwrap();
    assert_eq!(contents(&checkpoint), want["contents"]);
    let mut trainer = trainer(&gpu);
    trainer.load_checkpoint(&checkpoint).unwrap();
    train(&mut trainer, 5..8);
    assert_near(&values(trainer.params()), &want["after"]);
}

/// The later fields of format 1: early stopping with its parameters, and a schedule that is code.
fn later(gpu: &Gpu) -> (Trainer<AdamW>, EarlyStopping) {
    let graph = Graph::new();
    let (x, y) = (graph.input("x", [2, 4]), graph.labels("y", 2));
    let loss = x.linear(Linear::new(3).name("head")).cross_entropy(&y);
    let schedule = schedule::from_fn(|step, base| base / (1.0 + step as f64)).named("one over the step");
    let trainer = graph.trainer(&loss, AdamW::default()).schedule(schedule).seed(4).build(gpu).unwrap();
    (trainer, EarlyStopping { patience: 2, restore_best_weights: true, ..EarlyStopping::default() })
}

fn later_contents(checkpoint: &Checkpoint) -> Value {
    let mut all = contents(checkpoint);
    all["early_stopping"] = serde_json::to_value(&checkpoint.early_stopping).unwrap();
    all
}

#[test]
fn checkpoints_of_format_1_with_later_fields_load() {
    let Some(gpu) = gpu() else { return };
    let want = json_of("checkpoint-1-later.json");
    let checkpoint = Checkpoint::read(path("checkpoint-1-later.safetensors")).unwrap();
    assert_eq!(later_contents(&checkpoint), want["contents"]);
    let (mut trainer, mut stopping) = later(&gpu);
    trainer.load_checkpoint(&checkpoint).unwrap();
    stopping.state = checkpoint.early_stopping.unwrap();
    train(&mut trainer, 3..5);
    assert_near(&values(trainer.params()), &want["after"]);
    assert!(stopping.observe(0.5).unwrap(), "its patience of 2 has run out");
    assert!(stopping.restore(&mut trainer).unwrap());
    assert_near(&values(trainer.params()), &want["contents"]["early_stopping"]["best_weights"]);
}

#[test]
fn state_dicts_of_format_1_load() {
    let Some(gpu) = gpu() else { return };
    let (file, want) = (json_of("state_dict-1.json"), json_of("state_dict-1.params.json"));
    let dict: StateDict = serde_json::from_value(file.clone()).unwrap();
    assert_eq!(serde_json::to_value(&dict).unwrap(), file);
    let mut params = store(&gpu);
    let mut optimizer = optimizer(&params);
    for span in params.layout().clone().spans() {
        let values: Vec<f32> = serde_json::from_value(want["before"][&span.name].clone()).unwrap();
        params.write(&span.name, &values).unwrap();
    }
    optimizer.load_state_dict(&dict).unwrap();
    run(&mut optimizer, &mut params, 5..8);
    assert_near(&values(&params), &want["after"]);
}

/// Writes the files of the current formats that are not there yet; none that is there is changed.
#[test]
#[ignore = "writes into tests/formats, once for each new format"]
fn write_the_files_of_new_formats() {
    let Some(gpu) = gpu() else { return };
    let write = |name: &str, value: &Value| {
        if !path(name).exists() {
            fs::write(path(name), serde_json::to_string(value).unwrap() + "\n").unwrap();
        }
    };
    let mut trainer = trainer(&gpu);
    train(&mut trainer, 0..3);
    trainer.params_mut().freeze("head.bias").unwrap();
    train(&mut trainer, 3..5);
    let mut checkpoint = trainer.read_checkpoint().unwrap();
    checkpoint.run = json!({"epoch": 2, "model": "mlp"}).as_object().unwrap().clone();
    train(&mut trainer, 5..8);
    if !path("checkpoint-1.safetensors").exists() {
        checkpoint.write(path("checkpoint-1.safetensors")).unwrap();
    }
    write(
        "checkpoint-1.json",
        &json!({"contents": contents(&checkpoint), "after": values(trainer.params())}),
    );

    let (mut trainer, mut stopping) = later(&gpu);
    for (step, metric) in [(0, 0.5), (1, 0.25), (2, 0.75)] {
        train(&mut trainer, step..step + 1);
        stopping.watch(metric, &trainer).unwrap();
    }
    let mut checkpoint = trainer.read_checkpoint().unwrap();
    checkpoint.early_stopping = Some(stopping.state);
    train(&mut trainer, 3..5);
    if !path("checkpoint-1-later.safetensors").exists() {
        checkpoint.write(path("checkpoint-1-later.safetensors")).unwrap();
    }
    write(
        "checkpoint-1-later.json",
        &json!({"contents": later_contents(&checkpoint), "after": values(trainer.params())}),
    );

    let mut params = store(&gpu);
    let mut optimizer = optimizer(&params);
    params.freeze("b").unwrap();
    run(&mut optimizer, &mut params, 0..2);
    params.thaw("b").unwrap();
    run(&mut optimizer, &mut params, 2..5);
    let (dict, before) = (optimizer.read_state_dict().unwrap(), values(&params));
    run(&mut optimizer, &mut params, 5..8);
    write("state_dict-1.json", &serde_json::to_value(dict).unwrap());
    write("state_dict-1.params.json", &json!({"before": before, "after": values(&params)}));
}
