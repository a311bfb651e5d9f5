//! What transforms refuse, with the words, and that nothing has changed then.

use gradus::ParamStore;
use gradus::grad::{Accumulate, Centralize, ClipGradNorm, GradScaler, Noise, Penalty, Skip, Transforms};
use gradus::optim::{self, AnyRule, Optimizer, Rule, SGD};
use serde_json::{Value, json};

use crate::common::{bits, gpu, run};

fn message(json: &Value) -> String {
    Transforms::from_json(json).map(|_| ()).unwrap_err().to_string()
}

#[test]
fn json_is_strict() {
    let order = "the order is accumulate, grad_scaler, skip, clip_grad_norm, clip_grad_value, noise, penalty";
    let rows = [
        (json!({}), "transforms: expected an array, got {}".to_owned()),
        (
            json!([{"name": "clip_grad_nrm", "max_norm": 1}]),
            "unknown transform \"clip_grad_nrm\", did you mean \"clip_grad_norm\"?; known: accumulate, \
             grad_scaler, skip, clip_grad_norm, clip_grad_value, noise, penalty"
                .into(),
        ),
        (
            json!([{"name": "noise"}, {"name": "clip_grad_norm", "max_norm": 1}]),
            format!("transforms: clip_grad_norm cannot come after noise: {order}"),
        ),
        (
            json!([{"name": "penalty"}, {"name": "accumulate", "steps": 2}]),
            format!("transforms: accumulate cannot come after penalty: {order}"),
        ),
        (json!([{"name": "noise"}, {"name": "noise"}]), "transforms: noise comes twice".into()),
        (
            json!([{"name": "noise", "etaa": 1}]),
            "unknown field of noise \"etaa\", did you mean \"eta\"?; known: eta, gamma, seed".into(),
        ),
        (
            json!([{"name": "clip_grad_norm", "max_norm": 1, "norm_type": 3}]),
            "transform clip_grad_norm: norm_type: norm_type must be 1, 2 or \"inf\", got 3".into(),
        ),
        (
            json!([{"name": "accumulate", "steps": 0}]),
            "accumulate.steps must be in [1, 16777216], got 0".into(),
        ),
        (
            json!([{"name": "clip_grad_value", "clip_value": -1}]),
            "clip_grad_value must be finite and at least 0, got -1".into(),
        ),
        (
            json!([{"name": "penalty", "l1": 0.1}, {"name": "penalty", "l2": -0.1}]),
            "penalty.l2 must be finite and at least 0, got -0.1".into(),
        ),
    ];
    for (json, want) in rows {
        assert_eq!(message(&json), want);
    }
    let all = json!([
        {"name": "accumulate", "steps": 2, "reduction": "sum"}, {"name": "grad_scaler"}, {"name": "skip"},
        {"name": "clip_grad_norm", "max_norm": 1, "norm_type": "inf", "variant": "optax", "per_group": true},
        {"name": "clip_grad_value", "clip_value": 1}, {"name": "noise"}, {"name": "penalty", "l1": 1},
        {"name": "penalty", "l2": 1, "groups": ["a"]},
    ]);
    assert_eq!(Transforms::from_json(&all).unwrap().penalties.len(), 2);
}

/// An optimizer at work, and that it goes on as if nothing had been asked of it.
fn refused<R: AnyRule + Clone>(
    mut params: ParamStore,
    mut optimizer: Optimizer<R>,
    transforms: impl Fn() -> Vec<(Transforms, &'static str)>,
) {
    optimizer
        .set_transforms(
            Transforms {
                skip: Some(Skip::default()),
                noise: Some(Noise::default()),
                ..Transforms::default()
            },
            &params,
        )
        .unwrap();
    run(&mut optimizer, &mut params, 0..3);
    optimizer.read_step_results().unwrap();
    let state = |optimizer: &Optimizer<R>, params: &ParamStore| {
        let all = bits(&params.params().read_all(params.gpu()).unwrap());
        let gate = params.gate().read(params.gpu(), 0).unwrap();
        (all, optimizer.read_state_dict().unwrap(), format!("{gate:?} {:?}", optimizer.transforms()))
    };
    let before = state(&optimizer, &params);
    for (transforms, message) in transforms() {
        let error = optimizer.set_transforms(transforms, &params).unwrap_err();
        assert_eq!(error.to_string(), message);
        assert!(state(&optimizer, &params) == before, "{message}");
    }
    let stranger = ParamStore::builder().tensor("w", [4], &[0.0; 4]).build(params.gpu()).unwrap();
    let elsewhere = "this optimizer was built for another parameter store";
    let error = optimizer.set_transforms(Transforms::default(), &stranger).unwrap_err();
    assert_eq!(error.to_string(), elsewhere);
    assert_eq!(optimizer.read_penalty(&stranger).unwrap_err().to_string(), elsewhere);
    let error = optimizer.read_norm(None).unwrap_err();
    assert_eq!(error.to_string(), "transforms: there is no norm without clip_grad_norm");
    let error = params.freeze("ww").unwrap_err();
    assert_eq!(error.to_string(), "unknown tensor \"ww\", did you mean \"w\"?; known: w, b");
    assert!(state(&optimizer, &params) == before);
    run(&mut optimizer, &mut params, 3..4);
    assert_eq!(optimizer.attempted(), 4);
}

fn table() -> Vec<(Transforms, &'static str)> {
    let none = Transforms::default;
    let clip = |max_norm| Transforms { clip_grad_norm: Some(ClipGradNorm::new(max_norm)), ..none() };
    let value = |value| Transforms { clip_grad_value: Some(value), ..none() };
    let noise = |eta, gamma| Transforms { noise: Some(Noise { eta, gamma, seed: 0 }), ..none() };
    let scaler = |scaler| Transforms { grad_scaler: Some(scaler), ..none() };
    let defaults = GradScaler::default;
    let penalty = |penalty| Transforms { penalties: vec![penalty], ..none() };
    let size = |l1, l2| penalty(Penalty { l1, l2, ..Penalty::default() });
    vec![
        (
            Transforms { accumulate: Some(Accumulate::new(0)), ..none() },
            "accumulate.steps must be in [1, 16777216], got 0",
        ),
        (clip(-1.0), "clip_grad_norm.max_norm must be at least 0, got -1"),
        (clip(f64::NAN), "clip_grad_norm.max_norm must be at least 0, got NaN"),
        (value(-0.5), "clip_grad_value must be finite and at least 0, got -0.5"),
        (value(f64::NAN), "clip_grad_value must be finite and at least 0, got NaN"),
        (noise(-1.0, 0.0), "noise.eta must be finite in 32 bits and at least 0, got -1"),
        (noise(f64::NAN, 0.0), "noise.eta must be finite in 32 bits and at least 0, got NaN"),
        (noise(f64::INFINITY, 0.0), "noise.eta must be finite in 32 bits and at least 0, got inf"),
        (noise(1.0, -0.5), "noise.gamma must be finite and at least 0, got -0.5"),
        (size(-1.0, 0.0), "penalty.l1 must be finite and at least 0, got -1"),
        (size(0.0, f64::NAN), "penalty.l2 must be finite and at least 0, got NaN"),
        (
            size(0.0, f64::from(f32::MAX)),
            "twice penalty.l2 must be finite in 32 bits and at least 0, got \
             6.805646932770577e38",
        ),
        (
            penalty(Penalty { groups: vec!["b".into()], ..Penalty::default() }),
            "unknown group \"b\"; known: default",
        ),
        (
            penalty(Penalty { tensors: vec!["w.0".into()], ..Penalty::default() }),
            "unknown tensor \"w.0\", did you mean \"w\"?; known: w, b",
        ),
        (
            scaler(GradScaler { init_scale: 0.0, ..defaults() }),
            "grad_scaler.init_scale must be in [2^-126, 2^126], got 0",
        ),
        (
            scaler(GradScaler { init_scale: f64::INFINITY, ..defaults() }),
            "grad_scaler.init_scale must be in [2^-126, 2^126], got inf",
        ),
        (
            scaler(GradScaler { growth_factor: 1.0, ..defaults() }),
            "grad_scaler.growth_factor must be finite and above 1, got 1",
        ),
        (
            scaler(GradScaler { backoff_factor: 0.0, ..defaults() }),
            "grad_scaler.backoff_factor must be finite and above 0, got 0",
        ),
        (
            scaler(GradScaler { backoff_factor: 1.0, ..defaults() }),
            "grad_scaler.backoff_factor must be below 1, got 1",
        ),
        (
            scaler(GradScaler { growth_factor: 1e39, ..defaults() }),
            "grad_scaler.growth_factor must be finite and above 1 in 32 bits, got 1e39",
        ),
        (
            scaler(GradScaler { growth_factor: 1.0 + 1e-12, ..defaults() }),
            "grad_scaler.growth_factor must be finite and above 1 in 32 bits, got 1.000000000001",
        ),
        (
            scaler(GradScaler { backoff_factor: 1.0 - 1e-12, ..defaults() }),
            "grad_scaler.backoff_factor must be at least 2^-126 and below 1 in 32 bits, got 0.999999999999",
        ),
        (
            scaler(GradScaler { backoff_factor: 1e-40, ..defaults() }),
            "grad_scaler.backoff_factor must be at least 2^-126 and below 1 in 32 bits, got 1e-40",
        ),
        (
            scaler(GradScaler { growth_interval: 0, ..defaults() }),
            "grad_scaler.growth_interval must be at least 1, got 0",
        ),
        (
            Transforms { skip: Some(Skip { error_after: Some(0) }), ..none() },
            "skip.error_after must be at least 1, got 0",
        ),
    ]
}

#[test]
fn refusals_change_nothing() {
    let Some(gpu) = gpu() else { return };
    let store = || ParamStore::builder().tensor("w", [5, 7], &[0.5; 35]).tensor("b", [3], &[0.5; 3]);
    let params = store().build(&gpu).unwrap();
    let optimizer = SGD { momentum: 0.9, ..SGD::default() }.build(&params).unwrap();
    refused(params, optimizer, table);
    let params = store().build(&gpu).unwrap();
    let optimizer = optim::from_json(&json!({"name": "Adam"})).unwrap().build(&params).unwrap();
    refused(params, optimizer, table);
}

#[test]
fn a_tensor_that_no_binding_holds_cannot_be_centralised() {
    let options = gradus::GpuOptions { max_binding_bytes: Some(1 << 16), ..Default::default() };
    let Some(gpu) = crate::common::gpu_with(options) else { return };
    let params = ParamStore::builder().tensor("w", [200, 200], &vec![0.5; 40_000]).build(&gpu).unwrap();
    let mut optimizer = SGD::default().build(&params).unwrap();
    let custom = Transforms { custom: vec![Box::new(Centralize::default())], ..Transforms::default() };
    let error = optimizer.set_transforms(custom, &params).unwrap_err().to_string();
    assert_eq!(
        error,
        "w: 160000 bytes exceed the max_storage_buffer_binding_size of 65536 bytes on this device"
    );
}
