//! Tensors with a dimension of 0, which torch takes: every rule passes over them, and they are kept as they are.

use gradus::grad::{ClipGradNorm, Noise, Transforms};
use gradus::optim::{self, RULES};
use gradus::{Gpu, ParamStore};
use serde_json::{Value, json};

use crate::common::{bits, gpu, noises, padding};

const WHOLE: [&str; 2] = ["vector", "matrix"];
const EMPTY: [&str; 3] = ["first", "middle", "last"];

fn store(gpu: &Gpu, empty: bool) -> ParamStore {
    let (vector, matrix) = (noises(1, 70), noises(2, 12 * 8));
    let mut builder = ParamStore::builder();
    if empty {
        builder = builder.tensor("first", [0], &[]);
    }
    builder = builder.tensor("vector", [70], &vector);
    if empty {
        builder = builder.tensor("middle", [3, 0, 2], &[]);
    }
    builder = builder.tensor("matrix", [12, 8], &matrix);
    if empty {
        builder = builder.tensor("last", [5, 0], &[]);
    }
    builder.build(gpu).unwrap()
}

fn rules() -> impl Iterator<Item = Value> {
    let inner = |name: &str| match name {
        "Muon" => json!({"name": name, "adamw": {}}),
        "Lookahead" => json!({"name": name, "inner": {"name": "AdamW"}, "sync_period": 2}),
        _ => json!({"name": name}),
    };
    let named = RULES.iter().map(move |entry| inner(entry.name));
    named.chain([json!({"name": "Adafactor", "variant": "optax", "min_dim_size_to_factor": 1})])
}

#[test]
fn rules_pass_over_tensors_without_elements() {
    let Some(gpu) = gpu() else { return };
    for rule in rules() {
        let mut stores = [true, false].map(|empty| store(&gpu, empty));
        let mut dicts = Vec::new();
        for params in &mut stores {
            let mut optimizer = optim::from_json(&rule).unwrap().build(params).unwrap();
            for step in 0..4 {
                params.write_grads(&noises(10 + step, 70 + 96)).unwrap();
                optimizer.step(params).unwrap();
            }
            assert!(padding(params).iter().all(|p| *p == 0.0), "{rule}: padding");
            let dict = optimizer.read_state_dict().unwrap();
            optimizer.load_state_dict(&dict).unwrap();
            assert_eq!(optimizer.read_state_dict().unwrap(), dict, "{rule}");
            dicts.push(dict);
        }
        let [with, without] = stores.map(|params| WHOLE.map(|name| bits(&params.read(name).unwrap())));
        assert!(with == without, "{rule}: other tensors have changed");
    }
}

#[test]
fn transforms_growth_and_reading_pass_over_them_too() {
    let Some(gpu) = gpu() else { return };
    let mut params = store(&gpu, true);
    let mut optimizer = optim::from_json(&json!({"name": "Adam"})).unwrap().build(&params).unwrap();
    let transforms = Transforms {
        clip_grad_norm: Some(ClipGradNorm::new(1.0)),
        noise: Some(Noise { eta: 0.1, ..Noise::default() }),
        ..Transforms::default()
    };
    optimizer.set_transforms(transforms, &params).unwrap();
    params.write_grads(&vec![1.0; 166]).unwrap();
    optimizer.step(&mut params).unwrap();
    assert!((f64::from(optimizer.read_norm(None).unwrap()) - 166.0_f64.sqrt()).abs() < 1e-5);
    optimizer.add_param_group(&mut params, "more", &json!({}), |g| g.tensor("none", [0, 4], &[])).unwrap();
    optimizer.step(&mut params).unwrap();
    for name in EMPTY.into_iter().chain(["none"]) {
        assert_eq!((params.read(name).unwrap(), params.read_grad(name).unwrap()), (vec![], vec![]));
        params.write(name, &[]).unwrap();
        params.write_shaped(name, &params.layout().span(name).unwrap().shape.clone(), &[]).unwrap();
    }
    assert_eq!(params.params().region_of(params.layout().span("middle").unwrap()).unwrap().bytes, 256);
    assert_eq!(params.write("last", &[1.0]).unwrap_err().to_string(), "last: expected 0 elements, got 1");
}

#[test]
fn a_store_of_nothing_but_empty_tensors_steps() {
    let Some(gpu) = gpu() else { return };
    for rule in rules() {
        let mut params = ParamStore::builder().tensor("none", [2, 0], &[]).build(&gpu).unwrap();
        let mut optimizer = optim::from_json(&rule).unwrap().build(&params).unwrap();
        params.write_grads(&[]).unwrap();
        optimizer.step(&mut params).unwrap();
        assert!(params.read("none").unwrap().is_empty(), "{rule}");
        gpu.check().unwrap();
    }
}
