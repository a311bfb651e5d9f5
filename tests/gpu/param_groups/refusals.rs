//! What is refused when a group is added, and that nothing has changed then.

use std::sync::Arc;

use gradus::grad::{Centralize, Transforms};
use gradus::layout::{GroupSpec, Layout, Limits};
use gradus::optim::{Rule, SGD};
use gradus::params::GroupBuilder;
use gradus::{ParamStore, wgpu};
use serde_json::{Value, json};

use super::{Run, add, all, small_windows, start, step};
use crate::common::{gpu, gpu_with};

type Tensors<'d> = fn(GroupBuilder<'d>) -> GroupBuilder<'d>;

/// Refuses a group and changes nothing; says why.
fn refused<'d>(run: &mut Run, name: &str, overrides: &Value, tensors: Tensors<'d>) -> String {
    let gpu = run.0.gpu().clone();
    let (before, live, layout) = (all(run), gpu.counters().live_bytes, run.0.layout().clone());
    let error = run.1.add_param_group(&mut run.0, name, overrides, tensors).unwrap_err();
    assert!(Arc::ptr_eq(run.0.layout(), &layout) && Arc::ptr_eq(run.1.layout(), &layout), "{error}");
    assert_eq!(gpu.counters().live_bytes, live, "{error}");
    assert!(all(run) == before, "{error}");
    error.to_string()
}

#[test]
fn a_refused_group_changes_nothing() {
    let Some(gpu) = gpu_with(small_windows()) else { return };
    let rule = json!({"name": "AdamW"});
    let transforms = || Transforms {
        custom: vec![Box::new(Centralize::default())],
        ..Transforms::from_json(&json!([{"name": "skip"}, {"name": "noise"}])).unwrap()
    };
    let [mut run, mut twin] = [(); 2].map(|()| {
        let mut run = start(&gpu, &[0, 2], &rule);
        run.1.set_transforms(transforms(), &run.0).unwrap();
        (0..2).for_each(|number| step(&mut run, &[0, 2], number));
        run
    });
    let good: Tensors<'_> = |g| g.tensor("new", [2], &[1.0; 2]);
    let none = json!({});
    static LARGE: [f32; 40_000] = [1.0; 40_000];
    let rows: [(&str, Value, Tensors<'_>, &str); 15] = [
        ("a", none.clone(), good, "duplicate group \"a\""),
        ("", none.clone(), good, "group: the name is empty"),
        ("b", none.clone(), |g| g.tensor("w", [1], &[1.0]), "duplicate tensor \"w\""),
        (
            "b",
            none.clone(),
            |g| g.tensor("n", [1], &[1.0]).tensor("n", [1], &[1.0]),
            "duplicate tensor \"n\"",
        ),
        ("b", none.clone(), |g| g.tensor("", [1], &[1.0]), "tensor: the name is empty"),
        ("b", none.clone(), |g| g.tensor("n", [0], &[1.0]), "n: expected 0 elements, got 1"),
        (
            "b",
            none.clone(),
            |g| g.tensor("m", [1], &[1.0]).tensor("n", [2], &[1.0]),
            "n: expected 2 elements, got 1",
        ),
        ("b", json!(3), good, "group \"b\" of AdamW: expected an object of fields, got 3"),
        ("b", json!({"name": "SGD"}), good, "group \"b\" of AdamW: `name` is the same in all groups"),
        ("b", json!({"variant": "optax"}), good, "group \"b\" of AdamW: `variant` is the same in all groups"),
        ("b", json!({"lr": -1}), good, "group \"b\": lr must be finite and at least 0, got -1"),
        (
            "b",
            json!({"lr": "1"}),
            good,
            "group \"b\": optimizer AdamW: lr: invalid type: string \"1\", expected f64",
        ),
        (
            "b",
            json!({"momentum": 0.9}),
            good,
            "unknown field of AdamW (group \"b\") \"momentum\"; known: lr, betas, eps, eps_root, weight_decay, nesterov, amsgrad, maximize, variant",
        ),
        ("b", json!({"lr": 1e300}), good, "group \"b\": lr must be finite in 32 bits, got 1e300"),
        // The last transform to be asked refuses, once all was made and copied.
        (
            "b",
            none.clone(),
            |g| g.tensor("large", [2, 20_000], &LARGE),
            "large: 160000 bytes exceed the max_storage_buffer_binding_size of 65536 bytes on this device",
        ),
    ];
    for (name, overrides, tensors, message) in rows {
        assert_eq!(refused(&mut run, name, &overrides, tensors), message);
    }
    for number in 2..5 {
        step(&mut run, &[0, 2], number);
        step(&mut twin, &[0, 2], number);
    }
    assert!(all(&run) == all(&twin));
    // The gate and the transforms hold for another group still.
    for run in [&mut run, &mut twin] {
        run.1.add_param_group(&mut run.0, "b", &none, good).unwrap();
        run.0.write_grads(&vec![1.0; run.0.layout().parameters()]).unwrap();
        run.1.step(&mut run.0).unwrap();
    }
    assert!(all(&run) == all(&twin));
}

#[test]
fn a_recorded_step_is_submitted_first() {
    let Some(gpu) = gpu() else { return };
    let mut run = start(&gpu, &[0], &json!({"name": "Adam"}));
    let skip = Transforms::from_json(&json!([{"name": "skip"}])).unwrap();
    run.1.set_transforms(skip, &run.0).unwrap();
    let message = "group \"c\": a recorded step is not submitted: submit it and give its ticket back first";
    let good: Tensors<'_> = |g| g.tensor("s", [], &[1.0]);
    let record = |run: &mut Run| {
        run.0.write_grads(&vec![1.0; run.0.layout().parameters()]).unwrap();
        let mut encoder = gpu.encoder("step");
        let ticket = run.1.record(&mut encoder, &mut run.0).unwrap();
        (encoder, ticket)
    };
    let (encoder, first) = record(&mut run);
    assert_eq!(refused(&mut run, "c", &json!({}), good), message);
    let (dropped, second) = record(&mut run);
    drop(dropped);
    run.1.abandoned(second).unwrap();
    assert_eq!(refused(&mut run, "c", &json!({}), good), message);
    gpu.submit(encoder).unwrap();
    run.1.submitted(first).unwrap();
    // Its outcome is on its way, and arrives all the same.
    add(&mut run, 2, &json!({})).unwrap();
    let (encoder, ticket) = record(&mut run);
    gpu.submit(encoder).unwrap();
    run.1.submitted(ticket).unwrap();
    let steps: Vec<u64> = run.1.read_step_results().unwrap().iter().map(|outcome| outcome.step).collect();
    assert_eq!(steps, [0, 1]);
    assert_eq!((run.1.applied("w").unwrap(), run.1.applied("s").unwrap()), (2, 1));
}

#[test]
fn a_name_that_is_tied_is_taken() {
    let Some(gpu) = gpu() else { return };
    let mut params = ParamStore::builder().tensor("w", [1], &[1.0]).tie("tied", "w").build(&gpu).unwrap();
    let mut optimizer = SGD::default().build(&params).unwrap();
    let twice = optimizer.add_param_group(&mut params, "b", &json!({}), |g| g.tensor("tied", [1], &[0.0]));
    assert_eq!(twice.unwrap_err().to_string(), "duplicate tensor \"tied\"");
    optimizer.add_param_group(&mut params, "b", &json!({}), |g| g.tensor("v", [1], &[0.0])).unwrap();
    assert_eq!(params.read("tied").unwrap(), [1.0]);
}

#[test]
fn another_store_and_one_that_was_adopted_do_not_grow() {
    use wgpu::BufferUsages as U;
    let Some(gpu) = gpu() else { return };
    let good: Tensors<'_> = |g| g.tensor("v", [1], &[0.0]);
    let mut other = ParamStore::builder().tensor("w", [1], &[1.0]).build(&gpu).unwrap();
    let layout = Layout::new(&[GroupSpec::new("a").tensor("w", [1])], Limits::default()).unwrap();
    let [params, grads] = [(); 2].map(|()| {
        gpu.device().create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size: 1024,
            usage: U::STORAGE | U::COPY_SRC | U::COPY_DST,
            mapped_at_creation: false,
        })
    });
    let mut adopted = ParamStore::adopt(&gpu, layout, vec![params], vec![grads]).unwrap();
    let mut optimizer = SGD::default().build(&adopted).unwrap();
    let refused = optimizer.add_param_group(&mut other, "b", &json!({}), good).unwrap_err();
    assert_eq!(refused.to_string(), "this optimizer was built for another parameter store");
    let refused = optimizer.add_param_group(&mut adopted, "b", &json!({}), good).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "buffer for params: an adopted buffer cannot grow to hold the group \"b\""
    );
    assert_eq!((other.layout().spans().len(), adopted.layout().spans().len()), (1, 1));
    adopted.write_grads(&[1.0]).unwrap();
    optimizer.step(&mut adopted).unwrap();
}
