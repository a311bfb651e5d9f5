//! Rules that square what they are given, under gradients whose squares f32 does not hold: against f64.

use gradus::optim;
use gradus::{Gpu, ParamStore};
use serde_json::{Value, json};

use crate::common::{gpu, noises, padding};
use crate::factored_rules;
use crate::network::gpus;
use crate::oracle::Oracle;
use crate::tensor_oracle;

const SIZES: [f32; 13] =
    [1e-30, 1e-25, 1e-20, 1e-19, 1e-18, 1e-12, 1.0, 1e18, 1.8e19, 1e20, 1e25, 1e30, 3e38];

/// Parameters after each of some steps, and that state and parameters are finite and padding is zero.
fn walk(gpu: &Gpu, rule: &Value, shape: &[usize], p: &[f32], grads: &[Vec<f32>]) -> (Value, Vec<Vec<f32>>) {
    let mut params = ParamStore::builder().tensor("w", shape, p).build(gpu).unwrap();
    let mut optimizer = optim::from_json(rule).unwrap().build(&params).unwrap();
    let mut steps = Vec::new();
    for grads in grads {
        params.write_grads(grads).unwrap();
        optimizer.step(&mut params).unwrap();
        let state = optimizer.read_state_dict().unwrap().state;
        let slots = state.into_values().flat_map(|tensor| tensor.slots.into_values()).flatten().flatten();
        let at = params.read("w").unwrap();
        assert!(slots.chain(at.iter().copied()).all(f32::is_finite), "{rule} under {:e}: {at:?}", grads[0]);
        assert!(padding(&params).iter().all(|x| *x == 0.0), "{rule}");
        steps.push(at);
    }
    (optimizer.group("default").unwrap().to_json(), steps)
}

fn rules() -> Vec<Value> {
    vec![
        json!({"name": "Adam"}),
        json!({"name": "Adam", "amsgrad": true}),
        json!({"name": "Adam", "amsgrad": true, "variant": "optax", "betas": [0.5, 0.7]}),
        json!({"name": "AdamW"}),
        json!({"name": "RMSprop"}),
        json!({"name": "RMSprop", "centered": true, "momentum": 0.9, "eps": 1e-6}),
        json!({"name": "RMSprop", "eps_in_sqrt": true}),
        json!({"name": "Adagrad"}),
        json!({"name": "Adagrad", "eps_in_sqrt": true, "eps": 1e-7, "initial_accumulator_value": 0.1}),
        json!({"name": "Adadelta"}),
        json!({"name": "Adamax"}),
        json!({"name": "NAdam"}),
        json!({"name": "NAdam", "variant": "optax"}),
        json!({"name": "RAdam"}),
        json!({"name": "RAdam", "betas": [0.9, 0.5]}),
        json!({"name": "ScheduleFreeAdamW"}),
        json!({"name": "Adan"}),
        json!({"name": "Yogi"}),
        json!({"name": "AdaBelief"}),
        json!({"name": "Lion"}),
        json!({"name": "Rprop"}),
    ]
}

/// The largest relative distance from f64 after the first and after five steps, of opposite signs at once.
#[test]
fn steps_have_the_length_that_they_have_in_f64() {
    let Some(gpu) = gpu() else { return };
    let mut misses = Vec::new();
    for rule in rules() {
        for size in SIZES {
            let grads = vec![vec![size, -size, size / 2.0, 0.0, size]; 5];
            let (options, got) = walk(&gpu, &rule, &[5], &[0.0; 5], &grads);
            let oracle = Oracle::new(options);
            let mut elements = [Oracle::element(0.0); 5];
            let mut worst = [0f64; 2];
            for (step, (got, grads)) in got.iter().zip(&grads).enumerate() {
                for ((element, g), got) in elements.iter_mut().zip(grads).zip(got) {
                    oracle.step(element, *g);
                    let off = (f64::from(*got) - element.p).abs() / element.p.abs().max(1e-37);
                    worst[usize::from(step > 0)] = worst[usize::from(step > 0)].max(off);
                }
            }
            println!("{rule} at {size:e}: off by {:.1e} and {:.1e}", worst[0], worst[1]);
            // AdaBelief's and the centered variance are differences.
            if worst.iter().any(|worst| *worst > 2e-5) {
                misses.push(format!("{rule} at {size:e}: off by {worst:?}"));
            }
        }
    }
    assert!(misses.is_empty(), "{misses:#?}");
}

/// Where the size changes from step to step, rules see what is held: f64 with gradients held alike.
#[test]
fn large_gradients_among_others_count_as_the_largest_that_has_a_square() {
    let Some(gpu) = gpu() else { return };
    let sizes = [1e10, 1e30, -1e18, 1.0, -3e38, 1.8e19, 1e17];
    for rule in rules() {
        let name = rule["name"].as_str().unwrap();
        // RAdam's first steps have no root, and the others do not square.
        if ["RAdam", "Adamax", "Lion", "Rprop"].contains(&name) {
            continue;
        }
        let most = match name {
            "Adagrad" => 2f64.powi(56),
            "Adan" => 2f64.powi(62),
            _ => f64::from(1.8e19_f32),
        };
        let grads: Vec<Vec<f32>> = sizes.map(|g| vec![g]).to_vec();
        let (options, got) = walk(&gpu, &rule, &[1], &[0.0], &grads);
        let (oracle, mut element) = (Oracle::new(options), Oracle::element(0.0));
        for (got, g) in got.iter().zip(sizes) {
            #[expect(clippy::cast_possible_truncation, reason = "rounding is the purpose")]
            oracle.step(&mut element, f64::from(g).clamp(-most, most) as f32);
            let off = (f64::from(got[0]) - element.p).abs() / element.p.abs();
            assert!(off < 1e-4, "{rule} at {g:e}: got {}, expected {}", got[0], element.p);
        }
    }
}

/// RAdam averages gradients as they are while nothing is squared. A large one that comes later counts as it does for
/// other rules, in its average too.
#[test]
fn a_large_gradient_in_a_rectified_step_counts_as_the_largest_that_has_a_square() {
    let Some(gpu) = gpu() else { return };
    for rule in [
        json!({"name": "RAdam"}),
        json!({"name": "RAdam", "variant": "optax", "nesterov": true, "eps_root": 1e-8, "threshold": 4.5}),
        json!({"name": "RAdam", "variant": "optax", "betas": [0.0, 0.95]}),
    ] {
        for size in SIZES {
            let grads: Vec<Vec<f32>> =
                (0..10).map(|step| vec![if step == 7 { size } else { 1e-3 }, 1e-3]).collect();
            let (options, got) = walk(&gpu, &rule, &[2], &[0.0; 2], &grads);
            let (oracle, mut elements) = (Oracle::new(options), [Oracle::element(0.0); 2]);
            for (got, grads) in got.iter().zip(&grads) {
                for ((element, g), got) in elements.iter_mut().zip(grads).zip(got) {
                    oracle.step(element, g.min(1.8e19));
                    let off = (f64::from(*got) - element.p).abs();
                    assert!(off < 1e-4 * element.p.abs(), "{rule} at {size:e}: {got}, {}", element.p);
                }
            }
        }
    }
}

/// An average and its next value may be further apart than the largest number.
#[test]
fn gradients_of_opposite_signs_leave_no_infinities() {
    let Some(gpu) = gpu() else { return };
    for name in ["Adam", "AdamW", "NAdam", "RAdam", "Adamax", "Lion", "Yogi", "AdaBelief", "Lamb"] {
        for betas in [[0.0, 0.0], [0.0, 0.5], [0.25, 0.999], [0.5, 0.25], [0.9, 0.99]] {
            let rule = json!({"name": name, "betas": betas, "lr": 1e-6});
            let grads: Vec<Vec<f32>> = [3e38, -3e38, f32::MAX, f32::MIN, f32::MIN, f32::MAX, 1.0, -3e38]
                .map(|g: f32| vec![g, -g, 1.0])
                .to_vec();
            walk(&gpu, &rule, &[3], &[0.5, 0.5, 0.5], &grads);
        }
    }
}

fn takes_subnormals_for_zero(gpu: &Gpu) -> bool {
    let sgd = json!({"name": "SGD", "lr": 0.25});
    walk(gpu, &sgd, &[1], &[0.0], &[vec![2e-38]]).1[0] == [0.0]
}

/// Without an eps nothing but the root bounds a step: it must not be longer than in f64. Devices may take subnormal
/// squares for zero, of which an average never comes to be: there each step may be as long as the first.
#[test]
fn steps_without_eps_are_not_too_long_where_squares_vanish() {
    let Some(gpu) = gpu() else { return };
    let flushes = takes_subnormals_for_zero(&gpu);
    for mut rule in rules() {
        let entry = optim::from_json(&rule).unwrap().to_json();
        for key in ["eps", "eps_root", "initial_accumulator_value"] {
            if entry.get(key).is_some() {
                rule[key] = json!(0);
            }
        }
        if rule["centered"] == true || rule["name"] == "Adadelta" {
            continue;
        }
        for size in SIZES {
            let grads = vec![vec![size, -size]; 5];
            let (options, got) = walk(&gpu, &rule, &[2], &[0.0; 2], &grads);
            let oracle = Oracle::new(options);
            let mut element = Oracle::element(0.0);
            let (mut first, mut steps) = (f64::INFINITY, 0.0);
            for got in got {
                oracle.step(&mut element, size);
                let (got, want) = (f64::from(got[0]), element.p);
                first = first.min(want.abs());
                steps += 1.0;
                let most = if flushes { want.abs().max(first * steps) } else { want.abs() };
                assert!(got.abs() <= most * 1.0001, "{rule} at {size:e}: got {got}, expected {want}");
                if size > 1e-16 {
                    assert!((got - want).abs() < 1e-4 * want.abs(), "{rule} at {size:e}: {got}, {want}");
                }
            }
        }
    }
}

/// Ratios of norms, with parameters and gradients of all sizes, and of many elements.
#[test]
fn norms_of_tensors_are_right_at_all_sizes() {
    let mut misses = Vec::new();
    for gpu in gpus() {
        for rule in [
            json!({"name": "Lamb", "lr": 1e-3}),
            json!({"name": "Lars", "lr": 1}),
            json!({"name": "Lars", "lr": 1, "momentum": 0, "eps": 1e-9}),
            json!({"name": "Novograd"}),
            json!({"name": "Fromage"}),
            json!({"name": "Fromage", "min_norm": 0}),
        ] {
            for (len, size) in [3usize, 30_000].into_iter().flat_map(|len| SIZES.map(|size| (len, size))) {
                for of_params in [1e-25, 1e-3, 1.0, 1e18, 1e22] {
                    // A ratio of them is one f32.
                    if of_params < 1e-20 && size > 1e10 || of_params > 1e17 && size < 1e-16 {
                        continue;
                    }
                    let pattern = noises(3, len);
                    let p: Vec<f32> = noises(4, len).iter().map(|p| p * of_params).collect();
                    // Beyond what is held all elements are alike.
                    let grad = |g: &f32| if size > 1e19 { size.copysign(*g) } else { g * size };
                    let grads = vec![pattern.iter().map(grad).collect::<Vec<f32>>(); 3];
                    let (options, got) = walk(&gpu, &rule, &[len], &p, &grads);
                    let wide: Vec<f64> = grads[0].iter().map(|g| f64::from(*g)).collect();
                    let mut tensor = tensor_oracle::Tensor::new(&p);
                    let mut worst = 0f64;
                    for got in got {
                        let before = tensor.p.clone();
                        tensor.step(&options, &wide);
                        let way =
                            tensor.p.iter().zip(&before).map(|(p, b)| (p - b).abs()).fold(0.0, f64::max);
                        for (got, want) in got.iter().zip(&tensor.p) {
                            let unit = want.abs().max(way).max(1e-36);
                            worst = worst.max((f64::from(*got) - want).abs() / unit);
                        }
                    }
                    if worst > 2e-5 {
                        misses.push(format!("{rule}, {len} of {size:e}, p {of_params:e}: off by {worst:e}"));
                    }
                }
            }
        }
    }
    assert!(misses.is_empty(), "{misses:#?}");
}

/// A mixture that no single unit has squares for.
#[test]
fn norms_of_mixtures_are_right() {
    for gpu in gpus() {
        for rule in [json!({"name": "Lars", "lr": 1}), json!({"name": "Fromage", "min_norm": 0})] {
            for sizes in [[1e-30, 1e-20, 1e-25], [1e-22, 1e22, 1.0], [1e-28, 1e28, 1e10], [1e-10, 1e20, 1e19]]
            {
                let p = noises(4, 3000);
                let grads: Vec<f32> =
                    noises(5, 3000).iter().enumerate().map(|(i, g)| g * sizes[i % 3]).collect();
                let (options, got) = walk(&gpu, &rule, &[3000], &p, &vec![grads.clone(); 2]);
                let mut tensor = tensor_oracle::Tensor::new(&p);
                let wide: Vec<f64> = grads.iter().map(|g| f64::from(*g)).collect();
                for got in got {
                    tensor.step(&options, &wide);
                    for (got, want) in got.iter().zip(&tensor.p) {
                        let off = (f64::from(*got) - want).abs();
                        assert!(
                            off < 1e-5 * want.abs().max(0.1),
                            "{rule} {sizes:?}: got {got}, expected {want}"
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn factored_rules_are_right_at_all_sizes() {
    let shapes: [&[usize]; 6] = [&[3000], &[2, 3000], &[40, 64], &[7, 33], &[3, 12, 40], &[2, 100_000]];
    let mut misses = Vec::new();
    for gpu in gpus() {
        for rule in [
            json!({"name": "Adafactor"}),
            json!({"name": "Adafactor", "variant": "optax", "min_dim_size_to_factor": 2}),
            json!({"name": "Adafactor", "variant": "optax", "clipping_threshold": null, "momentum": 0.9}),
            json!({"name": "SM3", "lr": 0.1}),
            json!({"name": "SM3", "lr": 0.1, "b2": 0.9}),
        ] {
            for (shape, size) in shapes.iter().flat_map(|shape| SIZES.map(|size| (*shape, size))) {
                let len = shape.iter().product();
                let p = noises(4, len);
                let grad = |g: &f32| if size > 1e16 { size.copysign(*g) } else { g * size };
                let grads = vec![noises(3, len).iter().map(grad).collect::<Vec<f32>>(); 2];
                let (options, got) = walk(&gpu, &rule, shape, &p, &grads);
                let mut tensor = factored_rules::Tensor::new(shape, &p);
                let mut worst = 0f64;
                for (got, grads) in got.iter().zip(&grads) {
                    tensor.step(&options, grads);
                    for (got, want) in got.iter().zip(&tensor.p) {
                        worst = worst.max((f64::from(*got) - want).abs() / want.abs().max(0.1));
                    }
                }
                // Where squares are not normal numbers steps are shorter, by which SM3's are a tenth at most.
                let is_lost = rule["name"] == "SM3" && (1e-30..1e-16).contains(&size);
                if worst > if is_lost { 2.0 } else { 2e-5 } {
                    misses.push(format!("{rule}, {shape:?} of {size:e}: off by {worst:e}"));
                }
            }
        }
    }
    assert!(misses.is_empty(), "{misses:#?}");
}
