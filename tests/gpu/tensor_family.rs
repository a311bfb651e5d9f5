//! What rules that know their tensor promise: few dispatches, the same bits, ratios to look at, no drift.

use gradus::gpu::KernelChoice;
use gradus::optim;
use gradus::{GpuOptions, ParamStore};
use serde_json::json;

use crate::common::{bits, gpu_with, read_all};
use crate::network::gpus;
use crate::tensor_oracle::{Tensor, length};
use crate::tensor_rules::{TENSORS, build, data, devices, gradients_at, options, rules, step};

#[test]
fn a_step_is_three_dispatches_for_any_number_of_tensors() {
    // What is kept of 10,000 tensors lies in one binding, too.
    let cut = GpuOptions {
        max_binding_bytes: Some(131_072),
        kernels: KernelChoice::Plain,
        ..GpuOptions::default()
    };
    for gpu in gpus().into_iter().chain(gpu_with(cut)) {
        for rule in rules() {
            let values = vec![0.5; 64_000];
            let counts = [10, 10_000].map(|tensors| {
                let part = &values[..640_000 / tensors];
                let builder = ParamStore::builder().group("all", |group| {
                    (0..tensors)
                        .fold(group, |group, number| group.tensor(number.to_string(), [part.len()], part))
                });
                let mut params = builder.build(&gpu).unwrap();
                let mut optimizer = optim::from_json(&rule).unwrap().build(&params).unwrap();
                optimizer.step(&mut params).unwrap();
                let before = gpu.counters();
                optimizer.step(&mut params).unwrap();
                let after = gpu.counters().since(&before);
                assert_eq!((after.submits, after.passes, after.allocations, after.bind_groups), (1, 1, 0, 0));
                (after.dispatches, params.layout().windows().count() as u64)
            });
            let [(few, windows), many] = counts;
            assert_eq!((few, (few, windows)), (2 * windows + 1, many), "{rule}");
            assert!(windows == 1 || windows == 20, "{windows}");
        }
    }
}

#[test]
fn two_runs_agree_bit_for_bit() {
    for gpu in devices() {
        for options in options().into_iter().step_by(3) {
            let once = || {
                let mut built = build(&gpu, &options);
                (0..5).for_each(|number| step(&mut built, number, &gradients_at(number)));
                let ratios: Vec<f32> =
                    built.1.read_trust_ratios().unwrap().into_iter().map(|(_, ratio)| ratio).collect();
                [bits(&read_all(&built.0)), bits(&ratios)]
            };
            assert!(once() == once(), "{}", options.0);
        }
    }
}

#[test]
fn ratios_are_read_by_name_and_only_where_there_are_some() {
    for gpu in gpus() {
        let (mut params, mut optimizer) = build(&gpu, &(json!({"name": "Fromage"}), json!({})));
        let names = TENSORS.map(|(name, _)| (name.to_owned(), 1.0));
        assert_eq!(optimizer.read_trust_ratios().unwrap(), names);
        params.freeze("two").unwrap();
        let gradients: Vec<Vec<f32>> =
            data().into_iter().map(|p| p.iter().map(|p| p / 8.0).collect()).collect();
        params.write_grads(&gradients.concat()).unwrap();
        optimizer.step(&mut params).unwrap();
        let ratios = pollster::block_on(optimizer.read_trust_ratios_async()).unwrap();
        for (name, ratio) in ratios {
            let want = if ["zeros", "two"].contains(&&*name) { 1.0 } else { 8.0 };
            assert!((ratio - want).abs() < 1e-5, "{name}: {ratio}");
        }
        let adam = build(&gpu, &(json!({"name": "Adam"}), json!({}))).1;
        assert_eq!(adam.read_trust_ratios().unwrap(), []);
    }
}

/// Under constant gradients of many sizes. Each step may round a parameter by half a unit in the last place, in the
/// same direction each time; the rest must be less than that. Where steps are as long as parts of the tensor, it grows
/// twentyfold.
#[test]
fn ten_thousand_steps_do_not_drift() {
    const STEPS: u32 = 10_000;
    let Some(gpu) = gpu_with(GpuOptions::default()) else { return };
    let grads: Vec<f32> =
        (0..64).map(|i| 10f32.powi(i % 7 - 4) * if i % 2 == 0 { 1.0 } else { -0.7 }).collect();
    let wide: Vec<f64> = grads.iter().map(|g| f64::from(*g)).collect();
    for json in [
        json!({"name": "Lamb", "lr": 3e-4}),
        json!({"name": "Lars", "lr": 0.03}),
        json!({"name": "Novograd", "lr": 1e-3}),
        json!({"name": "Fromage", "lr": 3e-4}),
    ] {
        let mut params = ParamStore::builder().tensor("w", [64], &[0.5; 64]).build(&gpu).unwrap();
        let mut optimizer = optim::from_json(&json).unwrap().build(&params).unwrap();
        let options = optimizer.group("default").unwrap().to_json();
        let mut tensor = Tensor::new(&[0.5; 64]);
        params.write_grads(&grads).unwrap();
        for _ in 0..STEPS {
            optimizer.step(&mut params).unwrap();
            tensor.step(&options, &wide);
        }
        assert!((30.0..110.0).contains(&length(&tensor.p)), "{json}: {}", length(&tensor.p));
        let rounding = f64::from(STEPS) * f64::from(f32::EPSILON) / 2.0;
        for (index, (got, want)) in params.read("w").unwrap().into_iter().zip(&tensor.p).enumerate() {
            let off = (f64::from(got) - want).abs() / want.abs().max(0.5);
            assert!(off <= rounding, "{json}, element {index}: off by {off} of {want}");
        }
    }
}
