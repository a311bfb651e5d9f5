//! Numbers at the edge of f32, and rates and momenta that change while a rule runs.

use gradus::optim::{self, Adam, RMSprop, Rule, SGD};
use gradus::schedule::{OneCycleLR, Schedule};
use gradus::{Error, Gpu, ParamStore};
use serde_json::{Value, json};

use crate::common::{bits, gpu};
use crate::oracle::Oracle;

fn one(gpu: &Gpu, p: f32) -> ParamStore {
    ParamStore::builder().tensor("w", [1], &[p]).build(gpu).unwrap()
}

/// The parameter after each of some gradients.
fn walk(gpu: &Gpu, rule: &Value, p: f32, gradients: &[f32]) -> Vec<f32> {
    let mut params = one(gpu, p);
    let mut optimizer = optim::from_json(rule).unwrap().build(&params).unwrap();
    let step = |g: &f32| {
        params.write_grads(&[*g]).unwrap();
        optimizer.step(&mut params).unwrap();
        params.read("w").unwrap()[0]
    };
    gradients.iter().map(step).collect()
}

#[test]
fn a_small_gradient_is_not_lost_behind_a_large_one() {
    let Some(gpu) = gpu() else { return };
    let rows = [
        json!({"name": "Adam", "betas": [0, 0]}),
        json!({"name": "Adam", "betas": [0.01, 0.02]}),
        json!({"name": "AdamW", "betas": [0, 0.9], "amsgrad": true}),
        json!({"name": "RMSprop", "alpha": 0, "lr": 1e-3}),
        json!({"name": "RMSprop", "alpha": 0.01, "lr": 1e-3, "centered": true, "eps": 1e-3}),
    ];
    for json in rows {
        let gradients = [1.0, 1e-5, -3.0, 1e-6, 0.5];
        let oracle = Oracle::new(optim::from_json(&json).unwrap().to_json());
        let mut element = Oracle::element(0.5);
        for (got, g) in walk(&gpu, &json, 0.5, &gradients).into_iter().zip(gradients) {
            oracle.step(&mut element, g);
            let off = (f64::from(got) - element.p).abs();
            assert!(off < 1e-6, "{json} after {g}: got {got}, expected {}", element.p);
        }
    }
}

#[test]
fn a_huge_gradient_neither_explodes_nor_poisons() {
    let Some(gpu) = gpu() else { return };
    for json in [
        json!({"name": "Adam", "lr": 0.1}),
        json!({"name": "AdamW", "lr": 0.1, "amsgrad": true}),
        json!({"name": "RMSprop", "lr": 0.1}),
        json!({"name": "RMSprop", "lr": 0.1, "centered": true}),
    ] {
        for p in walk(&gpu, &json, 0.5, &[1e20, 1.0, 1.0, 1.0]) {
            assert!(p.is_finite() && p.abs() < 20.0, "{json}: got {p}");
        }
    }
}

#[test]
fn a_negative_second_moment_is_nan_as_in_torch() {
    let Some(gpu) = gpu() else { return };
    let json = json!({"name": "RMSprop", "alpha": 1.5});
    assert!(walk(&gpu, &json, 0.5, &[1.0])[0].is_nan());
}

#[test]
fn a_schedule_reaches_the_kernel() {
    const STEPS: u64 = 40;
    let Some(gpu) = gpu() else { return };
    for json in [
        json!({"name": "Adam", "lr": 0.01}),
        json!({"name": "AdamW", "lr": 0.01, "amsgrad": true}),
        json!({"name": "SGD", "lr": 0.01, "momentum": 0.9, "nesterov": true}),
        json!({"name": "RMSprop", "lr": 0.001, "momentum": 0.9}),
    ] {
        let schedule = OneCycleLR::new(0.02, STEPS);
        let mut params = one(&gpu, 0.5);
        let mut optimizer = optim::from_json(&json).unwrap().build(&params).unwrap();
        let mut element = Oracle::element(0.5);
        for step in 0..STEPS {
            let g = if step % 3 == 0 { -0.25 } else { 0.5 };
            let point = schedule.at(step, 0.01).unwrap();
            let mut options = optim::from_json(&json).unwrap().to_json();
            options["lr"] = json!(point.lr);
            match options.get("betas").cloned() {
                Some(betas) => options["betas"] = json!([point.momentum, betas[1]]),
                None => options["momentum"] = json!(point.momentum),
            }
            Oracle::new(options).step(&mut element, g);
            optimizer.schedule(&schedule, step).unwrap();
            params.write_grads(&[g]).unwrap();
            optimizer.step(&mut params).unwrap();
        }
        let got = params.read("w").unwrap()[0];
        let off = (f64::from(got) - element.p).abs();
        assert!(off < 1e-5, "{json}: got {got}, expected {}", element.p);
    }
}

#[test]
fn an_abandoned_step_was_never_recorded() {
    let Some(gpu) = gpu() else { return };
    let rule = SGD { lr: 0.5, momentum: 0.9, dampening: 0.5, ..Default::default() };
    let (mut params, mut same) = (one(&gpu, 1.0), one(&gpu, 1.0));
    let (mut optimizer, mut other) = (rule.clone().build(&params).unwrap(), rule.build(&same).unwrap());
    for step in 0..20 {
        params.write_grads(&[0.5]).unwrap();
        let mut encoder = gpu.encoder("dropped");
        let ticket = optimizer.record(&mut encoder, &mut params).unwrap();
        optimizer.abandoned(ticket).unwrap();
        assert_eq!((optimizer.attempted(), optimizer.applied("w").unwrap()), (step, step));
        optimizer.step(&mut params).unwrap();
        same.write_grads(&[0.5]).unwrap();
        other.step(&mut same).unwrap();
    }
    assert_eq!(bits(&params.read("w").unwrap()), bits(&same.read("w").unwrap()));
}

#[test]
fn one_step_held_back_does_not_stop_the_others() {
    let Some(gpu) = gpu() else { return };
    let mut params = one(&gpu, 1.0);
    let mut optimizer = Adam::default().build(&params).unwrap();
    let mut encoder = gpu.encoder("held back");
    let ticket = optimizer.record(&mut encoder, &mut params).unwrap();
    for _ in 0..20 {
        optimizer.step(&mut params).unwrap();
    }
    gpu.submit(encoder).unwrap();
    optimizer.submitted(ticket).unwrap();
    assert_eq!(optimizer.attempted(), 21);
}

#[test]
fn what_is_out_of_range_is_refused_where_it_arrives() {
    let Some(gpu) = gpu() else { return };
    let mut params = one(&gpu, 1.0);
    let mut optimizer = RMSprop::default().build(&params).unwrap();
    optimizer.step(&mut params).unwrap();
    let schedule = gradus::schedule::ConstantLR { factor: 5.0, total_iters: 5 };
    let error = optimizer.schedule(&schedule, 0).unwrap_err();
    assert_eq!(error.to_string(), "factor must be in [0, 1], got 5");
    let mut dict = optimizer.read_state_dict().unwrap();
    dict.param_groups[0].initial_lr = Some(-3.0);
    let error = optimizer.load_state_dict(&dict).unwrap_err();
    assert_eq!(
        error.to_string(),
        "state dict: group \"default\": initial_lr must be finite and at least 0, got -3"
    );
    dict.param_groups[0].initial_lr = None;
    dict.state.get_mut("w").unwrap().step = u64::MAX;
    assert!(matches!(optimizer.load_state_dict(&dict), Err(Error::StateDict(_))));
    let twice = [("default", json!({"lr": 0.5})), ("default", json!({"weight_decay": 0.1}))];
    let error = Adam::default().build_with(&params, &twice).unwrap_err();
    assert_eq!(error.to_string(), "duplicate overrides of group \"default\"");
    let other = ParamStore::builder().tensor("v", [2], &[1.0; 2]).build(&gpu).unwrap();
    let span = other.layout().span("v").unwrap();
    assert!(params.params().read(&gpu, span).is_err());
}
