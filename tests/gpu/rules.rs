//! Every rule against the oracle, and what all of them promise.

use gradus::ParamStore;
use gradus::optim::{self, Entry, Family, RULES};
use gradus::schedule::CosineAnnealingLR;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed, TestRunner};
use serde_json::{Value, json};

use crate::common::{LENS, default_of, gpu, gradients, padding, read_all, run, store};
use crate::oracle::Oracle;

/// Every rule with its defaults and with each of its options.
pub(crate) fn options() -> Vec<Value> {
    vec![
        json!({"name": "SGD"}),
        json!({"name": "SGD", "lr": 0.1, "weight_decay": 0.05}),
        json!({"name": "SGD", "lr": 0.01, "momentum": 0.9}),
        json!({"name": "SGD", "lr": 0.01, "momentum": 0.7, "dampening": 0.4, "maximize": true}),
        json!({"name": "SGD", "lr": 0.01, "momentum": 0.9, "nesterov": true, "weight_decay": 0.1}),
        json!({"name": "Adam"}),
        json!({"name": "Adam", "lr": 0.01, "weight_decay": 0.05}),
        json!({"name": "Adam", "lr": 0.01, "weight_decay": 0.1, "decoupled_weight_decay": true}),
        json!({"name": "Adam", "lr": 0.01, "amsgrad": true}),
        json!({"name": "Adam", "lr": 0.01, "amsgrad": true, "variant": "optax", "maximize": true}),
        json!({"name": "Adam", "lr": 0.01, "variant": "optax"}),
        json!({"name": "Adam", "betas": [0, 0.9], "eps": 1e-3}),
        json!({"name": "Adam", "lr": 0.01, "eps_root": 1e-3, "weight_decay": 0.05}),
        json!({"name": "Adam", "lr": 0.01, "eps_root": 1e-3, "amsgrad": true, "variant": "optax"}),
        json!({"name": "Adam", "lr": 0.01, "nesterov": true, "maximize": true}),
        json!({"name": "Adam", "lr": 0.01, "nesterov": true, "amsgrad": true, "betas": [0.5, 0.9]}),
        json!({"name": "Adam", "nesterov": true, "betas": [0, 0.9], "eps": 1e-3}),
        json!({"name": "AdamW"}),
        json!({"name": "AdamW", "lr": 0.01, "nesterov": true, "eps_root": 1e-4, "betas": [0.8, 0.99]}),
        json!({"name": "AdamW", "nesterov": true, "amsgrad": true, "variant": "optax", "eps_root": 0.1}),
        json!({"name": "AdamW", "lr": 0.02, "weight_decay": 0.3, "maximize": true}),
        json!({"name": "AdamW", "amsgrad": true, "betas": [0.5, 0.5], "eps": 1e-2}),
        json!({"name": "AdamW", "amsgrad": true, "variant": "optax", "betas": [0.8, 0.99]}),
        json!({"name": "RMSprop"}),
        json!({"name": "RMSprop", "lr": 1e-3, "momentum": 0.9, "weight_decay": 0.1}),
        json!({"name": "RMSprop", "lr": 1e-3, "centered": true, "alpha": 0.9, "maximize": true}),
        json!({"name": "RMSprop", "eps_in_sqrt": true, "eps": 1e-5}),
        json!({"name": "RMSprop", "lr": 1e-3, "centered": true, "momentum": 0.5, "eps_in_sqrt": true, "eps": 1e-4}),
        json!({"name": "RMSprop", "lr": 1e-3, "momentum": 0.9, "nesterov": true, "weight_decay": 0.1}),
        json!({"name": "RMSprop", "nesterov": true}),
        json!({"name": "RMSprop", "initial_scale": 0.5, "alpha": 0.9, "maximize": true}),
        json!({"name": "RMSprop", "bias_correction": true, "alpha": 0.9, "eps": 1e-3}),
        json!({"name": "RMSprop", "bias_correction": true, "eps_in_sqrt": true, "eps": 1e-4, "initial_scale": 1e-3}),
        json!({"name": "RMSprop", "bias_correction": true, "centered": true, "eps_in_sqrt": true, "eps": 1e-2,
               "initial_scale": 0.1, "momentum": 0.5, "nesterov": true, "lr": 1e-3}),
        json!({"name": "Adagrad"}),
        json!({"name": "Adagrad", "lr": 0.05, "lr_decay": 0.1, "initial_accumulator_value": 0.1, "maximize": true}),
        json!({"name": "Adagrad", "eps_in_sqrt": true, "eps": 1e-7, "weight_decay": 0.05}),
        json!({"name": "Adadelta"}),
        json!({"name": "Adadelta", "lr": 0.5, "rho": 0.6, "eps": 1e-3, "weight_decay": 0.1, "maximize": true}),
        json!({"name": "Adan"}),
        json!({"name": "Adan", "lr": 0.01, "betas": [0.9, 0.5, 0.95], "eps": 1e-3, "eps_root": 0, "weight_decay": 0.1}),
        json!({"name": "Adan", "betas": [0, 0, 0], "eps_root": 1e-4}),
        json!({"name": "ASGD"}),
        json!({"name": "ASGD", "lr": 0.05, "lambd": 0.1, "alpha": 0.6, "t0": 4.5, "weight_decay": 0.05, "maximize": true}),
        json!({"name": "ASGD", "lr": 0.02, "lambd": 0, "alpha": 0, "t0": 0}),
        json!({"name": "ScheduleFreeAdamW"}),
        json!({"name": "ScheduleFreeAdamW", "lr": 0.05, "betas": [0.5, 0.9], "eps": 1e-3, "weight_decay": 0.1, "warmup_steps": 6}),
        json!({"name": "ScheduleFreeAdamW", "lr": 0.02, "warmup_steps": 100, "weight_lr_power": 0.5}),
        json!({"name": "ScheduleFreeAdamW", "lr": 0, "warmup_steps": null}),
        json!({"name": "Adamax"}),
        json!({"name": "Adamax", "lr": 0.01, "betas": [0.8, 0.9], "eps": 1e-3, "weight_decay": 0.1, "maximize": true}),
        json!({"name": "NAdam"}),
        json!({"name": "NAdam", "lr": 0.01, "betas": [0.8, 0.9], "momentum_decay": 0.5, "weight_decay": 0.1}),
        json!({"name": "NAdam", "decoupled_weight_decay": true, "weight_decay": 0.1, "maximize": true}),
        json!({"name": "NAdam", "variant": "optax", "weight_decay": 0.1}),
        json!({"name": "NAdam", "variant": "optax", "eps_root": 1e-3, "betas": [0.8, 0.9]}),
        json!({"name": "RAdam"}),
        json!({"name": "RAdam", "betas": [0.8, 0.9], "eps": 1e-2, "weight_decay": 0.1, "maximize": true}),
        json!({"name": "RAdam", "decoupled_weight_decay": true, "weight_decay": 0.1, "betas": [0.9, 0.5]}),
        json!({"name": "RAdam", "variant": "optax", "eps": 1e-2}),
        json!({"name": "RAdam", "variant": "optax", "threshold": 4, "eps_root": 1e-3, "eps": 1e-2}),
        json!({"name": "RAdam", "variant": "optax", "threshold": 9.5, "nesterov": true, "eps": 1e-2}),
        json!({"name": "RAdam", "variant": "optax", "nesterov": true, "eps_root": 1e-2, "weight_decay": 0.1,
               "decoupled_weight_decay": true, "maximize": true}),
        json!({"name": "Yogi"}),
        json!({"name": "Yogi", "lr": 0.01, "eps_root": 1e-2}),
        json!({"name": "Yogi", "lr": 0.01, "betas": [0.8, 0.9], "initial_accumulator_value": 0.1, "weight_decay": 0.1}),
        json!({"name": "Yogi", "initial_accumulator_value": 0}),
        json!({"name": "AdaBelief"}),
        json!({"name": "AdaBelief", "betas": [0.8, 0.9], "eps": 1e-3, "eps_root": 1e-6, "weight_decay": 0.1}),
        json!({"name": "AdaBelief", "nesterov": true, "betas": [0.8, 0.9], "eps": 1e-3, "weight_decay": 0.1}),
        json!({"name": "Lion"}),
        json!({"name": "Lion", "lr": 1e-3, "betas": [0.5, 0.8], "weight_decay": 0.1}),
        json!({"name": "Rprop"}),
        json!({"name": "Rprop", "lr": 0.1, "etas": [0.3, 1.5], "step_sizes": [0.01, 0.2], "maximize": true}),
        json!({"name": "Rprop", "lr": 0, "step_sizes": [0.001, 1]}),
    ]
}

#[test]
fn every_rule_agrees_with_f64() {
    const STEPS: usize = 25;
    let Some(gpu) = gpu() else { return };
    for json in options() {
        let mut params = store(&gpu);
        let mut optimizer = optim::from_json(&json).unwrap().build(&params).unwrap();
        let oracle = Oracle::new(optimizer.group("default").unwrap().to_json());
        let mut elements: Vec<_> = read_all(&params).into_iter().map(Oracle::element).collect();
        run(&mut optimizer, &mut params, 0..STEPS);
        for step in 0..STEPS {
            for (element, g) in elements.iter_mut().zip(gradients(step, LENS.iter().sum())) {
                oracle.step(element, g);
            }
        }
        // Each step rounds the parameter once and its update a few times; updates are below 1.
        let bound = |x: f64| 2.0 * STEPS as f64 * f64::from(f32::EPSILON) * (0.5 + x.abs());
        for (index, (got, want)) in read_all(&params).into_iter().zip(&elements).enumerate() {
            let off = (f64::from(got) - want.p).abs();
            assert!(off <= bound(want.p), "{json}, element {index}: got {got}, expected {}", want.p);
        }
    }
}

/// Under constant gradients of many sizes: how far from f64 the first two slots may be after 10,000 steps,
/// relative to themselves, and the parameter, relative to its way.
///
/// An average stalls where its change is below half a unit in the last place: 5 units off for a weight of
/// 0.9, 500 for 0.999, where a unit is at most 2^-23. Equal steps round equally, and so do equal terms of a
/// sum. Yogi's second moment ends by going to and fro by a thousandth.
fn drifts() -> Vec<(Value, [f64; 2], f64)> {
    vec![
        (json!({"name": "SGD", "lr": 1e-3, "momentum": 0.9}), [2e-6, 0.0], 3e-2),
        (json!({"name": "Adam", "lr": 1e-3}), [6e-7, 6e-5], 1e-4),
        (json!({"name": "AdamW", "lr": 1e-3, "weight_decay": 0.1}), [6e-7, 6e-5], 1e-4),
        (json!({"name": "RMSprop", "lr": 1e-3}), [6e-6, 0.0], 1e-4),
        (json!({"name": "Adagrad", "lr": 1e-2}), [1e-3, 0.0], 1e-3),
        (json!({"name": "Adadelta"}), [6e-7, 1e-3], 1e-3),
        (json!({"name": "Adan", "lr": 1e-3}), [2e-5, 1e-6], 3e-4),
        (json!({"name": "ASGD", "lr": 0.1, "lambd": 1e-6, "t0": 100}), [1e-3, 0.0], 3e-2),
        (json!({"name": "ScheduleFreeAdamW", "lr": 1e-3}), [1e-4, 6e-5], 1e-3),
        (json!({"name": "Adamax", "lr": 1e-3}), [6e-7, 6e-8], 1e-4),
        (json!({"name": "NAdam", "lr": 1e-3}), [6e-7, 6e-5], 1e-4),
        (json!({"name": "RAdam", "lr": 1e-3}), [6e-7, 6e-5], 1e-4),
        (json!({"name": "Yogi", "lr": 1e-3}), [6e-7, 1e-3], 1e-3),
        (json!({"name": "AdaBelief", "lr": 1e-5}), [6e-7, 6e-5], 1e-4),
        (json!({"name": "Lion", "lr": 1e-3}), [6e-6, 0.0], 1e-4),
        (json!({"name": "Rprop", "lr": 1e-3, "step_sizes": [1e-6, 2e-3]}), [0.0, 6e-8], 1e-4),
    ]
}

#[test]
fn ten_thousand_steps_do_not_drift() {
    const STEPS: u32 = 10_000;
    let Some(gpu) = gpu() else { return };
    let grads: Vec<f32> =
        (0..64).map(|i| 10f32.powi(i % 7 - 4) * if i % 2 == 0 { 1.0 } else { -0.7 }).collect();
    let mut misses = Vec::new();
    covers(drifts().iter().map(|(json, ..)| json), knows_its_element);
    for (json, slots, bound) in drifts() {
        let mut params = ParamStore::builder().tensor("w", [64], &[0.5; 64]).build(&gpu).unwrap();
        let mut optimizer = optim::from_json(&json).unwrap().build(&params).unwrap();
        let rule = optimizer.group("default").unwrap();
        let names: Vec<String> = rule.slots().iter().map(|slot| slot.name.to_string()).collect();
        let oracle = Oracle::new(optimizer.group("default").unwrap().to_json());
        let mut elements = [Oracle::element(0.5); 64];
        params.write_grads(&grads).unwrap();
        for _ in 0..STEPS {
            optimizer.step(&mut params).unwrap();
            elements.iter_mut().zip(&grads).for_each(|(element, g)| oracle.step(element, *g));
        }
        let state = optimizer.read_state_dict().unwrap().state.remove("w").unwrap();
        let off = |got: f32, want: f64, scale: f64| (f64::from(got) - want).abs() / scale.abs();
        let mut worst = [0.0f64; 3];
        for (index, (got, want)) in params.read("w").unwrap().into_iter().zip(elements).enumerate() {
            for (slot, name) in names.iter().enumerate().take(2) {
                if let Some(Some(values)) = state.slots.get(name) {
                    worst[slot] = worst[slot].max(off(values[index], want.slots[slot], want.slots[slot]));
                }
            }
            worst[2] = worst[2].max(off(got, want.p, want.p - 0.5));
        }
        let bounds = [slots[0], slots[1], bound];
        if !(0..3).all(|i| worst[i] <= bounds[i]) {
            misses.push(format!("{json}: off by {worst:?}, expected at most {bounds:?}"));
        }
    }
    assert!(misses.is_empty(), "{misses:#?}");
}

/// Each of some rules must be in a table.
fn covers<'j>(table: impl Iterator<Item = &'j Value> + Clone, rules: impl Fn(&Entry) -> bool) {
    for entry in RULES.iter().filter(|entry| rules(entry)) {
        assert!(table.clone().any(|json| json["name"] == entry.name), "{} is missing", entry.name);
    }
}

/// Others have an oracle of their own.
fn knows_its_element(entry: &Entry) -> bool {
    entry.family == Family::Element
}

/// Steps, and how far from the minima of a parabola and of Rosenbrock's function they may end.
fn searches() -> Vec<(Value, u64, f64, f64)> {
    vec![
        (json!({"name": "SGD", "lr": 1e-3, "momentum": 0.95}), 3000, 1e-5, 1e-4),
        (json!({"name": "Adam", "lr": 0.05}), 2000, 1e-5, 1e-3),
        (json!({"name": "AdamW", "lr": 0.05, "weight_decay": 0}), 2000, 1e-5, 1e-3),
        (json!({"name": "RMSprop", "lr": 0.01}), 3000, 1e-5, 0.05),
        (json!({"name": "Adagrad", "lr": 0.5}), 3000, 1e-5, 0.15),
        (json!({"name": "Adadelta", "eps": 1e-4}), 3000, 1e-5, 0.3),
        (json!({"name": "Adan", "lr": 0.02}), 2000, 1e-5, 1e-3),
        (json!({"name": "ASGD", "lr": 2e-3, "lambd": 0}), 6000, 0.06, 0.07),
        (json!({"name": "ScheduleFreeAdamW", "lr": 0.05}), 3000, 1e-5, 0.03),
        (json!({"name": "Adamax", "lr": 0.05}), 2000, 1e-5, 1e-3),
        (json!({"name": "NAdam", "lr": 0.05}), 3000, 1e-5, 0.05),
        (json!({"name": "RAdam", "lr": 0.03}), 2000, 1e-5, 1e-3),
        (json!({"name": "Yogi", "lr": 0.05}), 2000, 1e-5, 1e-3),
        (json!({"name": "AdaBelief", "lr": 0.05}), 2000, 1e-5, 1e-3),
        (json!({"name": "Lion", "lr": 0.01}), 2000, 1e-5, 1e-3),
        (json!({"name": "Lookahead", "inner": {"name": "Adam", "lr": 0.05}}), 2000, 1e-5, 1e-3),
        (json!({"name": "Rprop"}), 2000, 1e-5, 0.05),
        (json!({"name": "Muon", "lr": 0.02, "weight_decay": 0}), 3000, 1e-5, 1e-3),
        (json!({"name": "Muon", "adamw": {"lr": 0.05, "weight_decay": 0}}), 2000, 1e-5, 1e-3),
        (json!({"name": "Lamb", "lr": 0.03}), 3000, 1e-5, 1e-3),
        (json!({"name": "Lars", "lr": 3}), 3000, 1e-5, 1e-3),
        (json!({"name": "Novograd", "lr": 3e-3}), 2000, 1e-5, 1e-3),
        (json!({"name": "Fromage", "lr": 0.03}), 3000, 1e-5, 0.05),
        (json!({"name": "Adafactor", "lr": 0.05}), 3000, 1e-4, 0.15),
        (json!({"name": "Adafactor", "variant": "optax", "lr": 0.05}), 3000, 1e-4, 0.15),
        (json!({"name": "SM3", "lr": 0.5}), 3000, 1e-4, 0.15),
    ]
}

#[test]
fn every_rule_finds_minima() {
    const CURVATURES: [f32; 4] = [0.5, 1.0, 4.0, 10.0];
    const LOWEST: [f32; 4] = [1.0, -2.0, 0.5, -0.25];
    let Some(gpu) = gpu() else { return };
    covers(searches().iter().map(|(json, ..)| json), |_| true);
    for (json, steps, near, valley) in searches() {
        // Muon's steps are of matrices.
        let shape = |rows: usize, columns: usize| match json["name"] == "Muon" {
            true => vec![rows, columns],
            false => vec![rows * columns],
        };
        let mut params = ParamStore::builder()
            .tensor("parabola", shape(2, 2), &[0.0; 4])
            .tensor("rosenbrock", shape(1, 2), &[0.0; 2])
            .build(&gpu)
            .unwrap();
        let mut optimizer = optim::from_json(&json).unwrap().build(&params).unwrap();
        let cosine = CosineAnnealingLR { t_max: steps, eta_min: 0.0, clamp: false };
        for step in 0..steps {
            let (p, r) = (params.read("parabola").unwrap(), params.read("rosenbrock").unwrap());
            let mut grads: Vec<f32> = (0..4).map(|i| CURVATURES[i] * (p[i] - LOWEST[i])).collect();
            let (x, rise) = (r[0], r[1] - r[0] * r[0]);
            grads.extend([-2.0 * (1.0 - x) - 400.0 * x * rise, 200.0 * rise]);
            params.write_grads(&grads).unwrap();
            optimizer.schedule(&cosine, step).unwrap();
            optimizer.step(&mut params).unwrap();
        }
        let far = |tensor: &str, lowest: &[f32]| {
            let off = params.read(tensor).unwrap().into_iter().zip(lowest).map(|(x, low)| f64::from(x - low));
            off.map(f64::abs).fold(0.0, f64::max)
        };
        let ends = (far("parabola", &LOWEST), far("rosenbrock", &[1.0, 1.0]));
        assert!(ends.0 <= near && ends.1 <= valley, "{json}: off by {ends:?}");
    }
}

#[test]
fn padding_stays_zero() {
    let Some(gpu) = gpu() else { return };
    let mut rules = options();
    covers(rules.iter(), knows_its_element);
    // Each rule without an eps, where it has one.
    for entry in RULES {
        let mut json = default_of(entry);
        json.as_object_mut().unwrap().iter_mut().filter(|(key, _)| key.starts_with("eps")).for_each(
            |(_, eps)| {
                if eps.is_number() {
                    *eps = json!(0);
                }
            },
        );
        rules.push(json);
    }
    rules.push(json!({"name": "RMSprop", "eps": 0, "centered": true, "momentum": 0.9}));
    for json in rules {
        let mut params = store(&gpu);
        let mut optimizer = optim::from_json(&json).unwrap().build(&params).unwrap();
        run(&mut optimizer, &mut params, 0..4);
        assert!(padding(&params).iter().all(|x| *x == 0.0), "{json}");
    }
}

#[test]
fn a_slot_starts_at_its_first_value_when_its_tensor_begins() {
    let Some(gpu) = gpu() else { return };
    let mut params = ParamStore::builder()
        .group("a", |g| g.tensor("w", [3], &[1.0; 3]))
        .group("b", |g| g.tensor("x", [2], &[1.0; 2]).tensor("y", [2], &[1.0; 2]))
        .build(&gpu)
        .unwrap();
    let large = optim::from_json(&json!({"name": "Adagrad", "initial_accumulator_value": 1e39})).unwrap();
    let refused = large.build(&params).unwrap_err().to_string();
    assert_eq!(refused, "group \"a\": the first value of sum must be finite in 32 bits, got 1e39");
    let rule = optim::from_json(&json!({"name": "Rprop", "lr": 0.25, "step_sizes": [0.125, 1]})).unwrap();
    let mut optimizer = rule.build_with(&params, &[("b", json!({"lr": 0.0625}))]).unwrap();
    let sizes = |optimizer: &optim::Optimizer<Box<dyn optim::AnyRule>>| {
        let dict = optimizer.read_state_dict().unwrap();
        ["w", "x", "y"]
            .map(|name| dict.state.get(name).map(|state| state.slots["step_size"].clone().unwrap()))
    };
    params.freeze("y").unwrap();
    params.write_grads(&[1.0; 7]).unwrap();
    // An abandoned step leaves nothing behind.
    let mut encoder = gpu.encoder("abandoned");
    let ticket = optimizer.record(&mut encoder, &mut params).unwrap();
    optimizer.abandoned(ticket).unwrap();
    assert_eq!(sizes(&optimizer), [None, None, None]);
    *optimizer.group_mut("a").unwrap().lr_mut() = 0.5;
    optimizer.step(&mut params).unwrap();
    // 0.0625 is held at the smallest size.
    assert_eq!(sizes(&optimizer), [Some(vec![0.5; 3]), Some(vec![0.125; 2]), None]);
    assert_eq!(params.read("w").unwrap(), [0.5; 3]);
    // A rate matters to those who begin.
    *optimizer.group_mut("b").unwrap().lr_mut() = 1.0;
    params.thaw("y").unwrap();
    params.write_grads(&[0.0; 7]).unwrap();
    optimizer.step(&mut params).unwrap();
    assert_eq!(sizes(&optimizer), [Some(vec![0.5; 3]), Some(vec![0.125; 2]), Some(vec![1.0; 2])]);
    assert!(padding(&params).iter().all(|x| *x == 0.0));
}

/// Values of a field at the ends of its range, and one or two between.
fn edges(field: &str) -> Vec<Value> {
    // The largest weights that are below 1.
    let weights = [0.0, 1e-30, 0.9, 1.0 - 1e-16];
    let pairs = |first: &[f64], second: &[f64]| {
        first.iter().flat_map(|a| second.iter().map(move |b| json!([a, b]))).collect()
    };
    match field {
        "variant" => vec![json!("torch"), json!("optax")],
        "lr" => vec![json!(0), json!(1e-30), json!(1e-3), json!(10)],
        "betas" => pairs(&weights, &weights),
        // RMSprop's and Lookahead's.
        "alpha" | "momentum" | "dampening" => weights.map(Value::from).to_vec(),
        "trust_coefficient" => vec![json!(0), json!(1e-30), json!(1e-3), json!(10)],
        "min_norm" => vec![json!(0), json!(1e-45), json!(1e-6), json!(10)],
        "beta2_decay" => vec![json!(0), json!(-0.8), json!(-1e30)],
        "decay_rate" => vec![json!(0), json!(0.8), json!(1e30)],
        "decay_offset" => vec![json!(0), json!(2), json!(1_000_000)],
        "d" => vec![json!(1), json!(1e30)],
        "clipping_threshold" => vec![Value::Null, json!(1e-30), json!(1)],
        "min_dim_size_to_factor" => vec![json!(0), json!(1)],
        "b2" | "rho" => vec![json!(0), json!(0.9), json!(1)],
        "eps" | "eps_root" => vec![json!(0), json!(1e-45), json!(1e-30), json!(1e-8), json!(1e30)],
        "weight_decay" => vec![json!(0), json!(1e-30), json!(0.1), json!(10)],
        "initial_accumulator_value" | "initial_scale" => {
            vec![json!(0), json!(1e-45), json!(0.1), json!(1e10)]
        }
        "ns_steps" => vec![json!(0), json!(1), json!(5)],
        "ns_coefficients" => vec![json!([0, 0, 0]), json!([1.5, -0.5, 0]), json!([3, -3.2, 1.2])],
        "adjust_lr_fn" => vec![Value::Null, json!("match_rms_adamw"), json!("spectral_unclamped")],
        "warmup_steps" => vec![json!(0), json!(2), json!(u64::MAX)],
        "weight_lr_power" => vec![json!(0), json!(0.5), json!(1e3)],
        "lambd" => vec![json!(0), json!(1e-30), json!(1e-4), json!(10)],
        "t0" => vec![json!(0), json!(1.5), json!(1e30)],
        "lr_decay" | "momentum_decay" => vec![json!(0), json!(1e-12), json!(1e30)],
        "inner" => {
            vec![json!({"name": "SGD", "momentum": 0.9}), json!({"name": "Adam"}), json!({"name": "Lamb"})]
        }
        "threshold" => vec![json!(4), json!(5), json!(1e30)],
        "sync_period" => vec![json!(1), json!(2), json!(u64::MAX)],
        "etas" => pairs(&[1e-45, 0.5, 1.0 - 1e-16], &[1.0 + 1e-15, 1.2, 1e30]),
        "step_sizes" => vec![json!([0, 0]), json!([0, 1e30]), json!([1e-45, 1]), json!([10, 10])],
        _ => vec![json!(false), json!(true)],
    }
}

/// A rule, each of its fields left at its default or at an edge.
fn at_the_edge() -> impl Strategy<Value = Value> {
    (0..RULES.len()).prop_flat_map(|index| {
        let entry = &RULES[index];
        let Value::Object(fields) = entry.default_rule().to_json() else { unreachable!("an object") };
        let choices: Vec<_> = fields
            .keys()
            .filter(|field| *field != "name")
            .map(|field| (Just(field.clone()), prop::option::of(prop::sample::select(edges(field)))))
            .collect();
        choices.prop_map(move |choices| {
            let mut json = json!({"name": entry.name});
            if entry.family == Family::Around {
                json["inner"] = json!({"name": "SGD"});
            }
            for (field, value) in choices {
                if let Some(value) = value {
                    json[field] = value;
                }
            }
            json
        })
    })
}

#[test]
fn finite_input_makes_no_nan_at_any_edge() {
    let Some(gpu) = gpu() else { return };
    let config =
        Config { cases: 1000, failure_persistence: None, rng_seed: RngSeed::Fixed(1), ..Config::default() };
    const SIZES: [f32; 9] = [0.0, 1e-45, 1e-30, -1e-20, 1e-8, -1.0, 1e19, -1e20, 1e30];
    let gradients = prop::collection::vec(prop::sample::select(&SIZES[..]), 3 * 5);
    let result = TestRunner::new(config).run(&(at_the_edge(), gradients), |(json, gradients)| {
        // A centered variance of zero with next to no eps asks for a division by zero.
        if json["centered"] == true && json["eps"].as_f64().is_some_and(|eps| eps < 1e-20) {
            return Ok(());
        }
        // Contradictions are refused.
        let Ok(rule) = optim::from_json(&json) else { return Ok(()) };
        let shape = if json["name"] == "Muon" { vec![1, 5] } else { vec![5] };
        let mut params =
            ParamStore::builder().tensor("w", shape, &[0.0, 1.0, -1.0, 1e-30, 1e4]).build(&gpu).unwrap();
        let Ok(mut optimizer) = rule.build(&params) else { return Ok(()) };
        for gradients in gradients.chunks(5) {
            params.write_grads(gradients).unwrap();
            optimizer.step(&mut params).unwrap();
            prop_assert!(padding(&params).iter().all(|x| *x == 0.0), "{json}: padding");
            let state = optimizer.read_state_dict().unwrap().state;
            let slots = state.into_values().flat_map(|tensor| tensor.slots.into_values()).flatten().flatten();
            let values: Vec<f32> = params.read("w").unwrap().into_iter().chain(slots).collect();
            prop_assert!(!values.iter().any(|x| x.is_nan()), "{json}: {values:?}");
            // What has overflowed is no finite input of the next step.
            if values.iter().any(|x| x.is_infinite()) {
                break;
            }
        }
        Ok(())
    });
    result.unwrap();
}
