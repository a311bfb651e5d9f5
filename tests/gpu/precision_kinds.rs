//! Every kind of kernels leaves the same bits, whatever state is stored as and however an update goes over elements.

use gradus::optim::{self, OptimizerOptions, StateDict, StatePrecision};
use gradus::{Gpu, GpuOptions, ParamStore};
use serde_json::{Value, json};

use crate::common::{bits, gpus_with, noise, read_all};

/// Matrices whose rows are whole vectors, narrower and wider than eight lanes, and one that has none; lengths around blocks,
/// pairs and eight blocks.
const SHAPES: [&[usize]; 9] =
    [&[70, 64], &[5, 132], &[40, 1028], &[9, 4], &[37, 31], &[1], &[4097], &[2049], &[255]];

fn store(gpu: &Gpu) -> ParamStore {
    let mut builder = ParamStore::builder();
    let data: Vec<Vec<f32>> = (90..)
        .zip(SHAPES)
        .map(|(stream, shape)| (0..shape.iter().product()).map(|i| noise(stream, i)).collect())
        .collect();
    for (number, (shape, data)) in SHAPES.iter().zip(&data).enumerate() {
        builder = builder.tensor(format!("t{number}"), *shape, data);
    }
    builder.build(gpu).unwrap()
}

/// Of all decades of a code, some of them zero.
fn gradients(step: u64, len: usize) -> Vec<f32> {
    let size = |i: usize| 10_f32.powf(-8.0 * noise(step + 1000, i).abs());
    (0..len).map(|i| if i % 13 == 5 { 0.0 } else { noise(step, i) * size(i) }).collect()
}

fn run(gpu: &Gpu, json: &Value, options: &OptimizerOptions) -> Option<(Vec<u32>, StateDict)> {
    let mut params = store(gpu);
    let mut optimizer = optim::from_json(json).unwrap().build_with_options(&params, &[], options).ok()?;
    for step in 0..4 {
        params.write_grads(&gradients(step, params.layout().parameters())).unwrap();
        optimizer.step(&mut params).unwrap();
    }
    Some((bits(&read_all(&params)), optimizer.read_state_dict().unwrap()))
}

#[test]
fn all_kinds_of_kernels_leave_the_same_state() {
    let gpus = gpus_with(&GpuOptions::default());
    let rules = [
        json!({"name": "AdamW"}),
        json!({"name": "Adam", "amsgrad": true}),
        json!({"name": "Lion"}),
        json!({"name": "SGD", "momentum": 0.9}),
        json!({"name": "RMSprop", "momentum": 0.9, "centered": true}),
        json!({"name": "Adan"}),
        json!({"name": "Lookahead", "inner": {"name": "AdamW"}, "sync_period": 2}),
        json!({"name": "SM3"}),
        json!({"name": "SM3", "momentum": 0.0}),
    ];
    let precisions = [StatePrecision::F32, StatePrecision::Bf16, StatePrecision::Int8];
    let mut compared = 0;
    for (json, state) in rules.iter().flat_map(|json| precisions.map(|state| (json, state))) {
        for bf16_params in [false, true] {
            let options = OptimizerOptions { state, bf16_params, least_8bit: 256, ..Default::default() };
            let runs: Vec<_> = gpus.iter().filter_map(|gpu| run(gpu, json, &options)).collect();
            for (params, dict) in runs.iter().skip(1) {
                assert!(*params == runs[0].0, "parameters of {json} {options:?}");
                assert!(*dict == runs[0].1, "state of {json} {options:?}");
                compared += 1;
            }
        }
    }
    // Some rules refuse 8 bits, and some need more buffers than a device may have.
    assert!(gpus.len() < 2 || compared >= 30, "{compared}");
}
