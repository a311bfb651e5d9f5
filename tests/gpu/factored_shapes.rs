//! Factored rules over tensors of many shapes at once: each tensor gets the kernels of its own shape, beside whatever
//! others lie.

use gradus::Gpu;
use gradus::optim;
use gradus::params::ParamStore;
use serde_json::{Value, json};

use crate::common::{bits, gpus_with, gradients, noises};

/// Matrices of whole vectors of four and others, vectors, a scalar, images, and one with a short axis.
const SHAPES: [&[usize]; 8] =
    [&[12, 16], &[7], &[12, 9], &[], &[20, 3, 3, 4], &[16, 12], &[4, 6, 8], &[3, 5]];

fn rules() -> [Value; 4] {
    [
        json!({"name": "SM3"}),
        json!({"name": "SM3", "momentum": 0}),
        json!({"name": "Adafactor"}),
        json!({"name": "Adafactor", "variant": "optax", "momentum": 0.9, "min_dim_size_to_factor": 4}),
    ]
}

/// The parameters after four steps over some of the shapes, in bits, and the dispatches of the last step.
fn stepped(gpu: &Gpu, rule: &Value, shapes: &[usize]) -> (Vec<Vec<u32>>, Vec<String>) {
    let len = |number: usize| SHAPES[number].iter().product::<usize>();
    let data: Vec<_> = shapes.iter().map(|&number| noises(number as u64, len(number))).collect();
    let mut builder = ParamStore::builder();
    for (number, data) in shapes.iter().zip(&data) {
        builder = builder.tensor(format!("{number}"), SHAPES[*number], data);
    }
    let mut params = builder.build(gpu).unwrap();
    let mut optimizer = optim::from_json(rule).unwrap().build(&params).unwrap();
    let mut counted = 0;
    for step in 0..4 {
        let grads: Vec<f32> = shapes.iter().flat_map(|&n| gradients(8 * step + n, len(n))).collect();
        params.write_grads(&grads).unwrap();
        let before = gpu.counters().dispatches;
        optimizer.step(&mut params).unwrap();
        counted = gpu.counters().dispatches - before;
    }
    let dispatches = optimizer.dispatches();
    assert_eq!(dispatches.len() as u64, counted);
    let read = |number: &usize| bits(&params.read(&number.to_string()).unwrap());
    (shapes.iter().map(read).collect(), dispatches.into_iter().map(|dispatch| dispatch.label).collect())
}

#[test]
fn a_tensor_is_the_same_alone_and_beside_tensors_of_other_shapes() {
    for gpu in gpus_with(&Default::default()) {
        for rule in rules() {
            let all: Vec<usize> = (0..SHAPES.len()).collect();
            let (together, labels) = stepped(&gpu, &rule, &all);
            for (number, together) in all.iter().zip(&together) {
                let (alone, _) = stepped(&gpu, &rule, &[*number]);
                assert_eq!(&alone[0], together, "{rule}: {:?}", SHAPES[*number]);
            }
            // Both kinds of kernels are there, in one dispatch each.
            let stem = format!("optim/{}", rule["name"].as_str().unwrap().to_lowercase());
            for kind in ["/plain[", "["] {
                let of_kind = format!("{stem}{kind}");
                let count = labels.iter().filter(|label| label.starts_with(&of_kind)).count();
                assert_eq!(count, 1, "{of_kind} in {labels:?}");
            }
        }
    }
}

#[test]
fn tensors_of_one_kind_take_no_dispatch_for_the_other() {
    for gpu in gpus_with(&Default::default()) {
        for rule in rules() {
            let (_, plain) = stepped(&gpu, &rule, &[0]);
            let (_, mixed) = stepped(&gpu, &rule, &[0, 2]);
            assert!(plain.iter().all(|label| label.contains("/plain[")), "{plain:?}");
            // The update; and what gathers and measures for means.
            let by_shape = if rule["name"] == "SM3" { 1 } else { 3 };
            assert_eq!(mixed.len(), plain.len() + by_shape, "{mixed:?}");
        }
    }
}
