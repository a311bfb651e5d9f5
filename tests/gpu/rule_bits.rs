//! What each rule makes of 100 steps, to the bit.
//!
//! With `GRADUS_RULE_BITS=<file>` the hashes of a run are written to the file, or compared with it where it exists: so
//! a change of the code that should change no number is held to that, on the adapter at hand.

use std::fmt::Write;
use std::path::Path;

use gradus::grad::{ClipGradNorm, Noise, Penalty, Skip, Transforms};
use gradus::optim::{self, AnyRule, CustomRule, LBFGS, LineSearch, Lookahead, RULES, StateDict};
use gradus::{Error, Gpu, GpuOptions, ParamStore};
use serde_json::{Value, json};

use crate::common::{default_of, gpu, gpus_with, gradients, noises, read_all};

const STEPS: usize = 100;

/// Tensors of odd shapes in two groups.
const TENSORS: [(&str, &[usize]); 7] = [
    ("matrix", &[37, 12]),
    ("wide", &[3, 129]),
    ("kernel", &[5, 3, 3, 3]),
    ("quads", &[8, 16, 4]),
    ("bias", &[37]),
    ("one", &[1]),
    ("long", &[1025]),
];

fn store(gpu: &Gpu) -> ParamStore {
    let data: Vec<Vec<f32>> =
        (1..).zip(TENSORS).map(|(stream, (_, shape))| noises(stream, shape.iter().product())).collect();
    let all: Vec<_> = TENSORS.into_iter().zip(&data).collect();
    let (decay, rest) = all.split_at(4);
    ParamStore::builder()
        .group("decay", |g| decay.iter().fold(g, |g, ((name, shape), data)| g.tensor(*name, *shape, data)))
        .group("rest", |g| rest.iter().fold(g, |g, ((name, shape), data)| g.tensor(*name, *shape, data)))
        .build(gpu)
        .unwrap()
}

/// FNV-1a.
struct Hash(u64);

impl Hash {
    fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    fn bytes(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    fn floats(&mut self, values: &[f32]) {
        values.iter().for_each(|value| self.bytes(&value.to_bits().to_le_bytes()));
    }
}

fn hash(params: &ParamStore, dict: &StateDict) -> u64 {
    let mut hash = Hash::new();
    hash.floats(&read_all(params));
    hash.bytes(&dict.attempted.to_le_bytes());
    for (name, state) in &dict.state {
        hash.bytes(name.as_bytes());
        hash.bytes(&state.step.to_le_bytes());
        hash.bytes(&state.inner_step.unwrap_or(0).to_le_bytes());
        hash.bytes(&state.mu_product.unwrap_or(0.0).to_bits().to_le_bytes());
        for (slot, values) in &state.slots {
            hash.bytes(slot.as_bytes());
            hash.floats(values.as_deref().unwrap_or_default());
        }
    }
    hash.0
}

/// Options beside the defaults.
fn options() -> Vec<Value> {
    vec![
        json!({"name": "SGD", "lr": 1e-2, "momentum": 0.9, "nesterov": true, "weight_decay": 1e-2}),
        json!({"name": "SGD", "lr": 1e-2, "momentum": 0.9, "dampening": 0.1, "maximize": true}),
        json!({"name": "Adam", "amsgrad": true, "weight_decay": 1e-2}),
        json!({"name": "Adam", "variant": "optax", "nesterov": true, "eps_root": 1e-8}),
        json!({"name": "AdamW", "amsgrad": true, "maximize": true}),
        json!({"name": "NAdam", "decoupled_weight_decay": true, "weight_decay": 1e-2}),
        json!({"name": "RAdam", "weight_decay": 1e-2, "decoupled_weight_decay": true}),
        json!({"name": "RMSprop", "momentum": 0.9, "centered": true, "weight_decay": 1e-2}),
        json!({"name": "Adagrad", "lr_decay": 1e-2, "initial_accumulator_value": 0.1}),
        json!({"name": "Adafactor", "variant": "optax", "momentum": 0.9, "min_dim_size_to_factor": 2}),
        json!({"name": "SM3", "momentum": 0.0}),
        json!({"name": "Lookahead", "inner": {"name": "NAdam"}, "reset_state": true, "sync_period": 3}),
        json!({"name": "Lookahead", "inner": {"name": "Adafactor"}, "reset_state": true}),
        json!({"name": "Lookahead", "inner": {"name": "Lamb"}}),
        json!({"name": "Lookahead", "inner": {"name": "Yogi"}, "reset_state": true, "alpha": 0.8}),
    ]
}

fn custom() -> CustomRule {
    CustomRule::builder(
        "Damped",
        "fn rule(p: vec4f, g: vec4f, s: ptr<function, State>) -> vec4f {
            (*s).velocity = averaged((*s).velocity, g, hyper.beta1, 1.0 - hyper.beta1);
            (*s).size = averaged((*s).size, squared(g), 0.9, 0.1);
            return p - hyper.rate * (*s).velocity / (sqrt((*s).size) + 1.0 + exp(p));
        }",
    )
    .slot("velocity")
    .slot_from("size", 0.5)
    .hyper("beta1", 0.9, 0.0..1.0)
    .constant("rate", |step, hypers| hypers.get("lr") / step.correction(hypers.get("beta1")))
    .build()
    .unwrap()
}

/// Every rule with its defaults, and with others.
fn rules() -> Vec<(String, Box<dyn AnyRule>)> {
    let of = |entry| optim::from_json(&default_of(entry)).unwrap();
    let defaults = RULES.iter().map(|entry| (entry.name.to_owned(), of(entry)));
    let more = options().into_iter().map(|json| (json.to_string(), optim::from_json(&json).unwrap()));
    let custom = [
        ("custom".to_owned(), custom().into()),
        ("Lookahead around custom".into(), Lookahead::new(custom()).into()),
    ];
    defaults.chain(more).chain(custom).collect()
}

/// Transforms in the rule's own dispatch, and those for which a pass over the gradients decides.
fn transforms() -> [Transforms; 3] {
    let penalties =
        || vec![Penalty { l1: 1e-3, l2: 1e-2, groups: vec!["decay".into()], ..Penalty::default() }];
    let clip = ClipGradNorm::new(3.0);
    [
        Transforms { clip_grad_value: Some(0.5), penalties: penalties(), ..Transforms::default() },
        Transforms {
            clip_grad_norm: Some(clip.clone()),
            skip: Some(Skip::default()),
            ..Transforms::default()
        },
        Transforms {
            clip_grad_norm: Some(clip),
            skip: Some(Skip::default()),
            noise: Some(Noise { seed: 7, ..Noise::default() }),
            penalties: penalties(),
            ..Transforms::default()
        },
    ]
}

/// Steps with changes of options and of what is frozen in between; where steps may be skipped, some are.
fn play(gpu: &Gpu, rule: &dyn AnyRule, transforms: Option<Transforms>) -> u64 {
    let mut params = store(gpu);
    let mut optimizer = rule.boxed().build(&params).unwrap();
    let skips = transforms.as_ref().is_some_and(|transforms| transforms.skip.is_some());
    if let Some(transforms) = transforms {
        optimizer.set_transforms(transforms, &params).unwrap();
    }
    for step in 0..STEPS {
        let mut grads = gradients(step, params.layout().parameters());
        if skips && step % 9 == 4 {
            grads[step] = f32::INFINITY;
        }
        match step {
            20 => params.freeze("quads").unwrap(),
            40 => params.thaw("quads").unwrap(),
            60 => {
                let group = optimizer.group_mut("rest").unwrap();
                *group.lr_mut() *= 0.5;
                if let Some(momentum) = group.momentum_mut().filter(|momentum| **momentum != 0.0) {
                    *momentum = 0.75;
                }
            }
            _ => {}
        }
        params.write_grads(&grads).unwrap();
        optimizer.step(&mut params).unwrap();
    }
    hash(&params, &optimizer.read_state_dict().unwrap())
}

fn play_lbfgs(gpu: &Gpu, options: &LBFGS) -> u64 {
    let mut params = store(gpu);
    let mut optimizer = options.clone().build(&params).unwrap();
    for _ in 0..STEPS / 5 {
        let closure = |params: &mut ParamStore| -> Result<f64, Error> {
            let all = read_all(params);
            let slope = |(i, p): (usize, &f32)| (1.0 + (i % 7) as f32) * p + 0.3 * p * p * p;
            params.write_grads(&all.iter().enumerate().map(slope).collect::<Vec<f32>>())?;
            let value = |(i, p): (usize, f64)| 0.5 * (1.0 + (i % 7) as f64) * p * p + 0.075 * p.powi(4);
            Ok(all.iter().map(|p| f64::from(*p)).enumerate().map(value).sum())
        };
        optimizer.step(&mut params, closure).unwrap();
    }
    let dict = optimizer.read_state_dict(&params).unwrap();
    let mut hash = Hash::new();
    hash.floats(&read_all(&params));
    hash.bytes(serde_json::to_string(&dict).unwrap().as_bytes());
    hash.0
}

fn searches() -> [LBFGS; 5] {
    let torchs = |search| LBFGS { lr: 0.1, max_iter: 3, line_search_fn: search, ..LBFGS::default() };
    let optax = |search| LBFGS { lr: 0.1, history_size: 4, line_search_fn: search, ..LBFGS::optax() };
    [
        torchs(None),
        torchs(Some(LineSearch::StrongWolfe)),
        optax(None),
        optax(Some(LineSearch::Backtracking)),
        optax(Some(LineSearch::Zoom)),
    ]
}

/// A line for each rule, with the number of the kind of kernels.
fn all_bits((kind, gpu): (usize, &Gpu)) -> String {
    let mut lines = String::new();
    for (name, rule) in rules() {
        let bare = play(gpu, &*rule, None);
        let [fused, skipping, both] = transforms().map(|transforms| play(gpu, &*rule, Some(transforms)));
        writeln!(lines, "{kind} {name}: {bare:016x} {fused:016x} {skipping:016x} {both:016x}").unwrap();
    }
    for options in searches() {
        let json = options.to_json();
        writeln!(lines, "{kind} {json}: {:016x}", play_lbfgs(gpu, &options)).unwrap();
    }
    lines
}

#[test]
fn a_hundred_steps_of_each_rule_leave_the_bits_that_they_left_before() {
    let Some(path) = std::env::var_os("GRADUS_RULE_BITS") else {
        let Some(gpu) = gpu() else { return };
        // Without a list of before, a run is held to the run before it.
        let rule = optim::from_json(&json!({"name": "NAdam"})).unwrap();
        let [_, _, both] = transforms();
        let [_, _, again] = transforms();
        let (one, two) = (play(&gpu, &*rule, Some(both)), play(&gpu, &*rule, Some(again)));
        assert_eq!(one, two);
        assert_ne!(one, play(&gpu, &*rule, None));
        return;
    };
    let got: String = gpus_with(&GpuOptions::default()).iter().enumerate().map(all_bits).collect();
    if !Path::new(&path).exists() {
        std::fs::write(&path, &got).unwrap();
        return;
    }
    let before = std::fs::read_to_string(&path).unwrap();
    let before: Vec<&str> = before.lines().collect();
    let rest: Vec<&str> = got.lines().filter(|line| !before.contains(line)).collect();
    let lost = before.iter().filter(|line| !got.contains(**line)).count();
    assert!(lost == 0, "{lost} lines are others now: {rest:#?}");
}
